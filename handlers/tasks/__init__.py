"""Slow or later work, by the job kind that asks for it."""

from collections.abc import Awaitable, Callable, Mapping

from bot.core.context import Context
from handlers.tasks.embed_imported import embed_imported
from handlers.tasks.end_notices import end_notices, trim_repository
from handlers.tasks.erase import erase
from handlers.tasks.follow_installation import follow_installation
from handlers.tasks.forget import forget_done, forget_usage
from handlers.tasks.index_repository import backtest, index_repository, learn_marks
from handlers.tasks.look_again import look_again
from handlers.tasks.purge_repository import purge_repository
from handlers.tasks.rebuild_collection import rebuild_collection
from handlers.tasks.reconcile import reconcile, reconcile_all
from handlers.tasks.sweep_deliveries import sweep_deliveries
from handlers.tasks.verify_collection import verify_collection
from handlers.tasks.watch_reactions import watch_reactions

TASKS: Mapping[str, Callable[[Context], Awaitable[None]]] = {
    task.__name__: task
    for task in (
        backtest,
        embed_imported,
        end_notices,
        erase,
        follow_installation,
        forget_done,
        forget_usage,
        index_repository,
        learn_marks,
        look_again,
        purge_repository,
        rebuild_collection,
        reconcile,
        reconcile_all,
        sweep_deliveries,
        trim_repository,
        verify_collection,
        watch_reactions,
    )
}
