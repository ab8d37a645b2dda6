"""`/dejaview why #N`: what the score of one candidate is made of, and what it rests on."""

from dataclasses import replace

from bot.core.comment import why_reply
from bot.core.context import Context
from bot.core.errors import TellError
from handlers.invocation import Ack, Invocation
from handlers.suggesting import threshold_for
from handlers.writing import write_comment


async def why(ctx: Context, call: Invocation) -> Ack:
    """Explain the score of this issue against #N."""
    repository, number, other = call.repository, call.issue.number, call.command.number
    assert other is not None
    key = (repository.account_id, repository.id)
    stored = (await ctx.services.issues.get(*key, [number])).get(number)
    explained = await ctx.services.similarity.compare(repository, stored.issue, other) if stored else None
    if explained is None:
        raise TellError(f"I cannot compare with issue {other}: it is not an earlier issue in the index.")
    explained = replace(explained, ranking=await ctx.services.finder.rated(repository, explained.ranking))
    decided = await ctx.services.suggestions.get(*key, number)
    body = why_reply(
        ctx.services.marker_key,
        repository,
        number,
        call.reply_key,
        explained,
        threshold_for(repository, explained.ranking),
        decided.degraded if decided else None,
    )
    await write_comment(ctx, repository, number, call.reply_key, body)
    return Ack.DONE
