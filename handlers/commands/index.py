"""`/dejaview index [status|refresh]`: what is indexed, or index it anew."""

from bot.core.comment import index_reply
from bot.core.context import Context
from bot.core.errors import TellError
from bot.core.indexing import index_job
from bot.core.records import Role
from handlers.invocation import Ack, Invocation
from handlers.writing import write_comment


async def index(ctx: Context, call: Invocation) -> Ack:
    """Tell the state of the index, or queue a refresh (administrators)."""
    repository = call.repository
    if call.command.action == "refresh":
        if call.role < Role.ADMIN:
            raise TellError("Only an administrator of this repository can refresh the index.")
        await ctx.services.jobs.enqueue(index_job(repository, fresh=True))
        return Ack.STARTED
    key = (repository.account_id, repository.id)
    count, last = await ctx.services.issues.count(*key), await ctx.services.backtests.get(*key)
    wish = repository.wish(ctx.services.clock())
    body = index_reply(
        ctx.services.marker_key, repository, call.issue.number, call.reply_key, count, last, wish
    )
    await write_comment(ctx, repository, call.issue.number, call.reply_key, body)
    return Ack.DONE
