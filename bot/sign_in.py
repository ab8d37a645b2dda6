"""What signing in with GitHub is made of."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import aiohttp
from aiohttp import web

from bot.core.sealing import Sealer
from bot.github.client import Api, Heard
from bot.github.people import People
from bot.github.reach import GitHubReach
from bot.github.sign_in import GitHubSignIn
from bot.settings import Settings
from bot.web.api.address import UNKNOWN, client_address
from bot.web.sign_in import SignInParts, usable_url
from storage.audit import Audit
from storage.call_windows import CallWindows
from storage.database import Database
from storage.sessions import LoginStates, Sessions


@dataclass(frozen=True, slots=True)
class SigningIn:
    """The routes' parts, and what people who signed in may reach."""

    parts: SignInParts
    reach: GitHubReach


def signing_in(
    settings: Settings,
    database: Database,
    session: aiohttp.ClientSession,
    clock: Callable[[], datetime],
    monotonic: Callable[[], float],
    heard: Heard | None = None,
) -> SigningIn | None:
    """Signing in; None where a part of it is not set."""
    client, public_url = settings.sign_in, usable_url(settings.public_url)
    if client is None or public_url is None or settings.github is None:
        return None
    api = Api(settings.github.api_url)
    sign_in = GitHubSignIn(session, api, settings.web_url, client.client_id, client.client_secret, heard)
    sessions = Sessions(database)
    people = People(sign_in, sessions, Sealer(settings.encryption_keys), clock)
    parts = SignInParts(
        sign_in=sign_in,
        people=people,
        sessions=sessions,
        states=LoginStates(database),
        windows=CallWindows(database, default_tier=settings.default_tier),
        audit=Audit(database),
        public_url=public_url,
        address=partial(address_of, settings.client_address_header),
        clock=clock,
    )
    return SigningIn(parts, GitHubReach(sign_in, people, monotonic))


def address_of(header: str | None, request: web.Request) -> str | None:
    """Where a request comes from, as far as that is known."""
    found = client_address(request, header)
    return None if found == UNKNOWN else found
