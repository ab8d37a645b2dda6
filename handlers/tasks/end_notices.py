"""Ends the notice of a downgrade: what the smaller tier had no room for all that time goes."""

import structlog

from bot.core.context import Context
from bot.core.errors import DeadError, SkipError
from bot.core.records import Lane, NewJob, Repository, RepositoryState
from bot.core.tiers import NOTICE, room_in
from handlers.purging import erase_job

log = structlog.get_logger()


async def end_notices(ctx: Context) -> None:
    """Purge the repositories that were frozen for that long, and have the others trimmed; each may be done again."""
    services = ctx.services
    before = services.clock() - NOTICE
    for account_id in await services.accounts.overdue(before):
        for repository_id in await services.accounts.purge_frozen(account_id, before):
            log.info("frozen_purged", audit=True, account_id=account_id, repository_id=repository_id)
        tier = await services.accounts.tier(account_id)
        if tier.shrunk_at is not None and tier.shrunk_at <= before:
            kept = await services.repositories.list(account_id)
            await services.jobs.enqueue(*(trim_job(item) for item in kept))
            await services.accounts.end_notice(account_id, before)
    await services.periodic.done("end_notices")


def trim_job(repository: Repository) -> NewJob:
    """Has issues leave that the tier has no room for; `after_revision` is from where on to look for what left."""
    return NewJob(
        kind="trim_repository",
        lane=Lane.BACKFILL,
        account_id=repository.account_id,
        serial=f"index:{repository.id}",
        dedupe=f"trim:{repository.id}",
        payload={"repository_id": repository.id, "after_revision": repository.revision},
    )


async def trim_repository(ctx: Context) -> None:
    """Trim one repository, one that rests too; one that is frozen has its own notice."""
    services, repository_id = ctx.services, ctx.job.payload.get("repository_id")
    if ctx.job.account_id is None or not isinstance(repository_id, int):
        raise DeadError("the job names no repository")
    key = (ctx.job.account_id, repository_id)
    repository = await services.repositories.get(*key)
    if repository is None or repository.frozen_at is not None:
        raise SkipError("the repository was removed, or is frozen")
    room = await room_in(services.accounts, services.issues, repository, services.clock())
    trimmed = await services.issues.trim(*key, room)
    # Of an attempt that died too: they are in the rows no more, but may be in the collection.
    gone = await services.issues.removed_since(*key, ctx.job.payload.get("after_revision", 0))
    if gone:
        await services.similarity.forget(repository, gone)
        await services.jobs.enqueue(erase_job())
    if gone and repository.state is RepositoryState.ACTIVE:
        await services.repositories.indexed(*key, total=repository.issues_total)
    log.info("trimmed", repository_id=repository_id, issues=len(trimmed))
