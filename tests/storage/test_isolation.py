"""One account never sees or changes another's rows: not through a store, and not where a query forgot its account."""

import asyncio
import inspect
import os
from dataclasses import replace
from datetime import UTC, datetime

import asyncpg
import numpy as np
import pytest

from bot.core.access import Act, Actor, New, NewApiKey, Replay, Standing
from bot.core.errors import LeaseLostError, MissingError, SkipError
from bot.core.hashing import content_hash
from bot.core.indexing import index_job
from bot.core.ports import Saved
from bot.core.principal import Scope
from bot.core.records import (
    Account,
    Effect,
    EffectState,
    InstallationState,
    Issue,
    Lane,
    NewJob,
    Outcome,
    OutcomeKind,
    RepositoryName,
    RepositoryState,
    Suggestion,
    Wishes,
)
from bot.core.scoring import Whitening
from storage.accounts import Accounts
from storage.api_keys import ApiKeys
from storage.audit import Audit
from storage.backtests import Backtests
from storage.call_windows import CallWindows
from storage.database import Database
from storage.effects import Effects
from storage.idempotency import Idempotency
from storage.issues import Issues
from storage.jobs import Jobs
from storage.marks import Marks
from storage.repositories import Repositories
from storage.revocations import Revocations
from storage.suggestions import Suggestions
from storage.usage import Usage
from storage.whitenings import Whitenings

MINE, OTHER = 1, 2
AT, LATER = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC)
VECTOR = np.zeros(384, dtype=np.float32)
BASIS, WHITENING = b"b" * 32, Whitening(VECTOR, VECTOR, np.eye(384, dtype=np.float32))
NAME = RepositoryName(7, "octo", "r", private=True)
ISSUE = Issue(7, 3, 1003, "canary", "b", "open", None, "ann", 5, False, (), False, False, 0, AT, AT)
NEWER = replace(ISSUE, title="stolen", updated_at=datetime(2025, 1, 1, tzinfo=UTC))
SUGGESTION = Suggestion(MINE, 7, 3, True, "r", 1.0, "m", (2,), (), {}, b"h" * 32, AT)
KEY = NewApiKey("key", "n", b"d" * 32, Scope.READ, repository_id=7)
BEGUN = New(OTHER, "request", AT)
OUTCOME = Outcome(MINE, 7, 3, 2, OutcomeKind.REJECTED, 5, "command")
TABLES = {
    "accounts": "id",
    **dict.fromkeys(
        [
            "installations",
            "repositories",
            "issues",
            "issue_removals",
            "suggestions",
            "outcomes",
            "effects",
            "duplicate_marks",
            "backtests",
            "whitenings",
            "api_keys",
            "revoked_tokens",
            "idempotency_keys",
            "audit_log",
            "usage",
            "jobs",
        ],
        "account_id",
    ),
}


@pytest.fixture(scope="module")
def filled(postgres, template):
    """The address of one database for all of these tests, since none of them may change it, and its effect."""
    name = f"test_{os.urandom(6).hex()}"
    asyncio.run(command(postgres, f"CREATE DATABASE {name} TEMPLATE {template} OWNER deja_view"))
    yield postgres.address(name), asyncio.run(fill(postgres.address(name)))
    asyncio.run(command(postgres, f"DROP DATABASE {name} WITH (FORCE)"))


async def command(postgres, statement):
    server = await asyncpg.connect(postgres.address("template1", "postgres"))
    await server.execute(statement)
    await server.close()


