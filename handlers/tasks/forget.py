"""Forgets what was kept for long enough (design: retention)."""

from datetime import timedelta

from bot.core.context import Context

DONE_KEPT = timedelta(days=7)
"""How long deliveries and jobs are kept after they are done."""

USAGE_KEPT = timedelta(days=396)
"""How long usage totals are kept: thirteen months."""


async def forget_done(ctx: Context) -> None:
    """Jobs and raw deliveries that are done, when each installation was written to, and what ended by itself."""
    await ctx.services.jobs.purge(DONE_KEPT)
    await ctx.services.paces.purge()
    await ctx.services.expired.purge()
    await ctx.services.periodic.done("forget_done")


async def forget_usage(ctx: Context) -> None:
    """Usage totals."""
    await ctx.services.usage.purge(USAGE_KEPT)
    await ctx.services.periodic.done("forget_usage")
