"""Installation tokens: as narrow as their purpose, kept until shortly before they end, asked for once at a time."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from functools import partial
from typing import Any

from bot.core.context import now as wall_clock
from bot.core.errors import GitHubUnavailableError

RENEW_EARLY = timedelta(minutes=5)
"""A token is renewed that long before it ends, so that none ends under way."""

YOUNG = 6.0
"""Seconds in which GitHub's replicas may not know a new token yet (octokit/auth-app.js#65)."""

CAPACITY = 2_000
"""Tokens that are kept; they are valid for an hour."""


class Purpose(Enum):
    """What a token is for; its value is the least that GitHub has to permit."""

    WORK = "issues:write metadata:read"
    HISTORY = "issues:read metadata:read pull_requests:read"
    DISCUSSIONS = "discussions:read metadata:read"
    CONFIG = "contents:read metadata:read"
    LISTING = "metadata:read"

    @property
    def permissions(self) -> dict[str, str]:
        """As GitHub wants them named."""
        return dict(item.split(":") for item in self.value.split())


@dataclass(frozen=True, slots=True)
class Scope:
    """What a token opens: one repository by its id, or, for listing alone, all that the installation sees."""

    installation_id: int
    repository_id: int | None
    purpose: Purpose

    def request(self) -> dict[str, Any]:
        """The body of the request for such a token."""
        body: dict[str, Any] = {"permissions": self.purpose.permissions}
        if self.repository_id is not None:
            body["repository_ids"] = [self.repository_id]
        return body


@dataclass(frozen=True, slots=True)
class Token:
    """An installation token."""

    value: str = field(repr=False)
    renew_at: datetime
    born: float  # monotonic seconds

    def young(self) -> bool:
        """Whether a refusal may only mean that GitHub's replicas do not know it yet."""
        return time.monotonic() - self.born < YOUNG


def token_from(answer: Any, now: datetime) -> Token:
    """The token in GitHub's answer. Raises GitHubUnavailableError where there is none."""
    try:
        value, ends = answer["token"], datetime.fromisoformat(answer["expires_at"])
        lifetime = ends - now
    except (TypeError, KeyError, ValueError):
        raise GitHubUnavailableError("the answer to a request for a token holds none", status=201) from None
    if not isinstance(value, str) or not value:
        raise GitHubUnavailableError("the answer to a request for a token holds none", status=201)
    return Token(value, ends - min(RENEW_EARLY, lifetime / 2), time.monotonic())


class Tokens:
    """The tokens in use, the least recently used of them forgotten first."""

    def __init__(
        self,
        mint: Callable[[Scope], Awaitable[Token]],
        clock: Callable[[], datetime] = wall_clock,
        capacity: int = CAPACITY,
    ) -> None:
        """`mint` asks GitHub for a new token."""
        self._mint, self._clock, self._capacity = mint, clock, capacity
        self._known: OrderedDict[Scope, Token] = OrderedDict()
        self._flights: dict[Scope, asyncio.Task[Token]] = {}

    async def get(self, scope: Scope) -> Token:
        """A token of that scope; however many ask for it at once, GitHub is asked once."""
        known = self._known.get(scope)
        if known is not None and self._clock() < known.renew_at:
            self._known.move_to_end(scope)
            return known
        flight = self._flights.get(scope)
        if flight is None:
            flight = self._flights[scope] = asyncio.create_task(self._mint_one(scope))
            flight.add_done_callback(partial(self._landed, scope))
        # Whoever asked first may be cancelled; the others still want their token.
        return await asyncio.shield(flight)

    def refused(self, scope: Scope, token: Token) -> None:
        """GitHub did not take this token: forget it, unless it was replaced already."""
        if self._known.get(scope) is token:
            del self._known[scope]

    async def _mint_one(self, scope: Scope) -> Token:
        token = self._known[scope] = await self._mint(scope)
        self._known.move_to_end(scope)
        while len(self._known) > self._capacity:
            self._known.popitem(last=False)
        return token

    def _landed(self, scope: Scope, flight: asyncio.Task[Token]) -> None:
        del self._flights[scope]
        if not flight.cancelled():
            flight.exception()  # where everybody who waited is gone, nobody else looks at it
