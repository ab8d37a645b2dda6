"""Hops 5 to 8: claims jobs, runs them under a heartbeat, settles them, and stops without losing one."""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID, uuid4

import structlog

from bot.core import crash
from bot.core.context import now
from bot.core.errors import LeaseLostError, StorageUnavailableError
from bot.core.outcome import Bury, Finish, GiveBack, Settlement, settle
from bot.core.ports import Jobs
from bot.core.records import Job
from bot.metrics import Metrics

log = structlog.get_logger()

Run = Callable[[Job], Awaitable[None]]
"""Runs one job's behaviour; how it ends (returns, raises) decides what becomes of the job."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How the worker spends its time; all in seconds."""

    concurrency: int = 4
    poll: float = 2.0  # the truth; notifications only make it quicker
    heartbeat: float = 20.0  # a third of the lease
    grace: float = 20.0  # what running jobs get at a stop


class Worker:
    """Runs jobs until it is told to stop."""

    def __init__(
        self, jobs: Jobs, run: Run, hint: asyncio.Event, metrics: Metrics, pace: Pace | None = None
    ) -> None:
        """`hint` is set by whoever heard of new jobs."""
        self.id: UUID = uuid4()
        self._jobs, self._run, self._hint, self._metrics = jobs, run, hint, metrics
        self._pace = pace or Pace()
        self._running: set[asyncio.Task[None]] = set()

    async def work(self, stop: asyncio.Event) -> None:
        """Claim and run until `stop`; then let running jobs end, and give back what does not within the grace."""
        while not stop.is_set():
            free = self._pace.concurrency - len(self._running)
            claimed = await self._claim(free) if free else []
            for job in claimed:
                task = asyncio.create_task(self._one(job), name=f"job-{job.id}")
                self._running.add(task)
                task.add_done_callback(self._ended)
            if len(claimed) < free or not free:
                await self._rest(stop)
        await self._drain()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._hint.set()

    async def _claim(self, limit: int) -> list[Job]:
        self._hint.clear()
        try:
            return await self._jobs.claim(self.id, limit=limit)
        except StorageUnavailableError as error:
            log.warning("claim_failed", reason=str(error))
            return []

    async def _rest(self, stop: asyncio.Event) -> None:
        """Sleep until a hint, the stop, or the poll interval; jittered, so that workers do not march in step."""
        waits = [asyncio.create_task(event.wait()) for event in (self._hint, stop)]
        timeout = self._pace.poll * random.uniform(0.8, 1.2)  # noqa: S311  # no secret
        await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

    async def _drain(self) -> None:
        if not self._running:
            return
        _, late = await asyncio.wait(self._running, timeout=self._pace.grace)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _one(self, job: Job) -> None:
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(
            job_id=job.id, job_kind=job.kind, attempt=job.attempt, account_id=job.account_id
        )
        started = time.monotonic()
        crash.point("job-claimed")
        try:
            error = await self._outcome(job)
        except asyncio.CancelledError:
            await asyncio.shield(self._settle(job, GiveBack(0.0, "the worker stopped", counts=False)))
            raise
        crash.point("job-run")
        settlement = settle(job, error, now())
        if error is not None and isinstance(settlement, GiveBack | Bury):
            log.warning("job_failed", reason=settlement.reason, exc_info=error)
        # A stop that arrives now must not undo what was done: the row has to say so.
        await asyncio.shield(self._settle(job, settlement))
        crash.point("job-settled")
        outcome = type(settlement).__name__.lower()
        self._metrics.jobs.labels(kind=job.kind, outcome=outcome).inc()
        self._metrics.job_seconds.labels(kind=job.kind).observe(time.monotonic() - started)
        log.info(
            "job_settled",
            outcome=outcome,
            note=getattr(settlement, "note", None),
            ms=round(1000 * (time.monotonic() - started)),
        )

    async def _outcome(self, job: Job) -> BaseException | None:
        """Run the job beside its heartbeat; the first of both to end decides."""
        work = asyncio.ensure_future(self._run(job))
        beat = asyncio.create_task(self._heartbeat(job))
        try:
            await asyncio.wait({work, beat}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                work.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await work
                return LeaseLostError("another worker took over")
            return work.exception()
        finally:
            work.cancel()
            beat.cancel()
            await asyncio.gather(work, beat, return_exceptions=True)

    async def _heartbeat(self, job: Job) -> None:
        """Extend the lease until cancelled; returns where it is lost."""
        while True:
            await asyncio.sleep(self._pace.heartbeat)
            try:
                await self._jobs.extend(job)
            except LeaseLostError:
                return
            except StorageUnavailableError as error:
                log.warning("heartbeat_failed", reason=str(error))

    async def _settle(self, job: Job, settlement: Settlement) -> None:
        try:
            match settlement:
                case Finish(note):
                    await self._jobs.finish(job, note)
                case GiveBack(after, reason, counts):
                    await self._jobs.give_back(job, after=after, reason=reason, counts=counts)
                case Bury(reason):
                    await self._jobs.bury(job, reason)
        except LeaseLostError:
            log.warning("lease_lost")
        except StorageUnavailableError as error:
            # The lease runs out and the job is claimed again: behaviour is safe to repeat.
            log.warning("settle_failed", reason=str(error))
        except Exception:  # as above: one row that cannot be written must not end the worker's turn
            log.exception("settle_failed")
