import asyncio
import json
import os
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from bot.core.errors import DeadError, StorageUnavailableError
from bot.core.records import Delivery, Lane, NewJob
from storage.database import Database
from storage.inbox import LARGEST_BATCH, Inbox
from storage.jobs import Jobs


def delivery(body=b"{}", identifier: UUID | None = None, installation=None):
    return Delivery(identifier or uuid4(), "issues", "opened", installation, None, body)


def job(delivery):
    return NewJob("delivery", Lane.WEBHOOK, serial=f"s:{delivery.id}", delivery_id=delivery.id)


async def counts(database):
    async with database.system() as connection:
        return tuple(
            await connection.fetchrow("SELECT (SELECT count(*) FROM deliveries), (SELECT count(*) FROM jobs)")
        )


async def test_a_delivery_and_its_job_are_stored_together(database):
    inbox, arrived = Inbox(database), delivery(b'{"a": "\\u0000"}\xff')
    assert await inbox.accept(arrived, job(arrived))
    (claimed,) = await Jobs(database).claim(uuid4())
    assert (claimed.kind, claimed.delivery_id) == ("delivery", arrived.id)
    assert await inbox.read(claimed) == arrived


async def test_a_known_id_changes_nothing_even_with_another_body(database):
    inbox, first = Inbox(database), delivery(b"one")
    again = delivery(b"two", first.id)
    assert await inbox.accept(first, job(first))
    with capture_logs() as logs:
        assert not await inbox.accept(first, job(first))
        assert [line["event"] for line in logs] == []
        assert not await inbox.accept(again, job(again))
    assert [(line["event"], line["security"]) for line in logs] == [("delivery_id_reused", True)]
    assert "two" not in json.dumps(logs)
    assert await counts(database) == (1, 1)


async def test_the_same_id_a_hundred_times_at_once_is_one_row(database):
    inbox, arrived = Inbox(database), delivery()
    stored = await asyncio.gather(*(inbox.accept(arrived, job(arrived)) for _ in range(100)))
    assert sorted(stored) == [False] * 99 + [True]
    assert await counts(database) == (1, 1)


async def test_those_that_wait_are_committed_together(database):
    inbox = Inbox(database)
    commits = 0
    commit = inbox._commit

    async def counted(batch):
        nonlocal commits
        commits += 1
        await commit(batch)

    inbox._commit = counted
    arrived = [delivery(os.urandom(2_000)) for _ in range(200)]
    assert all(await asyncio.gather(*(inbox.accept(item, job(item)) for item in arrived)))
    assert await counts(database) == (200, 200)
    assert commits <= 200 / LARGEST_BATCH + 2


async def test_a_value_that_postgresql_refuses_does_not_take_the_others_along(database):
    inbox = Inbox(database)
    bad = Delivery(uuid4(), "iss\0ues", None, None, None, b"{}")
    good = [delivery() for _ in range(5)]
    results = await asyncio.gather(
        *(inbox.accept(item, job(item)) for item in (*good[:2], bad, *good[2:])), return_exceptions=True
    )
    assert [item is True for item in results] == [True, True, False, True, True, True]
    assert isinstance(results[2], StorageUnavailableError)
    assert await counts(database) == (5, 5)


async def test_a_caller_that_goes_away_does_not_take_the_others_along(database):
    inbox, items = Inbox(database), [delivery() for _ in range(3)]
    calls = [asyncio.create_task(inbox.accept(item, job(item))) for item in items]
    await asyncio.sleep(0)
    calls[1].cancel()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert results[0] is results[2] is True
    assert await counts(database) == (3, 3)


async def test_without_postgresql_nothing_is_acknowledged_and_later_it_goes_on(database_url):
    database = await Database.connect(database_url, size=2)
    inbox = Inbox(database)
    await database.close()
    lost = delivery()
    with pytest.raises(StorageUnavailableError):
        await inbox.accept(lost, job(lost))
    inbox._database = await Database.connect(database_url, size=2)
    assert await inbox.accept(lost, job(lost))
    await inbox._database.close()


async def test_a_job_is_charged_to_the_account_of_its_installation(database):
    async with database.system() as connection:
        await connection.execute(
            "INSERT INTO accounts (id, login, kind, tier) VALUES (7, 'o', 'User', 'free')"
        )
        await connection.execute("INSERT INTO installations (id, account_id, state) VALUES (70, 7, 'active')")
    inbox, known, unknown = Inbox(database), delivery(installation=70), delivery(installation=71)
    await asyncio.gather(inbox.accept(known, job(known)), inbox.accept(unknown, job(unknown)))
    claimed = {item.delivery_id: item.account_id for item in await Jobs(database).claim(uuid4(), limit=2)}
    assert claimed == {known.id: 7, unknown.id: None}


async def test_a_purged_delivery_is_a_dead_letter(database):
    inbox, arrived = Inbox(database), delivery()
    await inbox.accept(arrived, job(arrived))
    async with database.system() as connection:
        await connection.execute("DELETE FROM deliveries")
    (claimed,) = await Jobs(database).claim(uuid4())
    with pytest.raises(DeadError, match="purged"):
        await inbox.read(claimed)
