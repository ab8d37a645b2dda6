"""`repository`: renamed, archived, made private or public, moved to another owner, deleted."""

from typing import Any

import structlog

from bot.core.context import Context
from bot.core.errors import InvalidRequestError, NotFoundError, RetryError, SkipError
from bot.core.payload import object_in, repository_name_from
from bot.core.records import Installation, Repository
from bot.core.webhook import id_of
from handlers.following import follow_name
from handlers.installation import index_all
from handlers.purging import erase_job, follow_job
from handlers.target import UNKNOWN_WAITS, installation_id_of, installation_of

log = structlog.get_logger()

Payload = dict[str, Any]


async def known(ctx: Context, payload: Payload, installation: Installation) -> Repository:
    """The event's repository, inactive ones too. Raises SkipError where the installation does not see it."""
    name = repository_name_from(payload.get("repository"))
    repository = await ctx.services.repositories.get(installation.account_id, name.id)
    if repository is not None and repository.installation_id == installation.id:
        return repository
    if ctx.job.attempt <= UNKNOWN_WAITS:
        raise RetryError(f"repository {name.id} is not known yet", after=5.0 * ctx.job.attempt)
    raise SkipError(f"repository {name.id} is not known")


async def changed(ctx: Context, payload: Payload) -> None:
    """Something of it changed: GitHub is asked what it is now, since these events carry no time to order them by."""
    installation = await installation_of(ctx, payload)
    repository = await known(ctx, payload, installation)
    try:
        name = await ctx.services.github.repository(repository).name()
    except (InvalidRequestError, NotFoundError):
        await ctx.services.jobs.enqueue(follow_job(installation.account_id, installation.id))
        raise SkipError("GitHub does not show the repository; its removal is under way") from None
    await follow_name(ctx, repository, name)


async def deleted(ctx: Context, payload: Payload) -> None:
    """Forget it at once, also while the installation is parked."""
    installation_id = installation_id_of(payload)
    installation = await ctx.services.accounts.installation(installation_id)
    if installation is None:
        raise SkipError(f"installation {installation_id} is not known")
    await forget(ctx, installation, repository_name_from(payload.get("repository")).id)


async def transferred(ctx: Context, payload: Payload) -> None:
    """The old owner's account loses it with all that is known of it; the new owner's starts with an empty index."""
    installation_id = installation_id_of(payload)
    installation = await ctx.services.accounts.installation(installation_id)
    if installation is None:
        raise SkipError(f"installation {installation_id} is not known")
    name = repository_name_from(payload.get("repository"))
    owner = id_of(object_in(payload.get("repository"), "repository").get("owner"))
    if owner != installation.account_id:
        await forget(ctx, installation, name.id)
        return
    added = await ctx.services.accounts.add_repositories(installation.account_id, installation.id, [name])
    await index_all(ctx, added)
    await ctx.services.jobs.enqueue(erase_job(), follow_job(installation.account_id, installation.id))


async def forget(ctx: Context, installation: Installation, repository_id: int) -> None:
    """Purge one repository, and use the room that it leaves."""
    await ctx.services.accounts.remove_repositories(installation.account_id, [repository_id])
    await ctx.services.jobs.enqueue(erase_job(), follow_job(installation.account_id, installation.id))
    log.info("repository_removed", audit=True, repository_id=repository_id)
    await index_all(ctx, await ctx.services.accounts.promote(installation.account_id))


ROUTES = {
    ("repository", "archived"): changed,
    ("repository", "deleted"): deleted,
    ("repository", "edited"): changed,
    ("repository", "privatized"): changed,
    ("repository", "publicized"): changed,
    ("repository", "renamed"): changed,
    ("repository", "transferred"): transferred,
    ("repository", "unarchived"): changed,
}
