"""`/dejaview duplicate of #N`: a person says so, and the issue is labelled and closed as a duplicate."""

from bot.core.context import Context
from bot.core.duplicates import chain, would_circle
from bot.core.errors import GoneError, MovedError, NotFoundError, TellError
from bot.core.records import Outcome, OutcomeKind, Repository
from handlers.invocation import Ack, Invocation


async def duplicate(ctx: Context, call: Invocation) -> Ack:
    """Validate, resolve to the issue that is still the original, label, close, remember."""
    repository, number, named = call.repository, call.issue.number, call.command.number
    assert named is not None
    await ensure_usable(ctx, repository, number, named)
    marks = await ctx.services.marks.all(repository.account_id, repository.id)
    if would_circle(marks, number, named):
        raise TellError(f"{named} was itself marked as a duplicate of this issue; that would be a circle.")
    root = chain(marks, named)[-1]
    github = ctx.services.github.repository(repository)
    if call.config.labels.duplicate:
        await github.add_labels(number, [call.config.labels.duplicate])
    await github.close_as_duplicate(number, root)
    outcome = Outcome(
        repository.account_id,
        repository.id,
        number,
        root,
        OutcomeKind.CONFIRMED,
        call.comment.author_id,
        "command",
    )
    await ctx.services.suggestions.record(outcome)
    await ctx.services.marks.save(repository.account_id, repository.id, {number: root})
    return Ack.DONE


async def ensure_usable(ctx: Context, repository: Repository, number: int, named: int) -> None:
    """Raises TellError where #N cannot be what this issue is a duplicate of."""
    if named == number:
        raise TellError("An issue cannot be a duplicate of itself.")
    try:
        target = await ctx.services.github.repository(repository).issue(named)
    except (NotFoundError, GoneError, MovedError):
        raise TellError(f"There is no issue {named} in this repository.") from None
    if target.is_pull_request:
        raise TellError(f"{named} is a pull request, and an issue can only be a duplicate of an issue.")
