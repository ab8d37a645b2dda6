"""How fast an installation is written to and when it is left alone: what follows from GitHub's limits, decided purely."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from bot.core.errors import RateLimitedError

HOUR = 3_600.0

THE_APP = 2**63 - 1
"""Stands for the App's own requests where pauses are kept by installation: no installation has the greatest id that there is."""

BUSY = 0.25
"""Seconds before somebody asks again whose turn another write has; most writes take about that long."""


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
    lease: float = 15.0  # seconds for which a turn outlives its process

    @property
    def write_interval(self) -> float:
        """Seconds between any two writes."""
        return min(1.0, self.comment_interval)

    @property
    def place_interval(self) -> float:
        """Seconds between the places that are given to those who have to come back."""
        return max(self.comment_interval, 60.0 / self.per_minute)


@dataclass(frozen=True, slots=True)
class Written:
    """A write that ended at `at`, in seconds of any clock."""

    at: float
    kind: Kind


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing is sent for an installation until `resume_at`; `length` is in seconds."""

    resume_at: datetime
    length: float
    secondary: bool


@dataclass(frozen=True, slots=True)
class Wait:
    """A write may not start for that many seconds. `pause` is GitHub's, where that is why."""

    seconds: float
    pause: Pause | None = None


@dataclass(frozen=True, slots=True)
class Writing:
    """What decides over an installation's next write; times are in seconds of one clock.

    `writes` holds the last hour, oldest first. `held_until` is when the turn of a write that is under way runs out,
    `place` the last moment that was given to somebody who has to come back.
    """

    writes: Sequence[Written] = field(default=())
    held_until: float | None = None
    place: float | None = None


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


def wait_for_turn(pace: WritePace, writing: Writing, kind: Kind, now: float) -> float:
    """Seconds until a write may start or it is worth asking again, 0 where it may start now."""
    wait = wait_before(pace, writing.writes, kind, now)
    return max(wait, BUSY) if writing.held_until is not None and writing.held_until > now else wait


def place_after(pace: WritePace, writing: Writing, wait: float, now: float) -> float:
    """When somebody who cannot wait for `wait` seconds shall come back.

    Each is told another moment: of a hundred that come back together, ninety-nine would have come in vain.
    """
    free = now + max(wait, pace.write_interval)
    if writing.place is not None:
        free = max(free, writing.place + pace.place_interval)
    return min(free, now + HOUR)


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
