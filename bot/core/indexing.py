"""The job that makes a repository's index."""

from dataclasses import dataclass
from typing import Literal

from bot.core.records import Lane, NewJob, Repository

KIND = "index_repository"


@dataclass(frozen=True, slots=True)
class Indexing:
    """Whether a repository is being indexed now."""

    job: Literal["none", "waiting", "running"]
    pages: int | None = None  # of 100 issues that a running one has read of the state it is at


def index_job(repository: Repository, *, fresh: bool = False) -> NewJob:
    """The backfill of one repository; a second one that waits is dropped."""
    return NewJob(
        kind=KIND,
        lane=Lane.BACKFILL,
        account_id=repository.account_id,
        serial=f"index:{repository.id}",
        dedupe=f"index:{repository.id}",
        payload={"repository_id": repository.id, "fresh": fresh},
    )
