"""`/dejaview pause [DAYSd]` and `/dejaview resume`: whether the bot comments by itself, whatever its back-test says."""

from datetime import timedelta

from bot.core.context import Context
from bot.core.errors import TellError
from handlers.invocation import Ack, Invocation

IN_THE_FILE = {
    "off": "`.github/deja-view.yml` says `mode: off`, and the file decides. Change it there.",
    "shadow": "`.github/deja-view.yml` says `mode: shadow`, and the file decides. Change it there.",
}
"""Why a repository cannot be resumed by a command."""


async def pause(ctx: Context, call: Invocation) -> Ack:
    """Decide and record, but post nothing by itself: for some days, or until `resume`."""
    days = call.command.days
    until = None if days is None else ctx.services.clock() + timedelta(days=days)
    await ctx.services.repositories.set_override(
        call.repository.account_id, call.repository.id, "shadow", until
    )
    return Ack.DONE


async def resume(ctx: Context, call: Invocation) -> Ack:
    """Comment by itself again, even where the back-test advised against it."""
    if call.config.mode in IN_THE_FILE:
        raise TellError(IN_THE_FILE[call.config.mode])
    await ctx.services.repositories.set_override(call.repository.account_id, call.repository.id, "comment")
    return Ack.DONE
