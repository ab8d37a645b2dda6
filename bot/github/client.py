"""One request to GitHub: where it may go, how long it may take, and what its answer means."""

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import aiohttp
import structlog
from gidgethub import abc
from yarl import URL

from bot.core.context import now
from bot.core.errors import (
    ForeignHostError,
    GitHubUnavailableError,
    InvalidRequestError,
    RateLimitedError,
)
from bot.core.pace import THE_APP, Kind
from bot.github.errors import classify, classify_graphql, clean, http_date, limited
from bot.github.pace import Pauses

log = structlog.get_logger()

USER_AGENT = "deja-view (https://github.com/bdougie/deja-view)"
ACCEPT = "application/vnd.github+json"
API_VERSION = "2022-11-28"

CONCURRENT = 50
"""Requests under way at once, all installations together; GitHub allows a hundred."""

LONGEST_REPEAT = 5.0
"""Seconds; where GitHub names a later time at which it may be asked again, the queue waits, and not the worker."""

KEPT_HEADERS = ("content-type", "link")
"""What the decoder needs. It would also read the limit's headers, and stumble over odd ones."""

Heard = Callable[[int, float | None], None]
"""Told the status of each answer, and how many seconds our clock is ahead of GitHub's."""

NOTHING = b""
"""A request without a body."""


@dataclass(frozen=True, slots=True)
class Api:
    """Where GitHub's API is, and how patient we are with it."""

    base_url: str = "https://api.github.com"  # of an Enterprise Server: https://HOST/api/v3
    timeout: float = 30.0  # seconds, for one attempt as a whole
    read_retries: tuple[float, ...] = (0.5, 2.0)  # seconds before a read is repeated, jittered by half
    young_token_retries: tuple[float, ...] = (1.0, 2.0, 4.0)

    @property
    def graphql_url(self) -> str:
        """Where GraphQL is: beside v3 on an Enterprise Server."""
        return self.base_url.rstrip("/").removesuffix("/v3") + "/graphql"


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask. `path` is a template (RFC 6570) that `values` fill, or an address that GitHub gave."""

    kind: Kind
    method: str
    path: str
    values: Mapping[str, str | int] = field(default_factory=dict)
    data: Any = NOTHING
    accept: str = ACCEPT


@dataclass(frozen=True, slots=True)
class Answer:
    """What GitHub said. `next` is the address of the following page."""

    data: Any
    next: str | None


get = partial(Request, Kind.READ, "GET")
"""A request that reads."""


class Wire:
    """What all requests of one process share."""

    def __init__(
        self, session: aiohttp.ClientSession, api: Api, pauses: Pauses, heard: Heard | None = None
    ) -> None:
        """The session stays its owner's to close."""
        self.session, self.api, self.pauses = session, api, pauses
        self.heard = heard or unheard
        self.slots = asyncio.Semaphore(CONCURRENT)
        self.origin = URL(api.base_url).origin()
        self.timeout = aiohttp.ClientTimeout(total=api.timeout)


