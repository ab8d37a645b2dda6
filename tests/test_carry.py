"""Import and export beside PostgreSQL alone: nothing of this needs a running service."""

import asyncio
import gzip
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import hypothesis
import numpy as np
import pytest
import structlog
from hypothesis import strategies as st

from bot.__main__ import main
from bot.carry import Wanted, bring_in, carry_out
from bot.core.errors import SettingsError
from bot.core.exchange import Mark, Recorded, header_line, line_of, parsed, row_of
from bot.core.exchange import Settings as Chosen
from bot.core.hashing import content_hash
from bot.core.records import (
    Account,
    InstallationState,
    Issue,
    Outcome,
    OutcomeKind,
    RepositoryName,
    RepositoryState,
    Suggestion,
)
from bot.settings import load
from storage.accounts import Accounts
from storage.audit import Audit
from storage.chroma import CollectionsSettings
from storage.database import Database
from storage.issues import Issues
from storage.marks import Marks
from storage.repositories import Repositories
from storage.suggestions import Suggestions
from tests import strategies
from tests.parent import as_value, in_folder, record
from tests.test_settings import PRODUCTION

ROOT = Path(__file__).parent.parent
AT = datetime(2024, 2, 1, tzinfo=UTC)
LATER = "2024-03-01T00:00:00Z"
OCTO, CAT = 1, 2
APP, OLD, SECRET = 7, 8, 9
ISSUE = Issue(0, 3, 1003, "Crash", "b", "open", None, "ann", 5, False, ("bug",), False, False, 2, AT, AT)
SUGGESTION = Suggestion(0, 0, 3, True, "r", 1.5, "m", (2,), (1,), {"2": {"score": 1.0}}, b"h" * 32, AT)
OUTCOME = Recorded(Outcome(0, 0, 3, 2, OutcomeKind.CONFIRMED, 5, "command"), AT)


@pytest.fixture
def settings(database_url, tmp_path):
    """A service without an App: the repositories' configs cannot be asked for, and the defaults hold."""
    return replace(load(PRODUCTION | {"DATABASE_URL": database_url}, tmp_path / "data"), github=None)


@pytest.fixture
async def installed(database):
    """Two accounts with the App: octo (Free) with octo/app and an inactive octo/old, cat with cat/secret."""
    accounts = Accounts(database)
    names = [
        RepositoryName(APP, "octo", "app", private=False),
        RepositoryName(OLD, "octo", "old", private=False),
    ]
    await accounts.install(Account(OCTO, "octo", "User", "free"), 10, names)
    await accounts.install(
        Account(CAT, "cat", "User", "free"), 20, [RepositoryName(SECRET, "cat", "secret", True)]
    )
    await Repositories(database).set_state(OCTO, OLD, RepositoryState.INACTIVE, "archived")
    await Repositories(database).set_state(OCTO, APP, RepositoryState.ACTIVE)
    return database


@pytest.fixture
def run(settings, installed, tmp_path):
    """Import from a list of lines or values; gives what was printed and whether all went well."""

    async def run(items, apply=True, **more):
        path = tmp_path / "in.jsonl"
        path.write_text("\n".join(item if isinstance(item, str) else json.dumps(item) for item in items))
        return await bring_in(settings, Wanted("octo", str(path), apply=apply, **more), lambda line: None)

    return run


def rows(*numbers, **more):
    return [as_value(record(number, f"Report {number}", **more)) for number in numbers]


async def kept(database, account=OCTO, repository=APP):
    found = {}
    async for batch in Issues(database).stream(account, repository):
        found |= {item.issue.number: item.issue for item in batch}
    return found


async def jobs(database):
    async with database.system() as connection:
        found = await connection.fetch("SELECT kind, payload FROM jobs ORDER BY id")
    return [row["kind"] for row in found]


async def state(database):
    """All that an import can change, but for times and revisions."""
    names = ["issues", "suggestions", "outcomes", "duplicate_marks", "issue_removals"]
    async with database.account(OCTO) as connection:
        return {
            name: sorted(
                repr(
                    {key: value for key, value in row.items() if key not in ("id", "revision", "removed_at")}
                )
                for row in await connection.fetch(f"SELECT * FROM {name}")
            )
            for name in names
        }


