import asyncio
import contextlib

import asyncpg
import pytest

from bot.core.errors import StorageUnavailableError
from storage.database import Database
from storage.usage import Usage


@pytest.fixture
async def small(database_url):
    """A pool of two."""
    database = await Database.connect(database_url, size=2)
    yield database
    await database.close()


async def scope(connection):
    return await connection.fetchval(
        "SELECT current_user || ' ' || coalesce(current_setting('app.account', true), '')"
    )


async def test_two_hundred_interleaved_transactions_never_mix_accounts(small):
    accounts = range(1, 8)
    await asyncio.gather(*(Usage(small).add(account, "commands", account) for account in accounts))

    async def look(n):
        account = n % 8
        if account == 0:
            async with small.system() as connection:
                await asyncio.sleep(0)
                return (await scope(connection)).strip() == "deja_view_system"
        async with small.account(account) as connection:
            await asyncio.sleep(0)
            rows = await connection.fetch("SELECT account_id, amount FROM usage")
            if n % 3 == 0:  # a transaction that fails must not leave its account behind either
                with contextlib.suppress(asyncpg.PostgresError):
                    await connection.execute("SELECT 1 / 0")
                return [tuple(row) for row in rows] == [(account, account)]
            return (await scope(connection), [tuple(row) for row in rows]) == (
                f"deja_view_app {account}",
                [(account, account)],
            )

    assert all(await asyncio.gather(*(look(n) for n in range(200))))


async def test_a_connection_that_is_given_back_keeps_no_role_and_no_account(database_url):
    database = await Database.connect(database_url, size=1)
    for enter in (lambda: database.account(5), database.system):
        async with enter():
            pass
        async with database._pool.acquire() as connection:
            assert await scope(connection) == "deja_view "
    await database.close()


async def test_a_transaction_costs_two_messages_beside_its_statements(database_url):
    database, sent = await Database.connect(database_url, size=1), []
    async with database._pool.acquire() as connection:
        connection.add_query_logger(lambda record: sent.append(record.query))
    async with database.account(5) as connection:
        await connection.fetchval("SELECT 1")
    assert sent == ["BEGIN; SET LOCAL ROLE deja_view_app; SET LOCAL app.account = '5'", "SELECT 1", "COMMIT"]
    await database.close()


@pytest.mark.parametrize("statement", ["SELECT pg_sleep(3)", None])
async def test_what_is_cancelled_is_rolled_back_at_once(database_url, statement, caplog):
    database, begun = await Database.connect(database_url, size=1), asyncio.Event()

    async def wait():
        async with database.account(1) as connection:
            await connection.execute("INSERT INTO usage VALUES (1, current_date, 'commands', 1)")
            begun.set()
            await (connection.execute(statement) if statement else asyncio.sleep(60))

    task = asyncio.create_task(wait())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with database.account(1) as connection:
        assert await connection.fetchval("SELECT count(*) FROM usage") == 0
    await database.close()
    assert "active transaction" not in caplog.text  # nothing was left for the pool to clean up


async def test_what_fails_leaves_nothing(database):
    async def fail():
        async with database.account(1) as connection:
            await connection.execute("INSERT INTO usage VALUES (1, current_date, 'commands', 1)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with database.account(1) as connection:
        assert await connection.fetchval("SELECT count(*) FROM usage") == 0


@pytest.mark.parametrize("account", ["1'; RESET ROLE; --", None, "x"])
async def test_an_account_is_a_number(database, account):
    with pytest.raises((ValueError, TypeError)):
        async with database.account(account):
            pass


async def test_json_goes_in_and_comes_out_as_python(database):
    async with database.system() as connection:
        for value in ({"a": [1, None, "ü"]}, [], "text", None):
            assert await connection.fetchval("SELECT $1::jsonb", value) == value


async def test_a_server_that_does_not_answer_is_unavailable(tmp_path):
    with pytest.raises(StorageUnavailableError, match="PostgreSQL does not answer"):
        await Database.connect(f"postgresql://x@/y?host={tmp_path}")


async def test_a_connection_that_breaks_is_unavailable_and_the_next_one_works(database, database_url):
    owner = await asyncpg.connect(database_url)

    async def break_off():
        async with database.system() as connection:
            await owner.execute("SELECT pg_terminate_backend($1)", connection.get_server_pid())
            await connection.fetchval("SELECT 1")

    with pytest.raises(StorageUnavailableError):
        await break_off()
    await owner.close()
    await database.ping()


async def test_a_transaction_whose_connection_broke_did_not_succeed(database, database_url):
    owner = await asyncpg.connect(database_url)

    async def break_off_at_the_end():
        async with database.account(1) as connection:
            await connection.execute("INSERT INTO usage VALUES (1, current_date, 'commands', 1)")
            await owner.execute("SELECT pg_terminate_backend($1, 10000)", connection.get_server_pid())

    with pytest.raises(StorageUnavailableError):
        await break_off_at_the_end()
    await owner.close()
    async with database.account(1) as connection:
        assert await connection.fetchval("SELECT count(*) FROM usage") == 0


async def test_an_error_of_a_statement_is_no_outage(database):
    with pytest.raises(asyncpg.UndefinedTableError):
        async with database.system() as connection:
            await connection.execute("SELECT * FROM nothing")


async def say(database, code):
    """Have the server itself end a statement with that SQLSTATE."""
    async with database.system() as connection:
        await connection.execute(f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END $$")


@pytest.mark.parametrize(
    ("code", "named"),
    [
        ("08006", "ConnectionFailure"),
        ("25006", "ReadOnlySQLTransaction"),
        ("53000", "InsufficientResources"),
        ("53100", "DiskFull"),
        ("53200", "OutOfMemory"),
        ("53300", "TooManyConnections"),
        ("57014", "QueryCanceled"),
        ("57P01", "AdminShutdown"),
        ("57P02", "CrashShutdown"),
        ("57P03", "CannotConnectNow"),
        ("58030", "PostgresIO"),
    ],
)
async def test_a_server_that_cannot_go_on_is_unavailable_and_says_why(database, code, named):
    with pytest.raises(StorageUnavailableError, match=named):
        await say(database, code)
    await database.ping()


@pytest.mark.parametrize("code", ["22P02", "23505", "40P01", "42501", "XX000"])
async def test_what_is_wrong_with_a_statement_stays_its_own_error(database, code):
    with pytest.raises(asyncpg.PostgresError) as said:
        await say(database, code)
    assert said.value.sqlstate == code


async def test_a_pool_that_is_used_up_is_unavailable_after_its_time(database_url, monkeypatch):
    monkeypatch.setattr("storage.database.ACQUIRE_TIMEOUT", 0.1)
    database = await Database.connect(database_url, size=1)
    async with database.system():
        with pytest.raises(StorageUnavailableError):
            await database.ping()
    await database.close()
