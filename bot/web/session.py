"""The cookie of a signed-in browser, and whose it is."""

import secrets
from hashlib import sha256

from aiohttp import web

from bot.core.access import Session
from bot.core.ports import Sessions

SECURE_COOKIE = "__Host-deja-view"
"""Bound to this very host, to https and to the whole site by its prefix (RFC 6265bis, section 4.1.3.2)."""

PLAIN_COOKIE = "deja-view"
"""Over plain http, as on a developer's machine, where a browser refuses the other one."""

LONGEST = 200


def new_cookie() -> str:
    """A value that nobody guesses: 256 random bits."""
    return secrets.token_urlsafe(32)


def digest_of(value: str) -> bytes:
    """What is kept of a cookie."""
    return sha256(value.encode()).digest()


def is_secure(public_url: str | None) -> bool:
    """Whether browsers reach us over https. What the request came by says nothing: whoever stands in front of us ends TLS."""
    return (public_url or "").startswith("https://")


def cookie_of(request: web.Request, *, secure: bool) -> str | None:
    """The cookie that a browser sent; over https only the one that nobody else can set."""
    value = request.cookies.get(SECURE_COOKIE if secure else PLAIN_COOKIE)
    return value if value and len(value) <= LONGEST else None


async def session_of(sessions: Sessions, request: web.Request, *, secure: bool) -> Session | None:
    """Who is signed in; None where nobody is."""
    value = cookie_of(request, secure=secure)
    return await sessions.find(digest_of(value)) if value else None
