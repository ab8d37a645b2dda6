import asyncio
from datetime import timedelta

import pytest
import structlog
from structlog.testing import capture_logs

from bot.core.errors import DeadError, RetryError, SkipError, StorageUnavailableError
from bot.core.records import Lane, NewJob
from bot.metrics import Metrics
from bot.worker import Pace, Worker
from storage.jobs import Jobs

QUICK = Pace(concurrency=4, poll=0.05, heartbeat=0.1, grace=0.5)


async def states(database):
    async with database.system() as connection:
        rows = await connection.fetch("SELECT kind, state, reason, attempt FROM jobs ORDER BY id")
    return [tuple(row) for row in rows]


async def run_until(jobs, run, done, pace=QUICK):
    """Work until `done()` is true, then stop gracefully."""
    stop, hint = asyncio.Event(), asyncio.Event()
    worker = Worker(jobs, run, hint, Metrics(), pace)
    working = asyncio.create_task(worker.work(stop))
    async with asyncio.timeout(20):
        while not done():
            await asyncio.sleep(0.01)
    stop.set()
    await working


def task(kind="t", **more):
    return NewJob(kind, Lane.WEBHOOK, **more)


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (None, "done", None),
        (SkipError("nothing to do"), "done", "nothing to do"),
        (DeadError("hopeless"), "dead", "hopeless"),
        (RetryError("later", 3600.0), "ready", "later"),
        (ValueError("a bug"), "ready", "ValueError: a bug"),
    ],
)
async def test_how_a_job_ends_decides_what_becomes_of_it(database, error, state, reason):
    jobs, seen = Jobs(database), []

    async def run(job):
        seen.append(job)
        if error:
            raise error

    await jobs.enqueue(task())
    await run_until(jobs, run, lambda: seen)
    assert await states(database) == [("t", state, reason, 1)]


async def test_jobs_run_beside_each_other_up_to_the_concurrency(database):
    jobs, running, most, ended = Jobs(database), 0, 0, []

    async def run(job):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.05)
        running -= 1
        ended.append(job.id)

    await jobs.enqueue(*(task() for _ in range(12)))
    await run_until(jobs, run, lambda: len(ended) == 12)
    assert most == 4
    assert len(set(ended)) == 12


async def test_a_stop_lets_running_jobs_end(database):
    jobs, begun, ended = Jobs(database), [], []

    async def run(job):
        begun.append(job.id)
        await asyncio.sleep(0.3)
        ended.append(job.id)

    await jobs.enqueue(task())
    await run_until(jobs, run, lambda: begun)
    assert ended == begun
    assert (await states(database))[0][1] == "done"


async def test_a_stop_gives_back_what_does_not_end_without_counting_the_attempt(database):
    jobs, begun = Jobs(database), []

    async def run(job):
        begun.append(job.id)
        await asyncio.sleep(3600)

    await jobs.enqueue(task())
    await run_until(jobs, run, lambda: begun)
    assert await states(database) == [("t", "ready", "the worker stopped", 0)]


async def test_a_long_job_keeps_its_lease_by_its_heartbeat(database):
    jobs, runs = Jobs(database, lease=timedelta(seconds=0.4)), []

    async def run(job):
        runs.append(job.attempt)
        await asyncio.sleep(1.2)

    await jobs.enqueue(task())
    await run_until(jobs, run, lambda: runs, Pace(4, 0.05, 0.1, 5.0))
    assert runs == [1]
    assert (await states(database))[0][1] == "done"


async def test_a_worker_that_lost_its_lease_stops_and_writes_nothing(database):
    jobs, begun, cancelled = Jobs(database), [], []

    async def run(job):
        begun.append(job)
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.append(job.id)
            raise

    async def taken_over():
        async with asyncio.timeout(10):
            while not begun:
                await asyncio.sleep(0.01)
        async with database.system() as connection:
            await connection.execute("UPDATE jobs SET attempt = attempt + 1")

    await jobs.enqueue(task())
    takeover = asyncio.create_task(taken_over())
    await run_until(jobs, run, lambda: cancelled)
    await takeover
    assert (await states(database))[0][1:] == ("running", None, 2)


