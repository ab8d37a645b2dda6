"""Our own JSON web tokens: fifteen minutes of one principal's rights, signed with HS256 from JWT_SECRET (RFC 8725)."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Annotated, Any, Literal

import jwt
from pydantic import BaseModel, ConfigDict, Field

from bot.core.errors import UnauthenticatedError
from bot.core.principal import Principal, Scope, Source

ALGORITHM = "HS256"
AUDIENCE = "deja-view-api"
TYPE = "access"
LIFETIME = timedelta(minutes=15)
LEEWAY = timedelta(seconds=30)
"""How far the clocks of two machines may be apart."""

LONGEST = 4_096
"""Characters of a token that is looked at: ours have some six hundred."""

HEADER = {"alg", "typ", "kid"}
"""All that a header may have: `jku`, `jwk` and `x5u` name keys, and `crit` asks for what nobody here knows."""

NOT_OURS = "the token is not one of ours"
EXPIRED = "the token has expired"
TOO_EARLY = "the token is not valid yet"


Time = Annotated[int, Field(ge=0, lt=2**37)]
"""Seconds since 1970, until the year 6325."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token that was verified says."""

    principal: Principal
    id: str
    issued_at: datetime
    expires_at: datetime


class Payload(BaseModel):
    """The claims as they stand in a token. Each is required, and none is converted: `"123"`, 1.5 and true are no times."""

    model_config = ConfigDict(strict=True)

    iss: str
    aud: Literal["deja-view-api"]
    sub: str
    exp: Time
    iat: Time
    nbf: Time = 0  # ours have none
    jti: str = Field(min_length=1)
    typ: Literal["access"]
    account: int
    scope: Literal["read", "write", "admin"]
    repository: int | None
    key: str | None
    user: int | None
    login: str | None


class TokenIssuer:
    """Issues and verifies tokens. While a secret is being rotated the first one signs, and all of them verify."""

    def __init__(self, secrets: Sequence[str], issuer: str) -> None:
        """`issuer` is the service's public address, so that two services do not take each other's tokens."""
        self._keys: Mapping[str, str] = {key_id(secret): secret for secret in secrets}
        self._first, self._issuer = key_id(secrets[0]), issuer

    def issue(self, principal: Principal, now: datetime) -> tuple[str, datetime]:
        """A token for that principal and when it ends. Raises ValueError for nobody: who is not known gets none."""
        issued = int(now.timestamp())
        expires = issued + int(LIFETIME.total_seconds())
        payload = {
            "iss": self._issuer,
            "aud": AUDIENCE,
            "sub": subject(principal),
            "exp": expires,
            "iat": issued,
            "jti": secrets.token_urlsafe(16),
            "typ": TYPE,
            "account": principal.account_id,
            "scope": principal.scope.word,
            "repository": principal.repository_id,
            "key": principal.key_id,
            "user": principal.user_id,
            "login": principal.login,
        }
        token = jwt.encode(payload, self._keys[self._first], ALGORITHM, headers={"kid": self._first})
        return token, datetime.fromtimestamp(expires, UTC)

    def verify(self, text: str, now: datetime) -> Claims:
        """What a token says. Raises UnauthenticatedError for any that is not ours, or not valid at that time."""
        if len(text) > LONGEST or not text.isascii():
            raise UnauthenticatedError(NOT_OURS)
        try:
            payload = Payload.model_validate(self._signed(text))
            claims = read(payload)
        except (jwt.InvalidTokenError, ValueError):
            raise UnauthenticatedError(NOT_OURS) from None
        if payload.iss != self._issuer or claims.expires_at - claims.issued_at > LIFETIME:
            raise UnauthenticatedError(NOT_OURS)
        if now > claims.expires_at + LEEWAY:
            raise UnauthenticatedError(EXPIRED)
        if max(payload.iat, payload.nbf) > (now + LEEWAY).timestamp():
            raise UnauthenticatedError(TOO_EARLY)
        return claims

    def _signed(self, text: str) -> Any:
        """The payload, where one of our keys has signed it."""
        header = jwt.get_unverified_header(text)
        if not header.keys() <= HEADER or header.get("kid") not in self._keys:
            raise UnauthenticatedError(NOT_OURS)
        # Claims are checked by `Payload` and `verify`: PyJWT reads the clock itself and takes "123" for a time.
        unchecked = {f"verify_{claim}": False for claim in ("exp", "iat", "nbf", "aud", "iss", "sub", "jti")}
        return jwt.decode(text, self._keys[header["kid"]], algorithms=[ALGORITHM], options=unchecked)  # type: ignore[arg-type]


def read(payload: Payload) -> Claims:
    """The claims as records. Raises ValueError for what no token of ours says."""
    principal = Principal(
        account_id=payload.account,
        scope=Scope.of(payload.scope),
        source=Source(payload.sub.partition(":")[0]),
        repository_id=payload.repository,
        key_id=payload.key,
        user_id=payload.user,
        login=payload.login,
        token_id=payload.jti,
    )
    issued, expires = (datetime.fromtimestamp(time, UTC) for time in (payload.iat, payload.exp))
    return Claims(principal, payload.jti, issued, expires)


def subject(principal: Principal) -> str:
    """Who the token is about: what they proved their identity with, and its id."""
    ids = {
        Source.API_KEY: principal.key_id,
        Source.ACTIONS: principal.repository_id,
        Source.USER: principal.user_id,
    }
    found = ids.get(principal.source)
    if found is None:
        raise ValueError(f"no token is issued to {principal.source} without an id")
    return f"{principal.source}:{found}"


def key_id(secret: str) -> str:
    """The name of a secret in a token's header; it tells nothing about the secret."""
    return sha256(b"deja-view kid" + secret.encode()).hexdigest()[:16]
