"""Forgets what was kept for a time that is over."""

from storage.database import Database
from storage.queries import load

SQL = load("expired")


class Expired:
    """Implements `ports.Expired`: one query a table."""

    def __init__(self, database: Database) -> None:
        """Every query runs as the system: it sees when rows end, not what is in those of accounts."""
        self._database = database

    async def purge(self) -> None:
        """Forget it."""
        async with self._database.system() as connection:
            for query in SQL.values():
                await connection.execute(query)
