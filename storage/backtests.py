"""What the bot would have done in each repository's past."""

from typing import Any

from bot.core.ports import StoredBacktest
from storage.database import Database
from storage.queries import load

SQL = load("backtests")


class Backtests:
    """The last back-test of each repository in PostgreSQL; see `bot.core.ports.Backtests`."""

    def __init__(self, database: Database) -> None:
        """Every method runs in a transaction that sees one account's rows."""
        self._database = database

    async def save(
        self, account_id: int, repository_id: int, model: str, verdict: str, report: dict[str, Any]
    ) -> None:
        """Keep a report as the last one."""
        async with self._database.account(account_id) as connection:
            await connection.execute(SQL["save"], account_id, repository_id, model, verdict, report)

    async def get(self, account_id: int, repository_id: int) -> StoredBacktest | None:
        """The last report; None before the first one."""
        async with self._database.account(account_id) as connection:
            row = await connection.fetchrow(SQL["get"], account_id, repository_id)
        return StoredBacktest(**row) if row else None
