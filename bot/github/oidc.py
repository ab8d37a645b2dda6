"""Identities of GitHub Actions workflows: tokens that GitHub signed, checked with the keys that it publishes. See `ports.ActionsIdentity`."""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from bot.core.errors import GitHubUnavailableError, UnauthenticatedError
from bot.core.identity import WorkflowIdentity
from bot.core.payload import MAX_ID
from bot.github.errors import clean, json_object

log = structlog.get_logger()

KEYS_FOR = 3_600.0
"""Seconds for which published keys are used."""

LOOK_EVERY = 60.0
"""Seconds between looks for a key that we do not know: anybody can name one."""

TRY_EVERY = 5.0
"""Seconds between attempts to read keys where we have none."""

LARGEST_KEYS = 1024 * 1024
"""Bytes of the published keys."""

KEYS_TIMEOUT = aiohttp.ClientTimeout(total=5.0)

LONGEST_TOKEN = 16_384
"""Characters of a token; GitHub's have about 2,000."""

LEEWAY = 30
"""Seconds that clocks may differ."""

SMALLEST_KEY = 2_048
"""Bits of an RSA key."""

REQUIRED = ("exp", "iat", "nbf", "iss", "aud", "sub", "jti", "repository_id", "repository_owner_id")
TIMES = ("exp", "iat", "nbf")

FOREIGN_HEADERS = frozenset({"jku", "jwk", "x5u", "x5c"})
"""Parts of a token's header that would have us trust a key which came with it."""


class GitHubActionsIdentity:
    """Checks tokens of one issuer for one audience."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        issuer: str,
        audience: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`audience` is what workflows ask a token for; `clock` is in seconds and never goes back."""
        self._keys = Keys(session, issuer, clock)
        self._issuer, self._audience = issuer, audience

    async def verify(self, token: str) -> WorkflowIdentity:
        """Who a workflow is. Raises UnauthenticatedError, GitHubUnavailableError."""
        key = await self._keys.get(key_id(token))
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=["RS256"],
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY,
                options={"require": list(REQUIRED), "strict_aud": True},
            )
            return identity_from(claims)
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
            raise refused(REASONS.get(type(error), "it is not valid")) from None


REASONS: Mapping[type[Exception], str] = {
    jwt.ExpiredSignatureError: "it is over",
    jwt.ImmatureSignatureError: "it is not valid yet",
    jwt.InvalidSignatureError: "its signature is wrong",
    jwt.InvalidAudienceError: "it was made for another audience",
    jwt.InvalidIssuerError: "it has another issuer",
    jwt.MissingRequiredClaimError: "a claim is missing",
}
"""What whoever wrote the workflow is told."""


def refused(reason: str) -> UnauthenticatedError:
    """The error of a token that is not taken."""
    return UnauthenticatedError(f"the workflow identity token is refused: {reason}")


def key_id(token: str) -> str:
    """The key that a token names. Raises UnauthenticatedError for what is no token of an issuer's."""
    if len(token) > LONGEST_TOKEN or not token.isascii():
        raise refused("it is too long, or not in ASCII")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise refused("it cannot be read") from None
    if header.get("alg") != "RS256":
        raise refused("it is not signed with RS256")
    if FOREIGN_HEADERS & header.keys():
        raise refused("it brings its own key")
    kid = header.get("kid")
    if not isinstance(kid, str) or not kid:
        raise refused("it names no key")
    return kid


def identity_from(claims: Mapping[str, Any]) -> WorkflowIdentity:
    """The workflow that claims tell of. Raises ValueError for a claim of another kind than documented."""
    if any(type(claims[name]) is not int for name in TIMES):
        raise ValueError("times")
    words = {name: claims.get(name, "") for name in ("repository", "ref", "event_name", "actor")}
    if not all(isinstance(value, str) for value in words.values()):
        raise ValueError("words")
    return WorkflowIdentity(
        repository_id=whole_in(claims["repository_id"]),
        owner_id=whole_in(claims["repository_owner_id"]),
        **words,
    )


def whole_in(value: Any) -> int:
    """An id, which these tokens hold as text. Raises ValueError."""
    if not isinstance(value, str) or not value.isascii() or not value.isdecimal():
        raise ValueError("id")
    if not 0 < int(value) <= MAX_ID:
        raise ValueError("id")
    return int(value)


class Keys:
    """The keys that an issuer publishes. Its address is the operator's; no token and no answer names another."""

    def __init__(self, session: aiohttp.ClientSession, issuer: str, clock: Callable[[], float]) -> None:
        """The session stays its owner's to close."""
        self._session, self._address, self._clock = session, f"{issuer}/.well-known/jwks", clock
        self._keys: dict[str, RSAPublicKey] = {}
        self._read_at, self._asked_at = -math.inf, -math.inf
        self._turn = asyncio.Lock()

    async def get(self, kid: str) -> RSAPublicKey:
        """The key of that id. Raises UnauthenticatedError where there is none, GitHubUnavailableError."""
        async with self._turn:
            if self._over() or kid not in self._keys:
                await self._look()
        if kid not in self._keys:
            raise refused("its key is not one of the issuer's")
        return self._keys[kid]

    def _over(self) -> bool:
        return self._clock() - self._read_at >= KEYS_FOR

    async def _look(self) -> None:
        """Read the keys, unless that was tried a moment ago."""
        asked_at = self._clock()
        if asked_at - self._asked_at >= (TRY_EVERY if self._over() else LOOK_EVERY):
            self._asked_at = asked_at
            self._keys, self._read_at = await self._read(), asked_at
        elif self._over():
            raise keyless("they were asked for a moment ago")

    async def _read(self) -> dict[str, RSAPublicKey]:
        try:
            async with self._session.get(
                self._address,
                allow_redirects=False,
                timeout=KEYS_TIMEOUT,
                headers={"Accept-Encoding": "identity"},  # what is small on the wire stays small
            ) as response:
                status, body = response.status, await bounded(response.content)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise keyless(f"{type(error).__name__} {error}") from None
        found = keys_from(body) if status == 200 else {}
        if not found:
            raise keyless(f"{status} without a key that can be used")
        return found


async def bounded(content: aiohttp.StreamReader) -> bytes:
    """A body. Raises GitHubUnavailableError for one that is too large."""
    body = bytearray()
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > LARGEST_KEYS:
            raise keyless("more than a megabyte of keys")
    return bytes(body)


def keyless(why: str) -> GitHubUnavailableError:
    """The error of keys that cannot be read."""
    return GitHubUnavailableError(clean(f"the issuer's keys cannot be read: {why}"))


def keys_from(body: bytes) -> dict[str, RSAPublicKey]:
    """The RSA keys for signatures in a JSON Web Key Set, by id; others are left out."""
    rows = (json_object(body) or {}).get("keys")
    found: dict[str, RSAPublicKey] = {}
    for row in rows if isinstance(rows, list) else []:
        if not isinstance(row, dict) or row.get("kty") != "RSA" or row.get("use", "sig") != "sig":
            continue
        try:
            key = jwt.PyJWK(row, algorithm="RS256").key
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            log.warning("issuer_key_skipped", reason=type(error).__name__)
            continue
        kid = row.get("kid")
        if isinstance(kid, str) and isinstance(key, RSAPublicKey) and key.key_size >= SMALLEST_KEY:
            found[kid] = key
    return found
