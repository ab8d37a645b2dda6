"""`/dejaview why #N`: what the score of one candidate is made of."""

from bot.core.comment import why_reply
from bot.core.context import Context
from bot.core.errors import TellError
from handlers.invocation import Ack, Invocation
from handlers.writing import write_comment


async def why(ctx: Context, call: Invocation) -> Ack:
    """Explain the score of this issue against #N."""
    repository, number, other = call.repository, call.issue.number, call.command.number
    assert other is not None
    stored = (await ctx.services.issues.get(repository.account_id, repository.id, [number])).get(number)
    candidate = await ctx.services.similarity.compare(repository, stored.issue, other) if stored else None
    if candidate is None:
        raise TellError(f"I cannot compare with issue {other}: it is not an earlier issue in the index.")
    body = why_reply(
        ctx.services.marker_key, repository, number, call.reply_key, candidate, repository.threshold
    )
    await write_comment(ctx, repository, number, call.reply_key, body)
    return Ack.DONE
