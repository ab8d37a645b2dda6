"""Calls of the last 60 seconds, counted exactly, over all processes together."""

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from bot.core.access import Taken
from storage.database import Database
from storage.queries import load

SQL = load("call_windows")

WINDOW = timedelta(seconds=60)
"""The queries say it too."""


class CallWindows:
    """Windows in PostgreSQL; see `bot.core.ports.CallWindows` for what each method promises.

    A crash of the server may lose the counts of the last fraction of a second: no call waits for the disk.
    """

    def __init__(self, database: Database, *, default_tier: str = "free") -> None:
        """`default_tier` is the one of an account that is not known."""
        self._database, self._default_tier = database, default_tier

    async def take_call(self, account_id: int) -> Taken:
        """Make a call against the account's tier; one that is allowed counts as used, too."""
        async with self._database.account(account_id, durable=False) as connection:
            row = await connection.fetchrow(SQL["take_call"], account_id, self._default_tier)
        return taken_of(row)

    async def take(self, key: str, limit: int) -> Taken:
        """Make a call against a limit of one or more."""
        async with self._database.system(durable=False) as connection:
            return taken_of(await connection.fetchrow(SQL["take"], key, limit))

    async def peek(self, key: str, limit: int) -> Taken:
        """Whether a call would be allowed, without making it."""
        async with self._database.system() as connection:
            return taken_of(await connection.fetchrow(SQL["peek"], key, limit))


def taken_of(row: Mapping[str, Any]) -> Taken:
    """A row as a record."""
    return Taken(
        allowed=row["allowed"],
        limit=row["allowance"],
        remaining=max(0, row["allowance"] - row["taken"]),
        reset_seconds=leaves_in(row["last"], row["at"]),
        retry_after=leaves_in(row["blocking"], row["at"]),
    )


def leaves_in(call: datetime | None, at: datetime) -> int:
    """Seconds until a call leaves the window, rounded up; none at all for no call."""
    return 0 if call is None else max(1, math.ceil((call + WINDOW - at).total_seconds()))
