"""Signing in with GitHub, and what a person who did may reach. See `ports.SignIn`."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import aiohttp
import structlog
from yarl import URL

from bot.core.context import now
from bot.core.errors import (
    CredentialsError,
    GitHubError,
    GoneError,
    InvalidRequestError,
    MovedError,
    NotFoundError,
    PermissionMissingError,
    RefusedError,
    SignInError,
    SuspendedError,
)
from bot.core.identity import GitHubUser, UserTokens
from bot.core.pace import Kind
from bot.core.payload import MAX_ID, text, whole
from bot.core.principal import Scope
from bot.core.records import Account, Installation, InstallationState, Role
from bot.github.answers import each, part, usable
from bot.github.client import Answer, Api, Client, Heard, Request, Wire, get
from bot.github.errors import clean
from bot.github.pace import MemoryPauses
from bot.github.pages import pages

log = structlog.get_logger()

TOKENS_TIMEOUT = 10.0
"""Seconds for a request of tokens: shorter than the turn to renew them (`ports.Sessions.begin_refresh`)."""

NO_ACCESS = (
    GoneError,
    MovedError,
    NotFoundError,
    PermissionMissingError,
    RefusedError,  # an organisation's SAML and its list of allowed addresses, too
    SuspendedError,
)
"""Answers that mean: this person cannot reach it."""

ABILITIES: Mapping[str, Role] = {
    "admin": Role.ADMIN,
    "maintain": Role.MAINTAIN,
    "push": Role.WRITE,
    "triage": Role.TRIAGE,
    "pull": Role.READ,
}
"""Roles by what `permissions` of a repository calls them, the greatest first."""

OAUTH_ERRORS: Mapping[str, tuple[type[SignInError] | type[GitHubError], str]] = {
    "bad_verification_code": (SignInError, "the sign-in took too long or was used already"),
    "bad_refresh_token": (SignInError, "GitHub no longer knows this sign-in"),
    "unverified_user_email": (SignInError, "GitHub wants the e-mail address of the account verified first"),
    "incorrect_client_credentials": (
        CredentialsError,
        "GITHUB_CLIENT_ID or GITHUB_CLIENT_SECRET is not the App's",
    ),
    "redirect_uri_mismatch": (InvalidRequestError, "our callback URL is not one of the App's"),
}
"""What GitHub's error codes mean; they come with status 200."""


