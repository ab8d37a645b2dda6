"""Counters per account and day: totals without content."""

from datetime import timedelta

from bot.core.access import UsageTotal
from storage.database import Database
from storage.queries import load

SQL = load("usage")


class Usage:
    """Counters in PostgreSQL; see `bot.core.ports.Usage`."""

    def __init__(self, database: Database) -> None:
        """Every method runs in a transaction that sees one account's rows."""
        self._database = database

    async def add(self, account_id: int, metric: str, amount: int = 1) -> None:
        """Count for today, in UTC; a metric that the schema does not know is refused."""
        if amount:
            async with self._database.account(account_id) as connection:
                await connection.execute(SQL["add"], account_id, metric, amount)

    async def read(self, account_id: int, days: int) -> list[UsageTotal]:
        """Totals of today and the days before, so many in all, latest first."""
        async with self._database.account(account_id) as connection:
            rows = await connection.fetch(SQL["read"], account_id, days)
        return [UsageTotal(**row) for row in rows]

    async def purge(self, older_than: timedelta) -> None:
        """Forget totals of days that are longer ago, of every account."""
        async with self._database.system() as connection:
            await connection.execute(SQL["purge"], older_than)
