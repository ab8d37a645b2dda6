import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from bot.core.periodic import Periodic as Kind
from storage.jobs import Jobs
from storage.periodic import Periodic

NOW = datetime(2024, 3, 1, tzinfo=UTC)
KIND = Kind("t", 300)


@pytest.fixture
def periodic(database):
    return Periodic(database)


async def fall_due(database):
    async with database.system() as connection:
        await connection.execute("UPDATE periodic SET due_at = now()")


async def queued(database):
    async with database.system() as connection:
        return await connection.fetchval("SELECT count(*) FROM jobs")


async def test_a_kind_that_was_never_seen_waits_for_its_first_turn(periodic, database):
    assert not await periodic.take(KIND, NOW)
    assert await queued(database) == 0
    await fall_due(database)
    assert await periodic.take(KIND, NOW)
    assert not await periodic.take(KIND, NOW)
    assert await queued(database) == 1


async def test_of_many_processes_one_takes_the_turn(periodic, database):
    await periodic.take(KIND, NOW)
    await fall_due(database)
    taken = await asyncio.gather(*(Periodic(database).take(KIND, NOW) for _ in range(8)))
    assert sum(taken) == 1
    assert await queued(database) == 1


async def test_a_turn_that_still_waits_or_runs_is_not_doubled(periodic, database):
    await periodic.take(KIND, NOW)
    jobs = Jobs(database)
    for _ in range(3):
        await fall_due(database)
        await periodic.take(KIND, NOW)
    assert await queued(database) == 1
    (running,) = await jobs.claim(uuid4(), limit=5)
    await fall_due(database)
    assert await periodic.take(KIND, NOW)
    assert await jobs.claim(uuid4(), limit=5) == []
    await jobs.finish(running)
    assert len(await jobs.claim(uuid4(), limit=5)) == 1


async def test_what_a_turn_left_is_kept_and_its_age_told(periodic, database):
    assert await periodic.progress("t") == {}
    await periodic.take(KIND, NOW)
    async with database.system() as connection:
        await connection.execute("UPDATE periodic SET done_at = now() - interval '1 hour'")
    assert (await periodic.ages())["t"] >= 3_600
    await periodic.done("t", {"cursor": "c"})
    assert await periodic.progress("t") == {"cursor": "c"}
    assert (await periodic.ages())["t"] < 3_600
    assert not await periodic.take(KIND, NOW)
    await periodic.done("t", {}, more=True)
    assert await periodic.take(KIND, NOW)
