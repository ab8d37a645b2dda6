"""`/dejaview help`: what can be asked, and by whom."""

from bot.core.comment import help_reply
from bot.core.context import Context
from handlers.invocation import Ack, Invocation
from handlers.writing import write_comment


async def help_(ctx: Context, call: Invocation) -> Ack:
    """List the commands, once an hour an issue at most: asked again, the reaction points at the list above."""
    hour = ctx.services.clock().strftime("%Y%m%d%H")
    body = help_reply(ctx.services.marker_key, call.repository, call.issue.number, f"reply:help:{hour}")
    await write_comment(ctx, call.repository, call.issue.number, f"reply:help:{hour}", body)
    return Ack.DONE
