import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from bot.core.errors import LeaseLostError
from bot.core.records import Account, Delivery, Lane, NewJob, RepositoryName
from storage.accounts import Accounts
from storage.inbox import Inbox
from storage.jobs import Jobs

WORKER, OTHER = uuid4(), uuid4()


def job(kind="t", lane=Lane.WEBHOOK, **more):
    return NewJob(kind, lane, **more)


@pytest.fixture
def jobs(database):
    return Jobs(database)


async def expire(database):
    async with database.system() as connection:
        await connection.execute(
            "UPDATE jobs SET lease_until = now() - interval '1 second' WHERE state = 'running'"
        )


async def rows(database, columns="state, attempt, reason"):
    async with database.system() as connection:
        return [tuple(row) for row in await connection.fetch(f"SELECT {columns} FROM jobs ORDER BY id")]


async def test_a_claim_leases_and_counts_the_attempt(jobs, database):
    assert await jobs.enqueue(job(payload={"a": [1]}, account_id=5)) == 1
    (claimed,) = await jobs.claim(WORKER)
    assert (claimed.kind, claimed.payload, claimed.account_id, claimed.attempt, claimed.worker) == (
        "t",
        {"a": [1]},
        5,
        1,
        WORKER,
    )
    assert await jobs.claim(OTHER) == []
    assert await rows(database) == [("running", 1, None)]


async def test_webhooks_go_before_commands_before_backfill(jobs):
    await jobs.enqueue(
        job("b", Lane.BACKFILL), job("c", Lane.COMMAND), job("w", Lane.WEBHOOK), job("w2", Lane.WEBHOOK)
    )
    assert [item.kind for item in await jobs.claim(WORKER, limit=9)] == ["w", "w2", "c", "b"]


async def test_a_job_is_not_claimed_before_its_time(jobs):
    await jobs.enqueue(job(after=3600))
    assert await jobs.claim(WORKER) == []


async def test_eight_claimers_share_a_hundred_jobs_without_a_double_claim(jobs):
    await jobs.enqueue(*(job() for _ in range(100)))
    seen = []

    async def claimer():
        while batch := await jobs.claim(uuid4(), limit=3):
            seen.extend(item.id for item in batch)

    await asyncio.gather(*(claimer() for _ in range(8)))
    assert len(seen) == len(set(seen)) == 100


async def test_an_account_has_two_jobs_at_once_whoever_claims(jobs):
    await jobs.enqueue(*(job(account_id=1) for _ in range(20)), *(job(account_id=2) for _ in range(20)))
    claims = await asyncio.gather(*(jobs.claim(uuid4(), limit=5) for _ in range(6)))
    accounts = [item.account_id for batch in claims for item in batch]
    assert sorted(accounts) == [1, 1, 2, 2]


async def test_a_busy_account_does_not_hide_the_jobs_of_others_behind_it(jobs):
    await jobs.enqueue(*(job(account_id=1) for _ in range(300)), job("late", account_id=2))
    await jobs.claim(WORKER, limit=2)
    assert [item.kind for item in await jobs.claim(WORKER, limit=5)] == ["late"]


async def test_one_of_a_series_runs_at_a_time_and_in_order(jobs):
    await jobs.enqueue(*(job(f"j{n}", serial="issue:1:2") for n in range(3)))
    (first,) = await jobs.claim(WORKER, limit=9)
    assert first.kind == "j0"
    assert await jobs.claim(OTHER, limit=9) == []
    await jobs.finish(first)
    assert [item.kind for item in await jobs.claim(OTHER, limit=9)] == ["j1"]


async def test_a_waiting_job_with_the_same_dedupe_key_is_enough(jobs):
    assert await jobs.enqueue(job(dedupe="index:1"), job(dedupe="index:1")) == 1
    (claimed,) = await jobs.claim(WORKER)
    assert await jobs.enqueue(job(dedupe="index:1")) == 1  # what runs may have missed what was asked for now
    await jobs.give_back(claimed, after=0, reason="later", counts=True)
    assert len(await jobs.claim(WORKER, limit=9)) == 1


