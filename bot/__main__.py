"""The `deja-view` command line."""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bot.core.errors import SettingsError


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(prog="deja-view", description="Finds the earlier report of the problem somebody is reporting.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--data-dir", type=Path, help="where the embedded database, index, model and secrets live")
    serving = argparse.ArgumentParser(add_help=False)
    serving.add_argument("--port", type=int, help="the port to listen on (PORT)")
    for name, text in (("run", "web and worker in one process"), ("web", "receive webhooks"), ("worker", "do the work")):
        commands.add_parser(name, help=text, parents=[shared, serving])
    commands.add_parser("migrate", help="bring the database schema up to date", parents=[shared])
    commands.add_parser("doctor", help="check settings and parts, and say what is wrong", parents=[shared])
    commands.add_parser("model", help="build the embedding model's ONNX file and verify it", parents=[shared])
    demo = commands.add_parser("demo", help="the whole loop against a sandbox GitHub, on real issues", parents=[shared])
    demo.add_argument("--issues", type=Path, help="your own tracker, one JSON object a line (docs/demo.md)")
    demo.add_argument("--keep", action="store_true", help="keep everything running afterwards")
    evaluate = commands.add_parser("evaluate", help="measure retrieval quality on labelled trackers")
    evaluate.add_argument("folder", type=Path, metavar="DIR")
    evaluate.add_argument("--project")
    evaluate.add_argument("--run-out", type=Path, metavar="FILE")
    return top


def serve(args: argparse.Namespace) -> int:
    """`run`, `web`, `worker`."""
    from bot.app import serve as serve_app
    from bot.settings import load

    environ = dict(os.environ) | ({"PORT": str(args.port)} if args.port is not None else {})
    asyncio.run(serve_app(load(environ, data_dir=args.data_dir), web=args.command != "worker", work=args.command != "web"))
    return 0


def migrate(args: argparse.Namespace) -> int:
    """`migrate`."""
    from bot.app import migrate as migrate_database
    from bot.settings import load

    applied = asyncio.run(migrate_database(load(dict(os.environ), data_dir=args.data_dir)))
    print("\n".join(applied) if applied else "the schema is up to date")
    return 0


def doctor(args: argparse.Namespace) -> int:
    """`doctor`."""
    from bot.app import doctor as examine
    from bot.settings import load

    parts = asyncio.run(examine(load(dict(os.environ), data_dir=args.data_dir)))
    for part, answer in parts.items():
        print(f"{part:12} {answer}")
    return 1 if any(answer.startswith("failed") for answer in parts.values()) else 0


def model(args: argparse.Namespace) -> int:
    """`model`."""
    from bot.settings import model_folder
    from bot.similarity.model import ensure

    files = ensure(model_folder(dict(os.environ), args.data_dir))
    print(f"{files.id} {files.onnx}")
    return 0


def demo(args: argparse.Namespace) -> int:
    """`demo`."""
    from bot.demo import Options, play

    return asyncio.run(play(Options(data_dir=args.data_dir or Path(".demo"), issues=args.issues, keep=args.keep)))


def evaluate(args: argparse.Namespace) -> int:
    """`evaluate`."""
    from bot.similarity.evaluate import evaluate as measure

    for project, metrics in measure(args.folder, args.project, args.run_out).items():
        print(json.dumps({"project": project, **metrics}))
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "run": serve,
    "web": serve,
    "worker": serve,
    "migrate": migrate,
    "doctor": doctor,
    "model": model,
    "demo": demo,
    "evaluate": evaluate,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; settings that do not allow it are told in one line."""
    args = parser().parse_args(argv)
    try:
        return COMMANDS[args.command](args)
    except SettingsError as error:
        print(f"deja-view: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
