"""Accounts, their installations, and which repositories have room in the account's tier."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg
import structlog

from bot.core.errors import MissingError, QuotaError, RetryError
from bot.core.names import collection_name
from bot.core.records import Account, Installation, InstallationState, Repository, RepositoryName, Tier
from bot.core.text import sanitise
from bot.core.tiers import CLEARED, DEACTIVATED, over_limit
from storage.database import Database
from storage.queries import load
from storage.repositories import repository_of

log = structlog.get_logger()

SQL = load("accounts")

EMPTIED = (
    "id",
    "installation_id",
    "owner",
    "name",
    "private",
    "collection",
    "added_at",
    "override",
    "override_until",
    "public_search",
    "config_notice",
)
"""What stays of a repository whose notice is over, in the order of the query's parameters."""


class Accounts:
    """Accounts in PostgreSQL; see `bot.core.ports.Accounts` for what each method promises.

    What changes an account's repositories locks the account's row first, so that two events never both find the last
    free place. A repository is one row, by GitHub's id: the account whose installation event came last has it, and
    what another account kept of it is purged in the same transaction. Where rows are purged, the job that drops their
    collection is put on the queue in the same transaction: nothing else knows its name afterwards.
    """

    def __init__(self, database: Database, *, default_tier: str = "free") -> None:
        """`default_tier` is what an account gets that was never seen before."""
        self._database, self._default_tier = database, default_tier

    async def install(
        self, account: Account, installation_id: int, repositories: Sequence[RepositoryName]
    ) -> list[Repository]:
        """Record an installation and what it brought, and return what is to be indexed.

        It replaces another installation of the account: repositories that only the old one could see are purged. An
        installation that was removed, or that is another account's, changes nothing.
        """
        login, kind = sanitise(account.login), sanitise(account.kind)
        async with self._database.system() as connection:
            await connection.execute(SQL["add_account"], account.id, kind, self._default_tier)
            await connection.execute(SQL["lock_account"], account.id)
            known = await connection.fetchrow(SQL["find_installation"], installation_id)
            if known is not None and not usable(known, account.id):
                log.warning("installation_refused", installation_id=installation_id, state=known["state"])
                return []
            if known is None:
                await connection.execute(SQL["retire_installations"], account.id, installation_id)
                await connection.execute(SQL["add_installation"], installation_id, account.id)
            await connection.execute(SQL["installed"], account.id, login, kind)
            return await self._admit(connection, account.id, installation_id, repositories)

    async def add_repositories(
        self, account_id: int, installation_id: int, repositories: Sequence[RepositoryName]
    ) -> list[Repository]:
        """Add what the installation may see now, and return what is to be indexed; nothing where it is not living."""
        async with self._database.system() as connection:
            await connection.execute(SQL["lock_account"], account_id)
            known = await connection.fetchrow(SQL["find_installation"], installation_id)
            if known is None or not usable(known, account_id):
                log.warning("installation_refused", installation_id=installation_id)
                return []
            return await self._admit(connection, account_id, installation_id, repositories)

    async def promote(self, account_id: int) -> list[Repository]:
        """Let in, oldest first, what was over the tier's limit and fits now; returns what is to be indexed."""
        async with self._database.system() as connection:
            await connection.execute(SQL["lock_account"], account_id)
            tier = await self._tier(connection, account_id)
            promoted = await fit(connection, account_id, tier)
            rows = await connection.fetch(SQL["to_index"], account_id, [], promoted)
        return [repository_of(row) for row in rows]

    async def set_tier(self, account_id: int, tier: str) -> Sequence[Repository]:
        """Give an account another tier; returns what is to be indexed now: what was let in, and what may hold more issues.

        Whether it grows or shrinks, those that were added first have the places. Raises MissingError where account or tier
        are not known.
        """
        async with self._database.system() as connection:
            await connection.execute(SQL["lock_account"], account_id)
            before = await self._tier(connection, account_id)
            try:
                changed = await connection.fetchval(SQL["set_tier"], account_id, tier)
            except asyncpg.ForeignKeyViolationError:
                raise MissingError("There is no such tier.") from None
            if changed is None:
                raise MissingError("There is no such account.")
            after = await self._tier(connection, account_id)
            if after.issues < before.issues:
                await connection.execute(SQL["shrink"], account_id)
            await connection.execute(SQL["freeze"], account_id, after.repositories, over_limit(after))
            wanted = await fit(connection, account_id, after)
            if after.issues > before.issues:
                wanted = await placed(connection, account_id)
            rows = await connection.fetch(SQL["to_index"], account_id, [], wanted)
        return [repository_of(row) for row in rows]

    async def deactivate(self, account_id: int, repository_id: int) -> bool:
        """People want nothing done in a repository: its index is kept, its place is free. Raises MissingError."""
        async with self._database.system() as connection:
            await connection.execute(SQL["lock_account"], account_id)
            row = await connection.fetchrow(SQL["place"], account_id, repository_id)
            if row is None:
                raise MissingError("The account has no such repository.")
            if row["deactivated"]:
                return False
            await connection.execute(SQL["deactivate"], account_id, repository_id, DEACTIVATED)
        return True

    async def activate(self, account_id: int, repository_id: int) -> Sequence[Repository]:
        """Let in an inactive repository where the tier has room. Raises QuotaError, MissingError."""
        async with self._database.system() as connection:
            await connection.execute(SQL["lock_account"], account_id)
            row = await connection.fetchrow(SQL["place"], account_id, repository_id)
            if row is None:
                raise MissingError("The account has no such repository.")
            if row["state"] != "inactive":
                return []
            tier = await self._tier(connection, account_id)
            if len(await placed(connection, account_id)) >= tier.repositories:
                raise QuotaError("repositories", tier.repositories, over_limit(tier))
            await connection.execute(SQL["activate"], account_id, repository_id)
            rows = await connection.fetch(SQL["to_index"], account_id, [repository_id], [])
        return [repository_of(row) for row in rows]

    async def remove_repositories(self, account_id: int, repository_ids: Sequence[int]) -> list[Repository]:
        """Purge repositories with their rows and raw events; returns what they were."""
        async with self._database.system() as connection:
            await connection.execute(SQL["lock_account"], account_id)
            rows = await connection.fetch(SQL["remove_repositories"], account_id, list(repository_ids))
            await purge(connection, rows)
        return [repository_of(row) for row in rows]

    async def clear(self, account_id: int, repository_ids: Sequence[int] | None = None) -> list[int]:
        """Delete all that is kept of these repositories (None: of all); they stay listed, and nothing is done there."""
        async with self._database.system() as connection:
            await connection.execute(SQL["lock_account"], account_id)
            wanted = (
                await connection.fetchval(SQL["ids"], account_id)
                if repository_ids is None
                else repository_ids
            )
            rows = await connection.fetch(SQL["remove_repositories"], account_id, list(wanted))
            await purge(connection, rows)
            names = ("id", "installation_id", "owner", "name", "private", "collection")
            columns = [[row[name] for row in rows] for name in names]
            await connection.execute(SQL["add_cleared"], account_id, CLEARED, *columns)
        return [row["id"] for row in rows]

    async def overdue(self, before: datetime) -> Sequence[int]:
        """Accounts that keep something beyond their tier since a downgrade of that time or before."""
        async with self._database.system() as connection:
            return [row["id"] for row in await connection.fetch(SQL["overdue"], before)]

    async def purge_frozen(self, account_id: int, before: datetime) -> list[int]:
        """Delete what is kept of repositories that are frozen since then or longer; they stay listed as over the limit."""
        async with self._database.system() as connection:
            await connection.execute(SQL["lock_account"], account_id)
            rows = await connection.fetch(SQL["remove_frozen"], account_id, before)
            await purge(connection, rows)
            reason = over_limit(await self._tier(connection, account_id))
            columns = [[row[name] for row in rows] for name in EMPTIED]
            await connection.execute(SQL["add_emptied"], account_id, reason, *columns)
        return [row["id"] for row in rows]

    async def end_notice(self, account_id: int, before: datetime) -> None:
        """From now on its repositories hold no more issues than the tier has room for, unless it was downgraded since."""
        async with self._database.system() as connection:
            await connection.execute(SQL["end_notice"], account_id, before)

    async def uninstall(self, account_id: int, installation_id: int) -> list[Repository]:
        """Purge what the installation could see, and remember that it is gone; returns the repositories it had.

        Its id is remembered even where it was never seen, so that its `created`, if it comes late, does nothing.
        """
        async with self._database.system() as connection:
            await connection.execute(SQL["lock_account"], account_id)
            if await connection.fetchval(SQL["remove_installation"], installation_id, account_id) is None:
                log.warning("installation_refused", installation_id=installation_id)
                return []
            rows = await connection.fetch(SQL["remove_all"], account_id, installation_id)
            await purge(connection, rows)
            await connection.execute(SQL["purge_installation_deliveries"], installation_id)
            if await connection.fetchval(SQL["uninstalled"], account_id) is not None:
                await connection.execute(SQL["purge_keys"], account_id)
                await connection.execute(SQL["purge_answers"], account_id)
        return [repository_of(row) for row in rows]

    async def rename(self, account_id: int, login: str) -> None:
        """What GitHub calls the account now, and so the owner of its repositories."""
        async with self._database.system() as connection:
            await connection.execute(SQL["rename_account"], account_id, sanitise(login))
            await connection.execute(SQL["rename_owner"], account_id, sanitise(login))

    async def set_state(self, account_id: int, installation_id: int, state: InstallationState) -> None:
        """Suspend, resume or park an installation; a removed one stays removed."""
        async with self._database.account(account_id) as connection:
            await connection.execute(SQL["set_state"], installation_id, account_id, state.value)

    async def installation(self, installation_id: int) -> Installation | None:
        """The installation by GitHub's id; None where it was removed or never seen."""
        async with self._database.system() as connection:
            row = await connection.fetchrow(SQL["installation"], installation_id)
        return Installation(row["id"], row["account_id"], InstallationState(row["state"])) if row else None

    async def account(self, account_id: int) -> Account | None:
        """The account; None while the App is not installed there."""
        async with self._database.account(account_id) as connection:
            row = await connection.fetchrow(SQL["account"], account_id)
        return Account(**row) if row else None

    async def find(self, login: str) -> Account | None:
        """The account of that login, while the App is installed there."""
        async with self._database.system() as connection:
            row = await connection.fetchrow(SQL["find_account"], login)
        return Account(**row) if row else None

    async def tier(self, account_id: int) -> Tier:
        """The limits of the account's tier; those of the default tier where the account is not known."""
        async with self._database.account(account_id) as connection:
            return await self._tier(connection, account_id)

    async def _tier(self, connection: Any, account_id: int) -> Tier:
        return Tier(**await connection.fetchrow(SQL["tier"], account_id, self._default_tier))

    async def _admit(
        self, connection: Any, account_id: int, installation_id: int, names: Sequence[RepositoryName]
    ) -> list[Repository]:
        """Store the repositories and let in what has room. Raises RetryError where another account takes one just now."""
        ids = sorted({name.id for name in names})
        tier = await self._tier(connection, account_id)
        purged = await connection.fetch(SQL["take_over"], account_id, ids)
        purged += await connection.fetch(SQL["drop_stale"], account_id, installation_id, ids)
        await purge(connection, purged)
        for row in purged:
            log.warning("repository_purged", audit=True, repository_id=row["id"])
        carried = [
            row["id"] for row in await connection.fetch(SQL["carry_over"], account_id, installation_id)
        ]
        values = columns(account_id, names)
        stored = await connection.fetch(
            SQL["add_repositories"], account_id, installation_id, over_limit(tier), *values
        )
        if len(stored) < len(ids):
            raise RetryError("a repository moves between two accounts", after=1.0, counts=False)
        promoted = await fit(connection, account_id, tier)
        rows = await connection.fetch(SQL["to_index"], account_id, ids, promoted + carried)
        return [repository_of(row) for row in rows]


