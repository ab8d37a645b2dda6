import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bot.core.access import MOST_KEYS, NewApiKey
from bot.core.errors import MissingError, QuotaError
from bot.core.principal import Scope
from bot.core.records import Account, InstallationState, RepositoryName
from storage.accounts import Accounts
from storage.api_keys import SQL, ApiKeys
from storage.database import Database

NEW = NewApiKey("k1", "ci", b"d" * 32, Scope.WRITE, repository_id=7, created_by=5)
NAME = RepositoryName(7, "octo", "r", private=True)


@pytest.fixture
async def keys(database):
    await Accounts(database).install(Account(1, "octo", "User", "free"), 10, [NAME])
    await Accounts(database).install(Account(2, "cat", "User", "free"), 20, [])
    return ApiKeys(database)


async def test_a_key_is_listed_without_and_found_with_what_it_is_checked_by(keys):
    added = await keys.add(1, NEW)
    assert await keys.list(1) == [added]
    assert (added.scope, added.repository_id, added.created_by) == (Scope.WRITE, 7, 5)
    assert added.lives(datetime.now(UTC))
    assert "d" * 32 not in repr(added)
    found = await keys.find("k1")
    assert (found.key, found.digest, found.installation) == (added, b"d" * 32, InstallationState.ACTIVE)
    assert "d" * 32 not in repr(found)
    assert await keys.find("k2") is None


async def test_the_last_key_comes_first(keys):
    for n in range(3):
        await keys.add(1, replace(NEW, id=f"k{n}"))
    assert [key.id for key in await keys.list(1)] == ["k2", "k1", "k0"]
    assert await keys.list(2) == []


async def test_a_key_of_a_repository_that_is_not_the_accounts_is_refused(keys):
    for account, repository in ((2, 7), (1, 8)):
        with pytest.raises(MissingError, match="no such repository"):
            await keys.add(account, replace(NEW, repository_id=repository))
    assert await keys.find("k1") is None


async def test_an_account_without_the_app_gets_no_key(keys, database):
    await Accounts(database).uninstall(2, 20)
    for account in (2, 404):
        with pytest.raises(MissingError, match="not installed"):
            await keys.add(account, replace(NEW, repository_id=None))


async def test_what_is_revoked_is_so_at_once_in_every_process(keys, database_url):
    await keys.add(1, NEW)
    elsewhere = await Database.connect(database_url, size=1)
    assert (await ApiKeys(elsewhere).find("k1")).key.revoked_at is None
    assert not await keys.revoke(2, "k1")
    assert await keys.revoke(1, "k1")
    assert not await keys.revoke(1, "k1")
    key = (await ApiKeys(elsewhere).find("k1")).key
    assert not key.lives(datetime.now(UTC))
    await elsewhere.close()


@pytest.mark.parametrize(("seconds", "lives"), [(None, True), (60, True), (0, False), (-60, False)])
async def test_a_key_lives_until_it_expires(keys, seconds, lives):
    now = datetime.now(UTC)
    expires = None if seconds is None else now + timedelta(seconds=seconds)
    assert (await keys.add(1, replace(NEW, expires_at=expires))).lives(now) is lives


async def test_an_account_has_a_hundred_living_keys_however_many_are_made_at_once(keys, database):
    ended = replace(NEW, id="old", expires_at=datetime(2020, 1, 1, tzinfo=UTC))
    await keys.add(1, ended)
    for n in range(MOST_KEYS - 3):
        await keys.add(1, replace(NEW, id=f"k{n}"))
    made = await asyncio.gather(
        *(keys.add(1, replace(NEW, id=f"more{n}")) for n in range(8)), return_exceptions=True
    )
    refused = [item for item in made if isinstance(item, QuotaError)]
    assert (len(refused), refused[0].limit, refused[0].allowed) == (5, "api_keys", MOST_KEYS)
    await keys.revoke(1, "k0")
    await keys.add(1, replace(NEW, id="last"))


async def test_two_who_make_a_key_take_turns(keys, database):
    async with database.system() as connection:
        await connection.execute(SQL["lock_account"], 1)
        waiting = asyncio.create_task(keys.add(1, NEW))
        done, _ = await asyncio.wait([waiting], timeout=0.2)
        assert not done
    await waiting


async def last_used(database, at=None):
    async with database.account(1) as connection:
        if at is not None:
            await connection.execute("UPDATE api_keys SET last_used_at = $1", at)
        return await connection.fetchval("SELECT last_used_at FROM api_keys")


async def test_use_is_written_at_most_once_a_minute(keys, database):
    await keys.add(1, NEW)
    await keys.used(1, "k1")
    first = await last_used(database)
    await keys.used(1, "k1")
    assert first is not None
    assert await last_used(database) == first
    old = await last_used(database, first - timedelta(seconds=61))
    await keys.used(1, "k1")
    assert await last_used(database) > old


@pytest.mark.parametrize("state", [InstallationState.SUSPENDED, InstallationState.NEEDS_PERMISSION])
async def test_a_key_tells_what_github_lets_us_do_for_its_account(keys, database, state):
    await keys.add(1, NEW)
    await Accounts(database).set_state(1, 10, state)
    assert (await keys.find("k1")).installation is state


async def test_keys_go_with_their_repository_and_with_their_account(keys, database):
    await keys.add(1, NEW)
    await keys.add(1, replace(NEW, id="all", repository_id=None))
    await keys.add(2, replace(NEW, id="cat", repository_id=None))
    await Accounts(database).remove_repositories(1, [7])
    assert [key.id for key in await keys.list(1)] == ["all"]
    await Accounts(database).install(Account(1, "octo", "User", "free"), 11, [])
    await Accounts(database).uninstall(1, 10)
    assert [key.id for key in await keys.list(1)] == ["all"]
    await Accounts(database).uninstall(1, 11)
    assert await keys.list(1) == []
    assert await keys.find("cat") is not None
