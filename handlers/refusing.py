"""Somebody says that it is not a duplicate: by command, by 👎 or by deleting our comment, it ends there."""

from bot.core.context import Context
from bot.core.errors import SkipError
from bot.core.records import EffectState, Outcome, OutcomeKind, Repository
from handlers.repository_config import config_of
from handlers.suggesting import retract, suggest
from handlers.writing import SUGGESTION


async def refuse(
    ctx: Context,
    repository: Repository,
    number: int,
    *,
    candidate: int | None,
    actor_id: int | None,
    source: str,
) -> None:
    """Record the rejection of one candidate, or of the suggestion as a whole (None), and make the comment agree."""
    services = ctx.services
    outcome = Outcome(
        repository.account_id, repository.id, number, candidate, OutcomeKind.REJECTED, actor_id, source
    )
    await services.suggestions.record(outcome)
    await services.marks.remove(repository.account_id, repository.id, number, candidate)
    if candidate is not None:
        await suggest(ctx, repository, number)
        return
    config = await config_of(ctx, repository)
    if config.labels.possible:
        await services.github.repository(repository).remove_label(number, config.labels.possible)
    effect = await services.effects.get(repository.account_id, repository.id, number, SUGGESTION)
    if effect is not None and effect.github_id is not None:
        await retract(ctx, repository, number)


async def withdrawn(
    ctx: Context, repository: Repository, number: int, comment_id: int, actor_id: int
) -> None:
    """Our suggestion was deleted by somebody: never write it again. Raises SkipError for another comment of ours."""
    services, key = ctx.services, (repository.account_id, repository.id)
    effect = await services.effects.get(*key, number, SUGGESTION)
    if effect is None or effect.github_id != comment_id:
        raise SkipError("our comment was no suggestion")
    if effect.state is not EffectState.CANCELLED:
        await services.effects.cancel(effect)
    await services.suggestions.record(
        Outcome(*key, number, None, OutcomeKind.REJECTED, actor_id or None, "deletion")
    )