class Client(abc.GitHubAPI):
    """Requests about one installation, or about the App itself.

    gidgethub builds and decodes them; everything that can go wrong is judged in `_request`, so that its own exceptions,
    which mistake a secondary limit for a bad request and stumble over status 520, are never raised.
    """

    def __init__(self, wire: Wire, installation_id: int = THE_APP) -> None:
        """Cheap: one for each use."""
        super().__init__(USER_AGENT, base_url=wire.api.base_url)
        self._wire, self._installation_id = wire, installation_id

    async def send(self, request: Request, *, token: str | None = None, jwt: str | None = None) -> Answer:
        """Send with an installation's or the App's token; reads are repeated while GitHub is unavailable.

        Raises GitHubError. A write is never repeated here: its reply may be all that was lost. (aiohttp repeats a GET and a
        DELETE once by itself where the server hangs up; to do that is harmless by definition: RFC 9110, 9.2.2.)
        """
        for delay in self._wire.api.read_retries if request.kind is Kind.READ else ():
            try:
                return await self._send_once(request, token, jwt)
            except GitHubUnavailableError as error:
                if error.retry_after is not None and error.retry_after > LONGEST_REPEAT:
                    raise
                log.info("github_read_repeated", path=request.path, reason=str(error))
            await self.sleep(delay * random.uniform(0.5, 1.5))  # noqa: S311  # no secret
        return await self._send_once(request, token, jwt)

    async def _send_once(self, request: Request, token: str | None, jwt: str | None) -> Answer:
        ensure_segments(request)
        try:
            data, following, _ = await self._make_request(
                request.method,
                request.path,
                request.values,
                request.data,
                request.accept,
                jwt,
                token,
                extra_headers={"x-github-api-version": API_VERSION},
            )
        except GitHubUnavailableError as error:
            error.sent = error.sent and request.kind is not Kind.READ
            raise
        except (ValueError, LookupError, RecursionError) as error:
            unreadable = GitHubUnavailableError(
                f"an answer that is not what its label says: {type(error).__name__}"
            )
            unreadable.sent = request.kind is not Kind.READ
            raise unreadable from None
        return Answer(data, following)

    async def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = NOTHING
    ) -> tuple[int, Mapping[str, str], bytes]:
        """The one place that touches the network."""
        self._ensure_ours(url)
        async with self._wire.slots:
            await self._ensure_no_pause()
            status, answered, data = await self._exchange(method, url, headers, body)
        self._wire.heard(status, ahead_of(answered.get("date"), now()))
        error = classify(status, answered, data, now())
        if error is None and url == self._wire.api.graphql_url:
            error = classify_graphql(answered, data, now())
        if isinstance(error, RateLimitedError):
            error = await self._pause(error)
        if error is not None:
            raise error
        return status, {name: answered[name] for name in KEPT_HEADERS if name in answered}, data

    async def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        try:
            async with self._wire.session.request(
                method,
                URL(url, encoded=True),
                headers=headers,
                data=body,
                allow_redirects=False,
                timeout=self._wire.timeout,
            ) as response:
                return response.status, response.headers, await response.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise unavailable(error, sent=False) from None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise unavailable(error, sent=True) from None

    def _ensure_ours(self, url: str) -> None:
        """A token goes to the API's own host, whatever address an answer or an event names."""
        try:
            origin = URL(url).origin()
        except ValueError:
            raise ForeignHostError("an address without a host") from None
        if origin != self._wire.origin:
            raise ForeignHostError(f"{clean(origin.host or '')} is not the API's host")

    async def _ensure_no_pause(self) -> None:
        pause, moment = await self._wire.pauses.get(self._installation_id), now()
        if pause is not None and moment < pause.resume_at:
            wait = (pause.resume_at - moment).total_seconds()
            raise limited("GitHub asked for a pause", 0, wait, moment, secondary=pause.secondary)

    async def _pause(self, error: RateLimitedError) -> RateLimitedError:
        """Remember the limit, so that nothing is sent before it ends; the error then says when that is."""
        pause, moment = await self._wire.pauses.add(self._installation_id, error), now()
        log.warning(
            "github_paused", until=pause.resume_at.isoformat(), secondary=pause.secondary, reason=str(error)
        )
        wait = (pause.resume_at - moment).total_seconds()
        return limited(str(error), error.status, wait, moment, secondary=pause.secondary)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


def unheard(_status: int, _ahead: float | None) -> None:
    """Nobody counts."""


def ahead_of(date: str | None, moment: datetime) -> float | None:
    """How many seconds our clock is ahead of that of an answer, which is told in whole seconds."""
    told = http_date(date)
    return None if told is None else (moment - told).total_seconds() - 0.5


def unavailable(error: Exception, *, sent: bool) -> GitHubUnavailableError:
    """A connection that failed. Its own text is kept, the objects it carries are not: they hold the request's headers."""
    found = GitHubUnavailableError(clean(f"{type(error).__name__} {error}"))
    found.sent = sent
    return found


def ensure_segments(request: Request) -> None:
    """Raises InvalidRequestError for a value such as `..`: as a part of a path it would name another resource."""
    if any(isinstance(value, str) and not value.strip(".") for value in request.values.values()):
        raise InvalidRequestError(f"a value of {request.path} is empty or made of dots")
