import asyncio
import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest
import structlog

from bot.__main__ import COMMANDS, main, parser
from tests.test_settings import PRODUCTION

ROOT = Path(__file__).parent.parent


def deja_view(*arguments, environ=None, timeout=30):
    """Run the command line as a user does, with nothing set but what is given."""
    return subprocess.run(
        [sys.executable, "-m", "bot", *arguments],
        cwd=ROOT, env={"PATH": "/usr/bin:/bin"} | (environ or {}), capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip


def test_help_names_every_command():
    done = deja_view("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert [name for name in COMMANDS if name not in done.stdout] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: deja-view {command}")
    assert "--data-dir" in shown


def test_every_command_that_is_parsed_is_done():
    (commands,) = [action for action in parser()._actions if action.dest == "command"]
    assert set(commands.choices) == set(COMMANDS)


@pytest.mark.parametrize(
    "arguments", [[], ["fly"], ["run", "--port", "http"], ["evaluate"], ["migrate", "--port", "1"]]
)
def test_what_cannot_be_parsed_is_told_with_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("usage: deja-view")
    assert captured.out == ""


def test_help_is_quick_because_it_imports_no_part():
    script = "import sys; import bot.__main__ as m; m.parser().format_help(); print([n for n in sys.modules if n.split('.')[0] in ('aiohttp', 'chromadb', 'numpy', 'asyncpg')])"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.fixture
def nobody():
    """The address of a PostgreSQL that is not there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return f"postgresql://u:hunter22@127.0.0.1:{port}/x"


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run a command in this process; gives its exit code, what it printed, and the lines that it complained with."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def run(command, url):
        monkeypatch.setattr(os, "environ", PRODUCTION | {"DATABASE_URL": url})
        code = main([command, "--data-dir", str(tmp_path)])
        captured = capsys.readouterr()
        return code, captured.out, [line for line in captured.err.splitlines() if not line.startswith("{")]

    yield run
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def test_a_process_ends_with_one_line_and_no_traceback(nobody, tmp_path):
    done = deja_view("migrate", "--data-dir", str(tmp_path), environ=PRODUCTION | {"DATABASE_URL": nobody})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "deja-view: PostgreSQL does not answer: ConnectionRefusedError\n"


@pytest.mark.parametrize("command", ["migrate", "run", "web", "worker", "doctor"])
def test_a_database_that_does_not_answer_is_told_in_one_line(command, nobody, run):
    assert run(command, nobody) == (2, "", ["deja-view: PostgreSQL does not answer: ConnectionRefusedError"])


@pytest.fixture
def empty(postgres):
    """The address of a database without a schema."""
    run_sql(postgres, "CREATE DATABASE test_main")
    yield postgres.address("test_main")
    run_sql(postgres, "DROP DATABASE test_main WITH (FORCE)")


def run_sql(postgres, statement):
    async def execute():
        owner = await asyncpg.connect(postgres.address("template1"))
        await owner.execute(statement)
        await owner.close()

    asyncio.run(execute())


def test_migrate_tells_what_it_did(empty, run):
    code, printed, complaints = run("migrate", empty)
    assert (code, printed[:5], complaints) == (0, "0001_", [])
    assert run("migrate", empty) == (0, "the schema is up to date\n", [])


@pytest.mark.parametrize("command", ["web", "worker"])
def test_half_a_process_refuses_an_old_schema(command, empty, run):
    code, printed, (line,) = run(command, empty)
    assert (code, printed) == (2, "")
    assert line.startswith("deja-view: the schema of DATABASE_URL lacks 0001_")


@pytest.fixture
def guest(postgres, template, empty):
    """The address of that database for somebody who may log in and nothing else."""
    run_sql(postgres, "CREATE ROLE test_main_guest LOGIN")
    yield postgres.address("test_main", "test_main_guest")
    run_sql(postgres, "DROP ROLE test_main_guest")


def test_a_database_that_refuses_us_is_told_in_one_line(postgres, run):
    for url in (postgres.address("no_such_name"), postgres.address("template1", "nobody_at_all")):
        code, printed, (line,) = run("migrate", url)
        assert (code, printed) == (2, "")
        assert line.startswith("deja-view: PostgreSQL refuses DATABASE_URL: ")


def test_a_role_without_rights_is_told_in_one_line(guest, run):
    code, printed, (line,) = run("migrate", guest)
    assert (code, printed) == (2, "")
    assert line.startswith("deja-view: ")


@pytest.mark.parametrize(
    "action",
    [
        ["jobs"],
        ["jobs", "list"],
        ["reseal"],
        ["api-key", "list", "--account", "octo"],
        ["tier", "octo", "pro"],
    ],
    ids=" ".join,
)
def test_a_data_folder_may_stand_before_and_behind_an_action(action):
    before, behind = ["admin", "--data-dir", "x", *action], ["admin", *action, "--data-dir", "x"]
    assert [parser().parse_args(given).data_dir for given in (before, behind)] == [Path("x")] * 2
    assert parser().parse_args(["admin", *action]).data_dir is None
