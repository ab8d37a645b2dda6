"""Brings the schema up to date: ordered SQL files, each applied once, in one transaction, and never edited later."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib import resources
from typing import Any

import asyncpg
import structlog

from bot.core.errors import SettingsError, StorageUnavailableError
from storage.database import UNAVAILABLE

log = structlog.get_logger()

LOCK = 0x0DEB_A71E
"""The advisory lock that lets one runner at a time in; any number will do that nobody else uses."""

FILE_NAME = re.compile(r"^\d{4}_[a-z0-9_]+\.sql$")

ADMINISTRATOR = (
    "the database role may not create roles: let an administrator run "
    "`CREATE ROLE deja_view_app NOLOGIN; CREATE ROLE deja_view_system NOLOGIN; "
    "GRANT deja_view_app, deja_view_system TO {user};` once"
)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file."""

    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """What tells an edited file from the one that was applied."""
        return sha256(self.sql.encode()).hexdigest()


def migrations() -> list[Migration]:
    """All files, in order. Raises ValueError where a name does not say its place."""
    folder = resources.files("storage.sql.migrations")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    for n, name in enumerate(names, 1):
        if not FILE_NAME.match(name) or int(name[:4]) != n:
            raise ValueError(f"{name}: migrations are numbered without gaps, as 0001_what.sql")
    return [Migration(name, folder.joinpath(name).read_text(encoding="utf-8")) for name in names]


async def migrate(url: str, files: Sequence[Migration] | None = None) -> list[str]:
    """Apply what is missing and return its names; several runners at once apply it once.

    `url` must reach the server directly: a transaction pooler loses the lock. Raises SettingsError where an applied
    file was edited or the role may not do what is needed, StorageUnavailableError where the server does not answer.
    """
    try:
        connection = await asyncpg.connect(url, command_timeout=300)
    except UNAVAILABLE as error:
        raise StorageUnavailableError(f"PostgreSQL does not answer: {type(error).__name__}") from error
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK)
        await connection.execute("SET lock_timeout = '5s'")
        await create_roles(connection)
        return await apply(connection, migrations() if files is None else files)
    finally:
        await connection.close()


async def create_roles(connection: Any) -> None:
    """The two roles that own nothing. Raises SettingsError with what an administrator has to run."""
    sql = resources.files("storage.sql").joinpath("roles.sql").read_text(encoding="utf-8")
    try:
        await connection.execute(sql)
    except asyncpg.InsufficientPrivilegeError:
        user = await connection.fetchval("SELECT quote_ident(current_user)")
        raise SettingsError(ADMINISTRATOR.format(user=user)) from None


async def apply(connection: Any, files: Sequence[Migration]) -> list[str]:
    """Apply the files that the database does not know yet."""
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations "
        "(name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    known = {
        row["name"]: row["checksum"]
        for row in await connection.fetch("SELECT name, checksum FROM migrations")
    }
    applied = []
    for file in files:
        if file.name in known:
            if known[file.name] != file.checksum:
                raise SettingsError(
                    f"{file.name} was edited after it was applied: undo that, and write a new migration"
                )
            continue
        async with connection.transaction():
            await connection.execute(file.sql)
            await connection.execute(
                "INSERT INTO migrations (name, checksum) VALUES ($1, $2)", file.name, file.checksum
            )
        log.info("migrated", name=file.name)
        applied.append(file.name)
    return applied


async def pending(url: str) -> list[str]:
    """Names of migrations that the database lacks. Raises StorageUnavailableError."""
    try:
        connection = await asyncpg.connect(url, command_timeout=30)
    except UNAVAILABLE as error:
        raise StorageUnavailableError(f"PostgreSQL does not answer: {type(error).__name__}") from error
    try:
        exists = await connection.fetchval("SELECT to_regclass('migrations') IS NOT NULL")
        known = (
            {row["name"] for row in await connection.fetch("SELECT name FROM migrations")}
            if exists
            else set()
        )
    finally:
        await connection.close()
    return [file.name for file in migrations() if file.name not in known]
