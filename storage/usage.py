"""Counters per account and day: totals without content."""

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
