"""Drops what a purged repository left outside PostgreSQL: its collection, and its words in this process."""

import structlog

from bot.core.context import Context
from bot.core.errors import DeadError
from bot.core.records import Repository, RepositoryState
from handlers.purging import ERASE_AFTER, erase_job, purge_job

log = structlog.get_logger()


async def purge_repository(ctx: Context) -> None:
    """Drop the collection, and once more when everything that was under way has ended; then the files are rewritten."""
    payload, account_id = ctx.job.payload, ctx.job.account_id
    repository_id, collection = payload.get("repository_id"), payload.get("collection")
    if account_id is None or not isinstance(repository_id, int) or not isinstance(collection, str):
        raise DeadError("the job names no collection")
    there = await ctx.services.repositories.get(account_id, repository_id)
    if there is not None and there.collection == collection:
        # Added again meanwhile: the collection is in use under the same name, but nothing from before may be in it.
        await ctx.services.similarity.rebuild(there)
    else:
        await ctx.services.similarity.drop(removed(account_id, repository_id, collection))
    if payload.get("last"):
        await ctx.services.jobs.enqueue(erase_job(after=0.0))
    else:
        again = purge_job(account_id, repository_id, collection, after=ERASE_AFTER, last=True)
        await ctx.services.jobs.enqueue(again)
    log.info("collection_dropped", audit=True, repository_id=repository_id)


def removed(account_id: int, repository_id: int, collection: str) -> Repository:
    """What is left of a repository: enough to name its collection."""
    return Repository(
        id=repository_id,
        account_id=account_id,
        installation_id=0,
        owner="",
        name="",
        private=True,
        collection=collection,
        state=RepositoryState.INACTIVE,
        reason="removed",
        indexed_at=None,
        issues_total=None,
        issues_indexed=0,
        revision=0,
        threshold=None,
        threshold_model=None,
        config_notice=None,
    )
