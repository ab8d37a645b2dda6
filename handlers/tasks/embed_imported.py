"""Puts into the index what an import stored, and takes out what had to make room for it. It never comments."""

import structlog

from bot.core.context import Context
from bot.core.records import Repository, RepositoryState
from handlers.tasks.index_repository import EMBED_BATCH, still_wanted
from handlers.tasks.subject import repository_of

log = structlog.get_logger()


async def embed_imported(ctx: Context) -> None:
    """Embed what has no vectors yet; a later attempt, or a second import, goes on where this one got to."""
    repository = await repository_of(ctx)
    services, key = ctx.services, (repository.account_id, repository.id)
    gone = await services.issues.removed_since(
        *key, ctx.job.payload.get("after_revision", repository.revision)
    )
    if gone:
        await services.similarity.forget(repository, gone)
    embedded = await embed(ctx, repository)
    # An index that is being made says so itself when it is complete.
    if repository.state is RepositoryState.ACTIVE:
        await services.repositories.indexed(*key, total=repository.issues_total)
    log.info("imported_embedded", repository_id=repository.id, issues=embedded, gone=len(gone))


async def embed(ctx: Context, repository: Repository) -> int:
    """Embed batch by batch, and count it as the backfill does; returns how many."""
    services, embedded = ctx.services, 0
    while batch := await services.issues.unembedded(
        repository.account_id, repository.id, services.similarity.model, EMBED_BATCH
    ):
        await still_wanted(ctx, repository)
        done = await services.similarity.index(repository, [issue.number for issue in batch])
        if not done:
            break
        await services.usage.add(repository.account_id, "indexed_issues", done)
        services.observations.indexed(done)
        embedded += done
    return embedded
