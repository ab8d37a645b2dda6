"""What becomes of a job, decided from how it ended: a pure function over the errors of `bot.core.errors`."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.core.errors import (
    BotError,
    CollectionBrokenError,
    CredentialsError,
    DeadError,
    GitHubError,
    GitHubUnavailableError,
    GoneError,
    ModelUnavailableError,
    MovedError,
    NotFoundError,
    PermissionMissingError,
    RateLimitedError,
    RefusedError,
    RetryError,
    SearchUnavailableError,
    SkipError,
    StorageUnavailableError,
    SuspendedError,
)
from bot.core.records import Job
from bot.core.redaction import without_secrets

BACK_OFF = (5.0, 30.0, 120.0, 600.0, 3_600.0, 21_600.0, 86_400.0)
"""Seconds before attempt 2, 3, …: quick at first, and over a day in all, so that an outage of hours is survived."""

REPLICA_LAG = (2.0, 5.0, 15.0)
"""Seconds to wait for an object that GitHub announced but does not show yet."""

UNAVAILABLE_PAUSE = 30.0
"""Seconds between tries while a part is down; they are not held against the job."""

LONGEST_MENDING = 300.0
"""Seconds between tries to mend a collection, at the most: a part that is back shall be of use within minutes."""

PATIENCE = timedelta(days=3)
"""How long a job may be given back without counting: as long as GitHub keeps deliveries for redelivery."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Done; `note` says why there was nothing to do, None where everything was done."""

    note: str | None = None


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Again in `after` seconds."""

    after: float
    reason: str
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Bury:
    """Dead letter."""

    reason: str


Settlement = Finish | GiveBack | Bury


def describe(error: BaseException) -> str:
    """One line about an error for a job row: its type and its first 300 characters."""
    return without_secrets(f"{type(error).__name__}: {error}"[:600])[:300]


def delay(job: Job) -> float:
    """Seconds until the next attempt, by the table."""
    return BACK_OFF[min(job.attempt, len(BACK_OFF)) - 1]


def again(job: Job, reason: str, after: float | None = None) -> Settlement:
    """Give back by the table of delays, or bury where the attempts are used up."""
    if job.attempt >= job.max_attempts:
        return Bury(reason)
    return GiveBack(delay(job) if after is None else after, reason)


def wait(job: Job, reason: str, after: float, now: datetime) -> Settlement:
    """Give back without counting, or bury where the job waited longer than `PATIENCE`."""
    if now - job.enqueued_at > PATIENCE:
        return Bury(f"gave up after {PATIENCE.days} days: {reason}")
    return GiveBack(after, reason, counts=False)


def settle(job: Job, error: BaseException | None, now: datetime) -> Settlement:
    """What to do with a job that ended with this error, or without one."""
    match error:
        case None:
            return Finish()
        case SkipError():
            return Finish(error.reason)
        case DeadError():
            return Bury(error.reason)
        case RetryError(counts=False):
            return wait(job, error.reason, error.after, now)
        case RetryError():
            return again(job, error.reason, error.after)
        case StorageUnavailableError() | SearchUnavailableError() | ModelUnavailableError():
            return wait(job, describe(error), UNAVAILABLE_PAUSE, now)
        case CollectionBrokenError():
            return again(job, describe(error), min(delay(job), LONGEST_MENDING))
        case GitHubError():
            return settle_github(job, error, now)
        case BotError():
            return Bury(describe(error))
        case _:
            return again(job, describe(error))


def settle_github(job: Job, error: GitHubError, now: datetime) -> Settlement:
    """The same for what GitHub answered: wait, skip, or give up."""
    reason = describe(error)
    match error:
        case RateLimitedError():
            return wait(job, reason, error.retry_after or 60.0, now)
        # A refused key says nothing about the job either: it goes on when the operator has set the right one.
        case GitHubUnavailableError() | CredentialsError():
            return wait(job, reason, max(UNAVAILABLE_PAUSE, error.retry_after or 0.0), now)
        case NotFoundError() if job.attempt <= len(REPLICA_LAG):
            return again(job, reason, REPLICA_LAG[job.attempt - 1])
        case NotFoundError() | GoneError() | RefusedError() | MovedError():
            return Finish(reason)
        case SuspendedError() | PermissionMissingError():
            return Finish(f"parked: {reason}")
        case _ if error.retry_after is not None:
            return again(job, reason, error.retry_after)
        case _:
            return Bury(reason)
