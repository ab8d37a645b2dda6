import asyncio
import itertools
from datetime import timedelta

import pytest

from bot.core.access import Taken
from bot.core.records import Account
from storage.accounts import Accounts
from storage.call_windows import CallWindows
from storage.database import Database
from storage.usage import Usage

ACCOUNTS = itertools.count(1)


@pytest.fixture
def windows(shared):
    return CallWindows(shared)


@pytest.fixture
def key(request):
    """A window of the test's own."""
    return f"address:{request.node.name}"


@pytest.fixture
async def account(shared):
    """An account of the test's own, on Free."""
    n = next(ACCOUNTS)
    await Accounts(shared).install(Account(n, f"octo{n}", "User", "free"), n, [])
    return n


async def shift(database, seconds, key):
    """Let every call have been made so long ago."""
    async with database.system() as connection:
        await connection.execute(
            "UPDATE call_windows SET calls = ARRAY(SELECT call - $2::interval FROM unnest(calls) AS call) WHERE key = $1",
            key,
            timedelta(seconds=seconds),
        )


async def test_a_limit_is_counted_down_and_then_holds(windows, key):
    first = await windows.take(key, 3)
    assert (first.allowed, first.limit, first.remaining, first.retry_after) == (True, 3, 2, 0)
    await windows.take(key, 3)
    third = await windows.take(key, 3)
    assert (third.allowed, third.remaining) == (True, 0)
    refused = await windows.take(key, 3)
    assert (refused.allowed, refused.remaining) == (False, 0)
    assert 0 < refused.retry_after <= refused.reset_seconds <= 60
    assert (await windows.take(f"{key}/other", 3)).allowed


async def test_a_call_is_allowed_again_when_the_first_leaves_the_window_and_not_before(windows, shared, key):
    await windows.take(key, 2)
    await shift(shared, 40, key)
    await windows.take(key, 2)
    refused = await windows.take(key, 2)
    assert not refused.allowed
    assert refused.retry_after <= 20 < refused.reset_seconds
    await shift(shared, refused.retry_after, key)
    assert (await windows.take(key, 2)).allowed
    assert not (await windows.take(key, 2)).allowed


async def test_what_was_refused_does_not_count(windows, shared, key):
    await windows.take(key, 1)
    await shift(shared, 30, key)
    for _ in range(5):
        assert (await windows.take(key, 1)).retry_after <= 30
    await shift(shared, 30, key)
    assert (await windows.take(key, 1)).allowed


async def test_the_window_slides_so_that_no_minute_has_more_than_the_limit(windows, shared, key):
    """Ten at the end of one minute leave no room for ten at the beginning of the next."""
    for _ in range(10):
        await windows.take(key, 10)
    for _ in range(5):
        await shift(shared, 9, key)
        assert not (await windows.take(key, 10)).allowed
    await shift(shared, 15, key)
    assert [(await windows.take(key, 10)).allowed for _ in range(11)] == [True] * 10 + [False]


async def test_a_smaller_limit_holds_at_once(windows, shared, key):
    for _ in range(10):
        await windows.take(key, 100)
        await shift(shared, 1, key)
    refused = await windows.take(key, 3)
    assert (refused.allowed, refused.remaining) == (False, 0)
    # There is room when the third of the latest three leaves, not when the first of all does.
    assert 0 < refused.retry_after < refused.reset_seconds
    await shift(shared, refused.retry_after, key)
    assert (await windows.take(key, 3)).allowed


async def test_a_clock_that_was_set_back_far_blocks_nobody(windows, shared, key):
    await windows.take(key, 1)
    await shift(shared, -3_600, key)
    assert (await windows.take(key, 1)).allowed
    await shift(shared, -30, key)
    assert not (await windows.take(key, 1)).allowed


async def test_a_look_takes_nothing(windows, shared, key):
    assert await windows.peek(key, 2) == Taken(True, 2, 2, 0, 0)
    await windows.take(key, 2)
    assert [(await windows.peek(key, 2)).remaining for _ in range(3)] == [1, 1, 1]
    await windows.take(key, 2)
    blocked = await windows.peek(key, 2)
    assert (blocked.allowed, blocked.remaining) == (False, 0)
    assert 0 < blocked.retry_after <= 60
    await shift(shared, 60, key)
    assert await windows.peek(key, 2) == Taken(True, 2, 2, 0, 0)


