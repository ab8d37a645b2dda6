"""What is done again and again: a table, and when each of its rows is due."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.core.records import Lane, NewJob

MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
ATTEMPTS = 3
"""A turn that fails so often is buried, and seen; the next turn comes all the same."""


@dataclass(frozen=True, slots=True)
class Periodic:
    """A kind of job that is put on the queue `every` so many seconds, or daily at an hour of the day (UTC)."""

    kind: str
    every: float
    lane: Lane = Lane.BACKFILL
    hour: int | None = None

    @property
    def key(self) -> str:
        """One waits and one runs at a time, over all processes."""
        return f"periodic:{self.kind}"

    def wait(self, now: datetime) -> float:
        """Seconds from now until the next turn."""
        if self.hour is None:
            return self.every
        today = now.replace(hour=self.hour, minute=0, second=0, microsecond=0)
        return (today - now).total_seconds() % timedelta(days=1).total_seconds() or DAY

    def job(self) -> NewJob:
        """One turn."""
        return NewJob(self.kind, self.lane, serial=self.key, dedupe=self.key, max_attempts=ATTEMPTS)


PERIODIC = (
    # Webhooks' own lane: what it brings back was due long ago.
    Periodic("sweep_deliveries", 5 * MINUTE, Lane.WEBHOOK),
    Periodic("forget_done", HOUR),
    Periodic("reconcile_all", DAY, hour=1),
    Periodic("forget_usage", DAY, hour=4),
    Periodic("end_notices", DAY, hour=6),
)
