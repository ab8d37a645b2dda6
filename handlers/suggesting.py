"""A suggestion for one issue: rank, decide, record, and speak where that is justified."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import structlog

from bot.core import crash
from bot.core.comment import refused_comment, suggestion_comment
from bot.core.context import Context
from bot.core.decision import Decision, Question, decide
from bot.core.errors import NOT_TOLD, SkipError
from bot.core.hashing import content_hash
from bot.core.records import Candidate, Issue, Lane, NewJob, Ranking, Repository, Suggestion
from bot.core.repo_config import Config, settled
from handlers.repository_config import config_of
from handlers.writing import SUGGESTION, write_comment

log = structlog.get_logger()

FRESH = timedelta(hours=24)
"""How old an issue may be when we first speak under it: later, people have moved on."""

REACTION_LOOKS = (600.0, 3_600.0, 21_600.0, 86_400.0, 259_200.0)
"""Seconds between looks at a comment's reactions: GitHub sends no event for them."""


async def suggest(ctx: Context, repository: Repository, number: int) -> Decision:
    """Decide anew what to say about an issue, keep that, and make the comment say it. Raises SkipError if it left."""
    services = ctx.services
    config = await mode_of(ctx, repository, await config_of(ctx, repository))
    stored = (await services.issues.get(repository.account_id, repository.id, [number])).get(number)
    if stored is None:
        raise SkipError(f"#{number} is not stored: deleted, or beyond the plan's issues")
    issue = stored.issue
    decision, ranking = await judge(ctx, repository, issue, config)
    crash.point("issue-ranked")
    await services.suggestions.save(record(ctx, repository, issue, decision, ranking))
    crash.point("suggestion-recorded")
    await services.usage.add(repository.account_id, "suggestions")
    services.observations.decided("spoken" if decision.speak else "silent")
    log.info(
        "decided", issue=number, spoken=decision.speak, reason=decision.reason, degraded=ranking.degraded
    )
    if config.mode == "comment":
        await show(ctx, repository, issue, decision, config)
    return decision


async def mode_of(ctx: Context, repository: Repository, config: Config) -> Config:
    """The config with its mode decided: by the file, by command, or by the repository's back-test."""
    last = await ctx.services.backtests.get(repository.account_id, repository.id)
    return settled(config, last.verdict if last else None, repository.wish(ctx.services.clock()))


async def judge(
    ctx: Context, repository: Repository, issue: Issue, config: Config
) -> tuple[Decision, Ranking]:
    """Rank earlier issues and decide; nothing is ranked where the issue itself rules a suggestion out."""
    refused = await ctx.services.suggestions.refused(repository.account_id, repository.id, issue.number)
    ranking = await ctx.services.finder.earlier(repository, issue)
    threshold = threshold_for(repository, ranking)
    return decide(Question(issue, repository.full_name, ranking, threshold, refused, config)), ranking


def threshold_for(repository: Repository, ranking: Ranking) -> float | None:
    """The repository's threshold where it belongs to the model of the ranking."""
    return repository.threshold if repository.threshold_model == ranking.model else None


def record(
    ctx: Context, repository: Repository, issue: Issue, decision: Decision, ranking: Ranking
) -> Suggestion:
    """The row that `why`, the pages and later outcomes refer to."""
    return Suggestion(
        account_id=repository.account_id,
        repository_id=repository.id,
        issue_number=issue.number,
        spoken=decision.speak,
        reason=decision.reason,
        threshold=decision.threshold,
        model=ranking.model,
        likely=tuple(item.number for item in decision.likely),
        also=tuple(item.number for item in decision.also),
        evidence={str(item.number): item.evidence() for item in ranking.candidates},
        content_hash=content_hash(issue.title, issue.body),
        decided_at=ctx.services.clock(),
        degraded=ranking.degraded,
    )


async def show(
    ctx: Context, repository: Repository, issue: Issue, decision: Decision, config: Config
) -> None:
    """Make the issue's one comment agree with the decision: post, edit, or fold it away."""
    effect = await ctx.services.effects.get(repository.account_id, repository.id, issue.number, SUGGESTION)
    standing = effect is not None and effect.github_id is not None
    if not decision.speak:
        if standing:
            await retract(ctx, repository, issue.number)
        return
    if not standing:
        await ensure_timely(ctx, repository, issue)
    told = await with_closings(ctx, repository, decision)
    body = suggestion_comment(ctx.services.marker_key, repository, issue, told, ctx.services.web_url)
    if await write_comment(ctx, repository, issue.number, SUGGESTION, body) is None or standing:
        return
    ctx.services.observations.commented((ctx.services.clock() - issue.created_at).total_seconds())
    if config.labels.possible:
        await ctx.services.github.repository(repository).add_labels(issue.number, [config.labels.possible])
    await ctx.services.jobs.enqueue(reaction_job(repository, issue.number, 0))


async def with_closings(ctx: Context, repository: Repository, decision: Decision) -> Decision:
    """The decision with how its closed candidates were closed; without that where GitHub does not tell."""
    closed = [item.number for item in (*decision.likely, *decision.also) if item.issue.state == "closed"]
    try:
        closings = await ctx.services.github.repository(repository).closings(closed)
    except NOT_TOLD as error:
        log.info("closings_not_told", reason=str(error))
        return decision

    def told(items: Sequence[Candidate]) -> tuple[Candidate, ...]:
        return tuple(replace(item, closing=closings.get(item.number)) for item in items)

    return replace(decision, likely=told(decision.likely), also=told(decision.also))


async def ensure_timely(ctx: Context, repository: Repository, issue: Issue) -> None:
    """Look at the issue as it is now. Raises SkipError where a first comment would come too late."""
    if ctx.services.clock() - issue.created_at > FRESH:
        raise SkipError("the issue is older than a day")
    fresh = await ctx.services.github.repository(repository).issue(issue.number)
    if fresh.state != "open" or fresh.locked:
        raise SkipError("the issue was closed or locked meanwhile")


async def retract(ctx: Context, repository: Repository, number: int) -> None:
    """Fold the comment into one line."""
    body = refused_comment(ctx.services.marker_key, repository, number)
    await write_comment(ctx, repository, number, SUGGESTION, body)


def reaction_job(repository: Repository, number: int, look: int) -> NewJob:
    """The job that looks at the reactions to our comment for the n-th time."""
    return NewJob(
        kind="watch_reactions",
        lane=Lane.BACKFILL,
        account_id=repository.account_id,
        serial=f"issue:{repository.id}:{number}",
        dedupe=f"reactions:{repository.id}:{number}",
        payload={"repository_id": repository.id, "number": number, "look": look},
        after=REACTION_LOOKS[look],
    )
