"""The `deja-view` command line."""

import argparse
import asyncio
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.core.errors import SettingsError, StorageUnavailableError

if TYPE_CHECKING:
    from bot.settings import Settings


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(
        prog="deja-view", description="Finds the earlier report of the problem somebody is reporting."
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--data-dir", type=Path, help="where the embedded database, index, model and secrets live"
    )
    serving = argparse.ArgumentParser(add_help=False)
    serving.add_argument("--port", type=int, help="the port to listen on (PORT)")
    for name, text in (
        ("run", "web and worker in one process"),
        ("web", "receive webhooks"),
        ("worker", "do the work"),
    ):
        commands.add_parser(name, help=text, parents=[shared, serving])
    commands.add_parser("migrate", help="bring the database schema up to date", parents=[shared])
    commands.add_parser("doctor", help="check settings and parts, and say what is wrong", parents=[shared])
    commands.add_parser("model", help="build the embedding model's ONNX file and verify it", parents=[shared])
    demo = commands.add_parser(
        "demo", help="the whole loop against a sandbox GitHub, on real issues", parents=[shared]
    )
    demo.add_argument("--issues", type=Path, help="your own tracker, one JSON object a line (docs/demo.md)")
    demo.add_argument("--keep", action="store_true", help="keep everything running afterwards")
    backtest = commands.add_parser(
        "backtest", help="what the bot would have done in a repository's past", parents=[shared]
    )
    backtest.add_argument("repository", metavar="OWNER/REPO")
    backtest.add_argument("--budget", type=float, help="share of issues that may get a comment, as 0.1")
    backtest.add_argument(
        "--precision-target", type=float, help="share of comments that have to be right, as 0.2"
    )
    backtest.add_argument("--json", action="store_true", help="print the report as JSON")
    add_admin(commands, shared)
    add_carrying(commands, shared)
    evaluate = commands.add_parser(
        "evaluate", help="measure retrieval quality on labelled trackers", parents=[shared]
    )
    evaluate.add_argument("folder", type=Path, metavar="DIR")
    evaluate.add_argument("--project")
    evaluate.add_argument("--run-out", type=Path, metavar="FILE")
    return top


def add_admin(commands: Any, shared: argparse.ArgumentParser) -> None:
    """The operator's commands."""
    admin = commands.add_parser("admin", help="look after the queue and the index", parents=[shared])
    actions = admin.add_subparsers(dest="action", required=True, metavar="ACTION", parser_class=action_parser)
    jobs = actions.add_parser("jobs", help="dead jobs, and what goes nowhere")
    verbs = jobs.add_subparsers(dest="verb", metavar="VERB", parser_class=action_parser)
    verbs.add_parser("list", help="dead jobs with their reasons, and stuck accounts (the default)")
    verbs.add_parser("show", help="everything about a job but its content").add_argument(
        "job_id", type=int, metavar="ID"
    )
    retry = verbs.add_parser("retry", help="put dead jobs back with all their attempts")
    which = retry.add_mutually_exclusive_group(required=True)
    which.add_argument("job_id", type=int, nargs="?", metavar="ID")
    which.add_argument("--all-dead", action="store_true")
    verbs.add_parser("bury", help="end a job that waits or runs").add_argument(
        "job_id", type=int, metavar="ID"
    )
    add_keys(actions)
    actions.add_parser("reseal", help="seal people's tokens with the first of ENCRYPTION_KEYS")
    tier = actions.add_parser("tier", help="give an account another tier")
    tier.add_argument("account", metavar="LOGIN")
    tier.add_argument("tier", metavar="TIER", help="free, pro, enterprise, or another row of `tiers`")
    reconcile = actions.add_parser("reconcile", help="compare indexes with GitHub now, without comments")
    reconcile.add_argument("--account", metavar="LOGIN", help="only this account's repositories")


