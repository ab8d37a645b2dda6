"""One write at a time for each installation, spaced, and none inside a pause: GitHub bans integrations that ignore its limits."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Protocol
from uuid import UUID, uuid4

import structlog

from bot.core.context import now as wall_clock
from bot.core.errors import GitHubUnavailableError, RateLimitedError, StorageUnavailableError
from bot.core.pace import (
    HOUR,
    Kind,
    Pause,
    Wait,
    WritePace,
    Writing,
    Written,
    next_pause,
    place_after,
    wait_for_turn,
)

log = structlog.get_logger()

IDLE_LANES = 1_000
"""Above that many installations, those that wrote nothing for an hour are forgotten."""

RENEWED = 3
"""How often in its length a lease is renewed."""


class Turns(Protocol):
    """Whose turn it is to write to an installation. What GitHub limits is shared by all processes, so its keeper is too."""

    async def take(
        self, installation_id: int, holder: UUID, kind: Kind, pace: WritePace, patience: float
    ) -> Wait | None:
        """Begin a write where one may begin now: None. Else how long to wait.

        A wait that is longer than `patience` is a place in the queue: everybody gets another one.
        """
        ...

    async def renew(self, installation_id: int, holder: UUID, lease: float) -> bool:
        """Keep the turn for that many seconds more; False where it is somebody else's by now."""
        ...

    async def end(self, installation_id: int, holder: UUID) -> None:
        """The write ended, well or not."""
        ...


class Pauses(Protocol):
    """Remembers the last pause of each installation, also after it ended."""

    async def get(self, installation_id: int) -> Pause | None:
        """The last pause, None where there was none."""
        ...

    async def add(self, installation_id: int, error: RateLimitedError) -> Pause:
        """Stay silent as the error says; returns the pause that holds now."""
        ...


