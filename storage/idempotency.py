"""Requests that have an effect once, however often they are made under one key."""

from bot.core.access import Conflict, InFlight, New, Replay
from storage.database import Database
from storage.queries import load

SQL = load("idempotency")


class Idempotency:
    """Idempotency keys in PostgreSQL; see `bot.core.ports.Idempotency` for what each method promises."""

    def __init__(self, database: Database) -> None:
        """Every method runs in a transaction that sees one account's rows."""
        self._database = database

    async def begin(
        self, account_id: int, key: str, fingerprint: bytes
    ) -> New | Replay | Conflict | InFlight:
        """What a request is."""
        async with self._database.account(account_id) as connection:
            started = await connection.fetchval(SQL["begin"], account_id, key, fingerprint)
            if started is not None:
                return New(account_id, key, started)
            row = await connection.fetchrow(SQL["taken"], account_id, key, fingerprint)
        if not row["same"]:
            return Conflict()
        return InFlight(row["retry_after"]) if row["status"] is None else Replay(row["status"], row["body"])

    async def finish(self, begun: New, status: int, body: bytes) -> None:
        """Keep the answer; nothing where somebody else took the request over."""
        values = (begun.account_id, begun.key, begun.started_at, status, body)
        async with self._database.account(begun.account_id) as connection:
            await connection.execute(SQL["finish"], *values)

    async def abandon(self, begun: New) -> None:
        """It had no effect: the same request may be made again."""
        async with self._database.account(begun.account_id) as connection:
            await connection.execute(SQL["abandon"], begun.account_id, begun.key, begun.started_at)
