"""Makes what was removed unreadable everywhere that it was kept: raw events, the files of PostgreSQL and of Chroma."""

import structlog

from bot.core.context import Context

log = structlog.get_logger()


async def erase(ctx: Context) -> None:
    """First the rows, then the files they were in."""
    await ctx.services.erasure.forget()
    await ctx.services.erasure.erase()
    log.info("erased", audit=True)
