"""Signing in with GitHub and out again: `GET /login`, `GET /login/callback`, `POST /logout`."""

import base64
import hashlib
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus

import structlog
from aiohttp import hdrs, web
from yarl import URL

from bot.core.access import Act, Actor, LoginState, Result
from bot.core.errors import GitHubError, SealError, SignInError, StorageUnavailableError
from bot.core.identity import GitHubUser
from bot.core.ports import Audit, CallWindows, LoginStates, People, Sessions, SignIn
from bot.web.session import PLAIN_COOKIE, SECURE_COOKIE, cookie_of, digest_of, is_secure, new_cookie

log = structlog.get_logger()

Handler = Callable[[web.Request], Awaitable[web.Response]]

LOGIN_PATH = "/login"
CALLBACK_PATH = "/login/callback"
LOGOUT_PATH = "/logout"

SESSION_LIFETIME = timedelta(days=14)

LOGIN_LIFETIME = 600
"""Seconds from `/login` to the callback."""

LOGINS_A_MINUTE = 30
"""Sign-ins that one address may begin: each is kept for ten minutes."""

LONGEST = 300
"""Characters of what a browser brings back from GitHub."""

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})

HOME = "/docs"
"""Where a browser goes that named no other place."""

PLACES = re.compile(r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@%?-][A-Za-z0-9._~!$&'()*+,;=:@%/?-]{0,499})?", re.ASCII)
"""Paths of this site. A second slash, or a backslash, which browsers take for one, would name another host."""

QUIET = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",  # the address holds a code
}


@dataclass(frozen=True, slots=True)
class SignInParts:
    """What signing in needs."""

    sign_in: SignIn
    people: People
    sessions: Sessions
    states: LoginStates
    windows: CallWindows
    audit: Audit
    public_url: str
    address: Callable[[web.Request], str | None]  # where a request comes from, as far as that is known
    clock: Callable[[], datetime]

    @property
    def secure(self) -> bool:
        """Whether browsers reach us over https."""
        return is_secure(self.public_url)

    @property
    def redirect_uri(self) -> str:
        """Where GitHub sends browsers back to: one of the App's callback URLs, to the letter."""
        return self.public_url + CALLBACK_PATH


class Refusal(Exception):  # noqa: N818  # it ends a request, and is no error of ours
    """A sign-in that goes no further; `words` are for the person."""

    def __init__(self, status: int, words: str, headers: Mapping[str, str] | None = None) -> None:
        """See the class."""
        super().__init__(words)
        self.status, self.words, self.headers = status, words, headers or {}


def usable_url(public_url: str | None) -> str | None:
    """The address that people can sign in at: with https, or on this machine, for cookies are not sent in the clear."""
    url = URL(public_url or "")
    return public_url if url.scheme == "https" or url.host in LOCAL_HOSTS else None


def place(given: str | None) -> str:
    """Where to go after signing in: a path of this site, whatever was asked for."""
    return given if given is not None and PLACES.fullmatch(given) else HOME


