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


@pytest.fixture
async def revocations(database):
    for account, installation in ((1, 10), (2, 20)):
        await Accounts(database).install(Account(account, f"a{account}", "User", "free"), installation, [])
    return Revocations(database)


async def test_a_token_that_was_taken_back_stays_so(revocations):
    assert await revocations.standing(1, "t") == Standing(False, ACTIVE)
    await revocations.revoke(1, "t", LATER)
    await revocations.revoke(1, "t", LATER)
    assert await revocations.standing(1, "t") == Standing(True, ACTIVE)
    assert await revocations.standing(1, "u") == Standing(False, ACTIVE)


async def test_nobody_takes_back_the_token_of_another_account(revocations):
    await revocations.revoke(2, "t", LATER)
    assert await revocations.standing(1, "t") == Standing(False, ACTIVE)


@pytest.mark.parametrize("end", ["revoked", "expired", "gone", "another's"])
async def test_a_token_ends_with_the_key_that_it_was_exchanged_from(revocations, database, end):
    keys = ApiKeys(database)
    await keys.add(1, NewApiKey("k", "n", b"d" * 32, Scope.READ, expires_at=LATER))
    assert await revocations.standing(1, "t", "k") == Standing(False, ACTIVE)
    if end == "revoked":
        await keys.revoke(1, "k")
    async with database.system() as connection:
        await connection.execute("DELETE FROM api_keys WHERE $1 <> 'revoked'", end)
    if end == "expired":
        await keys.add(1, NewApiKey("k", "n", b"d" * 32, Scope.READ, expires_at=datetime.now(UTC)))
    if end == "another's":
        await keys.add(2, NewApiKey("k", "n", b"d" * 32, Scope.READ))
    assert await revocations.standing(1, "t", "k") == Standing(True, ACTIVE)
    assert await revocations.standing(1, "t") == Standing(False, ACTIVE)


async def test_a_token_knows_when_the_app_is_gone_or_suspended(revocations, database):
    await Accounts(database).set_state(1, 10, InstallationState.SUSPENDED)
    assert await revocations.standing(1, "t") == Standing(False, InstallationState.SUSPENDED)
    await Accounts(database).uninstall(1, 10)
    assert await revocations.standing(1, "t") == Standing(False, None)