async def fill(url):
    """A row in every table for one account; returns its effect. The other account has installed the App too."""
    database = await Database.connect(url, size=1)
    accounts, issues = Accounts(database), Issues(database)
    await accounts.install(Account(MINE, "octo", "User", "free"), 10, [NAME, replace(NAME, id=9)])
    async with database.system() as connection:
        await connection.execute(
            "UPDATE repositories SET state = 'inactive', reason = 'r', over_limit = true, frozen_at = $1 WHERE id = 9",
            AT,
        )
    await accounts.install(Account(OTHER, "cat", "User", "free"), 20, [])
    await issues.save(MINE, [ISSUE, replace(ISSUE, number=4)])
    await issues.set_vectors(MINE, 7, "m", {3: (content_hash("canary", "b"), VECTOR, VECTOR)})
    await issues.delete(MINE, 7, [4], AT)
    suggestions = Suggestions(database)
    await suggestions.save(SUGGESTION)
    await suggestions.record(OUTCOME)
    await suggestions.record(replace(OUTCOME, kind=OutcomeKind.CONFIRMED))
    await Marks(database).save(MINE, 7, {3: 2})
    await Backtests(database).save(MINE, 7, "m", "comment", {"asked": 1})
    await Whitenings(database).save(MINE, 7, BASIS, WHITENING)
    await ApiKeys(database).add(MINE, KEY)
    await Revocations(database).revoke(MINE, "token", AT)
    await Idempotency(database).begin(MINE, "request", b"f" * 32)
    async with database.account(MINE) as connection:
        await connection.execute("UPDATE idempotency_keys SET created_at = $1", AT)
    await Audit(database).record(Act("key.create", Actor.USER, account_id=MINE, details={"key": "canary"}))
    await Usage(database).add(MINE, "commands")
    await Jobs(database).enqueue(NewJob("t", Lane.WEBHOOK, account_id=MINE))
    effect = await Effects(database).intend(MINE, 7, 3, "suggestion", "body")
    await database.close()
    return effect


@pytest.fixture
def database_url(filled):
    return filled[0]


@pytest.fixture
def effect(filled):
    return filled[1]


@pytest.fixture
async def snapshot(database_url):
    """Reads every row of every table, as somebody whom no policy binds for reading."""
    connection = await asyncpg.connect(database_url)

    async def read():
        found = {}
        for table, column in TABLES.items():
            found[table] = []
            for account in (MINE, OTHER):
                async with connection.transaction():
                    await connection.execute(
                        f"SET LOCAL ROLE deja_view_app; SET LOCAL app.account = '{account}'"
                    )
                    granted = await connection.fetchval("SELECT has_table_privilege($1, 'SELECT')", table)
                    if not granted:
                        await connection.execute("RESET ROLE; SET LOCAL ROLE deja_view_system")
                    rows = await connection.fetch(f"SELECT * FROM {table} WHERE {column} = {account}")
                    found[table] += sorted(repr(row) for row in rows)
        return found

    yield read
    await connection.close()


async def streamed(issues, account_id):
    return [item async for item in issues.stream(account_id, 7)]


async def everything(batches):
    return [item async for item in batches]


async def read(issues, account_id):
    return [item async for item in issues.read(account_id, 7)]


async def standings(revocations):
    """Of a token with the same name, and of one that says it came from the first account's key."""
    return [await revocations.standing(OTHER, "token"), await revocations.standing(OTHER, "mine", "key")]


