"""Makes our list of an installation's repositories what GitHub says it is, whatever order its events came in."""

import structlog

from bot.core.context import Context
from bot.core.errors import DeadError, NotFoundError, SkipError
from bot.core.records import InstallationState
from handlers.following import follow_name
from handlers.installation import index_all
from handlers.purging import erase_job

log = structlog.get_logger()


async def follow_installation(ctx: Context) -> None:
    """Add what is missing, purge what it does not see, take over names and archiving."""
    installation_id, services = ctx.job.payload.get("installation_id"), ctx.services
    if not isinstance(installation_id, int):
        raise DeadError("the job names no installation")
    installation = await services.accounts.installation(installation_id)
    if installation is None or installation.state is not InstallationState.ACTIVE:
        raise SkipError("the installation is not active")
    try:
        pages = services.github.installation_repositories(installation_id)
        seen = {name.id: name async for page in pages for name in page}
    except NotFoundError:
        raise SkipError("GitHub does not know the installation; its removal is under way") from None
    account_id = installation.account_id
    known = {item.id: item for item in await services.repositories.list(account_id)}
    gone = sorted(known.keys() - seen.keys())
    added = [name for id_, name in seen.items() if id_ not in known]
    if gone:
        await services.accounts.remove_repositories(account_id, gone)
        await services.jobs.enqueue(erase_job())
    for id_, name in seen.items():
        if id_ in known:
            await follow_name(ctx, known[id_], name)
    if added:
        await index_all(ctx, await services.accounts.add_repositories(account_id, installation_id, added))
    await index_all(ctx, await services.accounts.promote(account_id))
    log.info("followed", audit=True, gone=len(gone), added=len(added))
