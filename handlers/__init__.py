"""Behaviour: one file per event, one per slash command, one per task. Adding one is a file and a line."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from gidgethub import routing, sansio

from bot.core.context import Context
from bot.core.errors import DeadError, SkipError
from bot.core.intake import DELIVERY
from bot.core.webhook import event_payload
from handlers import installation, installation_target, issue_comment, issues, repository
from handlers.tasks import TASKS

Handler = Callable[[Context, dict[str, Any]], Awaitable[None]]


def merge(*tables: Mapping[tuple[str, str], Handler]) -> dict[tuple[str, str], Handler]:
    """One table of all routes; an event and action with two handlers is refused.

    gidgethub would run both, in an order that a set decides, and stop at the first that raises.
    """
    merged: dict[tuple[str, str], Handler] = {}
    for table in tables:
        twice = merged.keys() & table.keys()
        if twice:
            raise ValueError(f"handled twice: {sorted(twice)}")
        merged |= table
    return merged


ROUTES = merge(
    installation.ROUTES, installation_target.ROUTES, repository.ROUTES, issues.ROUTES, issue_comment.ROUTES
)

ROUTED_EVENTS = frozenset(ROUTES)
"""Every (event, action) that is handled; the App manifest subscribes to these events and no others."""

router = routing.Router()
for (_event, _action), _handler in ROUTES.items():
    router.add(_handler, _event, action=_action)


def routed(event: str, action: str | None) -> bool:
    """Whether anything handles this event and action."""
    return (event, action) in ROUTED_EVENTS


async def handle_delivery(ctx: Context) -> None:
    """Run the handler of the job's delivery."""
    delivery = await ctx.services.inbox.read(ctx.job)
    event = sansio.Event(event_payload(delivery.body), event=delivery.event, delivery_id=str(delivery.id))
    callbacks = router.fetch(event)
    if not callbacks:
        raise SkipError(f"nothing handles {delivery.event}.{delivery.action}")
    (callback,) = callbacks
    await callback(ctx, event.data)


async def run(ctx: Context) -> None:
    """Run one job: a delivery's handler, or a task."""
    if ctx.job.kind == DELIVERY:
        await handle_delivery(ctx)
    elif ctx.job.kind in TASKS:
        await TASKS[ctx.job.kind](ctx)
    else:
        raise DeadError(f"no task is called {ctx.job.kind}")