class GitHubSignIn:
    """The web flow of one App, and the calls that are made in a person's name."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        api: Api,
        web_url: str,
        client_id: str,
        client_secret: str,
        heard: Heard | None = None,
    ) -> None:
        """`web_url` is where people see GitHub; the session stays its owner's to close."""
        self._api = Wire(session, api, MemoryPauses(), heard)
        web = replace(api, base_url=web_url, timeout=min(api.timeout, TOKENS_TIMEOUT))
        self._web = Wire(session, web, MemoryPauses(), heard)
        self._web_url, self._client_id, self._client_secret = web_url, client_id, client_secret

    def authorize_url(self, state: str, challenge: str, redirect_uri: str) -> str:
        """Where a browser goes to be asked."""
        query = {
            "client_id": self._client_id,
            "redirect_uri": redirect_uri,
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return str(URL(f"{self._web_url}/login/oauth/authorize").with_query(query))

    async def exchange(self, code: str, verifier: str, redirect_uri: str) -> UserTokens:
        """The tokens for a code that the browser brought back."""
        return await self._tokens(code=code, code_verifier=verifier, redirect_uri=redirect_uri)

    async def refresh(self, refresh_token: str) -> UserTokens:
        """New tokens; those that were given before end."""
        return await self._tokens(grant_type="refresh_token", refresh_token=refresh_token)

    async def who(self, access_token: str) -> GitHubUser:
        """Whose token it is."""
        answer = await self._send(get("user"), access_token)
        return usable(lambda: user_from(answer.data))

    async def installations(self, access_token: str) -> list[Installation]:
        """The App's installations that the person can reach."""
        path = "user/installations{?per_page,page,after}"
        found: list[Installation] = []
        async for rows in self._rows(access_token, path, {}, "installations"):
            found += each(rows, installation_from)
        return found

    async def account_role(self, access_token: str, account: Account) -> Scope | None:
        """How much the person may do with an account."""
        if account.kind == "User":
            user = await self.who(access_token)
            return Scope.ADMIN if user.id == account.id else None
        try:
            answer = await self._send(
                get("user/memberships/orgs/{org}", {"org": account.login}), access_token
            )
        except NO_ACCESS as error:
            log.info("no_membership", account_id=account.id, reason=str(error))
            return None
        return usable(lambda: scope_from(answer.data, account.id))

    async def repositories(self, access_token: str, installation_id: int) -> dict[int, Role]:
        """The repositories of an installation that the person can reach, and their role in each."""
        path = "user/installations/{installation}/repositories{?per_page,page,after}"
        found: dict[int, Role] = {}
        try:
            async for rows in self._rows(
                access_token, path, {"installation": installation_id}, "repositories"
            ):
                found |= each(rows, role_from)
        except NO_ACCESS as error:
            log.info("no_repositories", installation_id=installation_id, reason=str(error))
            return {}
        return found

    async def _rows(
        self, access_token: str, path: str, values: Mapping[str, str | int], key: str
    ) -> AsyncIterator[list[Any]]:
        async for _, rows in pages(lambda request: self._send(request, access_token), path, values, key=key):
            yield rows

    async def _send(self, request: Request, access_token: str) -> Answer:
        """Ask in a person's name. What GitHub limits is the person's, so the pauses are kept by their token."""
        try:
            return await Client(self._api, pause_key(access_token)).send(request, token=access_token)
        except CredentialsError:
            raise SignInError("GitHub no longer knows this sign-in") from None

    async def _tokens(self, **given: str) -> UserTokens:
        """Ask for tokens. Never repeated: what is given for them is taken once."""
        data = {"client_id": self._client_id, "client_secret": self._client_secret, **given}
        request = Request(
            Kind.WRITE, "POST", "login/oauth/access_token", data=data, accept="application/json"
        )
        asked = now()  # before: the tokens live for so long at the least
        try:
            answer = await Client(self._web).send(request)
        except NotFoundError:  # how GitHub answers to a client id that it does not know
            raise oauth_error("incorrect_client_credentials") from None
        return tokens_from(answer.data, asked)


def pause_key(access_token: str) -> int:
    """A number that stands for a token and does not tell it."""
    return int.from_bytes(sha256(access_token.encode()).digest()[:8])


def tokens_from(answer: Any, asked: datetime) -> UserTokens:
    """The tokens in an answer. Raises SignInError, GitHubError for one that is an error."""
    if isinstance(answer, dict) and "error" in answer:
        raise oauth_error(str(answer["error"]))

    def ends(name: str) -> datetime | None:
        return asked + timedelta(seconds=int(answer[name])) if name in answer else None

    def parse() -> UserTokens:
        refresh = answer.get("refresh_token")
        return UserTokens(
            access=token_in(answer, "access_token"),
            access_ends=ends("expires_in"),
            refresh=token_in(answer, "refresh_token") if refresh else None,
            refresh_ends=ends("refresh_token_expires_in"),
        )

    return usable(parse, sent=True)


def token_in(answer: Any, name: str) -> str:
    """A token, which goes into a header. Raises ValueError for anything else."""
    value = answer[name]
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or not value:
        raise ValueError(name)
    return value


def oauth_error(code: str) -> SignInError | GitHubError:
    """The error that a code stands for."""
    kind, words = OAUTH_ERRORS.get(code, (InvalidRequestError, f"GitHub refused the sign-in: {clean(code)}"))
    return SignInError(words) if kind is SignInError else kind(words)


def user_from(answer: Any) -> GitHubUser:
    """A person. Raises DeadError where it is none."""
    return GitHubUser(
        whole(part(answer, "id"), "user.id", MAX_ID), text(part(answer, "login"), "user.login")[:100]
    )


def installation_from(row: Any) -> Installation:
    """One installation."""
    state = InstallationState.SUSPENDED if row.get("suspended_at") else InstallationState.ACTIVE
    return Installation(int(row["id"]), int(row["account"]["id"]), state)


def scope_from(answer: Any, account_id: int) -> Scope | None:
    """What a membership allows. Its organisation is compared by id: a name may be somebody else's by now."""
    if part(answer, "organization", "id") != account_id or part(answer, "state") != "active":
        return None
    return {"admin": Scope.ADMIN, "member": Scope.READ}.get(part(answer, "role"))


def role_from(row: Any) -> tuple[int, Role]:
    """A repository's id and the role of whoever asked."""
    permissions = row["permissions"]
    found = (role for name, role in ABILITIES.items() if permissions.get(name) is True)
    return int(row["id"]), next(found, Role.NONE)
