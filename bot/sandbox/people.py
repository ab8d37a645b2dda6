"""People who let an App act in their name: codes, user access tokens and refresh tokens. No HTTP here."""

import base64
import hashlib
import secrets
import time
from dataclasses import dataclass, field

from bot.sandbox.state import Account, App
from bot.sandbox.tokens import RefusedTokenError

CODE_LIFETIME = 600.0
ACCESS_LIFETIME = 28_800
REFRESH_LIFETIME = 15_897_600
"""Seconds: ten minutes, eight hours, six months, as documented."""


class GrantError(Exception):
    """What was to be exchanged is not taken: answered with 200 and this error code."""


@dataclass(frozen=True, slots=True)
class Code:
    """What a browser brings back from GitHub."""

    app: App
    user: Account
    redirect_uri: str
    challenge: str | None
    ends: float  # seconds since 1970


@dataclass(frozen=True, slots=True)
class UserToken:
    """A person's tokens for one App."""

    value: str = field(repr=False)
    refresh: str = field(repr=False)
    app: App
    user: Account
    made_at: float  # seconds since 1970
    expires_at: float
    refresh_expires_at: float


class People:
    """What people granted to Apps. The lifetimes are in seconds, shorter in tests."""

    def __init__(self) -> None:
        """Nobody yet."""
        self.signed_in: Account | None = None
        self.denies = False
        self.access_lifetime: float = ACCESS_LIFETIME
        self.refresh_lifetime: float = REFRESH_LIFETIME
        self._codes: dict[str, Code] = {}
        self._tokens: dict[str, UserToken] = {}  # by their value and by their refresh token

    def code(self, app: App, user: Account, redirect_uri: str, challenge: str | None) -> str:
        """A code for the App, once."""
        code = secrets.token_hex(10)
        self._codes[code] = Code(app, user, redirect_uri, challenge, time.time() + CODE_LIFETIME)
        return code

    def exchange(self, app: App, code: str, redirect_uri: str | None, verifier: str | None) -> UserToken:
        """Tokens for a code. Raises GrantError."""
        found = self._codes.pop(code, None)
        if found is None or found.app.id != app.id or found.ends < time.time():
            raise GrantError("bad_verification_code")
        if redirect_uri not in (None, found.redirect_uri):
            raise GrantError("redirect_uri_mismatch")
        if found.challenge is not None and challenge_of(verifier or "") != found.challenge:
            raise GrantError("bad_verification_code")
        return self.issue(app, found.user)

    def refresh(self, app: App, refresh_token: str) -> UserToken:
        """New tokens; the old ones end. Raises GrantError."""
        found = self._tokens.get(refresh_token)
        if (
            found is None
            or found.refresh != refresh_token
            or found.app.id != app.id
            or found.refresh_expires_at < time.time()
        ):
            raise GrantError("bad_refresh_token")
        del self._tokens[found.refresh]
        self._tokens.pop(found.value, None)
        return self.issue(app, found.user)

    def issue(self, app: App, user: Account) -> UserToken:
        """New tokens, as if the person had just signed in."""
        moment = time.time()
        token = UserToken(
            "ghu_" + secrets.token_hex(18),
            "ghr_" + secrets.token_hex(38),
            app,
            user,
            moment,
            moment + self.access_lifetime,
            moment + self.refresh_lifetime,
        )
        self._tokens[token.value] = self._tokens[token.refresh] = token
        return token

    def find(self, value: str) -> UserToken:
        """The token of that value. Raises RefusedTokenError where it is unknown or over."""
        token = self._tokens.get(value)
        if token is None or token.value != value or token.expires_at < time.time():
            raise RefusedTokenError("Bad credentials")
        return token

    def revoke(self, user: Account) -> None:
        """The person takes back what they granted: all their tokens end."""
        self._tokens = {key: token for key, token in self._tokens.items() if token.user.id != user.id}


def challenge_of(verifier: str) -> str:
    """The S256 challenge of a verifier (RFC 7636, 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
