"""When a repository is compared with GitHub, and how far back: pure."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from bot.core.records import Lane, NewJob, Repository

CLOCK_DIFFERENCE = timedelta(minutes=5)
"""How far GitHub's clock and ours may be apart."""

NIGHT = 5 * 3_600
"""Seconds over which a night's repositories are spread."""

KNUTH = 2_654_435_761
"""Scatters ids that follow each other (Knuth, The Art of Computer Programming, 6.4)."""


def reconcile_job(repository: Repository, after: float = 0.0) -> NewJob:
    """Brings one repository up to date; a second one that waits is dropped."""
    return NewJob(
        kind="reconcile",
        lane=Lane.BACKFILL,
        account_id=repository.account_id,
        serial=f"index:{repository.id}",
        dedupe=f"reconcile:{repository.id}",
        payload={"repository_id": repository.id},
        after=after,
    )


def verify_job(repository: Repository) -> NewJob:
    """Compares one repository's collection with PostgreSQL, which is up to date then."""
    return NewJob(
        kind="verify_collection",
        lane=Lane.BACKFILL,
        account_id=repository.account_id,
        serial=f"index:{repository.id}",
        dedupe=f"verify:{repository.id}",
        payload={"repository_id": repository.id},
    )


def turn_in_the_night(repository_id: int) -> float:
    """Seconds after the night's beginning at which a repository has its turn: the same one each night."""
    return float(repository_id * KNUTH % 2**32 * NIGHT >> 32)


def since(synced: datetime | None, progress: Mapping[str, Any]) -> datetime | None:
    """From when on to list changes: where an earlier attempt got to, else what is known; None for all there is."""
    reached = progress.get("since")
    if reached is not None:
        return datetime.fromisoformat(reached)
    return None if synced is None else synced - CLOCK_DIFFERENCE