# --- from a parent


async def test_a_parents_folder_is_shown_then_imported(settings, installed, tmp_path):
    items = [
        *(record(number, f"Report {number}", "Body.", labels=["bug"]) for number in (1, 2, 3)),
        record(4, type="pull_request"),
        record(5, type="discussion"),
        record(1, repository="cat/secret"),
        record(1, repository="octo/old"),
        record(1, repository="elsewhere/app"),
    ]
    folder = in_folder(tmp_path / "parent", items)
    wanted = Wanted("OCTO", chroma=CollectionsSettings(folder))
    text, well = await bring_in(settings, wanted, lambda line: None)
    assert well
    assert (
        "8 rows read\nocto/app: 3 issues: 3 new, 0 newer than here, 0 known\n  left out: 1 pull requests, 1 discussions"
        in text
    )
    for name in ("cat/secret", "octo/old", "elsewhere/app"):
        assert f"{name}: 1 rows refused" in text
    assert text.endswith("nothing was written: add --apply to import this")
    assert (await kept(installed), await jobs(installed)) == ({}, [])

    text, well = await bring_in(settings, replace(wanted, apply=True), lambda line: None)
    assert well
    assert "\n3 imported\nocto/app: 3 issues written; the worker embeds them" in text
    found = await kept(installed)
    assert sorted(found) == [1, 2, 3]
    assert (found[2].title, found[2].body, found[2].labels, found[2].github_id) == (
        "Report 2",
        "Body.",
        ("bug",),
        0,
    )
    assert await kept(installed, CAT, SECRET) == {}
    assert set(await jobs(installed)) == {"embed_imported", "backtest"}


async def test_only_the_repository_that_was_asked_for_is_imported(run, installed):
    items = rows(1) + rows(1, repository="cat/secret")
    text, well = await run(items, repository="Octo/App", strict=True)
    assert well
    assert "1 imported" in text
    assert "cat/secret" not in text
    for name in ("cat/secret", "octo/old", "octo/none"):
        with pytest.raises(SettingsError, match=f"{name} is not a repository that octo's installation sees"):
            await run(items, repository=name)


async def test_names_are_compared_as_github_does(run, installed):
    await run(rows(1, repository="Octo/APP"))
    assert sorted(await kept(installed)) == [1]


async def test_a_long_list_of_refusals_is_cut_and_counted(run):
    text, _ = await run(["{"] * 25 + [rows(1, repository=f"else/r{n}")[0] for n in range(23)])
    assert text.count("rows refused: not a repository") == 20
    assert "\n3 more repositories were refused\n25 rows refused:\n  line 1: it is not JSON" in text
    assert (
        "\n  line 20: it is not JSON: Expecting property name enclosed in double quotes\n  and 5 more\n"
        in text
    )


