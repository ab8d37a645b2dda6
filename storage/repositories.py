"""Repository rows of one account."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from datetime import datetime
from typing import Any

from bot.core.records import Repository, RepositoryName, RepositoryState, Wishes
from bot.core.text import sanitise
from storage.database import Database
from storage.queries import load

SQL = load("repositories")


class Repositories:
    """Repositories in PostgreSQL; see `bot.core.ports.Repositories` for what each method promises."""

    def __init__(self, database: Database) -> None:
        """Every method runs in a transaction that sees one account's rows."""
        self._database = database

    async def get(self, account_id: int, repository_id: int) -> Repository | None:
        """The repository, where it is this account's."""
        async with self._database.account(account_id) as connection:
            row = await connection.fetchrow(SQL["get"], account_id, repository_id)
        return repository_of(row) if row else None

    async def list(self, account_id: int) -> list[Repository]:
        """All of the account's repositories, by name."""
        async with self._database.account(account_id) as connection:
            rows = await connection.fetch(SQL["list"], account_id)
        return [repository_of(row) for row in rows]

    async def find(self, full_name: str) -> Repository | None:
        """The repository of that name, whosever it is: for the operator's commands alone."""
        async with self._database.system() as connection:
            row = await connection.fetchrow(SQL["find"], full_name)
        return repository_of(row) if row else None

    async def anywhere(self, repository_id: int) -> Repository | None:
        """The repository of that id, whosever it is: for those whose right to it GitHub has proven."""
        async with self._database.system() as connection:
            row = await connection.fetchrow(SQL["anywhere"], repository_id)
        return repository_of(row) if row else None

    async def open_to_all(self, repository_id: int) -> Repository | None:
        """The repository, where it is public, worked on, and its people let anybody search it."""
        found = await self.anywhere(repository_id)
        if found is None or found.private or not found.public_search:
            return None
        return None if found.state is RepositoryState.INACTIVE else found

    async def change_wishes(self, account_id: int, repository_id: int, seen: Wishes, wanted: Wishes) -> bool:
        """Change what people want of it; False, and nothing changes, where that is not what was seen any more."""
        values = [item for wishes in (seen, wanted) for item in astuple(wishes)]
        async with self._database.account(account_id) as connection:
            return (
                await connection.fetchval(SQL["change_wishes"], account_id, repository_id, *values)
                is not None
            )

    async def rename(self, account_id: int, name: RepositoryName) -> None:
        """Owner, name and visibility as GitHub tells them now."""
        await self._write(
            "rename", account_id, name.id, sanitise(name.owner), sanitise(name.name), name.private
        )

    async def set_state(
        self, account_id: int, repository_id: int, state: RepositoryState, reason: str | None = None
    ) -> None:
        """Move a repository to a state. Raises ValueError unless INACTIVE, and nothing else, comes with a reason.

        A repository over the tier's limit stays INACTIVE: `Accounts.promote` alone lets it in. One that people deactivated
        stays so: `Accounts.activate` alone lets it in.
        """
        if (state is RepositoryState.INACTIVE) != (reason is not None):
            raise ValueError("a reason belongs to the state inactive, and to no other")
        await self._write("set_state", account_id, repository_id, state.value, reason)

    async def readmit(self, account_id: int, repository_id: int, reason: str) -> None:
        """Let a repository that is INACTIVE for that reason wait for room in the tier."""
        await self._write("readmit", account_id, repository_id, reason)

    async def active(self, login: str | None = None) -> Sequence[Repository]:
        """Every repository that is indexed and may be worked on, of all accounts or of the one with that login."""
        async with self._database.system() as connection:
            rows = await connection.fetch(SQL["active"], login)
        return [repository_of(row) for row in rows]

    async def synced_until(self, account_id: int, repository_id: int) -> datetime | None:
        """Up to when all changes on GitHub are known; None before the first index."""
        async with self._database.account(account_id) as connection:
            found: datetime | None = await connection.fetchval(SQL["synced_until"], account_id, repository_id)
        return found

    async def synced(self, account_id: int, repository_id: int, until: datetime) -> None:
        """All changes up to then are known now."""
        await self._write("synced", account_id, repository_id, until)

    async def indexed(self, account_id: int, repository_id: int, *, total: int | None) -> None:
        """The index is complete."""
        await self._write("indexed", account_id, repository_id, total)

    async def calibrated(self, account_id: int, repository_id: int, threshold: float, model: str) -> None:
        """Keep the score from which the bot speaks."""
        await self._write("calibrated", account_id, repository_id, threshold, model)

    async def set_override(
        self, account_id: int, repository_id: int, mode: str | None, until: datetime | None = None
    ) -> None:
        """Have the bot comment ("comment") or only record ("shadow") whatever its back-test says; None takes that back."""
        await self._write("set_override", account_id, repository_id, mode, until)

    async def config_reported(self, account_id: int, repository_id: int, sha: str) -> bool:
        """Remember that this invalid config was reported; False where it had been already."""
        async with self._database.account(account_id) as connection:
            return (
                await connection.fetchval(SQL["config_reported"], account_id, repository_id, sha) is not None
            )

    async def _write(self, query: str, *values: Any) -> None:
        async with self._database.account(values[0]) as connection:
            await connection.execute(SQL[query], *values)


def repository_of(row: Mapping[str, Any]) -> Repository:
    """A row as a record."""
    return Repository(**{**row, "state": RepositoryState(row["state"])})