# Every method of every store, called for the other account about the first one's rows, and what it has to give.
CALLS = {
    ("Accounts", "install"): (lambda s, e: s.install(Account(OTHER, "cat", "User", "free"), 10, [NAME]), []),
    ("Accounts", "add_repositories"): (lambda s, e: s.add_repositories(OTHER, 10, [NAME]), []),
    ("Accounts", "promote"): (lambda s, e: s.promote(OTHER), []),
    ("Accounts", "deactivate"): (lambda s, e: s.deactivate(OTHER, 7), MissingError),
    ("Accounts", "activate"): (lambda s, e: s.activate(OTHER, 7), MissingError),
    ("Accounts", "remove_repositories"): (lambda s, e: s.remove_repositories(OTHER, [7]), []),
    ("Accounts", "clear"): (lambda s, e: s.clear(OTHER, [7]), []),
    ("Accounts", "purge_frozen"): (lambda s, e: s.purge_frozen(OTHER, LATER), []),
    ("Accounts", "uninstall"): (lambda s, e: s.uninstall(OTHER, 10), []),
    ("Accounts", "set_state"): (lambda s, e: s.set_state(OTHER, 10, InstallationState.SUSPENDED), None),
    ("Repositories", "get"): (lambda s, e: s.get(OTHER, 7), None),
    ("Repositories", "list"): (lambda s, e: s.list(OTHER), []),
    ("Repositories", "rename"): (lambda s, e: s.rename(OTHER, replace(NAME, name="stolen")), None),
    ("Repositories", "set_state"): (lambda s, e: s.set_state(OTHER, 7, RepositoryState.ACTIVE), None),
    ("Repositories", "set_override"): (lambda s, e: s.set_override(OTHER, 7, "comment"), None),
    ("Repositories", "change_wishes"): (
        lambda s, e: s.change_wishes(OTHER, 7, Wishes(None, None, False), Wishes("comment", None, True)),
        False,
    ),
    ("Repositories", "synced_until"): (lambda s, e: s.synced_until(OTHER, 7), None),
    ("Repositories", "synced"): (lambda s, e: s.synced(OTHER, 7, AT), None),
    ("Repositories", "readmit"): (lambda s, e: s.readmit(OTHER, 7, "r"), None),
    ("Repositories", "indexed"): (lambda s, e: s.indexed(OTHER, 7, total=1), None),
    ("Repositories", "calibrated"): (lambda s, e: s.calibrated(OTHER, 7, 1.0, "m"), None),
    ("Repositories", "config_reported"): (lambda s, e: s.config_reported(OTHER, 7, "sha"), False),
    ("Issues", "save"): (lambda s, e: s.save(OTHER, [NEWER], room=1), Saved((), (), ())),
    ("Issues", "get"): (lambda s, e: s.get(OTHER, 7, [3]), {}),
    ("Issues", "set_vectors"): (
        lambda s, e: s.set_vectors(OTHER, 7, "x", {3: (content_hash("canary", "b"), VECTOR, VECTOR)}),
        None,
    ),
    ("Issues", "unembedded"): (lambda s, e: s.unembedded(OTHER, 7, "other", 9), []),
    ("Issues", "stream"): (lambda s, e: streamed(s, OTHER), []),
    ("Issues", "read"): (lambda s, e: read(s, OTHER), []),
    ("Issues", "removed_since"): (lambda s, e: s.removed_since(OTHER, 7, 0), []),
    ("Issues", "outdated"): (lambda s, e: s.outdated(OTHER, {7: 0}), [(7, None)]),
    ("Issues", "delete"): (lambda s, e: s.delete(OTHER, 7, [3, 5], AT), []),
    ("Issues", "leave"): (lambda s, e: s.leave(OTHER, 7, [3]), []),
    ("Issues", "trim"): (lambda s, e: s.trim(OTHER, 7, 0), []),
    ("Issues", "tombstones"): (lambda s, e: s.tombstones(OTHER, 7, [4]), []),
    ("Issues", "count"): (lambda s, e: s.count(OTHER, 7), 0),
    ("Issues", "list"): (lambda s, e: s.list(OTHER, 7, None, 0, 9), []),
    ("Suggestions", "save"): (
        lambda s, e: s.save(replace(SUGGESTION, account_id=OTHER, reason="stolen")),
        None,
    ),
    ("Suggestions", "get"): (lambda s, e: s.get(OTHER, 7, 3), None),
    ("Suggestions", "forget"): (lambda s, e: s.forget(OTHER, 7, 3), []),
    ("Suggestions", "duplicate_of"): (lambda s, e: s.duplicate_of(OTHER, 7, 3), None),
    ("Suggestions", "record"): (
        lambda s, e: s.record(replace(OUTCOME, account_id=OTHER, source="stolen")),
        None,
    ),
    ("Suggestions", "refused"): (lambda s, e: s.refused(OTHER, 7, 3), frozenset()),
    ("Suggestions", "stream"): (lambda s, e: everything(s.stream(OTHER, 7)), []),
    ("Suggestions", "outcomes"): (lambda s, e: everything(s.outcomes(OTHER, 7)), []),
    ("Suggestions", "restore"): (lambda s, e: s.restore(OTHER, [replace(SUGGESTION, issue_number=4)]), 0),
    ("Suggestions", "restore_outcomes"): (
        lambda s, e: s.restore_outcomes(OTHER, [(replace(OUTCOME, issue_number=4), AT)]),
        0,
    ),
    ("Suggestions", "outcomes_since"): (lambda s, e: s.outcomes_since(OTHER, 7, 0, 9), []),
    ("Suggestions", "list"): (lambda s, e: s.list(OTHER, 7, None, 9), []),
    ("Effects", "intend"): (lambda s, e: s.intend(OTHER, 7, 3, "suggestion", "stolen"), SkipError),
    ("Effects", "get"): (lambda s, e: s.get(OTHER, 7, 3, "suggestion"), None),
    ("Effects", "sending"): (lambda s, e: s.sending(e, "stolen"), LeaseLostError),
    ("Effects", "done"): (lambda s, e: s.done(replace(e, state=EffectState.SENDING), 1), LeaseLostError),
    ("Effects", "reset"): (lambda s, e: s.reset(replace(e, state=EffectState.SENDING)), LeaseLostError),
    ("Effects", "cancel"): (lambda s, e: s.cancel(e), LeaseLostError),
    ("Effects", "silent_for"): (lambda s, e: s.silent_for(OTHER, 7, 3), None),
    ("Effects", "spoken_today"): (lambda s, e: s.spoken_today(OTHER, 7, 3), 0),
    ("Marks", "save"): (lambda s, e: s.save(OTHER, 7, {3: 1, 4: 1}), None),
    ("Marks", "all"): (lambda s, e: s.all(OTHER, 7), {}),
    ("Marks", "remove"): (lambda s, e: s.remove(OTHER, 7, 3), None),
    ("Backtests", "save"): (lambda s, e: s.save(OTHER, 7, "x", "shadow", {}), None),
    ("Backtests", "get"): (lambda s, e: s.get(OTHER, 7), None),
    ("Whitenings", "save"): (lambda s, e: s.save(OTHER, 7, BASIS, WHITENING), None),
    ("Whitenings", "get"): (lambda s, e: s.get(OTHER, 7, BASIS), None),
    ("ApiKeys", "add"): (lambda s, e: s.add(OTHER, replace(KEY, id="other")), MissingError),
    ("ApiKeys", "revoke"): (lambda s, e: s.revoke(OTHER, "key"), False),
    ("ApiKeys", "used"): (lambda s, e: s.used(OTHER, "key"), None),
    ("ApiKeys", "list"): (lambda s, e: s.list(OTHER), []),
    ("Revocations", "standing"): (
        lambda s, e: standings(s),
        [Standing(revoked, InstallationState.ACTIVE) for revoked in (False, True)],
    ),
    ("Idempotency", "finish"): (lambda s, e: s.finish(BEGUN, 200, b"stolen"), None),
    ("Idempotency", "abandon"): (lambda s, e: s.abandon(BEGUN), None),
    ("Audit", "list"): (lambda s, e: s.list(OTHER, None, 9), []),
    ("Usage", "read"): (lambda s, e: s.read(OTHER, 9), []),
}
STORES = {
    store.__name__: store
    for store in (
        Accounts,
        Repositories,
        Issues,
        Suggestions,
        Effects,
        Marks,
        Backtests,
        Whitenings,
        ApiKeys,
        Revocations,
        CallWindows,
        Idempotency,
        Audit,
        Usage,
    )
}

