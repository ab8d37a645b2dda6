"""Deliveries that GitHub's log has and ours has not. Without content."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from bot.core.records import HookAttempt, MissedDelivery
from bot.core.sweep import KEPT, MOST_ASKS, Asking
from storage.database import Database
from storage.queries import load

SQL = load("missed")


class Missed:
    """Missed deliveries in PostgreSQL; see `bot.core.ports.Missed` for what each method promises."""

    def __init__(self, database: Database) -> None:
        """Every method runs as the system: whose a delivery is, its installation tells."""
        self._database = database

    async def note(self, attempts: Sequence[HookAttempt]) -> None:
        """Remember those that are not in our log."""
        rows = [
            (
                item.guid,
                item.id,
                item.event,
                item.action,
                item.installation_id,
                item.repository_id,
                item.answered,
                item.delivered_at,
            )
            for item in attempts
        ]
        if rows:
            async with self._database.system() as connection:
                await connection.execute(SQL["note"], *([row[n] for row in rows] for n in range(8)))

    async def silence(self) -> bool:
        """Forget what arrived or is too old; whether nothing at all arrived since something was asked for."""
        async with self._database.system() as connection:
            silent = await connection.fetchval(SQL["silence"])
            await connection.execute(SQL["arrived"], KEPT)
        return bool(silent)

    async def due(self, asking: Asking) -> list[MissedDelivery]:
        """What to ask for now."""
        values = (MOST_ASKS, not asking.counts, asking.back_off, asking.limit)
        async with self._database.system() as connection:
            return [missed_of(row) for row in await connection.fetch(SQL["due"], *values)]

    async def ask(self, missed: MissedDelivery, *, counts: bool) -> bool:
        """Take the turn to ask for it; False where somebody else just did."""
        values = (missed.attempt.guid, missed.asked_at, int(counts))
        async with self._database.system() as connection:
            return await connection.fetchval(SQL["ask"], *values) is not None

    async def settle(self, missed: MissedDelivery) -> None:
        """Nothing is missing: never ask for it."""
        async with self._database.system() as connection:
            await connection.execute(SQL["settle"], missed.attempt.guid)

    async def lost(self, delivery_id: UUID | None) -> bool:
        """Whether we took a delivery before, and have it only because it was sent again."""
        async with self._database.system() as connection:
            return bool(await connection.fetchval(SQL["lost"], delivery_id))

    async def count(self) -> tuple[int, int]:
        """How many wait, and how many were given up."""
        async with self._database.system() as connection:
            row = await connection.fetchrow(SQL["count"], MOST_ASKS)
        return row["waiting"], row["given_up"]


def missed_of(row: Mapping[str, Any]) -> MissedDelivery:
    """A row as a record."""
    attempt = HookAttempt(
        row["attempt_id"],
        row["id"],
        row["event"],
        row["action"],
        row["installation_id"],
        row["repository_id"],
        row["answered"],
        row["delivered_at"],
    )
    return MissedDelivery(attempt, row["asked"], row["asked_at"])