class Pace:
    """One write at a time for each installation, spaced as `WritePace` says."""

    def __init__(
        self,
        settings: WritePace,
        turns: Turns | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`clock` is in seconds and never goes back. Without `turns` they are this object's own."""
        self._settings, self._clock, self._sleep = settings, clock, sleep
        self._turns = MemoryTurns(clock) if turns is None else turns
        self._locks: dict[int, asyncio.Lock] = {}

    @asynccontextmanager
    async def slot(self, installation_id: int, kind: Kind) -> AsyncIterator[None]:
        """Hold this around a request. Reads pass. Raises RateLimitedError where a write has to wait too long.

        Raises StorageUnavailableError, and nothing is written, where nobody can say whose turn it is.
        """
        if kind is Kind.READ:
            yield
            return
        deadline, holder = self._clock() + self._settings.patience, uuid4()
        async with self._alone(installation_id):
            await self._take(installation_id, holder, kind, deadline)
            try:
                async with self._kept(installation_id, holder):
                    yield
            finally:
                await self._end(installation_id, holder)

    @asynccontextmanager
    async def _alone(self, installation_id: int) -> AsyncIterator[None]:
        """One writer of this process at a time: the others need not ask whose turn it is."""
        if installation_id not in self._locks and len(self._locks) >= IDLE_LANES:
            self._locks = {key: lock for key, lock in self._locks.items() if lock.locked()}
        lock = self._locks.setdefault(installation_id, asyncio.Lock())
        try:
            async with asyncio.timeout(self._settings.patience):
                await lock.acquire()
        except TimeoutError:
            raise too_fast(Wait(max(1.0, self._settings.comment_interval))) from None
        try:
            yield
        finally:
            lock.release()

    async def _take(self, installation_id: int, holder: UUID, kind: Kind, deadline: float) -> None:
        """Wait for the turn. Raises RateLimitedError where it would come after the deadline."""
        while True:
            patience = max(0.0, deadline - self._clock())
            try:
                wait = await self._turns.take(installation_id, holder, kind, self._settings, patience)
            except asyncio.CancelledError:
                await self._end(installation_id, holder)  # it may have been given, and nobody was told
                raise
            if wait is None:
                return
            if wait.pause is not None or wait.seconds > patience:
                raise too_fast(wait)
            await self._sleep(wait.seconds)

    @asynccontextmanager
    async def _kept(self, installation_id: int, holder: UUID) -> AsyncIterator[None]:
        """Keep the turn while the write takes. Raises GitHubUnavailableError where it was lost: another one may write now."""
        lease, loop = self._settings.lease, asyncio.get_running_loop()

        async def keep() -> None:
            while True:
                await asyncio.sleep(lease / RENEWED)
                asked = loop.time()
                try:
                    mine = await self._turns.renew(installation_id, holder, lease)
                except StorageUnavailableError:
                    continue
                limit.reschedule(asked + lease if mine else asked)

        try:
            async with asyncio.timeout(lease) as limit:
                keeper = asyncio.create_task(keep())
                try:
                    yield
                finally:
                    keeper.cancel()
                    await asyncio.gather(keeper, return_exceptions=True)
        except TimeoutError:
            if not limit.expired():
                raise
            raise GitHubUnavailableError("the turn to write was lost") from None

    async def _end(self, installation_id: int, holder: UUID) -> None:
        """Give the turn back; where that fails it runs out by itself, and what was written stays written."""
        try:
            await self._turns.end(installation_id, holder)
        except StorageUnavailableError as error:
            log.warning("turn_not_ended", reason=str(error))


def too_fast(wait: Wait) -> RateLimitedError:
    """What a write that may not start now is told."""
    said = "our own pace: the next write" if wait.pause is None else "GitHub asked for a pause: no write"
    return RateLimitedError(
        f"{said} in {wait.seconds:.1f} s",
        status=0,
        retry_after=wait.seconds,
        resume_at=wall_clock() + timedelta(seconds=wait.seconds),
        secondary=wait.pause is not None and wait.pause.secondary,
    )


@dataclass(slots=True)
class Turn:
    """The writes of one installation."""

    writes: deque[Written] = field(default_factory=deque)
    holder: UUID | None = None
    held_until: float | None = None
    place: float | None = None

    def forget_before(self, moment: float) -> None:
        """Drop what no window reaches any more."""
        while self.writes and self.writes[0].at < moment:
            self.writes.popleft()


class MemoryTurns:
    """Turns of one process; see `Turns`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is in seconds and never goes back."""
        self._clock = clock
        self._turns: dict[int, Turn] = {}

    async def take(
        self, installation_id: int, holder: UUID, kind: Kind, pace: WritePace, patience: float
    ) -> Wait | None:
        """Begin a write where one may begin now."""
        turn, now = self._turn(installation_id), self._clock()
        turn.forget_before(now - HOUR)
        writing = Writing(turn.writes, turn.held_until, turn.place)
        wait = wait_for_turn(pace, writing, kind, now)
        if wait > patience:
            turn.place = place_after(pace, writing, wait, now)
            return Wait(turn.place - now)
        if wait > 0:
            return Wait(wait)
        turn.holder, turn.held_until = holder, now + pace.lease
        turn.writes.append(Written(now, kind))
        return None

    async def renew(self, installation_id: int, holder: UUID, lease: float) -> bool:
        """Keep the turn."""
        turn = self._turn(installation_id)
        if turn.holder != holder:
            return False
        turn.held_until = self._clock() + lease
        return True

    async def end(self, installation_id: int, holder: UUID) -> None:
        """A write counts from its end, so that a slow network cannot bring two of them to GitHub side by side."""
        turn = self._turn(installation_id)
        if turn.holder == holder:
            turn.writes[-1] = replace(turn.writes[-1], at=self._clock())
            turn.holder = turn.held_until = None

    def _turn(self, installation_id: int) -> Turn:
        if installation_id not in self._turns and len(self._turns) >= IDLE_LANES:
            for turn in self._turns.values():
                turn.forget_before(self._clock() - HOUR)
            self._turns = {key: turn for key, turn in self._turns.items() if turn.writes}
        return self._turns.setdefault(installation_id, Turn())


class MemoryPauses:
    """Pauses of one process; see `Pauses`."""

    def __init__(self) -> None:
        """None yet."""
        self._pauses: dict[int, Pause] = {}

    async def get(self, installation_id: int) -> Pause | None:
        """The last pause, None where there was none."""
        return self._pauses.get(installation_id)

    async def add(self, installation_id: int, error: RateLimitedError) -> Pause:
        """Stay silent as the error says."""
        pause = next_pause(self._pauses.get(installation_id), error, wall_clock())
        self._pauses[installation_id] = pause
        return pause
