from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from bot.core.access import Act, Actor, LoginState, NewApiKey, SealedTokens, UserRecord
from bot.core.principal import Scope
from bot.core.records import Account
from storage import embedded
from storage.accounts import Accounts
from storage.api_keys import ApiKeys
from storage.audit import Audit
from storage.call_windows import CallWindows
from storage.expired import SQL, Expired
from storage.idempotency import Idempotency
from storage.revocations import Revocations
from storage.sessions import LoginStates, Sessions

LATER = datetime(2100, 1, 1, tzinfo=UTC)
SIGNED_IN, AWAY = (UserRecord(n, "ann", SealedTokens(b"a", None, None, None)) for n in (5, 6))

# By table: the column that tells when a row ends, and how many days ago that is where it just stays and where it goes.
ENDS = {
    "revoked_tokens": ("until", -0.01, 0.01),
    "call_windows": ("seen_at", 0.001, 0.002),
    "idempotency_keys": ("created_at", 0.99, 1.01),
    "api_keys": ("revoked_at", 29.9, 30.1),
    "sessions": ("expires_at", -0.01, 0.01),
    "users": ("updated_at", 0.03, 0.05),
    "login_states": ("expires_at", -0.001, 0.001),
    "audit_log": ("at", 399.9, 400.1),
}


@pytest.fixture
async def owner(shared, shared_url):
    """Somebody whom no policy binds; each table has a row that does not end."""
    connection = await asyncpg.connect(embedded.as_superuser(shared_url))
    await connection.execute(f"TRUNCATE {', '.join(ENDS)} CASCADE")
    await Accounts(shared).install(Account(1, "octo", "User", "free"), 10, [])
    await Revocations(shared).revoke(1, "t", LATER)
    await CallWindows(shared).take("k", 1)
    await Idempotency(shared).begin(1, "k", b"f" * 32)
    await ApiKeys(shared).add(1, NewApiKey("k", "n", b"d" * 32, Scope.READ))
    for user in (SIGNED_IN, AWAY):
        await Sessions(shared).save_user(user)
    await Sessions(shared).open(b"s" * 32, SIGNED_IN.id, LATER)
    await LoginStates(shared).put(b"l" * 32, LoginState("v", "/"))
    await Audit(shared).record(Act("a", Actor.SYSTEM))
    yield connection
    await connection.close()


async def counts(owner):
    return {table: await owner.fetchval(f"SELECT count(*) FROM {table}") for table in ENDS}


def test_every_query_has_its_row_here():
    assert list(ENDS) == list(SQL)


@pytest.mark.parametrize("goes", [False, True])
@pytest.mark.parametrize("table", ENDS)
async def test_what_is_over_is_forgotten_and_nothing_else(shared, owner, table, goes):
    column, stays, over = ENDS[table]
    age = timedelta(days=over if goes else stays)
    await owner.execute(f"UPDATE {table} SET {column} = now() - $1::interval", age)
    before = await counts(owner)
    await Expired(shared).purge()
    # Of the two people, one is signed in somewhere.
    assert await counts(owner) == before | {table: before[table] - goes}


async def test_a_key_that_expired_long_ago_is_forgotten_too(shared, owner):
    await owner.execute("UPDATE api_keys SET expires_at = now() - interval '31 days'")
    await Expired(shared).purge()
    assert (await counts(owner))["api_keys"] == 0
