"""`issues`: keeps the index as GitHub is, and speaks under a new issue that was very likely reported before."""

from typing import Any

import structlog

from bot.core import crash
from bot.core.context import Context
from bot.core.errors import RetryError, SkipError
from bot.core.payload import issue_from
from bot.core.records import Issue, RepositoryState
from handlers.repository_config import config_of
from handlers.suggesting import suggest
from handlers.target import Target, target_of

log = structlog.get_logger()

Payload = dict[str, Any]

INDEX_WAIT = 20.0
"""Seconds between looks at a repository whose first index is still being made."""


async def save(ctx: Context, target: Target, issue: Issue) -> None:
    """Store an issue and bring the search index up to it."""
    repository = target.repository
    tier = await ctx.services.accounts.tier(target.account_id)
    saved = await ctx.services.issues.save(target.account_id, [issue], room=tier.issues)
    crash.point("issue-stored")
    if saved.evicted:
        await ctx.services.similarity.forget(repository, saved.evicted)
    stored = await ctx.services.issues.get(target.account_id, repository.id, [issue.number])
    # Without vectors though the text is old: stored while the first index was made, or by an attempt that died.
    if any(item.text_vector is None for item in stored.values()):
        await ctx.services.similarity.index(repository, [issue.number])
    crash.point("issue-indexed")


async def received(ctx: Context, payload: Payload) -> tuple[Target, Issue]:
    """The issue of an event, where it is one that this repository wants indexed."""
    target = await target_of(ctx, payload)
    issue = issue_from(payload.get("issue"), target.repository.id)
    if issue.is_pull_request and not (await config_of(ctx, target.repository)).include.pull_requests:
        raise SkipError("a pull request")
    return target, issue


async def opened(ctx: Context, payload: Payload) -> None:
    """A new issue: index it, and suggest."""
    target, issue = await received(ctx, payload)
    if target.repository.state is not RepositoryState.ACTIVE:
        await ctx.services.issues.save(target.account_id, [issue])
        raise RetryError("the repository is still being indexed", after=INDEX_WAIT, counts=False)
    await save(ctx, target, issue)
    await suggest(ctx, target.repository, issue.number)


async def edited(ctx: Context, payload: Payload) -> None:
    """A changed title or body: index it anew, and look at a standing suggestion again."""
    target, issue = await received(ctx, payload)
    await save(ctx, target, issue)
    # Even where the text is not new: an attempt that stored it may have failed to make the comment agree.
    earlier = await ctx.services.suggestions.get(target.account_id, target.repository.id, issue.number)
    if earlier is not None:
        await suggest(ctx, target.repository, issue.number)


async def changed(ctx: Context, payload: Payload) -> None:
    """State or labels changed: what candidates are shown as."""
    target, issue = await received(ctx, payload)
    await save(ctx, target, issue)


async def removed(ctx: Context, payload: Payload) -> None:
    """Deleted, or moved to another repository: nothing of it stays."""
    target = await target_of(ctx, payload)
    issue = issue_from(payload.get("issue"), target.repository.id)
    numbers = [issue.number]
    await ctx.services.issues.delete(target.account_id, target.repository.id, numbers, ctx.services.clock())
    await ctx.services.similarity.forget(target.repository, numbers)


ROUTES = {
    ("issues", "opened"): opened,
    ("issues", "edited"): edited,
    ("issues", "closed"): changed,
    ("issues", "reopened"): changed,
    ("issues", "labeled"): changed,
    ("issues", "unlabeled"): changed,
    ("issues", "deleted"): removed,
    ("issues", "transferred"): removed,
}