@pytest.mark.parametrize("counts", [True, False])
async def test_what_fails_and_is_asked_for_again_and_again_stays_one_job(jobs, database, counts):
    """A rebuild while Chroma is down: each question that misses the collection asks for one more."""
    await jobs.enqueue(job(dedupe="rebuild:1"))
    for _ in range(4):
        (running,) = await jobs.claim(WORKER, limit=9)
        await jobs.save_progress(running, {"page": running.attempt})
        await jobs.enqueue(job(dedupe="rebuild:1"))
        await jobs.give_back(running, after=0, reason="Chroma is down", counts=counts)
    found = await rows(database, "state, attempt, progress, reason, dedupe")
    assert [row for row in found if row[0] != "done"] == [
        ("ready", 4 * counts, {"page": 4 if counts else 1}, "Chroma is down", "rebuild:1")
    ]


async def test_what_waits_meanwhile_does_not_go_before_its_back_off_is_over(jobs, database):
    await jobs.enqueue(job(dedupe="rebuild:1"))
    (running,) = await jobs.claim(WORKER)
    await jobs.enqueue(job(dedupe="rebuild:1"))
    await jobs.give_back(running, after=600, reason="Chroma is down", counts=True)
    assert await jobs.claim(WORKER, limit=9) == []
    (first,), (second,) = await rows(database, "enqueued_at")
    assert first == second, "how long it waited is not forgotten"


async def test_what_was_asked_for_otherwise_meanwhile_waits_beside_it(jobs, database):
    await jobs.enqueue(job(dedupe="index:1", payload={"fresh": True}))
    (running,) = await jobs.claim(WORKER)
    await jobs.enqueue(job(dedupe="index:1", payload={"fresh": False}))
    await jobs.give_back(running, after=0, reason="later", counts=True)
    assert await rows(database, "state, payload, dedupe") == [
        ("ready", {"fresh": True}, None),
        ("ready", {"fresh": False}, "index:1"),
    ]


async def test_a_duplicate_that_arrives_while_a_job_is_given_back_is_waited_for(jobs, database):
    await jobs.enqueue(job(dedupe="k"))
    (running,) = await jobs.claim(WORKER)
    async with database.system() as connection:
        await connection.execute(
            "INSERT INTO jobs (kind, lane, dedupe, max_attempts) VALUES ('t', 0, 'k', 5)"
        )
        giving = asyncio.create_task(jobs.give_back(running, after=0.0, reason="later", counts=True))
        await somebody_waits_for(await connection.fetchval("SELECT pg_backend_pid()"), database)
    await giving
    assert await rows(database, "state, attempt") == [("done", 1), ("ready", 1)]


async def somebody_waits_for(backend, database):
    """Wait until a transaction waits for that one; asked anew each time, as a transaction sees the same list throughout."""
    async with asyncio.timeout(20):
        waiting = 0
        while not waiting:
            async with database.system() as connection:
                waiting = await connection.fetchval(
                    "SELECT count(*) FROM pg_stat_activity WHERE $1::int = ANY(pg_blocking_pids(pid))",
                    backend,
                )


@pytest.mark.parametrize("write", ["extend", "save_progress", "finish", "give_back", "bury"])
async def test_whoever_lost_the_lease_writes_nothing(jobs, database, write):
    await jobs.enqueue(job())
    (stale,) = await jobs.claim(WORKER)
    await expire(database)
    (owner,) = await jobs.claim(OTHER)
    before = await rows(database, "*")
    calls = {
        "extend": lambda: jobs.extend(stale),
        "save_progress": lambda: jobs.save_progress(stale, {"page": 9}),
        "finish": lambda: jobs.finish(stale),
        "give_back": lambda: jobs.give_back(stale, after=0, reason="x", counts=True),
        "bury": lambda: jobs.bury(stale, "x"),
    }
    with pytest.raises(LeaseLostError):
        await calls[write]()
    assert await rows(database, "*") == before
    await jobs.finish(owner)


