"""`installation_target`: the account that installed the App has another name."""

from typing import Any

import structlog

from bot.core.context import Context
from bot.core.errors import DeadError
from bot.core.payload import account_from
from handlers.target import installation_of

log = structlog.get_logger()


async def renamed(ctx: Context, payload: dict[str, Any]) -> None:
    """Take the name over; nothing is keyed by it."""
    installation, account = await installation_of(ctx, payload), account_from(payload.get("account"))
    if account.id != installation.account_id:
        raise DeadError("the event names another account than its installation's")
    await ctx.services.accounts.rename(account.id, account.login)
    log.info("account_renamed", audit=True)


ROUTES = {("installation_target", "renamed"): renamed}