@pytest.mark.parametrize("whose", ["account", "address"])
async def test_a_call_that_waited_for_others_counts_from_when_it_was_allowed(
    windows, shared, key, account, whose
):
    def take():
        return windows.take_call(account) if whose == "account" else windows.take(key, 2)

    row = f"account:{account}" if whose == "account" else key
    await take()
    async with shared.system() as connection:
        await connection.execute("SELECT FROM call_windows WHERE key = $1 FOR UPDATE", row)
        waiting = asyncio.create_task(take())
        done, _ = await asyncio.wait([waiting], timeout=0.2)
        assert not done
        released = await connection.fetchval("SELECT clock_timestamp()")
    assert (await waiting).allowed
    async with shared.system() as connection:
        assert await connection.fetchval("SELECT calls[2] FROM call_windows WHERE key = $1", row) > released


@pytest.fixture
async def elsewhere(shared_url):
    """Windows of another process."""
    database = await Database.connect(shared_url, size=4)
    yield CallWindows(database)
    await database.close()


async def test_of_two_hundred_calls_at_once_over_two_pools_exactly_the_limit_passes(windows, elsewhere, key):
    taken = await asyncio.gather(*((windows, elsewhere)[n % 2].take(key, 50) for n in range(200)))
    assert sum(item.allowed for item in taken) == 50
    assert sorted(item.remaining for item in taken if item.allowed) == list(range(50))


async def test_of_calls_of_an_account_exactly_the_limit_passes_and_is_counted_as_usage(
    windows, elsewhere, shared, account
):
    taken = await asyncio.gather(*((windows, elsewhere)[n % 2].take_call(account) for n in range(60)))
    assert sum(item.allowed for item in taken) == 10
    assert {item.limit for item in taken} == {10}
    totals = await Usage(shared).read(account, 2)
    assert {item.metric for item in totals} == {"api_calls"}
    assert sum(item.amount for item in totals) == 10


async def test_the_window_of_an_account_slides_like_any_other(windows, shared, account):
    key = f"account:{account}"
    await windows.take_call(account)
    await shift(shared, 30, key)
    for _ in range(9):
        await windows.take_call(account)
    refused = await windows.take_call(account)
    assert not refused.allowed
    assert 0 < refused.retry_after <= 30 < refused.reset_seconds
    await shift(shared, 30, key)
    assert [(await windows.take_call(account)).allowed for _ in range(2)] == [True, False]
    await shift(shared, -3_600, key)
    assert (await windows.take_call(account)).remaining == 9


async def test_an_upgrade_holds_at_once_and_for_no_other_account(windows, shared, account):
    assert [(await windows.take_call(account)).allowed for _ in range(11)] == [True] * 10 + [False]
    await Accounts(shared).set_tier(account, "pro")
    more = await windows.take_call(account)
    assert (more.allowed, more.limit, more.remaining) == (True, 100, 89)
    assert (await windows.take_call(404)).limit == 10


@pytest.mark.parametrize(("tier", "limit"), [("free", 10), ("enterprise", 1_000)])
async def test_an_account_that_is_not_known_has_the_default_tier(shared, tier, limit):
    assert (await CallWindows(shared, default_tier=tier).take_call(405)).limit == limit


async def test_the_largest_limit_is_exact_too(windows, shared, key):
    async with shared.system() as connection:
        await connection.execute(
            "INSERT INTO call_windows (key, calls, allowed, seen_at) SELECT $1, array_agg(now() - n * interval '1 ms'"
            " ORDER BY n DESC), true, now() FROM generate_series(1, 999) AS n",
            key,
        )
    assert [(await windows.take(key, 1_000)).remaining for _ in range(2)] == [0, 0]
    assert not (await windows.peek(key, 1_000)).allowed


async def test_an_account_reaches_its_own_window_alone(windows, shared, key, account):
    await windows.take_call(account)
    await windows.take(key, 5)
    async with shared.account(account) as connection:
        assert await connection.fetchval("SELECT array_agg(key) FROM call_windows") == [f"account:{account}"]
        assert await connection.execute("UPDATE call_windows SET calls = '{}'") == "UPDATE 1"
    assert (await windows.peek(key, 5)).remaining == 4
