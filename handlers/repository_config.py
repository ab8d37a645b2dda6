"""The repository's own config: three outcomes, and one report of an invalid one."""

from collections.abc import Sequence

import structlog

from bot.core.comment import config_issue
from bot.core.context import Context
from bot.core.errors import PermissionMissingError, RefusedError, RetryError
from bot.core.records import EffectState, Repository
from bot.core.repo_config import DEFAULT, Config, ConfigInvalid, ConfigOk
from handlers.writing import look_up, published, send

log = structlog.get_logger()


async def config_of(ctx: Context, repository: Repository) -> Config:
    """The config in force: the file's, or the defaults where there is none or an invalid one (which is reported once)."""
    try:
        loaded = await ctx.services.configs.of(repository)
    except (PermissionMissingError, RefusedError):
        # Contents may be withheld, or too large to be given: then there is no file for us, and the defaults hold.
        log.info("config_not_readable")
        return DEFAULT
    match loaded.outcome:
        case ConfigOk(config):
            return config
        case ConfigInvalid(problems):
            await report(ctx, repository, loaded.sha, problems)
    return DEFAULT


async def report(ctx: Context, repository: Repository, sha: str, problems: Sequence[str]) -> None:
    """Open one issue about an invalid config; the same file is never reported twice."""
    if repository.config_notice == sha:
        return
    key = f"config:{sha}"
    title, body = config_issue(ctx.services.marker_key, repository, key, problems)
    body = published(body)
    github = ctx.services.github.repository(repository)
    effect = await ctx.services.effects.intend(repository.account_id, repository.id, 0, key, body)
    if effect.state is EffectState.SENDING:
        try:
            effect = await look_up(ctx, effect, github.own_issues)
        except RetryError:
            return  # another job is at it, or was: whoever comes later looks, and nobody waits for that
    if effect.state is EffectState.INTENT:
        await send(ctx, effect, body, lambda: github.open_issue(title, body))
    await ctx.services.repositories.config_reported(repository.account_id, repository.id, sha)
