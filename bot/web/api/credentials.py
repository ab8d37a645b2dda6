"""Who makes a request: an API key or one of our tokens, read from the one Authorization header."""

from dataclasses import dataclass

from aiohttp import web

from bot.core.api_keys import is_secret, parse
from bot.core.errors import UnauthenticatedError
from bot.core.principal import Principal, Source
from bot.core.records import InstallationState
from bot.web.api.call import Parts
from bot.web.api.problems import ApiError, unauthenticated

KEY_PREFIX = "djv_"

LONGEST = 8_000
"""Characters of one header; a credential of ours has fewer than a thousand."""

REFUSED = "the credential is not valid, has expired or was revoked"


def bearer(request: web.Request) -> str | None:
    """The credential of a request, None where there is none. Raises ApiError 401 where it is not clear which one counts."""
    values = request.headers.getall("Authorization", [])
    if not values:
        return None
    if len(values) > 1:
        raise unauthenticated("there are two Authorization headers")
    scheme, _, text = values[0].partition(" ")
    if scheme.lower() != "bearer" or not text.strip() or len(text) > LONGEST:
        raise unauthenticated("the Authorization header does not say: Bearer, then a credential")
    return text.strip()


@dataclass(frozen=True, slots=True)
class Known:
    """Who asks, and whether the App works for their account."""

    principal: Principal
    installation: InstallationState | None  # None: it is not installed there any more


async def authenticate(parts: Parts, text: str) -> Known:
    """Who holds this credential. Raises ApiError 401; PostgreSQL is asked each time, so that what is revoked ends at once."""
    return await (by_key if text.startswith(KEY_PREFIX) else by_token)(parts, text)


async def by_key(parts: Parts, text: str) -> Known:
    """Who an API key speaks for."""
    given = parse(text)
    stored = await parts.keys.find(given.id) if given else None
    if given is None or stored is None or not is_secret(given.secret, stored.digest):
        raise unauthenticated(REFUSED)
    key = stored.key
    now = parts.clock()
    if not key.lives(now):
        raise unauthenticated(REFUSED)
    if not key.is_noted(now):
        await parts.keys.used(key.account_id, key.id)
    principal = Principal(key.account_id, key.scope, Source.API_KEY, key.repository_id, key.id)
    return Known(principal, stored.installation)


async def by_token(parts: Parts, text: str) -> Known:
    """Who a token of ours speaks for, unless it, or the key that it came from, was revoked."""
    try:
        principal = parts.tokens.verify(text, parts.clock()).principal
    except UnauthenticatedError as error:
        raise unauthenticated(error.reason) from None
    assert principal.token_id is not None
    standing = await parts.revocations.standing(principal.account_id, principal.token_id, principal.key_id)
    if standing.revoked:
        raise unauthenticated(REFUSED)
    return Known(principal, standing.installation)


def credential_in_query(request: web.Request) -> ApiError | None:
    """A credential in an address would be kept in logs and histories: it is refused, whatever else is right."""
    if any(value.startswith((KEY_PREFIX, "eyJ")) for value in request.query.values()):
        return unauthenticated("a credential belongs into the Authorization header, never into an address")
    return None
