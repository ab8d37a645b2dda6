"""How fast installations are written to and until when they are left alone, decided for all processes together."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from bot.core.context import now as wall_clock
from bot.core.errors import RateLimitedError, StorageUnavailableError
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
from storage.database import Database
from storage.queries import load

log = structlog.get_logger()

SQL = load("paces")

FRESH = 1.0
"""Seconds for which a process takes an installation's pause for known, so that reads need not ask each time."""

REMEMBERED = 10_000
"""Installations whose pauses a process remembers."""


@dataclass(frozen=True, slots=True)
class Known:
    """A pause as it was at `at` (monotonic seconds)."""

    at: float
    pause: Pause | None


class Paces:
    """Turns and pauses in PostgreSQL; see `bot.github.pace.Turns` and `Pauses` for what each method promises.

    The server's clock decides: those of processes differ. Every method may raise StorageUnavailableError.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is in seconds and never goes back."""
        self._database, self._clock = database, clock
        self._known: dict[int, Known] = {}

    async def take(
        self, installation_id: int, holder: UUID, kind: Kind, pace: WritePace, patience: float
    ) -> Wait | None:
        """Begin a write where one may begin now. A place is given where the wait is longer than `patience`."""
        async with self._database.system() as connection:
            row = await self._lock(connection, installation_id)
            pause = pause_of(row)
            self._remember(installation_id, pause and moved(pause, wall_clock() - row["now"]))
            if pause is not None and row["now"] < pause.resume_at:
                return Wait((pause.resume_at - row["now"]).total_seconds(), pause)
            writing, now = writing_of(row), row["now"].timestamp()
            wait = wait_for_turn(pace, writing, kind, now)
            if wait > patience:
                place = place_after(pace, writing, wait, now)
                await connection.execute(SQL["give_place"], installation_id, moment(place))
                return Wait(place - now)
            if wait > 0:
                return Wait(wait)
            values = (pace.lease, recent(row)[-pace.per_hour :], kind is Kind.COMMENT)
            await connection.execute(SQL["take"], installation_id, holder, *values)
        return None

    async def renew(self, installation_id: int, holder: UUID, lease: float) -> bool:
        """Keep the turn for that many seconds more; False where it is somebody else's by now."""
        async with self._database.system() as connection:
            found = await connection.fetchval(SQL["renew"], installation_id, holder, lease)
        return found is not None

    async def end(self, installation_id: int, holder: UUID) -> None:
        """The write ended, well or not; it counts from now."""
        async with self._database.system() as connection:
            await connection.execute(SQL["end"], installation_id, holder)

    async def get(self, installation_id: int) -> Pause | None:
        """The last pause, None where there was none; up to a second old where another process learned of it."""
        known = self._known.get(installation_id)
        if known is not None and (self._clock() - known.at < FRESH or holds(known.pause)):
            return known.pause
        async with self._database.system() as connection:
            row = await connection.fetchrow(SQL["pause_of"], installation_id)
        pause = None
        if row is not None:
            ends = wall_clock() + timedelta(seconds=row["resumes_in"])
            pause = Pause(ends, row["pause_length"], row["secondary"])
        return self._remember(installation_id, pause)

    async def add(self, installation_id: int, error: RateLimitedError) -> Pause:
        """Stay silent as the error says; returns the pause that holds now."""
        known = self._known.get(installation_id)
        pause = next_pause(known.pause if known else None, error, wall_clock())
        self._remember(installation_id, pause)
        try:
            pause = await self._store(installation_id, error)
        except StorageUnavailableError as lost:
            # Nothing is written without PostgreSQL anyway, and this process reads nothing either.
            log.warning("pause_not_stored", reason=str(lost))
            return pause
        self._remember(installation_id, pause)
        return pause

    async def _store(self, installation_id: int, error: RateLimitedError) -> Pause:
        async with self._database.system() as connection:
            row = await self._lock(connection, installation_id)
            ahead = row["now"] - wall_clock()
            stored = pause_of(row)
            pause = next_pause(None if stored is None else moved(stored, -ahead), error, wall_clock())
            values = (pause.resume_at + ahead, pause.length, pause.secondary)
            await connection.execute(SQL["pause"], installation_id, *values)
        return pause

    async def purge(self) -> None:
        """Forget installations whose past decides over nothing any more."""
        async with self._database.system() as connection:
            await connection.execute(SQL["purge"])

    async def _lock(self, connection: Any, installation_id: int) -> Mapping[str, Any]:
        row = await connection.fetchrow(SQL["lock"], installation_id)
        while row is None:
            await connection.execute(SQL["add"], installation_id)
            row = await connection.fetchrow(SQL["lock"], installation_id)
        return dict(row)

    def _remember(self, installation_id: int, pause: Pause | None) -> Pause | None:
        if installation_id not in self._known and len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[installation_id] = Known(self._clock(), pause)
        return pause


def holds(pause: Pause | None) -> bool:
    """Whether it has not ended. A pause never gets shorter, so nobody has to be asked while it lasts."""
    return pause is not None and wall_clock() < pause.resume_at


def pause_of(row: Mapping[str, Any]) -> Pause | None:
    """The pause in a row, by the server's clock."""
    if row["resume_at"] is None:
        return None
    return Pause(row["resume_at"], row["pause_length"], row["secondary"])


def moved(pause: Pause, by: timedelta) -> Pause:
    """The same pause by another clock, which is ahead by that much."""
    return replace(pause, resume_at=pause.resume_at + by)


def recent(row: Mapping[str, Any]) -> list[datetime]:
    """When the writes of the last hour ended."""
    since = row["now"] - timedelta(seconds=HOUR)
    return [ended for ended in row["ended"] if ended >= since]


def writing_of(row: Mapping[str, Any]) -> Writing:
    """What decides over the next write, in seconds since 1970 by the server's clock."""
    writes = [
        Written(ended.timestamp(), Kind.COMMENT if ended == row["comment_at"] else Kind.WRITE)
        for ended in recent(row)
    ]
    return Writing(writes, seconds_of(row["held_until"]), seconds_of(row["place"]))


def seconds_of(value: datetime | None) -> float | None:
    """A moment in seconds since 1970."""
    return None if value is None else value.timestamp()


def moment(seconds: float) -> datetime:
    """Seconds since 1970 as PostgreSQL takes them."""
    return datetime.fromtimestamp(seconds, UTC)
