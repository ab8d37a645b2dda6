import asyncio
import itertools
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

NEW = NewApiKey("", "ci", b"d" * 32, Scope.WRITE, created_by=5)
IDS = itertools.count(1)


@pytest.fixture
def keys(shared):
    return ApiKeys(shared)


@pytest.fixture
def accounts(shared):
    return Accounts(shared)


async def installed(accounts):
    """An account of the test's own; its id is also its installation's and its repository's."""
    n = next(IDS)
    name = RepositoryName(n, f"octo{n}", "r", private=True)
    await accounts.install(Account(n, f"octo{n}", "User", "free"), n, [name])
    return n


@pytest.fixture
async def mine(accounts):
    return await installed(accounts)


@pytest.fixture
async def other(accounts):
    return await installed(accounts)


def key(account, name="k", **changes):
    return replace(NEW, id=f"{account}-{name}", **changes)


def ids(found, account):
    return [item.id.removeprefix(f"{account}-") for item in found]


async def test_a_key_is_listed_without_and_found_with_what_it_is_checked_by(keys, mine):
    added = await keys.add(mine, key(mine, repository_id=mine))
    assert await keys.list(mine) == [added]
    assert (added.scope, added.repository_id, added.created_by) == (Scope.WRITE, mine, 5)
    assert added.lives(datetime.now(UTC))
    found = await keys.find(added.id)
    assert (found.key, found.digest, found.installation) == (added, b"d" * 32, InstallationState.ACTIVE)
    assert "d" * 32 not in repr(found) + repr(added) + repr(NEW)
    assert await keys.find("unknown") is None


async def test_the_last_key_comes_first(keys, mine, other):
    for name in "abc":
        await keys.add(mine, key(mine, name))
    assert ids(await keys.list(mine), mine) == ["c", "b", "a"]
    assert await keys.list(other) == []


async def test_a_key_of_a_repository_that_is_not_the_accounts_is_refused(keys, mine, other):
    for repository in (other, 404_404):
        with pytest.raises(MissingError, match="no such repository"):
            await keys.add(mine, key(mine, repository_id=repository))
    assert await keys.list(mine) == []


async def test_an_account_without_the_app_gets_no_key(keys, accounts, mine):
    await accounts.uninstall(mine, mine)
    for account in (mine, 404_404):
        with pytest.raises(MissingError, match="not installed"):
            await keys.add(account, key(account))


async def test_what_is_revoked_is_so_at_once_in_every_process(keys, mine, other, shared_url):
    identifier = (await keys.add(mine, key(mine))).id
    elsewhere = await Database.connect(shared_url, size=1)
    assert (await ApiKeys(elsewhere).find(identifier)).key.revoked_at is None
    assert not await keys.revoke(other, identifier)
    assert await keys.revoke(mine, identifier)
    assert not await keys.revoke(mine, identifier)
    assert not (await ApiKeys(elsewhere).find(identifier)).key.lives(datetime.now(UTC))
    await elsewhere.close()


@pytest.mark.parametrize(("seconds", "lives"), [(None, True), (60, True), (0, False), (-60, False)])
async def test_a_key_lives_until_it_expires(keys, mine, seconds, lives):
    now = datetime.now(UTC)
    expires = None if seconds is None else now + timedelta(seconds=seconds)
    assert (await keys.add(mine, key(mine, expires_at=expires))).lives(now) is lives


async def test_an_account_has_a_hundred_living_keys_however_many_are_made_at_once(keys, mine):
    await keys.add(mine, key(mine, "old", expires_at=datetime(2020, 1, 1, tzinfo=UTC)))
    for n in range(MOST_KEYS - 3):
        await keys.add(mine, key(mine, n))
    made = await asyncio.gather(
        *(keys.add(mine, key(mine, f"more{n}")) for n in range(8)), return_exceptions=True
    )
    refused = [item for item in made if isinstance(item, QuotaError)]
    assert (len(refused), refused[0].limit, refused[0].allowed) == (5, "api_keys", MOST_KEYS)
    await keys.revoke(mine, f"{mine}-0")
    await keys.add(mine, key(mine, "last"))


async def test_two_who_make_a_key_take_turns(keys, shared, mine):
    async with shared.system() as connection:
        await connection.execute(SQL["lock_account"], mine)
        waiting = asyncio.create_task(keys.add(mine, key(mine)))
        done, _ = await asyncio.wait([waiting], timeout=0.2)
        assert not done
    await waiting


async def last_used(database, account, at=None):
    async with database.account(account) as connection:
        if at is not None:
            await connection.execute("UPDATE api_keys SET last_used_at = $1", at)
        return await connection.fetchval("SELECT last_used_at FROM api_keys")


async def test_use_is_written_at_most_once_a_minute(keys, shared, mine):
    identifier = (await keys.add(mine, key(mine))).id
    await keys.used(mine, identifier)
    first = await last_used(shared, mine)
    assert first is not None
    await keys.used(mine, identifier)
    assert await last_used(shared, mine) == first
    old = await last_used(shared, mine, first - timedelta(seconds=61))
    await keys.used(mine, identifier)
    assert await last_used(shared, mine) > old


@pytest.mark.parametrize("state", [InstallationState.SUSPENDED, InstallationState.NEEDS_PERMISSION])
async def test_a_key_tells_what_github_lets_us_do_for_its_account(keys, accounts, mine, state):
    identifier = (await keys.add(mine, key(mine))).id
    await accounts.set_state(mine, mine, state)
    assert (await keys.find(identifier)).installation is state


async def test_keys_go_with_their_repository_and_with_their_account(keys, accounts, mine, other):
    await keys.add(mine, key(mine, "one", repository_id=mine))
    await keys.add(mine, key(mine, "all"))
    await keys.add(other, key(other))
    await accounts.remove_repositories(mine, [mine])
    assert ids(await keys.list(mine), mine) == ["all"]
    again = next(IDS)
    await accounts.install(Account(mine, "octo", "User", "free"), again, [])
    await accounts.uninstall(mine, mine)  # the old installation, which was replaced
    assert ids(await keys.list(mine), mine) == ["all"]
    await accounts.uninstall(mine, again)
    assert await keys.list(mine) == []
    assert ids(await keys.list(other), other) == ["k"]
