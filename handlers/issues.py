"""`issues`: keeps the index as GitHub is, and speaks under a new issue that was very likely reported before."""

from typing import Any

import structlog

from bot.core import crash
from bot.core.context import Context
from bot.core.errors import RetryError, SkipError
from bot.core.payload import issue_from
from bot.core.records import Issue, Lane, NewJob, Repository, RepositoryState
from bot.core.tiers import room_in
from handlers.purging import erase_job
from handlers.repository_config import config_of
from handlers.suggesting import suggest
from handlers.target import Target, target_of

log = structlog.get_logger()

Payload = dict[str, Any]

INDEX_WAIT = 20.0
"""Seconds between looks at a repository whose first index is still being made."""


BETWEEN_LOOKS = 20.0
"""Seconds from one decision about an issue to the next that an edit asks for: people edit many times in a row."""


def look_job(repository: Repository, number: int, after: float) -> NewJob:
    """A new decision about an issue; edits meanwhile share it."""
    return NewJob(
        kind="look_again",
        lane=Lane.WEBHOOK,
        account_id=repository.account_id,
        serial=f"issue:{repository.id}:{number}",
        dedupe=f"look:{repository.id}:{number}",
        payload={"repository_id": repository.id, "number": number},
        after=after,
    )


async def store(ctx: Context, target: Target, issue: Issue) -> None:
    """Store an issue, and take out of the search index what had to make room for it."""
    services, repository = ctx.services, target.repository
    room = await room_in(services.accounts, services.issues, repository, services.clock())
    saved = await services.issues.save(target.account_id, [issue], room=room)
    crash.point("issue-stored")
    if saved.evicted:
        await services.similarity.forget(repository, saved.evicted)


async def save(ctx: Context, target: Target, issue: Issue) -> None:
    """Store an issue and bring the search index up to it. Raises SkipError where it was deleted."""
    repository = target.repository
    await store(ctx, target, issue)
    stored = await ctx.services.issues.get(target.account_id, repository.id, [issue.number])
    if not stored and await ctx.services.issues.tombstones(target.account_id, repository.id, [issue.number]):
        # An event that was overtaken by the deletion: its raw body is the last that holds the text.
        await ctx.services.jobs.enqueue(erase_job())
        raise SkipError(f"#{issue.number} was deleted")
    # Without vectors though the text is old: stored while the first index was made, or by an attempt that died.
    if any(item.text_vector is None for item in stored.values()):
        await ctx.services.similarity.index(repository, [issue.number], urgent=True)
    crash.point("issue-indexed")


async def received(ctx: Context, payload: Payload) -> tuple[Target, Issue]:
    """The issue of an event, where it is one that this repository wants indexed."""
    target = await target_of(ctx, payload)
    issue = issue_from(payload.get("issue"), target.repository.id)
    include = (await config_of(ctx, target.repository)).include
    if issue.is_pull_request and not include.pull_requests:
        raise SkipError("a pull request")
    if not include.closed:
        issue = await still_open(ctx, target, issue)
    return target, issue


async def still_open(ctx: Context, target: Target, issue: Issue) -> Issue:
    """The issue, where only open ones are indexed. Raises SkipError for a closed one, which leaves the index."""
    repository = target.repository
    if issue.state == "open" and not await ctx.services.issues.get(
        target.account_id, repository.id, [issue.number]
    ):
        # New, or an old event of one that has left: no version is kept of those to tell.
        issue = await ctx.services.github.repository(repository).issue(issue.number)
    if issue.state == "open":
        return issue
    stored = await ctx.services.issues.get(target.account_id, repository.id, [issue.number])
    if any(item.issue.updated_at > issue.updated_at for item in stored.values()):
        raise SkipError("an old event: the issue was opened again since")
    await ctx.services.issues.leave(target.account_id, repository.id, [issue.number])
    await ctx.services.similarity.forget(repository, [issue.number])
    raise SkipError("closed issues are not indexed here")


async def opened(ctx: Context, payload: Payload) -> None:
    """A new issue: index it, and suggest."""
    target, issue = await received(ctx, payload)
    if target.repository.state is not RepositoryState.ACTIVE:
        await store(ctx, target, issue)
        raise RetryError("the repository is still being indexed", after=INDEX_WAIT, counts=False)
    await save(ctx, target, issue)
    await suggest(ctx, target.repository, issue.number)


async def edited(ctx: Context, payload: Payload) -> None:
    """A changed title or body: index it anew, and look at a standing suggestion again."""
    target, issue = await received(ctx, payload)
    await save(ctx, target, issue)
    # Even where the text is not new: an attempt that stored it may have failed to make the comment agree.
    earlier = await ctx.services.suggestions.get(target.account_id, target.repository.id, issue.number)
    if earlier is None:
        return
    age = (ctx.services.clock() - earlier.decided_at).total_seconds()
    if age < BETWEEN_LOOKS:
        await ctx.services.jobs.enqueue(look_job(target.repository, issue.number, BETWEEN_LOOKS - age))
    else:
        await suggest(ctx, target.repository, issue.number)


async def reopened(ctx: Context, payload: Payload) -> None:
    """Open again: it is no duplicate any more, unless the event is an old one."""
    target, issue = await received(ctx, payload)
    await save(ctx, target, issue)
    key = (target.account_id, target.repository.id)
    stored = (await ctx.services.issues.get(*key, [issue.number])).get(issue.number)
    if stored is not None and stored.issue.state == "open" and stored.issue.updated_at == issue.updated_at:
        await ctx.services.marks.remove(*key, issue.number)


async def changed(ctx: Context, payload: Payload) -> None:
    """State, labels or the lock changed: what candidates are shown as."""
    target, issue = await received(ctx, payload)
    await save(ctx, target, issue)


async def removed(ctx: Context, payload: Payload) -> None:
    """Deleted, or moved to another repository: nothing of it stays, nor in an index that rests."""
    target = await target_of(ctx, payload, inactive=True)
    issue = issue_from(payload.get("issue"), target.repository.id)
    numbers = [issue.number]
    await ctx.services.issues.delete(target.account_id, target.repository.id, numbers, ctx.services.clock())
    await ctx.services.similarity.forget(target.repository, numbers)
    named = await ctx.services.suggestions.forget(target.account_id, target.repository.id, issue.number)
    await ctx.services.jobs.enqueue(
        *(look_job(target.repository, number, after=0.0) for number in named), erase_job()
    )


ROUTES = {
    ("issues", "opened"): opened,
    ("issues", "edited"): edited,
    ("issues", "closed"): changed,
    ("issues", "reopened"): reopened,
    ("issues", "labeled"): changed,
    ("issues", "unlabeled"): changed,
    ("issues", "locked"): changed,
    ("issues", "unlocked"): changed,
    ("issues", "deleted"): removed,
    ("issues", "transferred"): removed,
}
