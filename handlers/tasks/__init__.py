"""Slow or later work, by the job kind that asks for it."""

from collections.abc import Awaitable, Callable, Mapping

from bot.core.context import Context
from handlers.tasks.index_repository import backtest, index_repository
from handlers.tasks.rebuild_collection import rebuild_collection
from handlers.tasks.watch_reactions import watch_reactions

TASKS: Mapping[str, Callable[[Context], Awaitable[None]]] = {
    task.__name__: task for task in (backtest, index_repository, rebuild_collection, watch_reactions)
}