async def test_a_hint_wakes_an_idle_worker_before_its_poll(database):
    jobs, seen = Jobs(database), []

    async def run(job):
        seen.append(job.id)

    stop, hint = asyncio.Event(), asyncio.Event()
    working = asyncio.create_task(Worker(jobs, run, hint, Metrics(), Pace(4, 60.0, 20.0, 1.0)).work(stop))
    await asyncio.sleep(0.2)
    await jobs.enqueue(task())
    hint.set()
    async with asyncio.timeout(5):
        while not seen:
            await asyncio.sleep(0.01)
    stop.set()
    await working


class Flaky:
    """Jobs whose database is gone for some calls."""

    def __init__(self, jobs, error=StorageUnavailableError, **failures):
        self._jobs, self._error, self._failures = jobs, error, failures

    def __getattr__(self, name):
        real = getattr(self._jobs, name)

        async def call(*args, **more):
            if self._failures.get(name, 0) > 0:
                self._failures[name] -= 1
                raise self._error("gone")
            return await real(*args, **more)

        return call


async def test_a_database_that_is_gone_for_a_while_stops_nothing(database):
    jobs, seen = Jobs(database), []

    async def run(job):
        seen.append(job.id)
        await asyncio.sleep(0.3)

    await jobs.enqueue(task())
    await run_until(Flaky(jobs, claim=3, extend=2), run, lambda: seen)
    assert (await states(database))[0][1] == "done"


@pytest.mark.parametrize("error", [StorageUnavailableError, ValueError])
async def test_a_job_that_could_not_be_settled_is_done_again(database, error):
    jobs, seen = Jobs(database, lease=timedelta(seconds=0.3)), []

    async def run(job):
        seen.append(job.attempt)

    await jobs.enqueue(task())
    await run_until(Flaky(jobs, error, finish=1), run, lambda: len(seen) == 2)
    assert seen == [1, 2]
    assert await states(database) == [("t", "done", None, 2)]


async def test_jobs_are_counted_and_logged_by_how_they_ended(database):
    jobs, metrics, ended, stop, hint = Jobs(database), Metrics(), [], asyncio.Event(), asyncio.Event()

    async def run(job):
        structlog.contextvars.bind_contextvars(issue=job.id)
        ended.append(job.id)
        if job.kind == "bad":
            raise DeadError("hopeless")

    await jobs.enqueue(task("good"), task("bad"), task("good"))
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        working = asyncio.create_task(Worker(jobs, run, hint, metrics, QUICK).work(stop))
        async with asyncio.timeout(10):
            while len([line for line in logs if line["event"] == "job_settled"]) < 3:
                await asyncio.sleep(0.01)
        stop.set()
        await working
    value = metrics.registry.get_sample_value
    assert value("deja_view_jobs_total", {"kind": "good", "outcome": "finish"}) == 2
    assert value("deja_view_jobs_total", {"kind": "bad", "outcome": "bury"}) == 1
    assert value("deja_view_job_seconds_count", {"kind": "good"}) == 2
    settled = [line for line in logs if line["event"] == "job_settled"]
    assert {line["job_id"] for line in settled} == set(ended)
    assert {line["outcome"] for line in settled if line["job_kind"] == "bad"} == {"bury"}
    assert [line["reason"] for line in logs if line["event"] == "job_failed"] == ["hopeless"]


async def test_an_idle_worker_asks_seldom(database):
    asked = []

    class Counting(Flaky):
        async def claim(self, worker, *, limit):
            asked.append(limit)
            return []

    stop = asyncio.Event()
    worker = Worker(Counting(Jobs(database)), None, asyncio.Event(), Metrics(), Pace(4, 0.1, 20.0, 1.0))
    working = asyncio.create_task(worker.work(stop))
    await asyncio.sleep(0.55)
    stop.set()
    await working
    assert 3 <= len(asked) <= 8
    assert set(asked) == {4}
