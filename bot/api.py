"""What the API is made of."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import aiohttp

from bot.core.errors import GitHubUnavailableError, SearchUnavailableError, SignInError, UnauthenticatedError
from bot.core.identity import WorkflowIdentity
from bot.core.ports import ActionsIdentity, GitHub, Reach, Similarity
from bot.github.oidc import GitHubActionsIdentity
from bot.settings import Settings, derived
from bot.web.api.call import Parts
from bot.web.api.pages import Cursors
from bot.web.tokens import TokenIssuer
from storage.accounts import Accounts
from storage.api_keys import ApiKeys
from storage.audit import Audit
from storage.backtests import Backtests
from storage.call_windows import CallWindows
from storage.database import Database
from storage.idempotency import Idempotency
from storage.issues import Issues
from storage.jobs import Jobs
from storage.marks import Marks
from storage.repositories import Repositories
from storage.revocations import Revocations
from storage.sessions import Sessions
from storage.suggestions import Suggestions
from storage.usage import Usage

NAME = "deja-view"
"""Whose tokens they are, where no PUBLIC_URL says it."""


@dataclass(slots=True)
class Search:
    """The search, once the model is loaded."""

    loaded: Similarity | None = None

    def get(self) -> Similarity:
        """The search. Raises SearchUnavailableError while it is being loaded."""
        if self.loaded is None:
            raise SearchUnavailableError("the model is being loaded")
        return self.loaded

    def unload(self) -> None:
        """It is being closed."""
        self.loaded = None


class NoWorkflows:
    """Where nobody said what a workflow's token has to be made for."""

    async def verify(self, _token: str, /) -> WorkflowIdentity:
        """Raises UnauthenticatedError for every token."""
        raise UnauthenticatedError("workflows are not let in here: PUBLIC_URL is not set")


def needed(part: GitHub | None) -> GitHub:
    """GitHub. Raises GitHubUnavailableError where no App is set."""
    if part is None:
        raise GitHubUnavailableError("no GitHub App is set up here")
    return part


def reach_of(part: Reach | None) -> Reach:
    """What people reach. Raises SignInError where nobody can sign in."""
    if part is None:
        raise SignInError("sign-in is not set up here")
    return part


def parts_of(
    settings: Settings,
    database: Database,
    search: Search,
    session: aiohttp.ClientSession,
    github: GitHub | None,
    reach: Reach | None,
    clock: Callable[[], datetime],
) -> Parts:
    """Everything the API reaches."""
    issues = Issues(database)
    return Parts(
        accounts=Accounts(database, default_tier=settings.default_tier),
        repositories=Repositories(database),
        issues=issues,
        suggestions=Suggestions(database),
        marks=Marks(database),
        backtests=Backtests(database),
        usage=Usage(database),
        jobs=Jobs(database),
        keys=ApiKeys(database),
        revocations=Revocations(database),
        windows=CallWindows(database, default_tier=settings.default_tier),
        idempotency=Idempotency(database),
        audit=Audit(database),
        sessions=Sessions(database),
        reach=partial(reach_of, reach),
        workflows=workflows_of(settings, session),
        tokens=TokenIssuer(settings.jwt_secrets, settings.public_url or NAME),
        cursors=Cursors(derived(settings.jwt_secrets[0], "cursors")),
        similarity=search.get,
        github=partial(needed, github),
        address_header=settings.client_address_header,
        web_url=settings.web_url,
        public_url=settings.public_url,
        clock=clock,
    )


def workflows_of(settings: Settings, session: aiohttp.ClientSession) -> ActionsIdentity:
    """Who workflows are."""
    if settings.oidc_audience is None:
        return NoWorkflows()
    return GitHubActionsIdentity(session, settings.oidc_issuer, settings.oidc_audience)
