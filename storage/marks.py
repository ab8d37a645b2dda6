"""Which issues people marked as duplicates of which."""

from collections.abc import Mapping

from storage.database import Database
from storage.queries import load

SQL = load("marks")


class Marks:
    """Duplicate marks in PostgreSQL; see `bot.core.ports.Marks` for what each method promises."""

    def __init__(self, database: Database) -> None:
        """Every method runs in a transaction that sees one account's rows."""
        self._database = database

    async def save(self, account_id: int, repository_id: int, marks: Mapping[int, int]) -> None:
        """Keep marks: number -> the original it duplicates."""
        usable = {number: original for number, original in marks.items() if number != original}
        async with self._database.account(account_id) as connection:
            await connection.execute(
                SQL["save"], account_id, repository_id, list(usable), list(usable.values())
            )

    async def all(self, account_id: int, repository_id: int) -> dict[int, int]:
        """Every mark of a repository."""
        async with self._database.account(account_id) as connection:
            rows = await connection.fetch(SQL["all"], account_id, repository_id)
        return {row["number"]: row["original"] for row in rows}

    async def remove(
        self, account_id: int, repository_id: int, number: int, original: int | None = None
    ) -> None:
        """Forget a mark: that it is a duplicate of `original`, or of anything (None)."""
        async with self._database.account(account_id) as connection:
            await connection.execute(SQL["remove"], account_id, repository_id, number, original)