def usable(installation: Mapping[str, Any], account_id: int) -> bool:
    """Whether an installation is this account's and was not removed."""
    return bool(installation["account_id"] == account_id and installation["state"] != "removed")


def columns(account_id: int, names: Sequence[RepositoryName]) -> list[list[Any]]:
    """Repositories as one array a column, the last of each id; a collection's name counts only where the row is new."""
    unique = {name.id: name for name in names}.values()
    rows = [
        (
            item.id,
            sanitise(item.owner),
            sanitise(item.name),
            item.private,
            collection_name(account_id, item.owner, item.name, item.id),
        )
        for item in unique
    ]
    return [[row[n] for row in rows] for n in range(5)]


async def fit(connection: Any, account_id: int, tier: Tier) -> list[int]:
    """Let in what has room, and tell the rest why not; returns the ids let in. Only under the account's lock."""
    rows = await connection.fetch(SQL["fit"], account_id, tier.repositories)
    for times in await connection.fetch(SQL["frozen_times"], account_id):
        since = times["frozen_at"]
        await connection.execute(SQL["explain"], account_id, over_limit(tier, since), since)
    return [row["id"] for row in rows]


async def placed(connection: Any, account_id: int) -> list[int]:
    """Ids of the repositories that have a place in the tier. Only under the account's lock."""
    return [row["id"] for row in await connection.fetch(SQL["placed"], account_id)]


async def purge(connection: Any, purged: Sequence[Mapping[str, Any]]) -> None:
    """Forget the raw events of repositories whose rows were deleted, and have their collections dropped."""
    if not purged:
        return
    ids, installations = [row["id"] for row in purged], [row["installation_id"] for row in purged]
    accounts, collections = [row["account_id"] for row in purged], [row["collection"] for row in purged]
    await connection.execute(SQL["purge_deliveries"], ids, installations)
    await connection.execute(SQL["queue_purges"], accounts, ids, collections)