def challenge_of(verifier: str) -> str:
    """PKCE's challenge, S256 (RFC 7636, 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def routes(parts: SignInParts | None) -> list[web.RouteDef]:
    """The three routes; without parts they say that signing in is not set up."""
    handlers = SignInHandlers(parts) if parts else NotSetUp()
    return [
        web.get(LOGIN_PATH, answered(handlers.login), allow_head=False),  # it keeps a state
        web.get(CALLBACK_PATH, answered(handlers.callback), allow_head=False),
        web.post(LOGOUT_PATH, answered(handlers.logout)),
    ]


def answered(handler: Handler) -> Handler:
    """A handler whose refusals are told."""

    async def answer(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except Refusal as refusal:
            log.info("sign_in_refused", path=request.path, status=refusal.status, reason=refusal.words)
            return told(request, refusal)
        except StorageUnavailableError:
            words, after = "Signing in does not work right now: try again later.", {"Retry-After": "5"}
            return told(request, Refusal(503, words, after))

    return answer


class NotSetUp:
    """What is said where nobody can sign in."""

    async def login(self, _request: web.Request) -> web.Response:
        """The same for each of them."""
        raise Refusal(
            503,
            "Sign-in is not set up here: it needs GITHUB_CLIENT_ID, GITHUB_CLIENT_SECRET and PUBLIC_URL with https.",
        )

    callback = logout = login


class SignInHandlers:
    """The routes."""

    def __init__(self, parts: SignInParts) -> None:
        """See `SignInParts`."""
        self._parts = parts

    async def login(self, request: web.Request) -> web.Response:
        """Send the browser to GitHub, with a state that only this browser can bring back."""
        parts = self._parts
        state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
        browser = self._browser(request) or new_cookie()
        kept = LoginState(verifier, place(request.query.get("next")))
        taken = await parts.windows.take(f"login:{parts.address(request)}", LOGINS_A_MINUTE)
        if not taken.allowed:
            words = "Too many sign-ins were begun from here: try again in a minute."
            raise Refusal(429, words, {"Retry-After": str(taken.retry_after)})
        await parts.states.put(state_digest(state, browser), kept)
        there = parts.sign_in.authorize_url(state, challenge_of(verifier), parts.redirect_uri)
        response = sent_to(there)
        self._set(response, self._browser_cookie, browser, LOGIN_LIFETIME)
        return response

    async def callback(self, request: web.Request) -> web.Response:
        """Take what the browser brings back from GitHub, and open a session."""
        user, there, value = await self._sign_in(request)
        log.info("signed_in", user_id=user.id)
        response = sent_to(there)
        self._set(response, self._cookie, value, int(SESSION_LIFETIME.total_seconds()))
        self._drop(response, self._browser_cookie)
        return response

    async def logout(self, request: web.Request) -> web.Response:
        """End this browser's session, where a page of ours asked for it."""
        parts = self._parts
        if request.headers.get(hdrs.ORIGIN) != parts.public_url:
            raise Refusal(403, "Signing out has to be asked for by a page of this site.")
        value = cookie_of(request, secure=parts.secure)
        session = await parts.sessions.find(digest_of(value)) if value else None
        if value and session:
            await parts.sessions.close(digest_of(value))
            await self._record(request, "sign_out", session.user.id, Result.OK)
        response = sent_to(HOME)
        self._drop(response, self._cookie)
        return response

    async def _sign_in(self, request: web.Request) -> tuple[GitHubUser, str, str]:
        """Who signed in, where they go, and their new cookie. Raises Refusal, StorageUnavailableError."""
        parts, query = self._parts, request.query
        known = await self._known(request)
        if known is None:
            raise Refusal(
                400, f"This sign-in took too long, or began in another browser: start again at {LOGIN_PATH}."
            )
        if "error" in query:
            await self._record(request, "sign_in", None, Result.REFUSED)
            denied = query["error"] == "access_denied"
            words = "You did not let Deja View know who you are" if denied else "GitHub did not sign you in"
            raise Refusal(403, f"{words}: nothing was kept. Start again at {LOGIN_PATH}.")
        code = query.get("code", "")
        if not 0 < len(code) <= LONGEST:
            raise Refusal(400, f"GitHub sent no code: start again at {LOGIN_PATH}.")
        user = await self._exchange(request, code, known.verifier)
        value = new_cookie()
        await parts.sessions.open(digest_of(value), user.id, parts.clock() + SESSION_LIFETIME)
        if before := cookie_of(request, secure=parts.secure):
            await parts.sessions.close(digest_of(before))
        await self._record(request, "sign_in", user.id, Result.OK)
        return user, known.next, value

    async def _known(self, request: web.Request) -> LoginState | None:
        """The sign-in that this browser began, once; None for any other."""
        state, browser = request.query.get("state", ""), self._browser(request)
        if browser is None or not 0 < len(state) <= LONGEST:
            return None
        return await self._parts.states.take(state_digest(state, browser))

    async def _exchange(self, request: web.Request, code: str, verifier: str) -> GitHubUser:
        """Whose code it is; their tokens are kept. Raises Refusal."""
        parts = self._parts
        try:
            tokens = await parts.sign_in.exchange(code, verifier, parts.redirect_uri)
            user = await parts.sign_in.who(tokens.access)
            await parts.people.keep(user, tokens)
        except SignInError as error:
            await self._record(request, "sign_in", None, Result.FAILED)
            raise Refusal(403, f"GitHub did not sign you in: {error}. Start again at {LOGIN_PATH}.") from None
        except (GitHubError, SealError) as error:
            log.warning("sign_in_failed", reason=str(error))
            after = {"Retry-After": str(max(1, round(getattr(error, "retry_after", None) or 60)))}
            raise Refusal(
                503, "GitHub cannot be asked who you are right now: try again later.", after
            ) from None
        return user

    async def _record(self, request: web.Request, action: str, user_id: int | None, result: Result) -> None:
        address = self._parts.address(request)
        await self._parts.audit.record(
            Act(action, Actor.USER, result=result, actor_id=user_id, address=address)
        )

    # --- cookies

    @property
    def _cookie(self) -> str:
        return SECURE_COOKIE if self._parts.secure else PLAIN_COOKIE

    @property
    def _browser_cookie(self) -> str:
        return f"{self._cookie}-login"

    def _browser(self, request: web.Request) -> str | None:
        """What this browser was given at `/login`."""
        value = request.cookies.get(self._browser_cookie)
        return value if value and len(value) <= LONGEST else None

    def _set(self, response: web.Response, name: str, value: str, seconds: int) -> None:
        response.set_cookie(
            name, value, max_age=seconds, path="/", secure=self._parts.secure, httponly=True, samesite="Lax"
        )

    def _drop(self, response: web.Response, name: str) -> None:
        response.del_cookie(name, path="/", secure=self._parts.secure, httponly=True, samesite="Lax")


def state_digest(state: str, browser: str) -> bytes:
    """What is kept of a state: in another browser it is another one."""
    return hashlib.sha256(f"{state} {browser}".encode()).digest()


def sent_to(there: str) -> web.Response:
    """A redirect, which is kept nowhere."""
    return web.Response(status=303, headers={**QUIET, "Location": there})


def told(request: web.Request, refusal: Refusal) -> web.Response:
    """A refusal, as JSON for a program and as text for a person."""
    headers = {**QUIET, **refusal.headers}
    if "application/json" in request.headers.get(hdrs.ACCEPT, ""):
        body = {"error": HTTPStatus(refusal.status).phrase, "detail": refusal.words}
        return web.json_response(body, status=refusal.status, headers=headers)
    return web.Response(text=refusal.words + "\n", status=refusal.status, headers=headers)
