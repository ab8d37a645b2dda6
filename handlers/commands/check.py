"""`/dejaview check`: look for earlier reports again, now."""

from bot.core.comment import nothing_reply
from bot.core.context import Context
from handlers.invocation import Ack, Invocation
from handlers.suggesting import suggest
from handlers.writing import write_comment


async def check(ctx: Context, call: Invocation) -> Ack:
    """Decide anew; who asked gets an answer even where the decision is to stay silent."""
    decision = await suggest(ctx, call.repository, call.issue.number)
    if not decision.speak:
        repository, number = call.repository, call.issue.number
        decided = await ctx.services.suggestions.get(repository.account_id, repository.id, number)
        body = nothing_reply(
            ctx.services.marker_key,
            repository,
            number,
            call.reply_key,
            decision.reason,
            decided.degraded if decided else None,
        )
        await write_comment(ctx, repository, number, call.reply_key, body)
    return Ack.DONE