async def test_the_same_worker_after_its_own_lease_ran_out_is_fenced_by_the_attempt(jobs, database):
    await jobs.enqueue(job())
    (stale,) = await jobs.claim(WORKER)
    await expire(database)
    (again,) = await jobs.claim(WORKER)
    assert again.attempt == 2
    with pytest.raises(LeaseLostError):
        await jobs.finish(stale)


async def test_a_job_that_kills_its_worker_runs_out_of_attempts(jobs, database):
    await jobs.enqueue(job(max_attempts=3))
    for _ in range(3):
        assert len(await jobs.claim(WORKER)) == 1
        await expire(database)
    assert await jobs.claim(WORKER) == []
    assert await rows(database) == [("dead", 3, "its worker died on the last attempt")]


async def test_progress_and_the_uncounted_attempt_survive(jobs):
    await jobs.enqueue(job())
    (first,) = await jobs.claim(WORKER)
    await jobs.save_progress(first, {"page": 4})
    await jobs.give_back(first, after=0, reason="a pause", counts=False)
    (second,) = await jobs.claim(WORKER)
    assert (second.attempt, second.progress) == (1, {"page": 4})


async def test_the_lease_is_kept_by_extending(jobs, database):
    quick = Jobs(database, lease=timedelta(seconds=0.3))
    await quick.enqueue(job())
    (mine,) = await quick.claim(WORKER)
    for _ in range(4):
        await asyncio.sleep(0.15)
        await quick.extend(mine)
        assert await quick.claim(OTHER) == []
    await quick.finish(mine)


async def test_depth_counts_lanes_and_the_oldest_that_waits(jobs, database):
    await jobs.enqueue(job(), job(lane=Lane.BACKFILL, after=60))
    async with database.system() as connection:
        await connection.execute("UPDATE jobs SET run_at = now() - interval '90 seconds' WHERE lane = 0")
    depth = {(item.lane, item.state): item for item in await jobs.depth()}
    assert 90 <= depth[Lane.WEBHOOK, "ready"].oldest < 100
    assert depth[Lane.BACKFILL, "ready"].oldest == 0


async def test_the_dead_are_forgotten_with_their_raw_events(jobs, database):
    delivery = Delivery(uuid4(), "issues", "opened", 1, 2, b"{}")
    await Inbox(database).accept(delivery, NewJob("delivery", Lane.WEBHOOK, delivery_id=delivery.id))
    (item,) = await jobs.claim(WORKER, limit=1)
    await jobs.bury(item, "broken")

    async def left(days):
        async with database.system() as connection:
            await connection.execute("UPDATE jobs SET ended_at = now() - make_interval(days => $1)", days)
        await jobs.purge(timedelta(days=7))
        async with database.system() as connection:
            return await connection.fetchval("SELECT count(*) FROM deliveries")

    assert await left(27) == 1
    assert await left(29) == 0
    assert await rows(database) == []


async def test_what_is_done_is_forgotten_after_its_time(jobs, database):
    await jobs.enqueue(job(), job(), job())
    for item in await jobs.claim(WORKER, limit=2):
        await jobs.finish(item)
    async with database.system() as connection:
        await connection.execute(
            "UPDATE jobs SET ended_at = now() - interval '8 days' WHERE id = (SELECT min(id) FROM jobs)"
        )
    await jobs.purge(timedelta(days=7))
    assert [row[0] for row in await rows(database)] == ["done", "ready"]


async def dead(jobs, *new, reason="broken"):
    """Jobs that were buried; returns their ids."""
    await jobs.enqueue(*new)
    claimed = await jobs.claim(WORKER, limit=len(new))
    for item in claimed:
        await jobs.bury(item, reason)
    return [item.id for item in claimed]