async def test_no_room_for_what_is_kept_aside_is_told_in_one_line(run, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(SettingsError, match="a copy of what is imported cannot be kept: No such file"):
        await run(rows(1))


@pytest.mark.parametrize("login", ["nobody", "", "octo/app"])
async def test_an_account_without_the_app_is_told_in_one_line(settings, installed, login):
    with pytest.raises(SettingsError, match="the App is not installed on"):
        await bring_in(settings, Wanted(login, "-"), lambda line: None)


async def test_nothing_goes_to_a_suspended_installation(run, installed):
    await Accounts(installed).set_state(OCTO, 10, InstallationState.SUSPENDED)
    text, _ = await run(rows(1))
    assert "octo/app: 1 rows refused" in text
    assert await kept(installed) == {}


# --- I01 to I14


@pytest.mark.parametrize("data", ["", "\n\n", header_line("octo", AT)], ids=["empty", "blank", "header"])
async def test_i01_nothing_is_imported_from_nothing(run, installed, data):
    assert await run([data]) == ("0 rows read\n0 imported", True)
    assert await jobs(installed) == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
async def test_i02_other_encodings_are_found_out(settings, installed, tmp_path, encoding):
    path = tmp_path / "x"
    item = as_value(record(1, "Ошибка"))
    path.write_bytes(
        f"{header_line('octo', AT)}\r\n{json.dumps(item, ensure_ascii=False)}\r".encode(encoding)
    )
    await bring_in(settings, Wanted("octo", str(path), apply=True), lambda line: None)
    assert (await kept(installed))[1].title == "Ошибка"


async def test_i02_a_line_in_another_encoding_is_named(settings, installed, tmp_path):
    path = tmp_path / "x"
    good, bad = (json.dumps(as_value(record(n, "é")), ensure_ascii=False) for n in (1, 2))
    path.write_bytes(good.encode() + b"\n" + bad.encode("latin-1"))
    text, _ = await bring_in(settings, Wanted("octo", str(path), apply=True), lambda line: None)
    assert "1 rows refused:\n  line 2: it is not UTF-8" in text
    assert sorted(await kept(installed)) == [1]


async def test_i03_one_bad_row_is_reported_and_the_others_are_in(run, installed):
    await enterprise(installed)
    items = [json.dumps(item) for item in rows(*range(1, 1001))]
    items[499] = items[499][:-1]
    text, well = await run(items)
    assert well
    assert "1 rows refused:\n  line 500: it is not JSON: Expecting ',' delimiter" in text
    assert len(await kept(installed)) == 999


@pytest.mark.parametrize("bad", ["{", rows(9, repository="cat/secret")[0]], ids=["bad", "foreign"])
async def test_i03_strict_takes_all_or_nothing(run, installed, bad):
    text, well = await run([*rows(1, 2), bad], strict=True)
    assert not well
    assert text.endswith("nothing was written, since --strict takes all or nothing")
    assert (await kept(installed), await jobs(installed)) == ({}, [])
    assert (await run(rows(1, 2), strict=True))[1]


async def test_i04_twice_is_as_once(run, installed):
    items = native() + rows(*range(10, 150)) + rows(1, 2)
    await run(items)
    once = await state(installed)
    text, _ = await run(items)
    assert await state(installed) == once
    assert len(once["issues"]) == 100
    assert "\nocto/app: 143 issues: 43 new, 0 newer than here, 100 known" in text


async def test_i04_killed_and_run_again_ends_in_the_same_state(run, installed, settings, tmp_path):
    await enterprise(installed)
    items = native() + rows(*range(10, 1_000))
    await run(items)
    whole = await state(installed)
    async with installed.account(OCTO) as connection:
        for name in whole:
            await connection.execute(f"DELETE FROM {name}")
    async with installed.system() as connection:
        await connection.execute("DELETE FROM jobs")
    owner = await asyncpg.connect(settings.database_url)
    await owner.execute(STOP_AT_700)
    command = [sys.executable, "-m", "bot", "import", "--account", "octo", "--apply", "--jsonl", tmp_path / "in.jsonl", "--data-dir", tmp_path / "data"]  # fmt: skip
    environ = {"PATH": "/usr/bin:/bin"} | PRODUCTION | {"DATABASE_URL": settings.database_url}
    environ["GITHUB_API_URL"] = "http://127.0.0.1:9"
    process = subprocess.Popen(
        command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while not await owner.fetchval(f"SELECT count(*) {STOPPED}"):
        assert process.poll() is None
        await asyncio.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    await owner.fetch(f"SELECT pg_terminate_backend(pid) {STOPPED}")
    await owner.execute("DROP TRIGGER stop ON issues")
    await owner.close()
    assert 0 < await Issues(installed).count(OCTO, APP) < 700
    assert await jobs(installed) == ["embed_imported"]
    await run(items)
    assert await state(installed) == whole


STOP_AT_700 = """
    CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(600); RETURN NEW; END $$;
    CREATE TRIGGER stop BEFORE INSERT ON issues FOR EACH ROW WHEN (NEW.number = 700) EXECUTE FUNCTION stop();
"""
STOPPED = "FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"


async def test_i05_of_rows_about_one_issue_the_newest_holds_else_the_last(run, installed):
    older = as_value(record(1, "older", updated_at="2024-01-01T00:00:00Z"))
    first, last = (as_value(record(1, title)) for title in ("first", "last"))
    for items in ([first, last, older], [older, first, last]):
        text, _ = await run(items)
        assert "2 rows repeat an issue: the newest version holds, of equally new ones the last" in text
        assert (await kept(installed))[1].title == "last"


async def test_i05_the_last_holds_where_rows_are_far_apart(run, installed):
    await enterprise(installed)
    first, last = (as_value(record(1, title)) for title in ("first", "last"))
    for _ in range(2):
        await run([first, *rows(*range(2, 300)), last])
        assert (await kept(installed))[1].title == "last"


async def test_after_a_downgrade_an_import_takes_the_place_of_others_and_lets_nothing_else_go(run, installed):
    await enterprise(installed)
    await run(rows(*range(1, 121)))
    await Accounts(installed).set_tier(OCTO, "free")
    text, _ = await run(rows(121, 122), apply=False)
    assert "  2 issues have no room" in text
    await run(rows(121, 122))
    assert len(await kept(installed)) == 120


async def test_i06_names_that_are_paths_are_refused(run, installed):
    items = [
        as_value(record(1)) | {"id": "../../etc/passwd/issues/1"},
        {"kind": "mark", "repository": "../app"},
    ]
    text, _ = await run(items)
    assert "2 rows refused:" in text
    assert "line 1: its id is not owner/repo/issues/N" in text
    assert "line 2: its repository is not named as owner/name" in text


async def test_i07_a_bomb_is_refused(settings, installed, tmp_path, monkeypatch):
    monkeypatch.setattr("storage.exports.lines.__defaults__", (1 << 20,))
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(b"\n" * (8 << 20)))
    with pytest.raises(SettingsError, match="unpacks to more than 1 MiB"):
        await bring_in(settings, Wanted("octo", str(path), apply=True), lambda line: None)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (json.dumps(as_value(record(1)) | {"document": "x" * 1_048_576}), "line 2: it has more than 1048576 characters"),
        ('{"id": "octo/app/issues/1', "line 2: it is not JSON: Unterminated string"),
        (json.dumps(as_value(record(1, "a\x00b"))), "line 2: title holds a NUL character"),
    ],
    ids=["a megabyte", "unclosed", "NUL"],
)  # fmt: skip
async def test_i08_a_row_that_cannot_be_is_refused_alone(run, installed, line, complaint):
    text, _ = await run([rows(2)[0], line, rows(3)[0]])
    assert complaint in text
    assert sorted(await kept(installed)) == [2, 3]


