import asyncio
from datetime import timedelta

import pytest

from bot.core.access import Taken
from bot.core.records import Account
from storage.accounts import Accounts
from storage.call_windows import CallWindows
from storage.database import Database
from storage.usage import Usage


@pytest.fixture
def windows(database):
    return CallWindows(database)


async def shift(database, seconds, key="k"):
    """Let every call have been made so long ago."""
    async with database.system() as connection:
        await connection.execute(
            "UPDATE call_windows SET calls = ARRAY(SELECT call - $2::interval FROM unnest(calls) AS call) WHERE key = $1",
            key,
            timedelta(seconds=seconds),
        )


async def test_a_limit_is_counted_down_and_then_holds(windows):
    first = await windows.take("k", 3)
    assert (first.allowed, first.limit, first.remaining, first.retry_after) == (True, 3, 2, 0)
    await windows.take("k", 3)
    third = await windows.take("k", 3)
    assert (third.allowed, third.remaining) == (True, 0)
    refused = await windows.take("k", 3)
    assert (refused.allowed, refused.remaining) == (False, 0)
    assert 0 < refused.retry_after <= refused.reset_seconds <= 60
    assert (await windows.take("other", 3)).allowed


async def test_a_call_is_allowed_again_when_the_first_leaves_the_window_and_not_before(windows, database):
    await windows.take("k", 2)
    await shift(database, 40)
    await windows.take("k", 2)
    refused = await windows.take("k", 2)
    assert not refused.allowed
    assert refused.retry_after <= 20 < refused.reset_seconds
    await shift(database, refused.retry_after)
    assert (await windows.take("k", 2)).allowed
    assert not (await windows.take("k", 2)).allowed


async def test_what_was_refused_does_not_count(windows, database):
    await windows.take("k", 1)
    await shift(database, 30)
    for _ in range(5):
        assert (await windows.take("k", 1)).retry_after <= 30
    await shift(database, 30)
    assert (await windows.take("k", 1)).allowed


async def test_the_window_slides_so_that_no_minute_has_more_than_the_limit(windows, database):
    """Ten at the end of one minute leave no room for ten at the beginning of the next."""
    for _ in range(10):
        await windows.take("k", 10)
    for _ in range(5):
        await shift(database, 11)
        assert not (await windows.take("k", 10)).allowed
    await shift(database, 5)
    assert [(await windows.take("k", 10)).allowed for _ in range(11)] == [True] * 10 + [False]


async def test_a_smaller_limit_holds_at_once(windows, database):
    for _ in range(10):
        await windows.take("k", 100)
        await shift(database, 1)
    refused = await windows.take("k", 3)
    assert (refused.allowed, refused.remaining) == (False, 0)
    # The three latest calls are 1, 2 and 3 seconds old: the limit has room when the third of them leaves.
    assert 56 <= refused.retry_after <= 57 < refused.reset_seconds + 1


async def test_a_clock_that_was_set_back_far_blocks_nobody(windows, database):
    await windows.take("k", 1)
    await shift(database, -3_600)
    assert (await windows.take("k", 1)).allowed
    await shift(database, -30)
    assert not (await windows.take("k", 1)).allowed


async def test_a_look_takes_nothing(windows, database):
    assert await windows.peek("k", 2) == Taken(True, 2, 2, 0, 0)
    await windows.take("k", 2)
    assert [(await windows.peek("k", 2)).remaining for _ in range(3)] == [1, 1, 1]
    await windows.take("k", 2)
    blocked = await windows.peek("k", 2)
    assert (blocked.allowed, blocked.remaining) == (False, 0)
    assert 0 < blocked.retry_after <= 60
    await shift(database, 60)
    assert await windows.peek("k", 2) == Taken(True, 2, 2, 0, 0)


async def test_of_two_hundred_calls_at_once_over_two_pools_exactly_the_limit_passes(database_url):
    pools = [await Database.connect(database_url, size=4) for _ in range(2)]
    taken = await asyncio.gather(*(CallWindows(pools[n % 2]).take("k", 50) for n in range(200)))
    assert sum(item.allowed for item in taken) == 50
    assert sorted(item.remaining for item in taken if item.allowed) == list(range(50))
    for pool in pools:
        await pool.close()


async def test_of_calls_of_an_account_exactly_the_limit_passes_and_is_counted_as_usage(database_url):
    pools = [await Database.connect(database_url, size=4) for _ in range(2)]
    await Accounts(pools[0]).install(Account(1, "octo", "User", "free"), 10, [])
    taken = await asyncio.gather(*(CallWindows(pools[n % 2]).take_call(1) for n in range(60)))
    assert sum(item.allowed for item in taken) == 10
    assert {item.limit for item in taken} == {10}
    totals = await Usage(pools[0]).read(1, 2)
    assert [(item.metric, item.amount) for item in totals] == [("api_calls", 10)]
    for pool in pools:
        await pool.close()


async def test_the_eleventh_call_on_free_is_refused_and_an_upgrade_holds_at_once(windows, database):
    accounts = Accounts(database)
    await accounts.install(Account(1, "octo", "User", "free"), 10, [])
    await accounts.install(Account(2, "cat", "User", "free"), 20, [])
    assert [(await windows.take_call(1)).allowed for _ in range(11)] == [True] * 10 + [False]
    assert (await windows.take_call(2)).allowed
    await accounts.set_tier(1, "pro")
    more = await windows.take_call(1)
    assert (more.allowed, more.limit, more.remaining) == (True, 100, 89)


@pytest.mark.parametrize(("tier", "limit"), [("free", 10), ("enterprise", 1_000)])
async def test_an_account_that_is_not_known_has_the_default_tier(database, tier, limit):
    windows = CallWindows(database, default_tier=tier)
    assert (await windows.take_call(404)).limit == limit


async def test_the_largest_limit_is_exact_too(windows, database):
    async with database.system() as connection:
        await connection.execute(
            "INSERT INTO call_windows (key, calls, allowed, seen_at) SELECT 'k', array_agg(now() - n * interval '1 ms'"
            " ORDER BY n DESC), true, now() FROM generate_series(1, 999) AS n"
        )
    assert [(await windows.take("k", 1_000)).remaining for _ in range(2)] == [0, 0]
    assert not (await windows.peek("k", 1_000)).allowed


async def test_an_account_reaches_its_own_window_alone(windows, database):
    await windows.take_call(1)
    await windows.take("address:203.0.113.7", 5)
    async with database.account(2) as connection:
        assert await connection.fetch("SELECT * FROM call_windows") == []
        assert await connection.execute("UPDATE call_windows SET calls = '{}'") == "UPDATE 0"
    async with database.account(1) as connection:
        assert await connection.fetchval("SELECT array_agg(key) FROM call_windows") == ["account:1"]
