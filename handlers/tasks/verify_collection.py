"""Compares a repository's collection with PostgreSQL: what was lost without an error is found here."""

import structlog

from bot.core.context import Context
from bot.core.errors import SkipError
from bot.core.records import RepositoryState
from handlers.tasks.subject import repository_of

log = structlog.get_logger()


async def verify_collection(ctx: Context) -> None:
    """Verify one repository; one that is still being indexed differs anyway."""
    repository = await repository_of(ctx)
    if repository.state is not RepositoryState.ACTIVE:
        raise SkipError("the repository is still being indexed")
    drift = await ctx.services.similarity.verify(repository)
    if drift is not None:
        log.warning("collection_drifted", repository_id=repository.id, reason=drift)