async def test_i09_the_tiers_limit_holds_and_is_told(run, installed):
    stored = replace(ISSUE, repository_id=APP, number=900, state="closed")
    await Issues(installed).save(OCTO, [stored])
    items = rows(*range(1, 121), state="closed") + rows(*range(200, 300))
    text, well = await run(items)
    assert well
    assert "121 issues have no room: the Free plan indexes 100 issues of a repository" in text
    assert sorted(await kept(installed)) == list(range(200, 300))


async def test_i10_rows_cannot_say_whose_they_are(run, installed):
    stolen = json.loads(line_of("octo/app", ISSUE)) | {"repository_id": SECRET, "account_id": CAT}
    await run([stolen, line_of("cat/secret", ISSUE), line_of("cat/secret", Mark(3, 2))])
    assert sorted(await kept(installed)) == [3]
    assert await kept(installed, CAT, SECRET) == {}
    assert await Marks(installed).all(CAT, SECRET) == {}


@pytest.mark.parametrize(
    ("updated_at", "title"), [("2024-01-15T00:00:00Z", "Crash"), ("2024-02-01T00:00:00Z", "Crash"), (LATER, "Report 3")]
)  # fmt: skip
async def test_i12_the_newest_version_wins_and_githubs_own_among_equals(run, installed, updated_at, title):
    await Issues(installed).save(OCTO, [replace(ISSUE, repository_id=APP)])
    await run(rows(3, updated_at=updated_at))
    found = (await kept(installed))[3]
    assert found.title == title
    # What the parent does not keep is not lost.
    assert (found.github_id, found.author, found.author_id, found.reactions) == (1003, "ann", 5, 2)


