"""A route of the API as data, and one call of it."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aiohttp import web
from pydantic import BaseModel

from bot.core.access import Act, Actor
from bot.core.context import now
from bot.core.ports import (
    Accounts,
    ActionsIdentity,
    ApiKeys,
    Audit,
    Backtests,
    CallWindows,
    GitHub,
    Idempotency,
    Issues,
    Jobs,
    Marks,
    Reach,
    Repositories,
    Revocations,
    Sessions,
    Similarity,
    Suggestions,
    Usage,
)
from bot.core.principal import Principal, Scope
from bot.core.records import Repository, Role
from bot.web.api.address import UNKNOWN
from bot.web.api.pages import Cursors
from bot.web.api.reading import NoQuery
from bot.web.tokens import TokenIssuer


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything the API reaches, made once by the composition root."""

    accounts: Accounts
    repositories: Repositories
    issues: Issues
    suggestions: Suggestions
    marks: Marks
    backtests: Backtests
    usage: Usage
    jobs: Jobs
    keys: ApiKeys
    revocations: Revocations
    windows: CallWindows
    idempotency: Idempotency
    audit: Audit
    sessions: Sessions
    reach: Callable[[], Reach]
    """Raises UnavailableError where sign-in is not set up."""
    workflows: ActionsIdentity
    tokens: TokenIssuer
    cursors: Cursors
    similarity: Callable[[], Similarity]
    """Raises SearchUnavailableError until the model is loaded."""
    github: Callable[[], GitHub]
    """Raises GitHubUnavailableError where no App is set."""
    address_header: str | None = None
    web_url: str = "https://github.com"
    public_url: str | None = None
    clock: Callable[[], datetime] = now


@dataclass(frozen=True, slots=True)
class Call:
    """One request that may be done: whoever made it may do this, to this repository."""

    parts: Parts
    request: web.Request
    address: str  # the client's, as far as it is known
    given: Principal | None
    path: Mapping[str, Any]
    query: Any  # the route's `query`
    body: Any  # the route's `body`
    headers: Mapping[str, str]  # what every answer to it carries
    found: Repository | None

    @property
    def principal(self) -> Principal:
        """Who asks, on a route that needs a credential."""
        assert self.given is not None
        return self.given

    @property
    def repository(self) -> Repository:
        """The repository that the path names, on a route that names one."""
        assert self.found is not None
        return self.found

    @property
    def account_id(self) -> int:
        """For which account."""
        return self.principal.account_id

    @property
    def key(self) -> tuple[int, int]:
        """Account and repository, as every store takes them."""
        return self.repository.account_id, self.repository.id

    async def record(self, action: str, subject: str, **details: Any) -> None:
        """Add an audit line about what was done just now."""
        who = self.principal
        address = None if self.address == UNKNOWN else self.address.split("/")[0]
        actor = Actor(who.source.value)
        if who.key_id is not None:
            details["key"] = who.key_id
        await self.parts.audit.record(
            Act(
                action,
                actor,
                subject,
                account_id=who.account_id,
                actor_id=who.user_id,
                address=address,
                details=details,
            )
        )

    def prepare(self, response: web.StreamResponse) -> None:
        """Give an answer that is streamed the headers that every answer carries."""
        response.headers.update(self.headers)

    def position(self) -> list[Any] | None:
        """Where the list begins that is asked for. Raises ApiError 400 for a cursor that is not of this list."""
        return self.parts.cursors.open(self._list(), self.query.cursor)

    def after(self, position: Sequence[Any] | None) -> str | None:
        """The cursor of what follows that position; None at the end."""
        return None if position is None else self.parts.cursors.seal(self._list(), position)

    def _list(self) -> str:
        """Names the list and whose it is: a cursor is good for nobody else's, and for no other filter."""
        filters = self.query.model_dump(mode="json", exclude={"cursor", "limit"})
        return json.dumps([self.account_id, self.request.path, filters], sort_keys=True)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: a model of the route's `answer`, or other content with its type."""

    content: BaseModel | bytes | None
    headers: Mapping[str, str] = field(default_factory=dict)
    media: str = "application/json"
    status: int | None = None  # the route's, unless another one is told


Run = Callable[[Call], Awaitable[Reply | web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation. Everything that is checked before `run` is said here, and documented from here."""

    name: str  # operationId
    method: str
    path: str  # under /v1
    run: Run
    summary: str
    tag: str
    scope: Scope | None  # None: no credential
    role: Role | None = None  # what a person needs in the repository, where `ROLES` does not say it
    body: type[BaseModel] | None = None
    query: type[BaseModel] = NoQuery
    answer: type[BaseModel] | None = None  # None: no content
    media: Sequence[str] = ("application/json",)
    status: int = 200
    anonymous: bool = False  # without a credential too, where the repository allows it
    reads: bool = False  # changes nothing, although its scope is for those who may
    own: bool = False  # about the credential itself or what it may see, not about a whole account
    open_to_credentials: bool = False  # reads its credential itself, of kinds that no other route takes
    idempotent: bool = True  # whether a write takes an Idempotency-Key
    description: str = ""
    statuses: Sequence[int] = ()  # what it may answer beside what all routes do

    @property
    def writes(self) -> bool:
        """Whether it changes something."""
        return self.scope is not None and self.scope > Scope.READ and not self.reads

    @property
    def about_repository(self) -> bool:
        """Whether its path names a repository."""
        return "{repository_id}" in self.path


ROLES = {Scope.READ: Role.READ, Scope.WRITE: Role.WRITE, Scope.ADMIN: Role.ADMIN}
"""What a person needs on GitHub in a repository for what needs that scope here."""