def action_parser(**options: Any) -> argparse.ArgumentParser:
    """A parser that takes `--data-dir` behind an action too; left out there, it does not take back what stands before."""
    parser = argparse.ArgumentParser(**options)
    parser.add_argument("--data-dir", type=Path, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    return parser


def add_keys(actions: Any) -> None:
    """What the operator does with API keys."""
    keys = actions.add_parser("api-key", help="API keys of an account")
    verbs = keys.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=action_parser)
    create = verbs.add_parser("create", help="make a key and print it, once")
    create.add_argument("--account", required=True, metavar="LOGIN")
    create.add_argument("--scope", required=True, choices=("read", "write", "admin"))
    create.add_argument("--repository", metavar="OWNER/REPO", help="the only one it may touch")
    create.add_argument("--expires", type=days, metavar="DAYS", help="without it the key does not expire")
    create.add_argument("--name", default="made by the operator", metavar="TEXT", help="for people")
    listed = verbs.add_parser("list", help="an account's keys, without their secrets")
    listed.add_argument("--account", required=True, metavar="LOGIN")
    verbs.add_parser("revoke", help="let a key be good for nothing").add_argument("key_id", metavar="ID")


def days(text: str) -> int:
    """A number of days, ten years at the most. Raises ArgumentTypeError."""
    if not re.fullmatch("[0-9]{1,4}", text) or not 0 < int(text) <= 3650:
        raise argparse.ArgumentTypeError("not a number of days from 1 to 3650")
    return int(text)


def add_carrying(commands: Any, shared: argparse.ArgumentParser) -> None:
    """What moves issues here and away."""
    bring = commands.add_parser(
        "import", help="issues of a self-hosted parent, or of an export (docs/moving.md)", parents=[shared]
    )
    bring.add_argument("--account", required=True, metavar="LOGIN", help="the account that gets them")
    source = bring.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--chroma-path", type=Path, metavar="DIR", help="the parent's PersistentClient folder"
    )
    source.add_argument("--chroma-url", metavar="URL", help="the parent's Chroma server")
    source.add_argument(
        "--chroma-cloud", action="store_true", help="the parent's Chroma Cloud (SOURCE_CHROMA_API_KEY)"
    )
    source.add_argument(
        "--jsonl", metavar="FILE", help="a file of `export`, gzip or not; - for standard input"
    )
    bring.add_argument("--source-tenant", metavar="TENANT", help="of the parent's Chroma")
    bring.add_argument("--source-database", metavar="DATABASE", help="of the parent's Chroma")
    bring.add_argument("--repository", metavar="OWNER/REPO", help="only this one")
    write = bring.add_mutually_exclusive_group()
    write.add_argument(
        "--apply", action="store_true", help="write; without it nothing is, and the plan is shown"
    )
    write.add_argument("--dry-run", action="store_true", help="show the plan, as without --apply")
    bring.add_argument("--strict", action="store_true", help="write nothing where a single row is refused")
    export = commands.add_parser("export", help="an account's issues as JSON lines", parents=[shared])
    export.add_argument("--account", required=True, metavar="LOGIN")
    export.add_argument("--repository", metavar="OWNER/REPO", help="only this one")
    export.add_argument("--out", required=True, type=Path, metavar="FILE")


def serve(args: argparse.Namespace) -> int:
    """`run`, `web`, `worker`."""
    from bot.app import serve as serve_app
    from bot.settings import load

    environ = dict(os.environ) | ({"PORT": str(args.port)} if args.port is not None else {})
    asyncio.run(
        serve_app(
            load(environ, data_dir=args.data_dir), hooks=args.command != "worker", jobs=args.command != "web"
        )
    )
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
    from bot.demo import Options, StuckError, play

    options = Options(data_dir=args.data_dir or Path(".demo"), issues=args.issues, keep=args.keep)
    try:
        return asyncio.run(play(options))
    except StuckError as error:
        print(f"\ndeja-view: {error}; {options.data_dir / 'demo.log'} says why", file=sys.stderr)
        return 1


def backtest(args: argparse.Namespace) -> int:
    """`backtest`."""
    from bot.app import backtest as replay
    from bot.report import backtest_text
    from bot.settings import load

    settings = load(dict(os.environ), data_dir=args.data_dir)
    report = asyncio.run(replay(settings, args.repository, args.budget, args.precision_target))
    print(json.dumps(report.as_json()) if args.json else backtest_text(args.repository, report))
    return 0


def admin(args: argparse.Namespace) -> int:
    """`admin`."""
    if args.action == "api-key":
        return api_key(args)
    if args.action == "reseal":
        return reseal(args)
    from bot.app import admin as administer

    settings = settings_for_output(args)
    given = {name: getattr(args, name, None) for name in ("verb", "job_id", "account", "tier")}
    print(asyncio.run(administer(settings, args.action, **given)))
    return 0