async def test_i12_what_github_tells_replaces_what_was_imported(run, installed):
    await run(rows(3))
    await Issues(installed).save(OCTO, [replace(ISSUE, repository_id=APP)])
    assert (await kept(installed))[3] == replace(ISSUE, repository_id=APP)


async def test_i12_what_was_deleted_does_not_come_back(run, installed):
    await Issues(installed).delete(OCTO, APP, [3], AT)
    await run(rows(2, 3))
    assert sorted(await kept(installed)) == [2]


async def test_i13_an_import_stops_where_the_repository_is_removed(
    run, installed, settings, tmp_path, monkeypatch
):
    monkeypatch.setattr("bot.carry.TELL_EVERY", 200)
    await enterprise(installed)
    path = tmp_path / "x"
    path.write_text("\n".join(json.dumps(item) for item in rows(*range(1, 601))))

    async def remove():
        database = await Database.connect(settings.database_url, size=1)
        await Accounts(database).remove_repositories(OCTO, [APP])
        await database.close()

    def tell(line):
        if line == "200 rows stored":  # nothing of the import goes on while this does not return
            removing = threading.Thread(target=lambda: asyncio.run(remove()))
            removing.start()
            removing.join()

    text, well = await bring_in(settings, Wanted("octo", str(path), apply=True), tell)
    assert not well
    assert "\n200 imported\n" in text
    assert "  stopped: it was removed meanwhile" in text
    assert await kept(installed) == {}


async def test_i14_nothing_is_queued_that_could_comment(run, installed):
    await run(native() + rows(*range(10, 60)))
    assert set(await jobs(installed)) == {"embed_imported", "backtest"}
    async with installed.account(OCTO) as connection:
        assert await connection.fetchval("SELECT count(*) FROM effects") == 0


async def enterprise(database):
    connection_settings = "UPDATE accounts SET tier = 'enterprise' WHERE id = $1"
    async with database.system() as connection:
        await connection.execute(connection_settings, OCTO)


# --- there and back


def native():
    """An export of one issue and everything that can be known of it."""
    items = [
        Chosen("shadow", None),
        ISSUE,
        replace(ISSUE, number=2, github_id=1002),
        Mark(3, 2),
        SUGGESTION,
        OUTCOME,
    ]
    return [header_line("octo", AT), *(line_of("octo/app", item) for item in items)]


async def test_an_export_imports_again(run, settings, installed, tmp_path):
    await run(native())
    first, out = await state(installed), tmp_path / "out.jsonl"
    assert await carry_out(settings, "octo", "octo/app", out) == f"7 lines about 1 repositories are in {out}"
    assert out.stat().st_mode & 0o777 == 0o600
    exported = [line for line in out.read_text().splitlines() if not line.startswith('{"format"')]
    assert sorted(exported) == sorted(native()[1:])
    async with installed.account(OCTO) as connection:
        for name in first:
            await connection.execute(f"DELETE FROM {name}")
        await connection.execute("UPDATE repositories SET override = NULL")
    await bring_in(settings, Wanted("octo", str(out), apply=True), lambda line: None)
    assert await state(installed) == first
    assert (await Repositories(installed).get(OCTO, APP)).override == "shadow"


@pytest.fixture(scope="module")
def elsewhere(postgres, template):
    """The address of a database for all examples: each of them is carried there and back in a repository of its own."""
    name = f"test_{os.urandom(6).hex()}"
    asyncio.run(statement(postgres, f"CREATE DATABASE {name} TEMPLATE {template} OWNER deja_view"))
    yield postgres.address(name)
    asyncio.run(statement(postgres, f"DROP DATABASE {name} WITH (FORCE)"))


