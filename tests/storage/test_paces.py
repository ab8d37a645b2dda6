import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from bot.core.context import now
from bot.core.errors import RateLimitedError, StorageUnavailableError
from bot.core.pace import BUSY, THE_APP, Kind, WritePace
from storage import paces as module
from storage.database import Database
from storage.paces import Paces

INSTALLATION = 7
USUAL = WritePace()
LASTING = WritePace(lease=10_000.0)
"""Turns that do not run out while a busy machine makes a test wait."""


@pytest.fixture
async def two(database, database_url):
    """The paces of two processes: each with its pool."""
    other = await Database.connect(database_url, size=3)
    yield Paces(database), Paces(other)
    await other.close()


@pytest.fixture
def at(database):
    """Lets time pass for an installation: what happened was so many seconds earlier."""

    async def pass_by(seconds):
        async with database.system() as connection:
            await connection.execute(
                """
                UPDATE paces SET held_until = held_until - $1::interval, comment_at = comment_at - $1::interval,
                    place = place - $1::interval, resume_at = resume_at - $1::interval,
                    ended = (SELECT coalesce(array_agg(one - $1::interval ORDER BY n), '{}')
                             FROM unnest(ended) WITH ORDINALITY AS each (one, n))""",
                timedelta(seconds=seconds),
            )

    return pass_by


def limit(seconds, *, secondary=True):
    return RateLimitedError(
        "x",
        status=403,
        retry_after=seconds,
        resume_at=now() + timedelta(seconds=seconds),
        secondary=secondary,
    )


async def taken(paces, kind=Kind.COMMENT, patience=0.0, pace=USUAL, installation=INSTALLATION):
    """Ask for a turn: its holder, or how long to wait."""
    holder = uuid4()
    wait = await paces.take(installation, holder, kind, pace, patience)
    return holder if wait is None else wait.seconds


async def written(paces, kind=Kind.COMMENT, installation=INSTALLATION):
    holder = await taken(paces, kind, installation=installation)
    await paces.end(installation, holder)


async def spacing(database):
    """Seconds from the end of the last write to the place that was given last."""
    async with database.system() as connection:
        return await connection.fetchval(
            "SELECT extract(epoch FROM place - ended[cardinality(ended)])::float FROM paces"
        )


async def rows(database):
    async with database.system() as connection:
        return [row["installation_id"] for row in await connection.fetch("SELECT * FROM paces")]


async def test_while_one_process_writes_another_waits(two, at):
    here, there = two
    holder = await taken(here, pace=LASTING)
    await at(10)
    assert await taken(there, patience=60.0) == BUSY
    await here.end(INSTALLATION, holder)
    await at(10)
    assert not isinstance(await taken(there), float)


async def test_the_turn_of_a_write_that_takes_long_stays_its_own(two, at):
    here, there = two
    holder = await taken(here, pace=LASTING)
    await at(6_000)
    assert await here.renew(INSTALLATION, holder, LASTING.lease)
    await at(6_000)
    assert await taken(there, patience=60.0) == BUSY


async def test_a_process_that_died_holds_the_others_up_for_a_lease_at_the_most(two, at):
    here, there = two
    dead = await taken(here)
    await at(USUAL.lease + 0.1)
    holder = await taken(there)
    assert not await here.renew(INSTALLATION, dead, USUAL.lease)
    await here.end(INSTALLATION, dead)  # it was only slow: nothing of the other's is ended
    assert await there.renew(INSTALLATION, holder, USUAL.lease)


async def test_of_twenty_at_once_one_has_its_turn(two):
    results = await asyncio.gather(*(taken(two[n % 2], Kind.WRITE, pace=LASTING) for n in range(20)))
    assert len([item for item in results if isinstance(item, float)]) == 19


async def test_a_write_counts_from_its_end(two, at, database):
    here, there = two
    holder = await taken(here, pace=LASTING)
    await at(1_000)
    await here.end(INSTALLATION, holder)
    await at(-1_000)
    assert await taken(there) > 900
    assert await spacing(database) == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("first", "second", "seconds"),
    [
        (Kind.COMMENT, Kind.COMMENT, 3.0),
        (Kind.COMMENT, Kind.WRITE, 1.0),
        (Kind.WRITE, Kind.COMMENT, 1.0),
        (Kind.WRITE, Kind.WRITE, 1.0),
    ],
)
async def test_how_long_one_process_waits_after_another(two, at, database, first, second, seconds):
    """The first write is moved into the time to come, so that no time that passes here is part of it."""
    await written(two[0], first)
    await at(-1_000)
    await taken(two[1], second)
    assert await spacing(database) == pytest.approx(seconds)


async def test_an_hour_of_two_processes_stays_within_every_limit(two, at):
    """Both write as fast as they are let, by turns; time passes by hand. The limits are smaller, so that it is quick."""
    pace, skipped, times = WritePace(per_minute=3, per_hour=12), 0.0, []
    for n in range(60):
        answer = await taken(two[n % 2], Kind.COMMENT, patience=10_000.0, pace=pace)
        if isinstance(answer, float):
            skipped += answer
            await at(answer)
        else:
            times.append(skipped + asyncio.get_running_loop().time())
            await two[n % 2].end(INSTALLATION, answer)
    assert len(times) > 24
    for window, most in ((3.0, 1), (60.0, 3), (3_600.0, 12)):
        assert all(
            later - earlier >= window - 0.01 for earlier, later in zip(times, times[most:], strict=False)
        )


