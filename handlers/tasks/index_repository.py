"""The backfill of one repository: the most useful issues first, up to the plan's limit. It never comments."""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from bot.core.context import Context
from bot.core.errors import SkipError
from bot.core.records import InstallationState, Issue, Repository, RepositoryState
from bot.core.repo_config import Config
from handlers.repository_config import config_of
from handlers.tasks.subject import repository_of

log = structlog.get_logger()

STATES = ("open", "closed")
"""The order in which issues are listed, each most recently updated first: what the index keeps when it must choose."""

EMBED_BATCH = 100
"""Issues embedded at a time, so that progress is kept and new issues get their turn in between."""


async def index_repository(ctx: Context) -> None:
    """Fetch, store, embed and calibrate; a later attempt goes on where this one got to."""
    repository = await repository_of(ctx)
    if repository.state is RepositoryState.PENDING:
        await ctx.services.repositories.set_state(repository.account_id, repository.id, RepositoryState.INDEXING)
    config = await config_of(ctx, repository)
    await fetch(ctx, repository, config)
    await embed_rest(ctx, repository)
    if ctx.job.payload.get("fresh"):
        await ctx.services.similarity.rebuild(repository)
    github = ctx.services.github.repository(repository)
    total = await github.issue_count(pull_requests=config.include.pull_requests)
    await set_threshold(ctx, repository, config)
    await ctx.services.repositories.indexed(repository.account_id, repository.id, total=total)
    log.info("indexed", repository_id=repository.id, total=total)


async def calibrate(ctx: Context) -> None:
    """Find the threshold anew, after the scorer or the history changed."""
    repository = await repository_of(ctx)
    await set_threshold(ctx, repository, await config_of(ctx, repository))


async def set_threshold(ctx: Context, repository: Repository, config: Config) -> None:
    """Replay the repository's own past against the comment budget."""
    threshold = await ctx.services.similarity.calibrate(repository, config.budget)
    model = ctx.services.similarity.model
    await ctx.services.repositories.calibrated(repository.account_id, repository.id, threshold, model)


async def fetch(ctx: Context, repository: Repository, config: Config) -> None:
    """List issues page by page from where the last attempt stopped, until the plan's room is full."""
    room = (await ctx.services.accounts.tier(repository.account_id)).issues
    github = ctx.services.github.repository(repository)
    progress: Mapping[str, Any] = ctx.job.progress
    reached = progress.get("state", STATES[0])
    for state in STATES[STATES.index(reached) :]:
        first = progress.get("page", 1) if state == reached else 1
        async for page, issues in github.issues(state=state, page=first):
            await still_wanted(ctx, repository)
            full = await keep(ctx, repository, wanted(issues, config), room)
            await ctx.services.jobs.save_progress(ctx.job, {"state": state, "page": page + 1})
            log.info("index_page", state=state, page=page, issues=len(issues))
            if full:
                return


def wanted(issues: Sequence[Issue], config: Config) -> list[Issue]:
    """What of a page the repository wants indexed."""
    return [
        issue
        for issue in issues
        if (config.include.pull_requests or not issue.is_pull_request) and (config.include.closed or issue.state == "open")
    ]


async def keep(ctx: Context, repository: Repository, issues: Sequence[Issue], room: int) -> bool:
    """Store and embed one page; True where the room is full."""
    if not issues:
        return False
    services = ctx.services
    saved = await services.issues.save(repository.account_id, issues, room=room)
    if saved.evicted:
        await services.similarity.forget(repository, saved.evicted)
    await services.similarity.index(repository, saved.changed_text)
    await services.usage.add(repository.account_id, "indexed_issues", len(saved.changed_text))
    services.observations.indexed(len(saved.changed_text))
    return bool(saved.evicted) or await services.issues.count(repository.account_id, repository.id) >= room


async def embed_rest(ctx: Context, repository: Repository) -> None:
    """Embed what is stored without vectors: an earlier attempt died in between, or the model is new."""
    services = ctx.services
    while batch := await services.issues.unembedded(
        repository.account_id, repository.id, services.similarity.model, EMBED_BATCH
    ):
        await still_wanted(ctx, repository)
        if not await services.similarity.index(repository, [issue.number for issue in batch]):
            return


async def still_wanted(ctx: Context, repository: Repository) -> None:
    """Raises SkipError as soon as the repository was removed or its account suspended."""
    await repository_of(ctx)
    installation = await ctx.services.accounts.installation(repository.installation_id)
    if installation is None or installation.state is not InstallationState.ACTIVE:
        raise SkipError("the installation is not active any more")
