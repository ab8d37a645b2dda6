"""Finds deliveries that GitHub could not hand over, or that we took and lost, and has them sent again.

GitHub does not deliver again by itself, and keeps deliveries for three days. A redelivery has the id of the delivery, so that the
inbox takes it once, and it is handled as a webhook is.
"""

import structlog

from bot.core.context import Context
from bot.core.errors import GoneError, InvalidRequestError, NotFoundError
from bot.core.intake import ignored
from bot.core.records import MissedDelivery
from bot.core.sweep import ALOUD, INTO_SILENCE, PAGES, Asking, Place, latest, place_from

log = structlog.get_logger()

KIND = "sweep_deliveries"

LOOKED_AT = ("issues", "issue_comment")
"""Events of which some are answered and not stored: only their payload tells."""

NOT_KEPT = (NotFoundError, GoneError, InvalidRequestError)
"""How GitHub says that it has a delivery no more."""


async def sweep_deliveries(ctx: Context) -> None:
    """One turn: read the log on from where the last turn got to, then ask for what is missing."""
    place = await read_log(ctx, place_from(await ctx.services.periodic.progress(KIND), ctx.services.clock()))
    asking = INTO_SILENCE if await ctx.services.missed.silence() else ALOUD
    asked = await ask(ctx, asking)
    more = place.cursor is not None or (asking.counts and asked == asking.limit)
    await ctx.services.periodic.done(KIND, place.as_json(), more=more)
    log.info("swept", until=place.until.isoformat(), asked=asked, silence=not asking.counts, more=more)


async def read_log(ctx: Context, place: Place) -> Place:
    """Note what is missing, page by page, back to where an earlier turn has been; returns how far this one got."""
    for _ in range(PAGES):
        now = ctx.services.clock()
        try:
            attempts, following = await ctx.services.github.hook_attempts(place.cursor)
        except NOT_KEPT:
            if place.cursor is None:
                raise
            # The page that the last turn stopped at is gone: begin again at the newest.
            return Place(place.until)
        wanted = [item for item in latest(attempts, now) if ctx.services.routed(item.event, item.action)]
        await ctx.services.missed.note(wanted)
        place = place.passed(attempts, following, now)
        if place.cursor is None:
            break
    return place


async def ask(ctx: Context, asking: Asking) -> int:
    """Have what is missing sent again, oldest first; returns how many were looked at."""
    missing = await ctx.services.missed.due(asking)
    for item in missing:
        if not await ctx.services.missed.ask(item, counts=asking.counts):
            continue
        try:
            if await left_out(ctx, item):
                await ctx.services.missed.settle(item)
                continue
            await ctx.services.github.redeliver(item.attempt.id)
            log.info("redelivered", delivery_id=str(item.attempt.guid), event_name=item.attempt.event)
        except NOT_KEPT as error:
            await ctx.services.missed.settle(item)
            log.warning("not_redelivered", delivery_id=str(item.attempt.guid), reason=str(error))
    return len(missing)


async def left_out(ctx: Context, missed: MissedDelivery) -> bool:
    """Whether intake took a delivery and did not store it on purpose."""
    attempt = missed.attempt
    if not attempt.answered or attempt.event not in LOOKED_AT:
        return False
    payload = await ctx.services.github.hook_payload(attempt.id)
    return ignored(attempt.event, payload, ctx.services.app.id) is not None
