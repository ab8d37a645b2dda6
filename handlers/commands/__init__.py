"""The slash commands: one file each, with the function that runs it. This is the only list."""

from collections.abc import Awaitable, Callable, Mapping

from bot.core.context import Context
from handlers.commands.check import check
from handlers.commands.duplicate import duplicate
from handlers.commands.help import help_
from handlers.commands.index import index
from handlers.commands.not_duplicate import not_duplicate
from handlers.commands.pause import pause, resume
from handlers.commands.similar import similar
from handlers.commands.why import why
from handlers.invocation import Ack, Invocation

COMMANDS: Mapping[str, Callable[[Context, Invocation], Awaitable[Ack]]] = {
    "check": check,
    "duplicate": duplicate,
    "help": help_,
    "index": index,
    "not-duplicate": not_duplicate,
    "pause": pause,
    "resume": resume,
    "similar": similar,
    "why": why,
}