# Nothing of another account is named in these: an installation is found by its id to learn whose it is, an account by its
# login or by when it was downgraded, an API key by its id, a repository that GitHub or its own people vouch for by its id. `Repositories.find` is the operator's: `bot.core.ports` does not name it. `active` is for what
# is done to all in turn. What is only ever added under an account's own id is asked below.
OWN_ROW = {
    ("Repositories", "find"),
    ("Repositories", "active"),
    ("Repositories", "anywhere"),
    ("Repositories", "open_to_all"),
    ("Accounts", "installation"),
    ("Accounts", "account"),
    ("Accounts", "find"),
    ("Accounts", "rename"),
    ("Accounts", "tier"),
    ("Accounts", "set_tier"),
    ("Accounts", "overdue"),
    ("Accounts", "end_notice"),
    ("ApiKeys", "find"),
    ("Revocations", "revoke"),
    ("CallWindows", "take_call"),
    ("CallWindows", "take"),
    ("CallWindows", "peek"),
    ("Idempotency", "begin"),
    ("Audit", "record"),
    ("Usage", "add"),
    ("Usage", "purge"),
}


def test_every_method_of_every_store_is_asked():
    methods = {
        (name, method)
        for name, store in STORES.items()
        for method, _ in inspect.getmembers(store, inspect.isfunction)
        if not method.startswith("_")
    }
    assert methods == CALLS.keys() | OWN_ROW


