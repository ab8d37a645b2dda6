"""Kinds of work that are done again and again: one turn at a time, over all processes and restarts."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bot.core.periodic import Periodic as Kind
from storage.database import Database
from storage.queries import load

SQL = load("periodic")


class Periodic:
    """Turns in PostgreSQL; see `bot.core.ports.Periodic` for what each method promises."""

    def __init__(self, database: Database) -> None:
        """Every method runs as the system: no row is about an account."""
        self._database = database

    async def take(self, kind: Kind, now: datetime) -> bool:
        """Put a turn on the queue where its time has come; False where it has not, or somebody else was first."""
        job = kind.job()
        values = (int(job.lane), job.serial, job.dedupe, job.max_attempts)
        async with self._database.system() as connection:
            return (await connection.fetchval(SQL["take"], kind.kind, kind.wait(now), *values)) is not None

    async def progress(self, kind: str) -> dict[str, Any]:
        """What the last turn left; empty before the first."""
        async with self._database.system() as connection:
            return dict(await connection.fetchval(SQL["progress"], kind) or {})

    async def done(self, kind: str, progress: Mapping[str, Any] | None = None, *, more: bool = False) -> None:
        """A turn ended well; with `more` the next one is due at once."""
        async with self._database.system() as connection:
            await connection.execute(SQL["done"], kind, dict(progress or {}), more)

    async def ages(self) -> dict[str, float]:
        """Seconds since each kind was done."""
        async with self._database.system() as connection:
            return {row["kind"]: row["age"] for row in await connection.fetch(SQL["ages"])}
