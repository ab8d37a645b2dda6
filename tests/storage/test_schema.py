import os
import re
from importlib import resources

import asyncpg
import pytest

from storage.database import set_up
from storage.queries import load, parse

# What makes two schemas the same, as the catalog tells it. Names only, since object ids differ.
CATALOG = {
    "columns": """
        SELECT c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity::text,
               a.attstorage::text, pg_get_expr(d.adbin, d.adrelid)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace""",
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "policies": """
        SELECT tablename, policyname, permissive, roles::text, cmd, qual, with_check FROM pg_policies
        WHERE schemaname = 'public'""",
    "grants": """
        SELECT table_name, grantee, privilege_type FROM information_schema.table_privileges
        WHERE table_schema = 'public' AND grantee LIKE 'deja_view%'""",
    "column grants": """
        SELECT table_name, column_name, grantee, privilege_type FROM information_schema.column_privileges
        WHERE table_schema = 'public' AND grantee LIKE 'deja_view%'""",
    "row security": """
        SELECT relname, relrowsecurity, relforcerowsecurity FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'""",
    "tiers": "SELECT * FROM tiers",
}

QUERY_FILES = sorted(
    entry.name.removesuffix(".sql")
    for entry in resources.files("storage.sql").iterdir()
    if entry.name.endswith(".sql") and "-- name:" in entry.read_text(encoding="utf-8")
)


async def describe(connection):
    """The catalog, without the table in which the migrations themselves are kept."""
    found = {}
    for part, query in CATALOG.items():
        rows = [tuple(row) for row in await connection.fetch(query)]
        found[part] = sorted((row for row in rows if row[0] != "migrations"), key=repr)
    return found


@pytest.fixture
async def owner(database_url):
    connection = await asyncpg.connect(database_url)
    await set_up(connection)
    yield connection
    await connection.close()


@pytest.fixture
async def written(postgres, template):
    """A database made from roles.sql and schema.sql."""
    name = f"test_{os.urandom(6).hex()}"
    server = await asyncpg.connect(postgres.address("template1", "postgres"))
    await server.execute(f"CREATE DATABASE {name} TEMPLATE template0 OWNER deja_view")
    connection = await asyncpg.connect(postgres.address(name))
    for file in ("roles.sql", "schema.sql"):
        await connection.execute(resources.files("storage.sql").joinpath(file).read_text(encoding="utf-8"))
    yield connection
    await connection.close()
    await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await server.close()


async def test_the_schema_in_one_file_is_what_the_migrations_make(owner, written):
    migrated, described = await describe(owner), await describe(written)
    for part in CATALOG:
        assert described[part] == migrated[part], part
        assert migrated[part], part


@pytest.mark.parametrize(
    "drift",
    [
        "ALTER TABLE issues ADD COLUMN extra text",
        "ALTER TABLE issues ALTER COLUMN reactions SET DEFAULT 0",
        "ALTER TABLE repositories DROP CONSTRAINT repositories_collection_key",
        "DROP INDEX issues_usefulness",
        "DROP POLICY account ON effects",
        "ALTER TABLE effects NO FORCE ROW LEVEL SECURITY",
        "GRANT DELETE ON accounts TO deja_view_app",
        "GRANT UPDATE (collection) ON repositories TO deja_view_app",
        "UPDATE tiers SET issues = 101 WHERE name = 'free'",
    ],
)
async def test_the_comparison_of_schemas_sees_each_kind_of_drift(owner, drift):
    before = await describe(owner)
    await owner.execute(drift)
    assert await describe(owner) != before


async def test_every_table_of_an_account_is_walled_in(owner):
    owned = {
        row["table_name"]
        for row in await owner.fetch(
            "SELECT table_name FROM information_schema.columns WHERE table_schema = 'public' AND column_name = 'account_id'"
        )
    } | {"accounts"}
    assert len(owned) == 17
    described = await describe(owner)
    flags = {name: (enabled, forced) for name, enabled, forced in described["row security"]}
    policies = {(table, role) for table, _, _, role, *_ in described["policies"]}
    for table in owned:
        assert flags[table] == (True, True), table
        assert {(table, "{deja_view_app}"), (table, "{deja_view_system}")} <= policies, table


async def test_every_foreign_key_has_an_index_to_be_followed_back_by(owner):
    missing = await owner.fetch("""
        SELECT conrelid::regclass, conname FROM pg_constraint k
        WHERE contype = 'f' AND confrelid <> 'tiers'::regclass AND NOT EXISTS (
            SELECT FROM pg_index i WHERE i.indrelid = k.conrelid AND i.indkey[0] = k.conkey[1])""")
    assert [tuple(row) for row in missing] == []


def test_the_files_with_queries_are_all_found():
    assert {
        "accounts",
        "deliveries",
        "effects",
        "issues",
        "jobs",
        "repositories",
        "suggestions",
        "usage",
    } <= set(QUERY_FILES)


@pytest.mark.parametrize("file", QUERY_FILES)
async def test_every_named_query_prepares_against_the_schema(owner, file):
    for name, query in load(file).items():
        if "COMMIT AND CHAIN" in query:
            continue  # ends a transaction: two statements, which are run and never prepared
        try:
            await owner.prepare(query)
        except asyncpg.PostgresError as error:
            pytest.fail(f"{file}.{name}: {error}")


@pytest.mark.parametrize("file", QUERY_FILES)
def test_every_named_query_opens_with_a_sentence(file):
    for name, query in load(file).items():
        assert re.match(r"-- [A-Z].*\.$|-- [A-Z]", query), name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-- name: a\nSELECT 1;\n-- name: a\nSELECT 2;", "two queries are named a"),
        ("-- name: a\n-- only words\n", "query a is empty"),
    ],
)
def test_a_file_of_queries_that_cannot_be_meant_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse(text)


async def test_our_role_is_no_superuser_so_that_the_walls_hold(owner):
    assert await owner.fetchval(
        "SELECT NOT rolsuper AND NOT rolbypassrls FROM pg_roles WHERE rolname = current_user"
    )
