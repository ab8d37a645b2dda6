import asyncio
from datetime import timedelta

import asyncpg
import pytest

from bot.core.access import UsageTotal
from storage.usage import Usage


async def totals(database, account_id):
    async with database.account(account_id) as connection:
        rows = await connection.fetch(
            "SELECT metric, amount, day = (now() AT TIME ZONE 'UTC')::date AS today FROM usage"
        )
    return {row["metric"]: row["amount"] for row in rows if row["today"]}


async def test_counts_add_up_however_many_count_at_once(database):
    usage = Usage(database)
    await asyncio.gather(*(usage.add(account, "commands", n) for n in range(20) for account in (1, 2)))
    await usage.add(1, "comments")
    assert await totals(database, 1) == {"commands": 190, "comments": 1}
    assert await totals(database, 2) == {"commands": 190}


async def test_nothing_is_counted_for_nothing(database):
    await Usage(database).add(1, "indexed_issues", 0)
    assert await totals(database, 1) == {}


async def test_an_unknown_metric_is_refused(database):
    with pytest.raises(asyncpg.CheckViolationError):
        await Usage(database).add(1, "typo")


async def test_totals_are_forgotten_after_their_time(database):
    usage = Usage(database)
    for account in (1, 2):
        await usage.add(account, "commands")
        async with database.account(account) as connection:
            await connection.execute(
                "INSERT INTO usage (account_id, day, metric, amount) VALUES ($1, (now() - interval '397 days')::date, 'commands', 7)",
                account,
            )
    await usage.purge(timedelta(days=396))
    for account in (1, 2):
        async with database.account(account) as connection:
            assert await connection.fetchval("SELECT sum(amount) FROM usage") == 1


async def test_usage_is_read_by_day(database):
    usage = Usage(database)
    await usage.add(1, "commands", 3)
    async with database.account(1) as connection:
        today = await connection.fetchval(
            "INSERT INTO usage SELECT 1, (now() AT TIME ZONE 'UTC')::date - n, 'api_calls', n + 1 FROM generate_series(0, 40) n"
            " RETURNING (now() AT TIME ZONE 'UTC')::date"
        )
    assert await usage.read(1, 2) == [
        UsageTotal(today, "api_calls", 1),
        UsageTotal(today, "commands", 3),
        UsageTotal(today - timedelta(days=1), "api_calls", 2),
    ]
    assert len(await usage.read(1, 30)) == 31
    assert await usage.read(2, 30) == []