async def ask(database, effect, call):
    foreign: Effect = replace(effect, account_id=OTHER)
    make, expected = CALLS[call]
    store = STORES[call[0]](database)
    if isinstance(expected, type):
        with pytest.raises(expected):
            await make(store, foreign)
    else:
        assert await make(store, foreign) == expected


@pytest.mark.parametrize("call", CALLS, ids=".".join)
async def test_a_store_asked_by_another_account_gives_and_changes_nothing(database, effect, snapshot, call):
    before = await snapshot()
    assert all(before.values())
    await ask(database, effect, call)
    assert await snapshot() == before


def forgetful(query, first):
    """The query with its conditions on the account taken out (`$1` stays used, so that the call still fits)."""
    for column in (
        "account_id",
        "issues.account_id",
        "rejected.account_id",
        "removal.account_id",
        "old.account_id",
        "repositories.account_id",
        "duplicate_marks.account_id",
        "backtests.account_id",
    ):
        query = query.replace(f" {column} = ${first}", f" ${first}::bigint IS NOT NULL")
    return query


SABOTAGED = [call for call in CALLS if call[0] != "Accounts"]


@pytest.mark.parametrize("call", SABOTAGED, ids=".".join)
async def test_row_security_holds_where_a_query_forgets_the_account(
    database, effect, snapshot, call, monkeypatch
):
    module = inspect.getmodule(STORES[call[0]])
    broken = {name: forgetful(query, 1) for name, query in module.SQL.items()}
    assert broken != dict(module.SQL)
    monkeypatch.setattr(module, "SQL", broken)
    before = await snapshot()
    await ask(database, effect, call)
    assert await snapshot() == before


@pytest.mark.parametrize("forgets", [False, True])
async def test_whether_another_accounts_repository_is_indexed_is_not_told(
    database, effect, forgets, monkeypatch
):
    job = replace(index_job(await Repositories(database).get(MINE, 7)), dedupe=None)
    jobs = Jobs(database)
    await jobs.enqueue(job)
    if forgets:
        module = inspect.getmodule(Jobs)
        monkeypatch.setattr(
            module, "SQL", dict(module.SQL) | {"indexing": forgetful(module.SQL["indexing"], 1)}
        )
    told = [(await jobs.indexing(account, 7)).job for account in (MINE, OTHER)]
    async with database.system() as connection:
        await connection.execute("DELETE FROM jobs WHERE kind = 'index_repository'")
    assert told == ["waiting", "none"]


@pytest.mark.parametrize("table", TABLES)
async def test_no_row_of_another_account_is_read(database, effect, table):
    async with database.account(OTHER) as connection:
        if table == "jobs":
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch("SELECT * FROM jobs")
            return
        rows = await connection.fetch(f"SELECT * FROM {table}")
    assert {row[TABLES[table]] for row in rows} <= {OTHER}


