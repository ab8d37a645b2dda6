"""The backfill of one repository: the most useful issues first, up to the plan's limit. It never comments."""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from bot.core.backtest import asked_of, judge
from bot.core.context import Context
from bot.core.errors import (
    NOT_TOLD,
    GitHubUnavailableError,
    InvalidRequestError,
    NotFoundError,
    RefusedError,
    RetryError,
    SkipError,
)
from bot.core.outcome import delay
from bot.core.records import InstallationState, Issue, Lane, NewJob, Repository, RepositoryState
from bot.core.repo_config import Config
from bot.core.tiers import room_in
from handlers.repository_config import config_of
from handlers.tasks.subject import repository_of

log = structlog.get_logger()

STATES = ("open", "closed")
"""The order in which issues are listed, each most recently updated first: what the index keeps when it must choose."""

MARKS_AGAIN = 120.0
"""Seconds until marks that GitHub could not tell are asked for again; from then on the table of delays holds."""

EMBED_BATCH = 100
"""Issues embedded at a time, so that progress is kept and new issues get their turn in between."""


async def index_repository(ctx: Context) -> None:
    """Fetch, store, embed and calibrate; a later attempt goes on where this one got to."""
    repository = await repository_of(ctx)
    if repository.state is RepositoryState.PENDING:
        await ctx.services.repositories.set_state(
            repository.account_id, repository.id, RepositoryState.INDEXING
        )
    config = await config_of(ctx, repository)
    await fetch(ctx, repository, config)
    await embed_rest(ctx, repository)
    if ctx.job.payload.get("fresh"):
        await ctx.services.similarity.rebuild(repository)
    total = await count_on_github(ctx, repository, config)
    await collect_marks(ctx, repository)
    await backtest_past(ctx, repository, config)
    await ctx.services.repositories.indexed(repository.account_id, repository.id, total=total)
    # What changed since the list was begun may have been missed; the job was there before the list.
    await ctx.services.repositories.synced(repository.account_id, repository.id, ctx.job.enqueued_at)
    log.info("indexed", repository_id=repository.id, total=total)


async def count_on_github(ctx: Context, repository: Repository, config: Config) -> int | None:
    """How many issues GitHub has, for people to read; an index is complete without that number."""
    github = ctx.services.github.repository(repository)
    try:
        return await github.issue_count(pull_requests=config.include.pull_requests)
    except (GitHubUnavailableError, InvalidRequestError, NotFoundError, RefusedError) as error:
        log.info("not_counted", reason=str(error))
        return None


async def backtest(ctx: Context) -> None:
    """Judge the repository's past anew, after the scorer, the config or the history changed."""
    repository = await repository_of(ctx)
    await backtest_past(ctx, repository, await config_of(ctx, repository))


async def backtest_past(ctx: Context, repository: Repository, config: Config) -> None:
    """Replay the repository's own past: from which score to speak, and whether to."""
    services, key = ctx.services, (repository.account_id, repository.id)
    past, model = await services.similarity.past(repository), services.similarity.model
    asked = asked_of(past.shown, await services.marks.all(*key))
    report = judge(asked, past.lowest, past.careful, config)
    await services.repositories.calibrated(*key, report.threshold, model)
    await services.backtests.save(*key, model, report.verdict, report.as_json())
    log.info(
        "backtested",
        repository_id=repository.id,
        verdict=report.verdict,
        threshold=report.threshold,
        reason=report.reason,
    )


def marks_job(repository: Repository) -> NewJob:
    """Asks again for what an index could not be told."""
    return NewJob(
        kind="learn_marks",
        lane=Lane.BACKFILL,
        account_id=repository.account_id,
        serial=f"index:{repository.id}",
        dedupe=f"marks:{repository.id}",
        payload={"repository_id": repository.id},
        after=MARKS_AGAIN,
    )


