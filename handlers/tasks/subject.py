"""The repository that a task is about."""

from bot.core.context import Context
from bot.core.errors import DeadError, SkipError
from bot.core.records import Repository, RepositoryState


async def repository_of(ctx: Context) -> Repository:
    """The repository named in the job's payload. Raises SkipError where it was removed or is inactive."""
    repository_id = ctx.job.payload.get("repository_id")
    if ctx.job.account_id is None or not isinstance(repository_id, int):
        raise DeadError("the job names no repository")
    repository = await ctx.services.repositories.get(ctx.job.account_id, repository_id)
    if repository is None:
        raise SkipError("the repository was removed")
    if repository.state is RepositoryState.INACTIVE:
        raise SkipError(f"the repository is inactive: {repository.reason}")
    return repository
