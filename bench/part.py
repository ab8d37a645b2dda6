"""`python -m bench.part web|worker DATA [--crash FILE] [--hurry]`: one process of the service, for chaos.

It writes without GitHub's pace, since a sandbox is nobody's server, and kills itself at the place of `bot.core.crash`
whose name stands in FILE. In a hurry it looks for lost comments early, and may comment twice in a minute. The rest is what `deja-view web` and `deja-view worker` do.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

from bench.service import UNPACED
from bot.app import Options, running
from bot.core import crash
from bot.logs import configure
from bot.settings import load
from handlers import writing

LOOK_UP_SOON = timedelta(seconds=3)
"""Long enough for the sandbox to show what a dead worker had sent."""


def dies_at(file: Path) -> Callable[[str], None]:
    """Ends this process with SIGKILL at the place that the file names; the file goes first, so that it happens once."""

    def passed(name: str) -> None:
        try:
            wanted = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        if wanted == name:
            file.unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    return passed


async def serve(role: str, data: Path, *, hurry: bool) -> None:
    """Run until SIGTERM, or until the worker cannot go on."""
    made, stop = load(dict(os.environ), data_dir=data), asyncio.Event()
    configure(made.log_format)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    options = Options(pace=UNPACED, host="127.0.0.1", **({"comment_gap": 0.0} if hurry else {}))
    async with running(made, options, hooks=role == "web", jobs=role == "worker") as process:
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({stopping, process.worker}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.part", description=__doc__)
    parser.add_argument("role", choices=("web", "worker"))
    parser.add_argument("data", type=Path)
    parser.add_argument("--crash", type=Path)
    parser.add_argument("--hurry", action="store_true")
    args = parser.parse_args(argv)
    if args.crash is not None:
        crash.hook = dies_at(args.crash)
    if args.hurry:
        writing.LOOK_UP_AFTER = LOOK_UP_SOON
    asyncio.run(serve(args.role, args.data, hurry=args.hurry))


if __name__ == "__main__":
    sys.exit(main())
