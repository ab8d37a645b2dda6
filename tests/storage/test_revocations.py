import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bot.core.access import NewApiKey, Standing
from bot.core.principal import Scope
from bot.core.records import Account, InstallationState
from storage.accounts import Accounts
from storage.api_keys import ApiKeys
from storage.revocations import Revocations

ACTIVE = InstallationState.ACTIVE
LATER = datetime.now(UTC) + timedelta(days=1)
IDS = itertools.count(1)


@pytest.fixture
def revocations(shared):
    return Revocations(shared)


async def installed(database):
    """An account of the test's own; its id is also its installation's."""
    n = next(IDS)
    await Accounts(database).install(Account(n, f"octo{n}", "User", "free"), n, [])
    return n


@pytest.fixture
async def mine(shared):
    return await installed(shared)


@pytest.fixture
async def other(shared):
    return await installed(shared)


async def test_a_token_that_was_taken_back_stays_so(revocations, mine):
    assert await revocations.standing(mine, "t") == Standing(False, ACTIVE)
    await revocations.revoke(mine, "t", LATER)
    await revocations.revoke(mine, "t", LATER)
    assert await revocations.standing(mine, "t") == Standing(True, ACTIVE)
    assert await revocations.standing(mine, "u") == Standing(False, ACTIVE)


async def test_nobody_takes_back_the_token_of_another_account(revocations, mine, other):
    await revocations.revoke(other, "t", LATER)
    assert await revocations.standing(mine, "t") == Standing(False, ACTIVE)


@pytest.mark.parametrize("end", ["revoked", "expired", "gone", "another's"])
async def test_a_token_ends_with_the_key_that_it_was_exchanged_from(revocations, shared, mine, other, end):
    keys, new = ApiKeys(shared), NewApiKey(f"k{mine}", "n", b"d" * 32, Scope.READ, expires_at=LATER)
    await keys.add(mine, new)
    assert await revocations.standing(mine, "t", new.id) == Standing(False, ACTIVE)
    if end == "revoked":
        await keys.revoke(mine, new.id)
    else:
        async with shared.system() as connection:
            await connection.execute("DELETE FROM api_keys WHERE id = $1", new.id)
    if end == "expired":
        await keys.add(mine, replace(new, expires_at=datetime.now(UTC)))
    if end == "another's":
        await keys.add(other, new)
    assert await revocations.standing(mine, "t", new.id) == Standing(True, ACTIVE)
    assert await revocations.standing(mine, "t") == Standing(False, ACTIVE)


async def test_a_token_knows_when_the_app_is_suspended_or_gone(revocations, shared, mine):
    await Accounts(shared).set_state(mine, mine, InstallationState.SUSPENDED)
    assert await revocations.standing(mine, "t") == Standing(False, InstallationState.SUSPENDED)
    await Accounts(shared).uninstall(mine, mine)
    assert await revocations.standing(mine, "t") == Standing(False, None)