async def test_the_operator_sees_what_a_dead_job_was_about(jobs, database):
    name = RepositoryName(7, "octo", "app", private=False)
    await Accounts(database).install(Account(1, "octo", "User", "free"), 10, [name])
    delivery = Delivery(uuid4(), "issues", "opened", 10, 7, b"{}")
    await Inbox(database).accept(delivery, NewJob("delivery", Lane.WEBHOOK, delivery_id=delivery.id))
    (first,) = await jobs.claim(WORKER)
    await jobs.bury(first, "broken")
    await dead(jobs, job("index_repository", account_id=1, payload={"repository_id": 7}), job("other"))
    last, index, hook = await jobs.view()
    assert (hook.event, hook.account, hook.repository, hook.reason) == (
        "issues.opened",
        "octo",
        "octo/app",
        "broken",
    )
    assert (index.kind, index.repository, index.event) == ("index_repository", "octo/app", None)
    assert (last.account, last.repository) == (None, None)
    assert [item.id for item in await jobs.view(hook.id)] == [hook.id]
    assert await jobs.view(limit=1) == [last]


async def test_a_dead_job_that_is_tried_again_has_its_delivery_and_all_attempts(jobs, database):
    delivery = Delivery(uuid4(), "issues", "opened", 1, 2, b"{}")
    await Inbox(database).accept(delivery, NewJob("delivery", Lane.WEBHOOK, delivery_id=delivery.id))
    (item,) = await jobs.claim(WORKER)
    await jobs.bury(item, "broken")
    (other,) = await dead(jobs, job(dedupe="k"))
    await jobs.enqueue(job("alive", dedupe="k", after=3_600))
    assert await jobs.retry(item.id) == [item.id]
    assert await jobs.retry(item.id) == []
    (again,) = await jobs.claim(WORKER, limit=9)
    assert (again.id, again.attempt) == (item.id, 1)
    assert (await Inbox(database).read(again)).id == delivery.id
    assert await jobs.retry() == [other]


async def test_a_job_that_the_operator_buries_is_taken_from_its_worker(jobs, database):
    await jobs.enqueue(job())
    (item,) = await jobs.claim(WORKER)
    assert await jobs.bury_by_hand(item.id, "enough")
    assert not await jobs.bury_by_hand(item.id, "enough")
    with pytest.raises(LeaseLostError):
        await jobs.finish(item)
    assert await rows(database) == [("dead", 1, "enough")]


async def age(database, minutes):
    async with database.system() as connection:
        ago = timedelta(minutes=minutes)
        await connection.execute("UPDATE jobs SET enqueued_at = enqueued_at - $1::interval", ago)


async def test_an_account_is_stuck_where_its_work_only_fails(jobs, database):
    await jobs.enqueue(job(account_id=1), job(account_id=2), job("later", account_id=3, after=3_600))
    for item in await jobs.claim(WORKER, limit=9):
        await jobs.give_back(item, after=600, reason=f"no {item.account_id}", counts=True)
    assert await jobs.stuck() == []
    await age(database, 16)
    assert [(item.account_id, item.repository) for item in await jobs.stuck()] == [(1, None), (2, None)]
    assert (await jobs.stuck())[0].why == "1 jobs wait and none ended well; the last says: no 1"
    await jobs.enqueue(job(account_id=1))
    (fine,) = await jobs.claim(WORKER, limit=9)
    await jobs.finish(fine)
    assert [item.account_id for item in await jobs.stuck()] == [2]


async def test_a_repository_is_stuck_where_nobody_makes_its_index(jobs, database):
    name = RepositoryName(7, "octo", "app", private=False)
    await Accounts(database).install(Account(1, "octo", "User", "free"), 10, [name])
    assert await jobs.stuck() == []
    async with database.system() as connection:
        await connection.execute("UPDATE repositories SET added_at = now() - interval '16 minutes'")
    (found,) = await jobs.stuck()
    assert (found.account, found.repository, found.why) == (
        "octo",
        "octo/app",
        "it is pending and no job makes its index",
    )
    await jobs.enqueue(job("index_repository", account_id=1, payload={"repository_id": 7}))
    assert await jobs.stuck() == []