def settings_for_output(args: argparse.Namespace) -> "Settings":
    """The settings. What is logged goes to standard error, so that the answer stands alone: scripts read it."""
    from bot.logs import configure
    from bot.settings import load

    settings = load(dict(os.environ), data_dir=args.data_dir)
    configure(settings.log_format, secrets=settings.secrets())
    return settings


def api_key(args: argparse.Namespace) -> int:
    """`admin api-key`."""
    from bot.core.principal import Scope
    from bot.credentials import WantedKey, create_key, list_keys, revoke_key

    settings = settings_for_output(args)
    match args.verb:
        case "create":
            scope = Scope.of(args.scope)
            wanted = WantedKey(args.account, scope, args.repository, args.expires, args.name)
            print(asyncio.run(create_key(settings, wanted)))
        case "list":
            print(asyncio.run(list_keys(settings, args.account)))
        case _:
            print(asyncio.run(revoke_key(settings, args.key_id)))
    return 0


def reseal(args: argparse.Namespace) -> int:
    """`admin reseal`."""
    from bot.credentials import reseal as seal_anew

    settings = settings_for_output(args)
    text, complete = asyncio.run(seal_anew(settings, partial(print, file=sys.stderr)))
    print(text)
    return 0 if complete else 1


def bring_in(args: argparse.Namespace) -> int:
    """`import`."""
    from bot.carry import Wanted
    from bot.carry import bring_in as carry_in
    from bot.logs import configure
    from bot.settings import load
    from storage.chroma import CollectionsSettings

    key = os.environ.get("SOURCE_CHROMA_API_KEY") or None
    if args.chroma_cloud and not (key and args.source_tenant and args.source_database):
        raise SettingsError(
            "--chroma-cloud needs SOURCE_CHROMA_API_KEY, --source-tenant and --source-database"
        )
    chroma = CollectionsSettings(
        args.chroma_path, args.chroma_url, key, args.source_tenant, args.source_database
    )
    wanted = Wanted(args.account, args.jsonl, chroma, args.repository, args.apply, args.strict)
    settings = load(dict(os.environ), data_dir=args.data_dir)
    configure(settings.log_format, secrets=(*settings.secrets(), key or ""))
    text, well = asyncio.run(carry_in(settings, wanted, lambda line: print(line, file=sys.stderr)))
    print(text)
    return 0 if well else 1


def carry_out(args: argparse.Namespace) -> int:
    """`export`."""
    from bot.carry import carry_out as carry_away
    from bot.logs import configure
    from bot.settings import load

    settings = load(dict(os.environ), data_dir=args.data_dir)
    configure(settings.log_format, secrets=settings.secrets())
    print(asyncio.run(carry_away(settings, args.account, args.repository, args.out)))
    return 0


def evaluate(args: argparse.Namespace) -> int:
    """`evaluate`."""
    from bot.settings import model_folder
    from bot.similarity.embedder import Embedder
    from bot.similarity.evaluate import evaluate as measure

    embedder = Embedder.load(model_folder(dict(os.environ), args.data_dir))
    try:
        for project, metrics in measure(args.folder, embedder, args.project, args.run_out).items():
            print(json.dumps({"project": project, **metrics}), flush=True)
    finally:
        embedder.close()
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "run": serve,
    "web": serve,
    "worker": serve,
    "migrate": migrate,
    "doctor": doctor,
    "model": model,
    "demo": demo,
    "backtest": backtest,
    "admin": admin,
    "import": bring_in,
    "export": carry_out,
    "evaluate": evaluate,
}


def refusals() -> tuple[type[Exception], ...]:
    """What PostgreSQL says to whoever it does not let in, or does not let make the schema."""
    import asyncpg

    return (
        asyncpg.InvalidAuthorizationSpecificationError,
        asyncpg.InvalidCatalogNameError,
        asyncpg.InsufficientPrivilegeError,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; settings that do not allow it are told in one line."""
    args = parser().parse_args(argv)
    from bot.core.redaction import without_secrets
    from bot.logs import tell_crashes

    tell_crashes()
    try:
        return COMMANDS[args.command](args)
    except (SettingsError, StorageUnavailableError) as error:
        print(f"deja-view: {without_secrets(str(error))}", file=sys.stderr)
        return 2
    except refusals() as error:
        print(f"deja-view: PostgreSQL refuses DATABASE_URL: {str(error).splitlines()[0]}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
