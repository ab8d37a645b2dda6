"""Hop 8: what we write on GitHub, at most once. Intent first, marked, looked up before any repeat."""

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta

import structlog

from bot.core import crash
from bot.core.context import Context, now
from bot.core.errors import GitHubError, GoneError, NotFoundError, RetryError, SkipError
from bot.core.marker import read
from bot.core.ports import Written
from bot.core.records import Effect, EffectState, Repository
from bot.core.redaction import without_secrets
from bot.core.sweep import KEPT

log = structlog.get_logger()

SUGGESTION = "suggestion"
"""The key of the one comment that an issue gets."""

LOOK_UP_AFTER = timedelta(seconds=15)
"""How long a comment whose reply was lost may take to show up in GitHub's listings."""

CLOCK_DIFFERENCE = timedelta(minutes=5)
"""How far GitHub's clock and ours may be apart."""

COMMENTS_A_DAY = 5
"""Comments of ours on one issue in 24 hours; a loop that every other guard missed ends here."""


async def write_comment(ctx: Context, repository: Repository, number: int, key: str, body: str) -> int | None:
    """Make the comment of that key say `body`: posted once, edited later; returns its id.

    None where it was cancelled, or deleted by somebody: what people removed stays away.
    """
    effects, github = ctx.services.effects, ctx.services.github.repository(repository)
    body = published(body)
    crash.point("effect-wanted")
    effect = await effects.intend(repository.account_id, repository.id, number, key, body)
    crash.point("effect-intended")
    if effect.state is EffectState.CANCELLED:
        return None
    if effect.github_id is not None:
        return await edit(ctx, repository, effect, body)
    recall = look_up if effect.state is EffectState.SENDING else remembered
    effect = await recall(ctx, effect, lambda since: github.own_comments(number, since))
    if effect.github_id is not None:
        return await edit(ctx, repository, effect, body)
    await ensure_welcome(ctx, repository, number)
    return await send(ctx, effect, body, lambda: github.comment(number, body))


def published(body: str) -> str:
    """What may be written where everybody reads it: whatever looks like a secret stays here."""
    shown = without_secrets(body)
    if shown != body:
        log.error("secret_kept_back")
    return shown


async def ensure_welcome(ctx: Context, repository: Repository, number: int) -> None:
    """Raises SkipError where an issue has enough comments of ours, RetryError where the last one is too young."""
    key, effects = (repository.account_id, repository.id, number), ctx.services.effects
    if await effects.spoken_today(*key) >= COMMENTS_A_DAY:
        raise SkipError(f"#{number} already has {COMMENTS_A_DAY} of our comments today")
    silent, gap = await effects.silent_for(*key), ctx.services.comment_gap
    if silent is not None and silent < gap:
        raise RetryError(f"the last comment on #{number} is too young", after=gap - silent, counts=False)


async def send(ctx: Context, effect: Effect, body: str, post: Callable[[], Awaitable[int]]) -> int:
    """One write that is not idempotent; where its fate is unknown the effect stays SENDING, to be looked up."""
    effects = ctx.services.effects
    effect = await effects.sending(effect, body)
    crash.point("effect-sending")
    try:
        github_id = await post()
    except GitHubError as error:
        if not error.sent:
            await effects.reset(effect)
        raise
    crash.point("effect-posted")
    await effects.done(effect, github_id)
    crash.point("effect-done")
    log.info("written", key=effect.key, issue=effect.issue_number)
    await ctx.services.usage.add(effect.account_id, "comments")
    return github_id


async def look_up(
    ctx: Context, effect: Effect, search: Callable[[datetime], Awaitable[list[Written]]]
) -> Effect:
    """Find out what became of a write whose reply never came; `search` lists what our App wrote since a time.

    Raises RetryError while it is too early to tell.
    """
    age = now() - effect.updated_at
    if age < LOOK_UP_AFTER:
        raise RetryError(
            "a write is not settled yet", after=(LOOK_UP_AFTER - age).total_seconds(), counts=False
        )
    found = marked(ctx, effect, await search(effect.updated_at - CLOCK_DIFFERENCE))
    if found is not None:
        crash.point("effect-found")
        log.info("write_found", key=effect.key, issue=effect.issue_number)
        return await ctx.services.effects.done(effect, found.id)
    crash.point("effect-missed")
    return await ctx.services.effects.reset(effect)


async def remembered(
    ctx: Context, effect: Effect, search: Callable[[datetime], Awaitable[list[Written]]]
) -> Effect:
    """The effect as GitHub shows it, where our own memory of it went with the delivery that it answers."""
    if not await ctx.services.missed.lost(ctx.job.delivery_id):
        return effect
    found = marked(ctx, effect, await search(now() - KEPT))
    if found is None:
        return effect
    log.info("write_remembered", key=effect.key, issue=effect.issue_number)
    return await ctx.services.effects.done(await ctx.services.effects.sending(effect, found.body), found.id)


def marked(ctx: Context, effect: Effect, written: Iterable[Written]) -> Written | None:
    """What carries the effect's signed marker."""
    for item in written:
        marker = read(ctx.services.marker_key, item.body, effect.repository_id, effect.issue_number)
        if marker is not None and marker.effect_key == effect.key:
            return item
    return None


async def edit(ctx: Context, repository: Repository, effect: Effect, body: str) -> int | None:
    """Make a comment that exists say `body`; repeating this is harmless, so it needs no look-up."""
    assert effect.github_id is not None
    if effect.state is EffectState.DONE and effect.body == body:
        return effect.github_id
    effects = ctx.services.effects
    effect = await effects.sending(effect, body)
    try:
        await ctx.services.github.repository(repository).edit_comment(effect.github_id or 0, body)
    except (NotFoundError, GoneError):
        await effects.cancel(effect)
        return None
    crash.point("effect-edited")
    await effects.done(effect, effect.github_id)
    return effect.github_id
