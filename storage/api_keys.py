"""API keys: what is checked when a program calls, and what people see of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from bot.core.access import MOST_KEYS, ApiKey, NewApiKey, StoredKey
from bot.core.errors import MissingError, QuotaError
from bot.core.principal import Scope
from bot.core.records import InstallationState
from bot.core.text import sanitise
from storage.database import Database
from storage.queries import load

SQL = load("api_keys")


class ApiKeys:
    """API keys in PostgreSQL; see `bot.core.ports.ApiKeys` for what each method promises."""

    def __init__(self, database: Database) -> None:
        """`add` and `find` run as the system: the one locks the account, the other learns whose a key is."""
        self._database = database

    async def add(self, account_id: int, new: NewApiKey) -> ApiKey:
        """Keep a key. Raises QuotaError, MissingError."""
        values = (
            account_id,
            new.id,
            sanitise(new.name),
            new.digest,
            new.scope.word,
            new.repository_id,
            new.created_by,
            new.expires_at,
        )
        async with self._database.system() as connection:
            if await connection.fetchval(SQL["lock_account"], account_id) is None:
                raise MissingError("The App is not installed with that account.")
            if await connection.fetchval(SQL["count"], account_id) >= MOST_KEYS:
                raise QuotaError(
                    "api_keys", MOST_KEYS, f"An account has {MOST_KEYS} API keys; revoke one first."
                )
            try:
                row = await connection.fetchrow(SQL["add"], *values)
            except asyncpg.ForeignKeyViolationError:
                raise MissingError("The account has no such repository.") from None
        return key_of(row)

    async def revoke(self, account_id: int, key_id: str) -> bool:
        """Let a key be good for nothing from now on; False where there is none that was not revoked."""
        async with self._database.account(account_id) as connection:
            return await connection.fetchval(SQL["revoke"], account_id, key_id) is not None

    async def used(self, account_id: int, key_id: str) -> None:
        """Remember that it was used just now; written at most once a minute, and no call waits for the disk."""
        async with self._database.account(account_id, durable=False) as connection:
            await connection.execute(SQL["used"], account_id, key_id)

    async def find(self, key_id: str) -> StoredKey | None:
        """The key of that id, whosever it is."""
        async with self._database.system() as connection:
            row = await connection.fetchrow(SQL["find"], key_id)
        if row is None:
            return None
        columns = dict(row)
        digest, state = columns.pop("digest"), columns.pop("installation")
        return StoredKey(key_of(columns), digest, None if state is None else InstallationState(state))

    async def list(self, account_id: int) -> Sequence[ApiKey]:
        """The account's keys, latest first."""
        async with self._database.account(account_id) as connection:
            rows = await connection.fetch(SQL["list"], account_id)
        return [key_of(row) for row in rows]


def key_of(row: Mapping[str, Any]) -> ApiKey:
    """A row as a record."""
    return ApiKey(**{**row, "scope": Scope.of(row["scope"])})
