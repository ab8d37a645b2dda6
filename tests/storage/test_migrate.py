import asyncio
import os
from dataclasses import replace

import asyncpg
import pytest

from bot.core.errors import SettingsError, StorageUnavailableError
from bot.core.tiers import NOTICE, day_of
from storage import migrate as module
from storage.migrate import Migration, migrate, migrations

FIRST = Migration("0001_a.sql", "CREATE TABLE a (n integer); INSERT INTO a VALUES (1)")
SECOND = Migration("0002_b.sql", "INSERT INTO a VALUES (2)")
FAILING = Migration("0003_c.sql", "CREATE TABLE c (n integer); INSERT INTO a VALUES (3); SELECT 1 / 0")


@pytest.fixture
async def empty(postgres, template):
    """The address of a database without tables."""
    name = f"test_{os.urandom(6).hex()}"
    server = await asyncpg.connect(postgres.address("template1", "postgres"))
    await server.execute(f"CREATE DATABASE {name} TEMPLATE template0 OWNER deja_view")
    yield postgres.address(name)
    await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await server.close()


async def fetch(url, query):
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def test_files_are_applied_in_order_and_once(empty):
    assert await migrate(empty, [FIRST]) == ["0001_a.sql"]
    assert await migrate(empty, [FIRST, SECOND]) == ["0002_b.sql"]
    assert await migrate(empty, [FIRST, SECOND]) == []
    assert await fetch(empty, "SELECT n FROM a ORDER BY n") == [(1,), (2,)]


async def test_six_runners_at_once_apply_each_file_once(empty):
    applied = await asyncio.gather(*(migrate(empty, [FIRST, SECOND]) for _ in range(6)))
    assert sorted(name for names in applied for name in names) == ["0001_a.sql", "0002_b.sql"]
    assert await fetch(empty, "SELECT n FROM a ORDER BY n") == [(1,), (2,)]


async def test_the_real_files_apply_once_whoever_runs_them(empty):
    applied = await asyncio.gather(*(migrate(empty) for _ in range(3)))
    assert [name for names in applied for name in names] == [file.name for file in migrations()]


async def test_what_a_downgrade_froze_before_there_was_a_notice_has_one_from_now_on(empty):
    files = migrations()
    place = next(n for n, file in enumerate(files) if file.name.startswith("0011"))
    await migrate(empty, files[:place])
    connection = await asyncpg.connect(empty)
    await connection.execute(
        "SET ROLE deja_view_system; INSERT INTO accounts (id, login, kind, tier) VALUES (1, 'octo', 'User', 'free'); "
        "INSERT INTO installations (id, account_id, state) VALUES (10, 1, 'active'); "
        "INSERT INTO repositories (id, account_id, installation_id, owner, name, private, collection, state, reason, "
        "over_limit, revision) SELECT n, 1, 10, 'octo', 'r', false, n, 'inactive', 'No room.', n > 1, n % 3 "
        "FROM generate_series(1, 3) AS n"
    )
    await migrate(empty, files)
    rows = {
        row["id"]: row for row in await connection.fetch("SELECT id, reason, frozen_at FROM repositories")
    }
    await connection.close()
    assert [number for number, row in rows.items() if row["frozen_at"] is not None] == [2]
    until = day_of(rows[2]["frozen_at"] + NOTICE)
    assert rows[2]["reason"] == f"No room. Its index is kept until {until}."
    assert {rows[1]["reason"], rows[3]["reason"]} == {"No room."}


async def test_an_edited_file_is_refused_and_nothing_is_applied(empty):
    await migrate(empty, [FIRST])
    edited = replace(FIRST, sql=FIRST.sql + "\n")
    with pytest.raises(SettingsError, match=r"0001_a\.sql was edited"):
        await migrate(empty, [edited, SECOND])
    assert await fetch(empty, "SELECT n FROM a") == [(1,)]


async def test_a_file_that_fails_leaves_nothing_and_those_before_it_stay(empty):
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(empty, [FIRST, SECOND, FAILING])
    assert await fetch(empty, "SELECT n FROM a ORDER BY n") == [(1,), (2,)]
    assert await fetch(empty, "SELECT to_regclass('c')::text") == [(None,)]
    assert await migrate(empty, [FIRST, SECOND, replace(FAILING, sql="INSERT INTO a VALUES (4)")]) == [
        "0003_c.sql"
    ]


async def test_a_file_that_cannot_be_noted_leaves_nothing(empty):
    clash = Migration(
        "0002_b.sql", "CREATE TABLE c (n integer); INSERT INTO migrations VALUES ('0002_b.sql', '')"
    )
    with pytest.raises(asyncpg.UniqueViolationError):
        await migrate(empty, [FIRST, clash])
    assert await fetch(empty, "SELECT to_regclass('c')::text") == [(None,)]


async def test_a_server_that_does_not_answer_is_named_as_such(tmp_path):
    with pytest.raises(StorageUnavailableError, match="PostgreSQL does not answer"):
        await migrate(f"postgresql://x@/y?host={tmp_path}")


async def test_a_role_that_may_not_create_roles_is_told_what_to_run(empty, postgres):
    owner = await asyncpg.connect(empty)
    name = f"plain_{os.urandom(4).hex()}"
    await owner.execute(f"CREATE ROLE {name} LOGIN")
    try:
        with pytest.raises(SettingsError, match=f"GRANT deja_view_app, deja_view_system TO {name};"):
            await migrate(postgres.address(empty.split("/")[3].split("?")[0], name))
    finally:
        await owner.execute(f"DROP ROLE {name}")
        await owner.close()


@pytest.mark.parametrize("name", ["0002_gap.sql", "1_short.sql", "0001-dash.sql", "0001_Upper.sql"])
def test_a_file_whose_name_does_not_say_its_place_is_refused(tmp_path, monkeypatch, name):
    (tmp_path / name).write_text("SELECT 1")
    monkeypatch.setattr(module.resources, "files", lambda _: tmp_path)
    with pytest.raises(ValueError, match="numbered without gaps"):
        migrations()