async def statement(postgres, text):
    server = await asyncpg.connect(postgres.address("template1", "postgres"))
    await server.execute(text)
    await server.close()


# Pull requests are left out where no config wants them.
wanted_issues = strategies.issues.map(lambda item: replace(item, is_pull_request=False))
anything = st.tuples(
    strategies.settings,
    st.lists(wanted_issues, max_size=3, unique_by=lambda item: item.number),
    st.lists(strategies.marks, max_size=2, unique_by=lambda item: item.number),
    st.lists(strategies.suggestions, max_size=2, unique_by=lambda item: item.issue_number),
    st.lists(strategies.outcomes, max_size=2, unique_by=lambda item: item.outcome.issue_number),
).map(lambda parts: [parts[0], *parts[1], *parts[2], *parts[3], *parts[4]])


# Not shrunk: an example takes a tenth of a second.
@hypothesis.settings(
    max_examples=15, deadline=None, phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate]
)
@hypothesis.given(items=anything)
def test_whatever_is_exported_comes_back_as_it_was(elsewhere, tmp_path_factory, items):
    folder = tmp_path_factory.mktemp("there")
    (folder / "in").write_text("\n".join(line_of("octo/app", item) for item in items))
    told = asyncio.run(there_and_back(elsewhere, folder))
    assert told.count("\n") == len(items) + 1
    # PostgreSQL keeps JSON by value: not the order of its keys, nor how a number is written.
    came = [row_of(parsed(line)).item for line in told.split("\n")[1:-1]]
    assert sorted(came, key=name_of) == sorted(items, key=name_of)


def name_of(item):
    about = getattr(item, "outcome", item)
    return type(item).__name__, getattr(about, "number", None) or getattr(about, "issue_number", 0)


async def there_and_back(url, folder):
    settings = replace(load(PRODUCTION | {"DATABASE_URL": url}, folder), github=None)
    database = await Database.connect(url, size=1)
    accounts = Accounts(database)
    await accounts.remove_repositories(OCTO, [APP])
    await accounts.install(
        Account(OCTO, "octo", "User", "free"), 10, [RepositoryName(APP, "octo", "app", private=False)]
    )
    await database.close()
    wanted = Wanted("octo", str(folder / "in"), apply=True, strict=True)
    text, well = await bring_in(settings, wanted, lambda line: None)
    assert well, text
    await carry_out(settings, "octo", None, folder / "out")
    return (folder / "out").read_text()


async def test_an_export_has_no_vectors_and_nothing_of_others(run, settings, installed, tmp_path):
    await run(native())
    vector = np.zeros(384, dtype=np.float32)
    await Issues(installed).set_vectors(OCTO, APP, "m", {3: (content_hash("Crash", "b"), vector, vector)})
    await Issues(installed).save(CAT, [replace(ISSUE, repository_id=SECRET, title="canary")])
    await carry_out(settings, "octo", None, tmp_path / "out")
    text = (tmp_path / "out").read_text()
    assert "vector" not in text
    assert "canary" not in text
    assert '"repository":"octo/old"' in text


async def test_what_is_known_here_is_not_replaced_by_what_was_exported(run, installed):
    await Marks(installed).save(OCTO, APP, {3: 1})
    mine = replace(SUGGESTION, account_id=OCTO, repository_id=APP, reason="mine")
    await Suggestions(installed).save(mine)
    await Repositories(installed).set_override(OCTO, APP, "comment")
    await run(native())
    assert await Marks(installed).all(OCTO, APP) == {3: 1}
    assert await Suggestions(installed).get(OCTO, APP, 3) == mine
    assert (await Repositories(installed).get(OCTO, APP)).override == "comment"


async def test_the_account_sees_what_the_operator_did(run, settings, installed, tmp_path):
    await run(rows(1, 2))
    await carry_out(settings, "octo", "octo/app", tmp_path / "out")
    acts = [line.act for line in await Audit(installed).list(OCTO, None, 9)]
    assert [(act.action, act.actor.value, act.subject) for act in acts] == [
        ("issues.export", "operator", "octo/app"),
        ("issues.import", "operator", "octo/app"),
    ]
    assert acts[1].details == {"issues": 2, "stopped": None}


