"""The queue: leases with a fence, attempts counted at claim, lanes, and a cap for each account."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from bot.core.errors import LeaseLostError
from bot.core.indexing import KIND, Indexing
from bot.core.records import Job, JobView, Lane, NewJob, Stuck
from storage.database import Database
from storage.queries import load

log = structlog.get_logger()

SQL = load("jobs")

STUCK_AFTER = timedelta(minutes=15)
"""How long an account's work may go nowhere before the operator hears of it."""


@dataclass(frozen=True, slots=True)
class Depth:
    """How many jobs of a lane are in a state; `oldest` is how long the first that is due has waited, in seconds."""

    lane: Lane
    state: str
    jobs: int
    oldest: float


class Jobs:
    """Jobs in PostgreSQL; see `bot.core.ports.Jobs` for what each method promises."""

    def __init__(
        self, database: Database, *, lease: timedelta = timedelta(seconds=60), account_cap: int = 2
    ) -> None:
        """`account_cap` is how many jobs of one account run at once, so that a large one leaves room for others."""
        self._database, self._lease, self._cap = database, lease, account_cap

    async def enqueue(self, *jobs: NewJob) -> int:
        """Put jobs on the queue, all or none; returns how many were new."""
        new = 0
        async with self._database.system() as connection:
            for job in jobs:
                values = (
                    job.kind,
                    job.lane,
                    job.account_id,
                    job.serial,
                    job.dedupe,
                    job.payload,
                    job.delivery_id,
                )
                found = await connection.fetchval(SQL["enqueue"], *values, job.after, job.max_attempts)
                new += found is not None
            if new:
                await connection.execute(SQL["notify"])
        return new

    async def claim(self, worker: UUID, *, limit: int = 1) -> list[Job]:
        """Lease up to `limit` jobs for this worker."""
        async with self._database.system() as connection:
            await connection.execute(SQL["lock_claims"])
            for row in await connection.fetch(SQL["bury_abandoned"]):
                log.error("job_abandoned", job_id=row["id"])
            rows = await connection.fetch(SQL["claim"], worker, self._lease, limit, self._cap)
        return sorted((job_of(row) for row in rows), key=lambda job: (job.lane, job.id))

    async def extend(self, job: Job) -> None:
        """Renew the lease."""
        await self._fenced("extend", job, self._lease)

    async def save_progress(self, job: Job, progress: Mapping[str, Any]) -> None:
        """Keep how far a long job got."""
        await self._fenced("save_progress", job, dict(progress))

    async def finish(self, job: Job, note: str | None = None) -> None:
        """Done."""
        await self._fenced("finish", job, note)

    async def give_back(self, job: Job, *, after: float, reason: str, counts: bool) -> None:
        """Ready again in `after` seconds; where the same waits meanwhile, that one goes on in its place."""
        while True:
            try:
                return await self._fenced("give_back", job, after, reason, counts)
            except asyncpg.UniqueViolationError:
                # A duplicate was put on the queue at the same moment: the query sees it now.
                log.info("give_back_again", job_id=job.id)

    async def bury(self, job: Job, reason: str) -> None:
        """Dead letter."""
        await self._fenced("bury", job, reason)

    async def depth(self) -> list[Depth]:
        """How many jobs stand where; done ones are left out."""
        async with self._database.system() as connection:
            rows = await connection.fetch(SQL["depth"])
        return [Depth(Lane(row["lane"]), row["state"], row["jobs"], row["oldest"]) for row in rows]

    async def purge(self, older_than: timedelta) -> None:
        """Forget jobs and deliveries that are done and older than that."""
        async with self._database.system() as connection:
            await connection.execute(SQL["purge_jobs"], older_than)
            await connection.execute(SQL["purge_deliveries"], older_than)

    async def view(self, *ids: int, states: Sequence[str] = ("dead",), limit: int = 50) -> list[JobView]:
        """Jobs as the operator sees them: those with these ids, or the latest in one of the states."""
        async with self._database.system() as connection:
            rows = await connection.fetch(SQL["view"], list(ids) or None, list(states), limit)
        return [JobView(**{**row, "lane": Lane(row["lane"])}) for row in rows]

    async def retry(self, *ids: int) -> list[int]:
        """Put dead jobs back with all their attempts, all of them where none is named; returns which."""
        async with self._database.system() as connection:
            rows = await connection.fetch(SQL["retry"], list(ids) or None)
            if rows:
                await connection.execute(SQL["notify"])
        return sorted(row["id"] for row in rows)

    async def bury_by_hand(self, job_id: int, reason: str) -> bool:
        """Dead by the operator's word; False where it neither waits nor runs."""
        async with self._database.system() as connection:
            return await connection.fetchval(SQL["bury_by_hand"], job_id, reason) is not None

    async def stuck(self, for_longer_than: timedelta = STUCK_AFTER) -> list[Stuck]:
        """Accounts whose work only waits or fails, and repositories whose index nobody makes."""
        async with self._database.system() as connection:
            rows = await connection.fetch(SQL["stuck"], for_longer_than)
        return [Stuck(**row) for row in rows]

    async def indexing(self, account_id: int, repository_id: int) -> Indexing:
        """Whether a repository is being indexed now."""
        async with self._database.account(account_id) as connection:
            row = await connection.fetchrow(SQL["indexing"], account_id, KIND, str(repository_id))
        if row is None:
            return Indexing("none")
        if row["state"] != "running":
            return Indexing("waiting")
        return Indexing("running", max(0, int(row["progress"].get("page", 1)) - 1))

    async def _fenced(self, query: str, job: Job, *values: Any) -> None:
        async with self._database.system() as connection:
            found = await connection.fetchval(SQL[query], job.id, job.worker, job.attempt, *values)
        if found is None:
            raise LeaseLostError(f"job {job.id} belongs to another worker")


def job_of(row: Mapping[str, Any]) -> Job:
    """A claimed row as a record."""
    return Job(**{**row, "lane": Lane(row["lane"])})
