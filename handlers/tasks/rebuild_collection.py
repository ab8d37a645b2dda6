"""Makes a repository's collection anew from PostgreSQL, where it was found missing, damaged or of another model."""

import structlog

from bot.core.context import Context
from handlers.tasks.subject import repository_of

log = structlog.get_logger()


async def rebuild_collection(ctx: Context) -> None:
    """Rebuild; nothing is asked of GitHub, and nothing is embedded that has its vectors."""
    repository = await repository_of(ctx)
    records = await ctx.services.similarity.rebuild(repository)
    log.info("collection_rebuilt", repository_id=repository.id, records=records)
