"""Answers that hold for a while: one question at a time, the least recently used answers forgotten first."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from bot.core.errors import GitHubUnavailableError

Key = TypeVar("Key")
Value = TypeVar("Value")

PATIENCE = 60.0
"""Seconds that one question may take, all its pages and repeats together."""


@dataclass(frozen=True, slots=True)
class Known(Generic[Value]):
    """An answer. It is as old as its question: what changes while we ask may be missing in it."""

    value: Value
    asked_at: float


class Asked(Generic[Key, Value]):
    """Answers by what was asked."""

    def __init__(self, clock: Callable[[], float], capacity: int) -> None:
        """`clock` is in seconds and never goes back."""
        self._clock, self._capacity = clock, capacity
        self._known: OrderedDict[Key, Known[Value]] = OrderedDict()
        self._flights: dict[Key, asyncio.Task[Value]] = {}

    async def get(self, key: Key, ask: Callable[[], Awaitable[Value]], younger: float) -> Value:
        """An answer that is younger than so many seconds; however many want it at once, it is asked for once.

        Raises what `ask` raises, and GitHubUnavailableError where it takes too long: an older answer is never given instead.
        """
        known = self._known.get(key)
        if known is not None and self._clock() - known.asked_at < younger:
            self._known.move_to_end(key)
            return known.value
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = asyncio.create_task(self._ask(key, ask))
            flight.add_done_callback(partial(self._landed, key))
        # Whoever asked first may be cancelled; the others still want their answer.
        return await asyncio.shield(flight)

    def forget(self, gone: Callable[[Key], bool]) -> None:
        """Forget answers; what is being asked just now is not kept when it comes."""
        for key in [key for key in self._known if gone(key)]:
            del self._known[key]
        for key in [key for key in self._flights if gone(key)]:
            del self._flights[key]

    async def _ask(self, key: Key, ask: Callable[[], Awaitable[Value]]) -> Value:
        mine, asked_at = asyncio.current_task(), self._clock()
        try:
            async with asyncio.timeout(PATIENCE):
                value = await ask()
        except TimeoutError:
            raise GitHubUnavailableError("GitHub takes too long to answer") from None
        if self._flights.get(key) is mine:
            self._known[key] = Known(value, asked_at)
            self._known.move_to_end(key)
            while len(self._known) > self._capacity:
                self._known.popitem(last=False)
        return value

    def _landed(self, key: Key, flight: asyncio.Task[Value]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # where everybody who waited is gone, nobody else looks at it