@pytest.mark.parametrize("only", ["cat/secret", "octo/none", ""])
async def test_only_own_repositories_are_exported(settings, installed, tmp_path, only):
    with pytest.raises(SettingsError, match="is not a repository of octo"):
        await carry_out(settings, "octo", only, tmp_path / "out")
    assert not (tmp_path / "out").exists()


async def test_a_later_releases_export_is_refused(run):
    with pytest.raises(SettingsError, match="upgrade it first"):
        await run(['{"format": "deja-view", "version": 2}', *rows(1)])


# --- the command line


@pytest.fixture
def command(settings, installed, monkeypatch, capsys, tmp_path):
    """Run a command beside the database; gives its exit code, what it printed and what it complained."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    async def command(*arguments, **environ):
        given = PRODUCTION | {"DATABASE_URL": settings.database_url, "GITHUB_API_URL": "http://127.0.0.1:9"}
        monkeypatch.setattr(os, "environ", given | environ)
        code = await asyncio.to_thread(main, [*map(str, arguments), "--data-dir", str(tmp_path / "data")])
        captured = capsys.readouterr()
        lines = [line for line in captured.err.splitlines() if not line.startswith("{")]
        return code, captured.out, lines

    yield command
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


async def test_the_command_shows_first_and_writes_on_demand(command, installed, tmp_path):
    path, out = tmp_path / "x.jsonl", tmp_path / "out.jsonl"
    path.write_text("\n".join(native()))
    code, printed, _ = await command("import", "--account", "octo", "--jsonl", path)
    assert (code, printed.splitlines()[-1]) == (0, "nothing was written: add --apply to import this")
    assert await kept(installed) == {}
    code, printed, (told,) = await command(
        "import", "--account", "octo", "--jsonl", path, "--apply", "--strict"
    )
    assert (code, "\n2 imported\n" in printed) == (0, True)
    assert told.startswith("octo/app: its config cannot be read, the defaults hold (")
    assert await command("export", "--account", "octo", "--out", out) == (
        0, f"8 lines about 2 repositories are in {out}\n", []
    )  # fmt: skip
    path.write_text("{")
    code, _, _ = await command("import", "--account", "octo", "--jsonl", path, "--apply", "--strict")
    assert code == 1


@pytest.mark.parametrize(
    ("source", "environ", "complaint"),
    [
        (["--chroma-cloud"], {}, "--chroma-cloud needs SOURCE_CHROMA_API_KEY, --source-tenant and --source-database"),
        (["--chroma-cloud", "--source-tenant", "t"], {"SOURCE_CHROMA_API_KEY": "k"}, "--chroma-cloud needs"),
        (["--chroma-path", "/nowhere"], {}, "/nowhere holds no chroma.sqlite3"),
        (["--chroma-url", "parent:8000"], {}, "--chroma-url is not an address"),
        (["--jsonl", "/nowhere"], {}, "/nowhere cannot be read: No such file or directory"),
    ],
)  # fmt: skip
async def test_a_source_that_cannot_be_read_is_told_in_one_line(command, source, environ, complaint):
    code, printed, (line,) = await command("import", "--account", "octo", *source, **environ)
    assert (code, printed) == (2, "")
    assert line.startswith("deja-view: ")
    assert complaint in line


@pytest.mark.parametrize(
    "arguments",
    [
        ["import", "--account", "octo"],
        ["import", "--jsonl", "x"],
        ["import", "--account", "octo", "--jsonl", "x", "--chroma-cloud"],
        ["import", "--account", "octo", "--jsonl", "x", "--apply", "--dry-run"],
        ["export", "--account", "octo"],
    ],
    ids=" ".join,
)
def test_what_is_not_said_or_said_twice_is_told_with_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith(f"usage: deja-view {arguments[0]}")
