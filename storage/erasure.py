"""Makes what was deleted unreadable in the files too: PostgreSQL's tables and log, Chroma's database and its folders.

A deleted row is gone for every query at once, but its bytes stay in the table's file until their room is reused, and in
the write-ahead log until it is recycled. See docs/decisions/0016-erasure.md.
"""

import asyncio
import contextlib
import re
import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import structlog

from bot.core.errors import StorageUnavailableError
from storage.database import UNAVAILABLE, Database
from storage.queries import load

log = structlog.get_logger()

SQL = load("erasure")

SETTLED = timedelta(minutes=4)
"""How old a raw event is at least before it counts as one of something unknown: events overtake each other."""

LOCK_TIMEOUT = "5s"
"""How long a table's rewrite waits for those who use it, and so makes others wait behind it."""

COMMAND_TIMEOUT = 300.0
"""Seconds for the rewrite of one table; all tables with 10,000 issues of 4 KB take two on a busy machine."""

SEGMENT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""What Chroma calls the folder of a collection's vectors."""

BUSY = 10.0
"""Seconds to wait for Chroma's own writes to its database."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """Implements `ports.Erasure`. What belongs to a server that others run is left to them, as far as it has to be.

    `url` is PostgreSQL's address: of the superuser where the server is ours (`own_server`), so that its log can be
    shortened too. `chroma` is the folder of an embedded Chroma.
    """

    database: Database
    url: str
    own_server: bool
    chroma: Path | None

    async def forget(self) -> None:
        """Empty the raw events of what is not there any more."""
        async with self.database.system() as connection:
            await connection.execute(SQL["blank_strangers"], SETTLED)
            for query in ("blank_listings", "blank_issues", "forget_purges"):
                await connection.execute(SQL[query])

    async def erase(self) -> None:
        """Rewrite the files without what was deleted. Raises StorageUnavailableError: try again."""
        try:
            connection = await asyncpg.connect(self.url, command_timeout=COMMAND_TIMEOUT)
        except UNAVAILABLE as error:
            raise StorageUnavailableError(f"PostgreSQL does not answer: {type(error).__name__}") from error
        try:
            await (rewrite(connection) if self.own_server else clean(connection))
        except (*UNAVAILABLE, asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
            raise StorageUnavailableError(
                f"a table could not be rewritten: {type(error).__name__}"
            ) from error
        finally:
            await connection.close()
        if self.chroma is not None:
            await asyncio.to_thread(erase_chroma, self.chroma)


async def rewrite(connection: Any) -> None:
    """Write every table anew without its dead rows, then let go of the log that still has them. Superusers only."""
    await connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
    await connection.execute(SQL["forget_statistics"])
    for row in await connection.fetch(SQL["tables"]):
        await connection.execute(f"VACUUM (FULL, ANALYZE) {row['name']}")
    await connection.execute("VACUUM FULL pg_catalog.pg_statistic")
    # A checkpoint removes the segments before its own start: what was written until now has to be in an earlier one.
    await connection.execute("SELECT pg_switch_wal()")
    await connection.execute("CHECKPOINT")


async def clean(connection: Any) -> None:
    """Let the room of dead rows be reused. A rewrite would stop everybody's work, and the log is the server's own."""
    for row in await connection.fetch(SQL["tables"]):
        await connection.execute(f"VACUUM {row['name']}")


def erase_chroma(folder: Path) -> None:
    """Write Chroma's database anew, and remove the folders of collections that it does not know any more.

    Raises StorageUnavailableError where Chroma keeps writing all the time.
    """
    database = folder / "data" / "chroma.sqlite3"
    if not database.exists():
        return
    try:
        with contextlib.closing(sqlite3.connect(database, timeout=BUSY, isolation_level=None)) as connection:
            known = {row[0] for row in connection.execute("SELECT id FROM segments")}
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        raise StorageUnavailableError(f"Chroma's database could not be rewritten: {error}") from error
    remove_strangers(database.parent, sorted(known))


def remove_strangers(folder: Path, known: Sequence[str]) -> None:
    """Remove the folders of vectors that no collection has."""
    for entry in folder.iterdir():
        if entry.is_dir() and SEGMENT.fullmatch(entry.name) and entry.name not in known:
            shutil.rmtree(entry, ignore_errors=True)
            log.info("segment_removed", segment=entry.name)
