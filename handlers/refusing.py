"""Somebody says that it is not a duplicate: by command or by 👎, it ends there."""

from bot.core.context import Context
from bot.core.records import Outcome, OutcomeKind, Repository
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
