"""`installation` and `installation_repositories`: what the App may see, and the index that follows from it."""

from collections.abc import Sequence
from typing import Any

import structlog

from bot.core.context import Context
from bot.core.errors import DeadError
from bot.core.indexing import index_job
from bot.core.payload import account_from, repository_name_from
from bot.core.reconcile import reconcile_job
from bot.core.records import (
    Account,
    InstallationState,
    Repository,
    RepositoryName,
    RepositoryState,
)
from handlers.purging import erase_job, follow_job
from handlers.target import installation_id_of

log = structlog.get_logger()

Payload = dict[str, Any]


async def index_all(ctx: Context, repositories: Sequence[Repository]) -> None:
    """Queue the index of each repository."""
    if repositories:
        await ctx.services.jobs.enqueue(*(index_job(repository) for repository in repositories))


def account_of(payload: Payload) -> Account:
    """The account that installed the App. Raises DeadError where the payload names none."""
    installation = payload.get("installation")
    if not isinstance(installation, dict):
        raise DeadError("the event names no installation")
    return account_from(installation.get("account"))


def names_in(payload: Payload, key: str) -> list[RepositoryName]:
    """The repositories that a payload lists under a key."""
    listed = payload.get(key) or []
    if not isinstance(listed, list):
        raise DeadError(f"`{key}` is not a list")
    return [repository_name_from(item) for item in listed]


async def created(ctx: Context, payload: Payload) -> None:
    """The App was installed: record the account, index what it may see."""
    account, installation_id = account_of(payload), installation_id_of(payload)
    if "repositories" in payload:
        names = names_in(payload, "repositories")
    else:
        pages = ctx.services.github.installation_repositories(installation_id)
        names = [name async for page in pages for name in page]
    repositories = await ctx.services.accounts.install(account, installation_id, names)
    log.info("installed", audit=True, repositories=len(names), to_index=len(repositories))
    await index_all(ctx, repositories)
    await ctx.services.jobs.enqueue(follow_job(account.id, installation_id))


async def deleted(ctx: Context, payload: Payload) -> None:
    """The App was removed: forget everything, the rows now and what lies outside of them by the jobs that follow.

    A removal that overtakes its `created` is remembered too, so that nothing comes back.
    """
    account, installation_id = account_of(payload), installation_id_of(payload)
    repositories = await ctx.services.accounts.uninstall(account.id, installation_id)
    await ctx.services.jobs.enqueue(erase_job())
    log.info("uninstalled", audit=True, repositories=len(repositories))


async def suspended(ctx: Context, payload: Payload) -> None:
    """GitHub stopped us for this account: do nothing there, keep what is known."""
    await ctx.services.accounts.set_state(
        account_of(payload).id, installation_id_of(payload), InstallationState.SUSPENDED
    )
    log.info("suspended", audit=True)


async def resumed(ctx: Context, payload: Payload) -> None:
    """The suspension ended: catch up with what happened meanwhile, and index what was not indexed yet."""
    repositories = await activate(ctx, payload)
    active = [item for item in repositories if item.state is RepositoryState.ACTIVE]
    await ctx.services.jobs.enqueue(*(reconcile_job(item) for item in active))
    await index_all(ctx, [item for item in repositories if item not in active])
    log.info("resumed", audit=True)


async def permitted(ctx: Context, payload: Payload) -> None:
    """The permissions we need were granted: there may be more to see than before."""
    await index_all(ctx, await activate(ctx, payload))
    log.info("permitted", audit=True)


async def activate(ctx: Context, payload: Payload) -> list[Repository]:
    """Work for the installation again; returns the repositories that are not inactive."""
    account, installation_id = account_of(payload), installation_id_of(payload)
    await ctx.services.accounts.set_state(account.id, installation_id, InstallationState.ACTIVE)
    repositories = await ctx.services.repositories.list(account.id)
    return [item for item in repositories if item.reason is None]


async def repositories_added(ctx: Context, payload: Payload) -> None:
    """The installation may see more repositories."""
    account, installation_id = account_of(payload), installation_id_of(payload)
    names = names_in(payload, "repositories_added")
    if await ctx.services.accounts.installation(installation_id) is None:
        # `added` overtook `created`: both name the account, so either may come first.
        repositories = await ctx.services.accounts.install(account, installation_id, names)
    else:
        repositories = await ctx.services.accounts.add_repositories(account.id, installation_id, names)
    await index_all(ctx, repositories)
    await ctx.services.jobs.enqueue(follow_job(account.id, installation_id))


async def repositories_removed(ctx: Context, payload: Payload) -> None:
    """The installation lost repositories: forget them, and use the room they leave."""
    account, installation_id = account_of(payload), installation_id_of(payload)
    wanted = {name.id for name in names_in(payload, "repositories_removed")}
    await ctx.services.accounts.remove_repositories(account.id, sorted(wanted))
    await ctx.services.jobs.enqueue(erase_job(), follow_job(account.id, installation_id))
    await index_all(ctx, await ctx.services.accounts.promote(account.id))


ROUTES = {
    ("installation", "created"): created,
    ("installation", "deleted"): deleted,
    ("installation", "suspend"): suspended,
    ("installation", "unsuspend"): resumed,
    ("installation", "new_permissions_accepted"): permitted,
    ("installation_repositories", "added"): repositories_added,
    ("installation_repositories", "removed"): repositories_removed,
}
