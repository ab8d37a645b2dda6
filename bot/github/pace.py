"""How fast we write, and when we stay silent: GitHub bans integrations that ignore its limits."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Protocol

from bot.core.context import now as wall_clock
from bot.core.errors import RateLimitedError

HOUR = 3_600.0

IDLE_LANES = 1_000
"""Above that many installations, those that wrote nothing for an hour are forgotten."""


class Kind(Enum):
    """What a request does, which decides how it is paced and whether it may be repeated."""

    READ = "read"
    WRITE = "write"  # an edit, a label, a reaction, a close
    COMMENT = "comment"  # new content that notifies people: a comment, an issue


@dataclass(frozen=True, slots=True)
class WritePace:
    """How fast one installation is written to.

    GitHub allows 80 new contents a minute and 500 an hour, wants a second between writes (docs.github.com, "best
    practices for using the REST API"), and its own client waits three seconds after what notifies people.
    """

    comment_interval: float = 3.0  # seconds
    per_minute: int = 20
    per_hour: int = 300
    patience: float = 2.0  # seconds that a write is held back here; beyond that the queue holds it

    @property
    def write_interval(self) -> float:
        """Seconds between any two writes."""
        return min(1.0, self.comment_interval)


@dataclass(frozen=True, slots=True)
class Written:
    """A write that ended at `at` (monotonic seconds)."""

    at: float
    kind: Kind


def wait_before(pace: WritePace, writes: Sequence[Written], kind: Kind, now: float) -> float:
    """Seconds until a write of that kind may start, 0 where it may now. `writes` holds the last hour, oldest first."""
    free = [now]
    if writes:
        free.append(writes[-1].at + pace.write_interval)
    comment = next((write for write in reversed(writes) if write.kind is Kind.COMMENT), None)
    if kind is Kind.COMMENT and comment is not None:
        free.append(comment.at + pace.comment_interval)
    for window, most in ((60.0, pace.per_minute), (HOUR, pace.per_hour)):
        if len(writes) >= most:
            free.append(writes[-most].at + window)
    return max(free) - now


@dataclass(slots=True)
class Lane:
    """The writes of one installation."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    writes: deque[Written] = field(default_factory=deque)

    def forget_before(self, moment: float) -> None:
        """Drop what no window reaches any more."""
        while self.writes and self.writes[0].at < moment:
            self.writes.popleft()


class Pace:
    """One write at a time for each installation, spaced as `WritePace` says."""

    def __init__(
        self,
        settings: WritePace,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`clock` is in seconds and never goes back."""
        self._settings, self._clock, self._sleep = settings, clock, sleep
        self._lanes: dict[int, Lane] = {}

    @asynccontextmanager
    async def slot(self, installation_id: int, kind: Kind) -> AsyncIterator[None]:
        """Hold this around a request. Reads pass. Raises RateLimitedError where a write has to wait too long.

        A write counts from its end, so that a slow network cannot bring two of them to GitHub side by side.
        """
        if kind is Kind.READ:
            yield
            return
        lane = self._lane(installation_id)
        deadline = self._clock() + self._settings.patience
        self._wait(lane, kind, deadline)
        await self._acquire(lane, kind)
        try:
            await self._sleep(self._wait(lane, kind, deadline))
            try:
                yield
            finally:
                lane.writes.append(Written(self._clock(), kind))
        finally:
            lane.lock.release()

    async def _acquire(self, lane: Lane, kind: Kind) -> None:
        try:
            async with asyncio.timeout(self._settings.patience):
                await lane.lock.acquire()
        except TimeoutError:
            interval = (
                self._settings.comment_interval if kind is Kind.COMMENT else self._settings.write_interval
            )
            raise self._too_fast(max(1.0, interval)) from None

    def _wait(self, lane: Lane, kind: Kind, deadline: float) -> float:
        """Seconds to wait now. Raises RateLimitedError where that would be beyond the deadline."""
        now = self._clock()
        lane.forget_before(now - HOUR)
        wait = wait_before(self._settings, lane.writes, kind, now)
        if now + wait > deadline:
            raise self._too_fast(wait)
        return wait

    def _too_fast(self, wait: float) -> RateLimitedError:
        resume_at = wall_clock() + timedelta(seconds=wait)
        message = f"our own pace: the next write in {wait:.1f} s"
        return RateLimitedError(message, status=0, retry_after=wait, resume_at=resume_at, secondary=False)

    def _lane(self, installation_id: int) -> Lane:
        if installation_id not in self._lanes and len(self._lanes) >= IDLE_LANES:
            for lane in self._lanes.values():
                lane.forget_before(self._clock() - HOUR)
            busy = {key: lane for key, lane in self._lanes.items() if lane.writes or lane.lock.locked()}
            self._lanes = busy
        return self._lanes.setdefault(installation_id, Lane())


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing is sent for an installation until `resume_at`; `length` is in seconds."""

    resume_at: datetime
    length: float
    secondary: bool


def next_pause(previous: Pause | None, error: RateLimitedError, now: datetime) -> Pause:
    """How long to stay silent after GitHub named a limit.

    A secondary limit that comes back soon after a pause doubles it, up to an hour: docs.github.com asks for an exponentially
    longer wait. Several requests that were under way together do not count as coming back.
    """
    length = max(0.0, (error.resume_at - now).total_seconds())
    if error.secondary and previous is not None and previous.secondary:
        since = (now - previous.resume_at).total_seconds()
        if 0 <= since < previous.length:
            length = max(length, min(HOUR, 2 * previous.length))
    pause = Pause(now + timedelta(seconds=length), length, error.secondary)
    return pause if previous is None or pause.resume_at >= previous.resume_at else previous


class Pauses(Protocol):
    """Remembers the last pause of each installation, also after it ended."""

    async def get(self, installation_id: int) -> Pause | None:
        """The last pause, None where there was none."""
        ...

    async def set(self, installation_id: int, pause: Pause) -> None:
        """Keep it."""
        ...


class MemoryPauses:
    """Pauses of one process."""

    def __init__(self) -> None:
        """None yet."""
        self._pauses: dict[int, Pause] = {}

    async def get(self, installation_id: int) -> Pause | None:
        """The last pause, None where there was none."""
        return self._pauses.get(installation_id)

    async def set(self, installation_id: int, pause: Pause) -> None:
        """Keep it."""
        self._pauses[installation_id] = pause
