"""Tokens that were taken back before their end."""

from datetime import datetime

from bot.core.access import Standing
from bot.core.records import InstallationState
from storage.database import Database
from storage.queries import load

SQL = load("revocations")


class Revocations:
    """Taken-back tokens in PostgreSQL; see `bot.core.ports.Revocations` for what each method promises."""

    def __init__(self, database: Database) -> None:
        """Every method runs in a transaction that sees one account's rows."""
        self._database = database

    async def revoke(self, account_id: int, jti: str, until: datetime) -> None:
        """Take a token back; it is remembered until then."""
        async with self._database.account(account_id) as connection:
            await connection.execute(SQL["revoke"], account_id, jti, until)

    async def standing(self, account_id: int, jti: str, key_id: str | None = None) -> Standing:
        """What became of a token since it was made, of the key that it was exchanged from, and of its account."""
        async with self._database.account(account_id) as connection:
            row = await connection.fetchrow(SQL["standing"], account_id, jti, key_id)
        state = row["installation"]
        return Standing(row["revoked"], None if state is None else InstallationState(state))
