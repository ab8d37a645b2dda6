"""Looks whether somebody gave our comment a 👎: GitHub sends no event for reactions."""

from bot.core.context import Context
from bot.core.errors import DeadError, GoneError, NotFoundError, SkipError
from bot.core.records import EffectState, Repository, Role
from handlers.refusing import refuse
from handlers.suggesting import REACTION_LOOKS, reaction_job
from handlers.tasks.subject import repository_of
from handlers.writing import SUGGESTION


async def watch_reactions(ctx: Context) -> None:
    """A 👎 of the issue's author, or of somebody with triage rights, refuses the suggestion; else look again later."""
    repository = await repository_of(ctx)
    number, look = ctx.job.payload.get("number"), ctx.job.payload.get("look")
    if not isinstance(number, int) or not isinstance(look, int):
        raise DeadError("the job names no issue")
    effect = await ctx.services.effects.get(repository.account_id, repository.id, number, SUGGESTION)
    if effect is None or effect.github_id is None or effect.state is EffectState.CANCELLED:
        raise SkipError("there is no comment of ours")
    if None in await ctx.services.suggestions.refused(repository.account_id, repository.id, number):
        raise SkipError("refused already")
    actor = await who_refuses(ctx, repository, number, effect.github_id)
    if actor is not None:
        await refuse(ctx, repository, number, candidate=None, actor_id=actor, source="reaction")
    elif look + 1 < len(REACTION_LOOKS):
        await ctx.services.jobs.enqueue(reaction_job(repository, number, look + 1))


async def who_refuses(ctx: Context, repository: Repository, number: int, comment_id: int) -> int | None:
    """The user id of somebody whose 👎 counts."""
    github = ctx.services.github.repository(repository)
    stored = (await ctx.services.issues.get(repository.account_id, repository.id, [number])).get(number)
    author = stored.issue.author_id if stored else None
    try:
        thumbs = await github.thumbs_down(comment_id)
    except (NotFoundError, GoneError):
        raise SkipError("our comment was deleted") from None
    for user_id, login in thumbs:
        if user_id == author or await github.role(login) >= Role.TRIAGE:
            return user_id
    return None
