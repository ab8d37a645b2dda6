"""What stands before every answer: who asks, how often, and whether they may touch what they name."""

from collections.abc import MutableMapping
from dataclasses import dataclass

from aiohttp import web

from bot.core.access import Taken
from bot.core.principal import Principal, Scope, Source
from bot.core.records import InstallationState, Repository, Role
from bot.web.api.address import client_address
from bot.web.api.call import Parts
from bot.web.api.credentials import authenticate, bearer, credential_in_query
from bot.web.api.problems import ApiError, forbidden, not_found, unauthenticated

FAILURES = 20
"""Credentials that one address may get wrong in a minute."""

ANONYMOUS_CALLS = 10
"""Calls a minute without a credential, for one address."""

EXCHANGES = 60
"""Tokens that one address may ask for in a minute: an organisation's runners often share one."""

PAGES = 120
"""Descriptions and pages without any data that one address may read in a minute."""

SEE = Role.READ
"""What a person needs to learn that a repository is there."""

Headers = MutableMapping[str, str]


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whoever knocks, before anything is decided."""

    principal: Principal | None
    installation: InstallationState | None  # None: the App is not installed with the principal's account
    address: str


async def admit(parts: Parts, request: web.Request, headers: Headers, *, reads: bool = True) -> Visitor:
    """Find out who asks and count the call; `headers` get what is left of the limit.

    Where a route reads its credential itself (`reads` False), the call counts for the address. Raises ApiError: 401 for a
    credential that is not good, 429 above a limit.
    """
    address = client_address(request, parts.address_header)
    try:
        if refused := credential_in_query(request):
            raise refused
        text = bearer(request) if reads else None
        known = await authenticate(parts, text) if text is not None else None
    except ApiError as error:
        if error.status == 401:
            await count(parts, f"sign_in:{address}", FAILURES, headers)
        raise
    if known is None:
        limit = ANONYMOUS_CALLS if reads else EXCHANGES
        await count(parts, f"{'address' if reads else 'token'}:{address}", limit, headers)
        return Visitor(None, None, address)
    enforce(await parts.windows.take_call(known.principal.account_id), headers)
    return Visitor(known.principal, known.installation, address)


async def count(parts: Parts, key: str, limit: int, headers: Headers) -> None:
    """Count what no account is charged for. Raises ApiError 429."""
    enforce(await parts.windows.take(key, limit), headers)


def enforce(taken: Taken, headers: Headers) -> None:
    """Tell what is left; raises ApiError 429 where nothing was.

    Both the fields of draft-ietf-httpapi-ratelimit-headers and those that GitHub's clients know.
    """
    reset = taken.reset_seconds
    headers["RateLimit-Policy"] = f'"minute";q={taken.limit};w=60'
    headers["RateLimit"] = f'"minute";r={taken.remaining};t={reset}'
    headers["X-RateLimit-Limit"] = str(taken.limit)
    headers["X-RateLimit-Remaining"] = str(taken.remaining)
    headers["X-RateLimit-Reset"] = str(reset)
    if not taken.allowed:
        wait = max(1, taken.retry_after)
        raise ApiError(
            429,
            "rate_limited",
            f"this is more than {taken.limit} calls in a minute: wait {wait} seconds",
            {"Retry-After": str(wait)},
        )


def ensure_scope(principal: Principal | None, scope: Scope) -> Principal:
    """Raises ApiError: 401 without a credential, 403 with one that allows less."""
    if principal is None:
        raise unauthenticated("this needs an API key or a token")
    if principal.scope < scope:
        raise forbidden(f"this needs a credential with the scope {scope.word}", "insufficient_scope")
    return principal


def ensure_working(visitor: Visitor) -> None:
    """Raises ApiError for a write where the App is suspended (403) or not installed any more (404)."""
    if visitor.installation is None:
        raise not_found()
    if visitor.installation is InstallationState.SUSPENDED:
        raise forbidden("GitHub has suspended the App for this account", "suspended")


async def ensure_account(parts: Parts, principal: Principal, scope: Scope) -> None:
    """What concerns a whole account is not for a credential of one repository, nor for a person beyond their role."""
    if principal.repository_id is not None:
        raise forbidden("this credential is for one repository alone", "insufficient_scope")
    if principal.source is Source.USER:
        account = await parts.accounts.account(principal.account_id)
        allowed = None
        if account is not None and principal.user_id is not None:
            allowed = await parts.reach().account_role(principal.user_id, account)
        if allowed is None:
            raise not_found()
        if allowed < scope:
            raise forbidden("this is for those who administer the account on GitHub")


async def repository_for(parts: Parts, principal: Principal, repository_id: int, role: Role) -> Repository:
    """The repository, where whoever asks may touch it so. Raises ApiError: 404 where they may not see it, 403 otherwise."""
    repository = await parts.repositories.get(principal.account_id, repository_id)
    if repository is None or not principal.may_touch(repository_id):
        raise not_found()
    if principal.source is Source.USER:
        assert principal.user_id is not None
        has = await parts.reach().role_in(principal.user_id, repository)
        if has < Role.READ:
            raise not_found()
        if has < role:
            raise forbidden(f"on GitHub this needs the role {role.name.lower()} in the repository")
    return repository


async def searchable(parts: Parts, principal: Principal, repository_id: int, role: Role) -> Repository:
    """As `repository_for`, and a repository that anybody may search for whoever has some other credential."""
    try:
        return await repository_for(parts, principal, repository_id, role)
    except ApiError as error:
        found = await parts.repositories.open_to_all(repository_id) if error.status == 404 else None
        if found is None:
            raise
        return found


async def public_repository(parts: Parts, repository_id: int) -> Repository:
    """A repository that anybody may search. Raises ApiError 401 for every other one, whether it exists or not."""
    repository = await parts.repositories.open_to_all(repository_id)
    if repository is None:
        raise unauthenticated("this needs an API key or a token")
    return repository
