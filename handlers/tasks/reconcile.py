"""Brings the index up to what GitHub has, where events were missed for good. It never comments."""

from collections.abc import Sequence
from datetime import datetime

import structlog

from bot.core.context import Context
from bot.core.errors import GoneError, MovedError, NotFoundError
from bot.core.reconcile import reconcile_job, since, turn_in_the_night, verify_job
from bot.core.records import Issue, Repository
from bot.core.repo_config import Config
from handlers.purging import erase_job
from handlers.repository_config import config_of
from handlers.tasks.index_repository import count_on_github, embed_rest, keep, still_wanted, wanted
from handlers.tasks.subject import repository_of

log = structlog.get_logger()

MOST_LOOKS = 100
"""Issues that are missing from GitHub's list and looked at one by one, in one run."""


async def reconcile_all(ctx: Context) -> None:
    """Queue every active repository, spread over the night."""
    repositories = await ctx.services.repositories.active()
    for repository in repositories:
        await ctx.services.jobs.enqueue(reconcile_job(repository, turn_in_the_night(repository.id)))
    await ctx.services.periodic.done("reconcile_all")
    log.info("reconciling", repositories=len(repositories))


async def reconcile(ctx: Context) -> None:
    """Take over what changed since the last time, then look for what was deleted."""
    repository = await repository_of(ctx)
    key, began = (repository.account_id, repository.id), ctx.job.progress.get("began")
    began = began or ctx.services.clock().isoformat()
    config = await config_of(ctx, repository)
    changed = await take_over(ctx, repository, config, began)
    await embed_rest(ctx, repository)
    total = await count_on_github(ctx, repository, config)
    deleted = await remove_deleted(ctx, repository, total)
    await ctx.services.repositories.synced(*key, datetime.fromisoformat(began))
    await ctx.services.jobs.enqueue(verify_job(repository))
    log.info("reconciled", repository_id=repository.id, changed=changed, deleted=deleted)


async def take_over(ctx: Context, repository: Repository, config: Config, began: str) -> int:
    """Store and embed what changed, page by page; a later attempt goes on where this one got to."""
    services, changed = ctx.services, 0
    synced = await services.repositories.synced_until(repository.account_id, repository.id)
    pages = services.github.repository(repository).issues_since(since(synced, ctx.job.progress))
    async for issues in pages:
        await still_wanted(ctx, repository)
        changed += len(issues)
        kept = wanted(issues, config)
        await keep(ctx, repository, kept)
        await leave(ctx, repository, issues, kept)
        if issues:
            reached = issues[-1].updated_at.isoformat()
            await services.jobs.save_progress(ctx.job, {"began": began, "since": reached})
    return changed


async def leave(ctx: Context, repository: Repository, issues: Sequence[Issue], kept: Sequence[Issue]) -> None:
    """Take out of the index what it held and shall not hold any more."""
    unwanted = sorted({issue.number for issue in issues} - {issue.number for issue in kept})
    if not unwanted:
        return
    left = await ctx.services.issues.leave(repository.account_id, repository.id, unwanted)
    if left:
        await ctx.services.similarity.forget(repository, left)


async def remove_deleted(ctx: Context, repository: Repository, total: int | None) -> int:
    """Remove what GitHub does not list any more, where more is stored than GitHub has; returns how many went.

    No endpoint lists what was deleted, so that the whole list is read, and only then.
    """
    services, key = ctx.services, (repository.account_id, repository.id)
    if total is None or await services.issues.count(*key) <= total:
        return 0
    github = services.github.repository(repository)
    stored = {item.issue.number async for batch in services.issues.stream(*key) for item in batch}
    listed = {issue.number async for issues in github.issues_since(None) for issue in issues}
    missing = sorted(stored - listed)[:MOST_LOOKS]
    gone = [number for number in missing if await is_gone(ctx, repository, number)]
    # Under a name that somebody else took, everything would seem to be gone.
    if not gone or (await github.name()).full_name != repository.full_name:
        return 0
    await services.issues.delete(*key, gone, services.clock())
    await services.similarity.forget(repository, gone)
    await services.jobs.enqueue(erase_job())
    return len(gone)


async def is_gone(ctx: Context, repository: Repository, number: int) -> bool:
    """Whether an issue was deleted or moved to another repository."""
    try:
        await ctx.services.github.repository(repository).issue(number)
    except (GoneError, MovedError, NotFoundError):
        return True
    return False
