import asyncio
from contextlib import asynccontextmanager

import asyncpg
from structlog.testing import capture_logs

from bot.core.records import Lane, NewJob
from storage import listen as module
from storage.jobs import Jobs
from storage.listen import listen

LISTENERS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'deja-view listener'"


@asynccontextmanager
async def listening(url):
    hint = asyncio.Event()
    task = asyncio.create_task(listen(url, hint))
    try:
        yield hint
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def heard(hint, seconds=5.0):
    """Whether the hint comes in time; it is cleared again."""
    try:
        await asyncio.wait_for(hint.wait(), seconds)
    except TimeoutError:
        return False
    hint.clear()
    return True


async def test_a_new_job_is_a_hint_at_once(database, database_url):
    async with listening(database_url) as hint:
        assert await heard(hint)  # it listens: what came before may have been missed
        assert not await heard(hint, 0.2)
        await Jobs(database).enqueue(NewJob("t", Lane.WEBHOOK))
        assert await heard(hint)


async def test_other_channels_are_no_hint(database, database_url):
    async with listening(database_url) as hint:
        assert await heard(hint)
        async with database.system() as connection:
            await connection.execute("NOTIFY other")
        assert not await heard(hint, 0.2)


async def test_a_lost_connection_is_made_again(database, database_url, monkeypatch):
    monkeypatch.setattr(module, "LIVENESS", 0.1)
    owner = await asyncpg.connect(database_url)
    async with listening(database_url) as hint:
        assert await heard(hint)
        first = await owner.fetchval(LISTENERS)
        with capture_logs() as logs:
            await owner.execute("SELECT pg_terminate_backend($1)", first)
            assert await heard(hint)  # again: what was missed meanwhile
        assert "listener_lost" in [line["event"] for line in logs]
        assert await owner.fetchval(LISTENERS) != first
        await Jobs(database).enqueue(NewJob("t", Lane.WEBHOOK))
        assert await heard(hint)
    await owner.close()


async def test_one_connection_is_used_and_given_back(database_url):
    owner = await asyncpg.connect(database_url)
    async with listening(database_url) as hint:
        assert await heard(hint)
        assert len(await owner.fetch(LISTENERS)) == 1
    async with asyncio.timeout(5):
        while await owner.fetch(LISTENERS):
            await asyncio.sleep(0.02)
    await owner.close()


async def test_a_connection_that_is_lost_again_and_again_makes_no_storm(database_url, monkeypatch):
    waits, sleep, tried = [], asyncio.sleep, []

    async def quick(seconds):
        waits.append(seconds)
        await sleep(0)

    async def lost(connection):
        tried.append(connection)
        raise asyncpg.FeatureNotSupportedError("LISTEN is not for you")

    monkeypatch.setattr(module.asyncio, "sleep", quick)
    monkeypatch.setattr(module, "stay_alive", lost)
    async with listening(database_url):
        while len(waits) < 4:
            await sleep(0.01)
    assert waits[:4] == [0.5, 1, 2, 4]
    assert all(connection.is_closed() for connection in tried)


async def test_a_server_that_is_not_there_is_tried_again_ever_more_slowly(monkeypatch):
    waits, sleep = [], asyncio.sleep

    async def quick(seconds):
        waits.append(seconds)
        await sleep(0)

    monkeypatch.setattr(module.asyncio, "sleep", quick)
    async with listening("postgresql://u@127.0.0.1:1/x"):
        while len(waits) < 9:
            await sleep(0.01)
    assert waits[:9] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
