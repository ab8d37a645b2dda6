"""`/dejaview not-duplicate [of #N]`: it is something else, and will not be asked again."""

from bot.core.context import Context
from handlers.invocation import Ack, Invocation
from handlers.refusing import refuse


async def not_duplicate(ctx: Context, call: Invocation) -> Ack:
    """Strike one candidate, or the whole suggestion."""
    await refuse(
        ctx,
        call.repository,
        call.issue.number,
        candidate=call.command.number,
        actor_id=call.comment.author_id,
        source="command",
    )
    return Ack.DONE