async def learn_marks(ctx: Context) -> None:
    """Read the marks that GitHub could not tell when the index was made, and judge the past by them."""
    repository = await repository_of(ctx)
    try:
        await read_marks(ctx, repository)
    except GitHubUnavailableError as error:
        # Of some repositories GitHub never answers such a question in time: no dead letter for what we can do without.
        if ctx.job.attempt >= ctx.job.max_attempts:
            raise SkipError(f"GitHub does not tell the marks: {error}") from error
        raise RetryError(f"GitHub does not tell the marks: {error}", delay(ctx.job)) from error
    await backtest_past(ctx, repository, await config_of(ctx, repository))


async def collect_marks(ctx: Context, repository: Repository) -> None:
    """Read the marks while the index is made, which waits for nothing that it can do without."""
    try:
        await read_marks(ctx, repository)
    except GitHubUnavailableError as error:
        log.info("marks_put_off", reason=str(error))
        await ctx.services.jobs.enqueue(marks_job(repository))


async def read_marks(ctx: Context, repository: Repository) -> None:
    """Learn which issues people marked as duplicates. Without that the back-test goes by the budget alone.

    Raises GitHubUnavailableError where GitHub may tell later; where it may not it is let be.
    """
    github, progress = ctx.services.github.repository(repository), dict(ctx.job.progress)
    try:
        async for cursor, marks in github.duplicate_marks(progress.get("marks")):
            await still_wanted(ctx, repository)
            await ctx.services.marks.save(repository.account_id, repository.id, marks)
            await ctx.services.jobs.save_progress(ctx.job, progress | {"marks": cursor})
    except GitHubUnavailableError:
        raise
    except NOT_TOLD as error:
        log.info("marks_not_collected", reason=str(error))


async def fetch(ctx: Context, repository: Repository, config: Config) -> None:
    """List issues page by page from where the last attempt stopped, until the plan's room is full."""
    github = ctx.services.github.repository(repository)
    progress: Mapping[str, Any] = ctx.job.progress
    reached, listed = progress.get("state", STATES[0]), progress.get("listed", 0)
    for state in STATES[STATES.index(reached) :]:
        first = progress.get("page", 1) if state == reached else 1
        async for page, issues in github.issues(state=state, page=first):
            await still_wanted(ctx, repository)
            kept = wanted(issues, config)
            await keep(ctx, repository, kept)
            listed += len(kept)
            far = {"state": state, "page": page + 1, "listed": listed}
            await ctx.services.jobs.save_progress(ctx.job, far)
            log.info("index_page", state=state, page=page, issues=len(issues))
            if await full(ctx, repository, listed):
                return


async def full(ctx: Context, repository: Repository, listed: int) -> bool:
    """Whether so many issues, the most useful ones, fill the room: what comes after them would be the first to leave.

    What was there before counts only once it is listed: it may have changed unseen.
    """
    services = ctx.services
    room = await room_in(services.accounts, services.issues, repository, services.clock())
    return listed >= room and await services.issues.count(repository.account_id, repository.id) >= room


def wanted(issues: Sequence[Issue], config: Config) -> list[Issue]:
    """What of a page the repository wants indexed."""
    return [
        issue
        for issue in issues
        if (config.include.pull_requests or not issue.is_pull_request)
        and (config.include.closed or issue.state == "open")
    ]


async def keep(ctx: Context, repository: Repository, issues: Sequence[Issue]) -> None:
    """Store and embed one page, as far as there is room."""
    if not issues:
        return
    services = ctx.services
    room = await room_in(services.accounts, services.issues, repository, services.clock())
    saved = await services.issues.save(repository.account_id, issues, room=room)
    if saved.evicted:
        await services.similarity.forget(repository, saved.evicted)
    await services.similarity.index(repository, saved.changed_text)
    await services.usage.add(repository.account_id, "indexed_issues", len(saved.changed_text))
    services.observations.indexed(len(saved.changed_text))


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