@pytest.mark.parametrize("table", TABLES)
async def test_no_row_is_read_without_an_account(database, effect, table, database_url):
    connection = await asyncpg.connect(database_url)
    await connection.execute("SET ROLE deja_view_app")
    if table != "jobs":
        assert await connection.fetch(f"SELECT * FROM {table}") == []
        await connection.execute("SET app.account = ''")
        assert await connection.fetch(f"SELECT * FROM {table}") == []
    await connection.close()


@pytest.mark.parametrize("verb", ["DELETE FROM {table}", "UPDATE {table} SET {column} = {column}"])
@pytest.mark.parametrize("table", TABLES)
async def test_no_row_of_another_account_is_changed(database, effect, snapshot, table, verb):
    column = {"installations": "state", "repositories": "name", "accounts": "tier"}.get(table, "account_id")
    before = await snapshot()
    try:
        async with database.account(OTHER) as connection:
            done = await connection.execute(verb.format(table=table, column=column))
    except asyncpg.InsufficientPrivilegeError:
        done = "0"
    if table != "installations":  # the other account has an installation of its own
        assert done.endswith("0")
    assert await snapshot() == before


@pytest.mark.parametrize(
    "table", [name for name in TABLES if name not in {"accounts", "installations", "repositories", "jobs"}]
)
async def test_no_row_is_written_for_another_account(database, effect, snapshot, table):
    """Its own rows are copied to an account that is not in scope: no constraint stops it but the policy."""
    before = await snapshot()
    async with database.account(MINE) as connection:
        row = dict(await connection.fetchrow(f"SELECT * FROM {table} LIMIT 1"))
    row.pop("id", None)
    marks = ", ".join(f"${n}" for n in range(1, len(row) + 1))
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        async with database.account(OTHER) as connection:
            await connection.execute(
                f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", *row.values()
            )
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match=r"row-level security|permission denied"):
        async with database.account(MINE) as connection:
            await connection.execute(f"UPDATE {table} SET account_id = {OTHER}")
    assert await snapshot() == before


@pytest.mark.parametrize("column", ["id", "account_id", "installation_id", "collection"])
async def test_the_application_cannot_move_a_repository_or_its_collection(database, effect, column):
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
        async with database.account(MINE) as connection:
            await connection.execute(f"UPDATE repositories SET {column} = {column}")


async def test_no_row_can_name_a_repository_of_another_account(database, effect):
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        async with database.account(OTHER) as connection:
            await connection.execute(
                "INSERT INTO effects (account_id, repository_id, issue_number, key, state, body) "
                f"VALUES ({OTHER}, 7, 3, 'k', 'intent', '')"
            )


@pytest.mark.parametrize(
    "table",
    [
        "issues",
        "issue_removals",
        "suggestions",
        "outcomes",
        "effects",
        "usage",
        "revoked_tokens",
        "idempotency_keys",
        "audit_log",
    ],
)
async def test_the_system_does_not_read_what_repositories_contain(database, effect, table):
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
        async with database.system() as connection:
            await connection.fetch(f"SELECT * FROM {table}")


async def test_the_same_idempotency_key_of_another_account_is_another_one(database, effect, snapshot):
    before = await snapshot()
    requests = Idempotency(database)
    begun = await requests.begin(OTHER, "request", b"f" * 32)
    await requests.finish(begun, 200, b"own")
    assert await requests.begin(OTHER, "request", b"f" * 32) == Replay(200, b"own")
    async with database.account(OTHER) as connection:
        await connection.execute("DELETE FROM idempotency_keys")
    assert await snapshot() == before


async def test_a_call_is_counted_for_its_own_account(database, effect):
    async with database.account(OTHER) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await connection.execute(
                f"INSERT INTO call_windows (key, calls, allowed, seen_at) VALUES ('account:{MINE}', '{{}}', true, now())"
            )
