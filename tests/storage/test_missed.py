from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from bot.core.records import Account, Delivery, HookAttempt, InstallationState, Lane, NewJob, RepositoryName
from bot.core.sweep import ALOUD, INTO_SILENCE
from storage.accounts import Accounts
from storage.inbox import Inbox
from storage.missed import Missed

ACCOUNT, INSTALLATION, REPOSITORY = 1, 10, 7


@pytest.fixture
async def missed(database):
    """An account with one repository."""
    name = RepositoryName(REPOSITORY, "octo", "app", private=False)
    await Accounts(database).install(Account(ACCOUNT, "octo", "User", "free"), INSTALLATION, [name])
    return Missed(database)


def attempt(n=1, *, event="issues", installation=INSTALLATION, repository=REPOSITORY, answered=False, age=5):
    at = datetime.now(UTC) - timedelta(minutes=age)
    return HookAttempt(n, UUID(int=n), event, "opened", installation, repository, answered, at)


async def numbers(missed, asking=ALOUD):
    return [item.attempt.id for item in await missed.due(asking)]


async def store(database, n):
    delivery = Delivery(UUID(int=n), "issues", "opened", INSTALLATION, REPOSITORY, b"{}")
    await Inbox(database).accept(delivery, NewJob("delivery", Lane.WEBHOOK, delivery_id=delivery.id))


async def test_what_is_in_the_inbox_is_not_missed_and_what_arrives_is_forgotten(missed, database):
    await store(database, 1)
    await missed.note([attempt(1), attempt(2)])
    assert await numbers(missed) == [2]
    await store(database, 2)
    assert await numbers(missed) == []
    await missed.silence()
    assert await missed.count() == (0, 0)


async def test_the_oldest_comes_first_and_a_turn_takes_so_many(missed):
    await missed.note([attempt(n, age=300 - n) for n in range(1, 250)])
    assert await numbers(missed) == list(range(1, 201))


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (attempt(), True),
        (attempt(installation=99), False),  # waits for the event that brings the installation
        (attempt(installation=99, event="installation", repository=None), True),
        (attempt(repository=99), False),
        (attempt(repository=None, event="installation_repositories"), True),
        (attempt(installation=None, repository=None, event="marketplace_purchase"), True),
        (attempt(answered=True), False),  # taken before the repository was added
        (attempt(answered=True, age=-3_600), True),
    ],
)
async def test_only_what_an_installation_still_sees_is_asked_for(missed, found, wanted):
    await missed.note([found])
    assert (await numbers(missed) == [1]) is wanted


async def test_nothing_of_a_removed_installation_is_asked_for(missed, database):
    await missed.note([attempt(1), attempt(2, event="installation", repository=None)])
    await Accounts(database).set_state(ACCOUNT, INSTALLATION, InstallationState.SUSPENDED)
    assert await numbers(missed) == [1, 2]
    await Accounts(database).uninstall(ACCOUNT, INSTALLATION)
    assert await numbers(missed) == []


async def test_of_two_that_take_the_same_turn_one_asks(missed):
    await missed.note([attempt()])
    (item,) = await missed.due(ALOUD)
    assert await missed.ask(item, counts=True)
    assert not await missed.ask(item, counts=True)
    assert await numbers(missed) == []


async def shift(database, minutes, seconds):
    """Let what was asked for have been asked so long ago."""
    async with database.system() as connection:
        ago = timedelta(minutes=minutes, seconds=seconds)
        await connection.execute("UPDATE missed_deliveries SET asked_at = now() - $1::interval", ago)


async def test_what_was_asked_for_is_asked_for_again_after_twice_as_long_each_time(missed, database):
    await missed.note([attempt()])
    for minutes in (0, 4, 8, 16, 32, 64):
        if minutes:
            await shift(database, minutes, -30)
            assert await numbers(missed) == []
            await shift(database, minutes, 30)
        (item,) = await missed.due(ALOUD)
        assert await missed.ask(item, counts=True)
    await shift(database, 3_000, 0)
    assert await numbers(missed) == []
    assert await missed.count() == (0, 1)


async def test_a_silence_is_told_from_a_delivery_that_fails_alone(missed, database):
    assert not await missed.silence()
    await missed.note([attempt()])
    (item,) = await missed.due(ALOUD)
    await missed.ask(item, counts=True)
    assert await missed.silence()
    await store(database, 9)
    assert not await missed.silence()


async def test_into_a_silence_a_few_are_asked_in_turn_and_it_is_not_counted(missed, database):
    await missed.note([attempt(n, age=30 - n) for n in range(1, 9)])
    seen = []
    for _ in range(2):
        for item in await missed.due(INTO_SILENCE):
            assert await missed.ask(item, counts=False)
            seen.append((item.attempt.id, item.asked))
    assert seen == [(n, 0) for n in range(1, 9)]


async def test_what_was_looked_at_is_settled_and_what_is_old_forgotten(missed, database):
    await missed.note([attempt(1), attempt(2, age=3 * 1440 + 5)])
    for item in await missed.due(ALOUD):
        if item.attempt.id == 1:
            await missed.settle(item)
    await missed.silence()
    await missed.note([attempt(1)])
    assert await numbers(missed) == []
    assert await missed.count() == (0, 0)


async def test_an_id_stands_once_with_its_latest_request(missed):
    guid = uuid4()
    first = HookAttempt(5, guid, "issues", "opened", INSTALLATION, REPOSITORY, False, datetime.now(UTC))
    await missed.note([first])
    await missed.note(
        [HookAttempt(9, guid, "issues", "opened", INSTALLATION, REPOSITORY, False, datetime.now(UTC))]
    )
    assert await numbers(missed) == [9]