async def test_those_who_have_to_come_back_are_given_other_moments_by_any_process(two, at, database):
    await written(two[0])
    await at(-1_000)
    places = []
    for n in range(4):
        await taken(two[n % 2])
        places.append(await spacing(database))
    assert places == pytest.approx([3.0, 6.0, 9.0, 12.0])


async def test_installations_do_not_wait_for_each_other(two):
    for installation in (8, 9):
        await written(two[0], installation=installation)
        assert not isinstance(await taken(two[1], installation=installation + 10), float)


@pytest.mark.parametrize("secondary", [True, False])
async def test_a_pause_holds_for_every_process_and_after_a_restart(two, database, secondary):
    here, there = two
    told = await here.add(INSTALLATION, limit(9_000.0, secondary=secondary))
    for paces in (here, there, Paces(database)):
        pause = await paces.get(INSTALLATION)
        assert abs(pause.resume_at - told.resume_at) < timedelta(seconds=100)
        assert (pause.length, pause.secondary) == (pytest.approx(9_000.0, abs=100.0), secondary)
        wait = await paces.take(INSTALLATION, uuid4(), Kind.WRITE, USUAL, 0.0)
        assert wait.seconds == pytest.approx(9_000.0, abs=100.0)
        assert wait.pause.secondary is secondary


async def test_the_app_s_own_pause_is_kept_beside_those_of_installations(two):
    here, there = two
    await here.add(THE_APP, limit(9_000.0))
    assert (await there.get(THE_APP)).length == pytest.approx(9_000.0, abs=100.0)
    assert await there.get(INSTALLATION) is None


async def test_a_write_learns_of_a_pause_that_its_process_thinks_there_is_none_of(two):
    here, there = two
    assert await here.get(INSTALLATION) is None
    await there.add(INSTALLATION, limit(9_000.0))
    assert (await here.take(INSTALLATION, uuid4(), Kind.WRITE, USUAL, 0.0)).pause is not None
    assert await here.get(INSTALLATION) is not None


async def test_a_secondary_limit_that_comes_back_doubles_the_pause_whoever_was_told(two, at):
    here, there = two
    await here.add(INSTALLATION, limit(600.0))
    await at(700)
    assert (await there.add(INSTALLATION, limit(600.0))).length == pytest.approx(1_200.0, abs=60.0)


async def test_of_two_told_at_once_the_longer_pause_holds(two):
    await asyncio.gather(two[0].add(INSTALLATION, limit(2_000.0)), two[1].add(INSTALLATION, limit(600.0)))
    wait = await two[1].take(INSTALLATION, uuid4(), Kind.WRITE, USUAL, 0.0)
    assert wait.seconds == pytest.approx(2_000.0, abs=100.0)


@pytest.fixture
def asked(monkeypatch):
    """How often PostgreSQL was asked for anything."""
    count, transaction = [], Database._transaction

    def counting(self, scope):
        count.append(scope)
        return transaction(self, scope)

    monkeypatch.setattr(Database, "_transaction", counting)
    return count


async def test_what_is_fresh_is_not_asked_again(database, asked):
    time = [0.0]
    paces = Paces(database, lambda: time[0])
    for _ in range(100):
        assert await paces.get(INSTALLATION) is None
    assert len(asked) == 1
    time[0] = module.FRESH
    await paces.get(INSTALLATION)
    assert len(asked) == 2


async def test_a_pause_that_holds_is_not_asked_for_again(database, asked):
    time = [0.0]
    paces = Paces(database, lambda: time[0])
    await paces.add(INSTALLATION, limit(9_000.0))
    before, time[0] = len(asked), 60.0
    assert await paces.get(INSTALLATION) is not None
    assert len(asked) == before


async def test_another_process_s_pause_is_known_within_a_second(two, monkeypatch):
    here, there = two
    assert await here.get(INSTALLATION) is None
    await there.add(INSTALLATION, limit(9_000.0))
    monkeypatch.setattr(module, "FRESH", 0.0)
    assert await here.get(INSTALLATION) is not None


async def test_what_is_remembered_of_many_installations_is_bounded(database, monkeypatch):
    monkeypatch.setattr(module, "REMEMBERED", 3)
    paces = Paces(database)
    for installation in range(1, 9):
        await paces.get(installation)
    assert len(paces._known) <= 3


async def test_without_postgresql_nothing_is_written_and_a_pause_is_kept_here(database):
    paces = Paces(database)
    await database.close()
    with pytest.raises(StorageUnavailableError):
        await paces.take(INSTALLATION, uuid4(), Kind.WRITE, USUAL, 0.0)
    with pytest.raises(StorageUnavailableError):
        await paces.get(INSTALLATION)
    await paces.add(INSTALLATION, limit(9_000.0))
    assert await paces.get(INSTALLATION) is not None


async def test_writes_of_more_than_an_hour_ago_are_forgotten(two, at, database):
    await written(two[0])
    await at(3_601)
    await written(two[1])
    async with database.system() as connection:
        assert await connection.fetchval("SELECT cardinality(ended) FROM paces") == 1


async def test_what_decides_over_nothing_any_more_is_purged(database, at):
    paces = Paces(database)
    await written(paces, installation=1)
    await paces.add(2, limit(60.0))
    await taken(paces, installation=3)
    await at(3_650)
    await written(paces, installation=4)
    await paces.add(5, limit(6_000.0))
    await taken(paces, installation=6)
    await paces.purge()
    assert sorted(await rows(database)) == [4, 5, 6]
