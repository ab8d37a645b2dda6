"""Who asks, and what they may: App JSON web tokens and installation tokens with scope and expiry."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from bot.sandbox.state import App, Installation

LIFETIME = 3_600.0
"""Seconds for which an installation token is valid."""

LONGEST_JWT = 600.0
"""Seconds that an App's token may be valid at the most."""

LEVELS = {"read": 1, "write": 2, "admin": 3}


class RefusedTokenError(Exception):
    """401 with this message."""


@dataclass(frozen=True, slots=True)
class Token:
    """An installation token."""

    value: str = field(repr=False)
    installation: Installation
    repository_ids: frozenset[int] | None  # None: all of the installation's
    permissions: Mapping[str, str]
    expires_at: float  # seconds since 1970

    def sees(self, repository_id: int) -> bool:
        """Whether the repository is within its scope now."""
        mine = repository_id in self.installation.repositories
        return mine and (self.repository_ids is None or repository_id in self.repository_ids)

    def allows(self, name: str, level: str) -> bool:
        """Whether it carries a permission at that level."""
        return LEVELS.get(self.permissions.get(name, ""), 0) >= LEVELS[level]


class Tokens:
    """The installation tokens that were given out. `lifetime` is in seconds, shorter in tests."""

    def __init__(self) -> None:
        """None yet."""
        self.lifetime = LIFETIME
        self.issued: list[Token] = []
        self._valid: dict[str, Token] = {}

    def issue(
        self,
        installation: Installation,
        repository_ids: frozenset[int] | None,
        permissions: Mapping[str, str],
    ) -> Token:
        """A new token."""
        token = Token(
            "ghs_" + secrets.token_hex(18),
            installation,
            repository_ids,
            permissions,
            time.time() + self.lifetime,
        )
        self._valid[token.value] = token
        self.issued.append(token)
        return token

    def find(self, value: str) -> Token:
        """The token of that value. Raises RefusedTokenError where it is unknown or over."""
        token = self._valid.get(value)
        if token is None or token.expires_at < time.time():
            raise RefusedTokenError("Bad credentials")
        return token

    def revoke(self, installation_id: int) -> None:
        """End the tokens of an installation."""
        self._valid = {
            value: token for value, token in self._valid.items() if token.installation.id != installation_id
        }


def app_of(encoded: str, apps: Mapping[int, App]) -> App:
    """The App that signed a JSON web token. Raises RefusedTokenError with GitHub's words."""
    try:
        claims: dict[str, Any] = jwt.decode(encoded, options={"verify_signature": False})
        app = apps[int(claims["iss"])]
        public = load_pem_private_key(app.private_key.encode(), None).public_key()
        options = {"require": ["exp", "iat", "iss"], "verify_iss": False}
        claims = jwt.decode(encoded, public, algorithms=["RS256"], options=options)  # type: ignore[arg-type]  # PyJWT wants its own TypedDict
    except (jwt.PyJWTError, KeyError, ValueError, TypeError):
        raise RefusedTokenError("A JSON web token could not be decoded") from None
    if claims["exp"] > time.time() + LONGEST_JWT:
        raise RefusedTokenError("'Expiration time' claim ('exp') is too far in the future")
    return app
