"""What GitHub says of a repository now: its name, who may see it, whether it is archived."""

import structlog

from bot.core.context import Context
from bot.core.records import Repository, RepositoryName, RepositoryState
from handlers.installation import index_all

log = structlog.get_logger()

ARCHIVED = "It is archived on GitHub: its index is kept, and nothing is written there."
"""Why an archived repository is inactive."""


async def follow_name(ctx: Context, repository: Repository, name: RepositoryName) -> None:
    """Take over what has changed. An archived repository leaves its place in the tier; later it waits for one again."""
    services, key = ctx.services, (repository.account_id, repository.id)
    if (repository.owner, repository.name, repository.private) != (name.owner, name.name, name.private):
        await services.repositories.rename(repository.account_id, name)
        log.info("renamed", repository_id=repository.id, private=name.private)
    if name.archived == (repository.reason == ARCHIVED):
        return
    if name.archived:
        await services.repositories.set_state(*key, RepositoryState.INACTIVE, ARCHIVED)
    else:
        await services.repositories.readmit(*key, ARCHIVED)
    log.info("archived" if name.archived else "unarchived", audit=True, repository_id=repository.id)
    await index_all(ctx, await services.accounts.promote(repository.account_id))
