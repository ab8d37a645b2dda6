import re
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.__main__ import COMMANDS as COMMAND_LINE
from bot.core.comment import COMMAND_TABLE, suggestion_comment, visible
from bot.core.decision import Decision
from bot.core.records import Candidate, Features, Issue, Repository, RepositoryState
from bot.core.repo_config import Config, Part
from bot.metrics import Metrics
from bot.settings import load
from handlers import ROUTED_EVENTS
from handlers.commands import COMMANDS
from storage.migrate import migrations

ROOT = Path(__file__).parent.parent

ELSEWHERE = {"PG_BIN"}
"""Names that operators may set and bot/settings.py does not read."""

FENCE = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
NOT_A_WORD = re.compile(r"[^\w\- ]")


def tracked(pattern):
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", pattern]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return [Path(name) for name in listed if (ROOT / name).exists()]


PAGES = tracked("*.md")


def page(name):
    return (ROOT / name).read_text(encoding="utf-8")


def anchors(text):
    """The anchors that GitHub gives to headings."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {NOT_A_WORD.sub("", heading.lower()).replace(" ", "-") for heading in headings}


def links(text):
    return LINK.findall(FENCE.sub("", text))


def first_cells(text):
    """The names in code spans of each table's first column."""
    return set(re.findall(r"^\| `([^`]+)`", text, re.MULTILINE))


def test_pages_are_found():
    assert {Path("README.md"), Path("docs/operations.md"), Path("docs/configuration.md")} <= set(PAGES)


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_links_resolve(path):
    for target in links(page(path)):
        if re.match(r"[a-z]+:", target):
            assert target.startswith("https://"), target
            continue
        name, _, anchor = target.partition("#")
        found = (ROOT / path.parent / name) if name else ROOT / path
        assert found.exists(), f"{path}: {target}"
        if anchor:
            assert anchor in anchors(found.read_text(encoding="utf-8")), f"{path}: {target}"


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_paths_in_code_spans_exist(path):
    text = FENCE.sub("", page(path))
    for name in re.findall(r"`((?:bot|handlers|storage|tests|scripts|docs|requirements)/[\w./-]*\w)`", text):
        assert (ROOT / name).exists(), f"{path}: {name}"


class Recorder(dict):
    """An environment that remembers what was asked for."""

    def __init__(self, **given):
        super().__init__(given)
        self.asked = set()

    def get(self, name, default=None):
        self.asked.add(name)
        return super().get(name, default)


@pytest.fixture(scope="module")
def environment_names(tmp_path_factory):
    environ = Recorder()
    load(environ, tmp_path_factory.mktemp("data"))
    load(environ)  # with no folder given, the environment names it
    return environ.asked | ELSEWHERE


@pytest.fixture(autouse=True, scope="module")
def _in_a_folder_of_our_own(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("cwd"))
        yield


def test_every_setting_is_documented(environment_names):
    text = page("docs/operations.md")
    assert {name for name in environment_names if f"`{name}`" not in text} == set()


def test_every_documented_setting_is_read(environment_names):
    settings = page("docs/operations.md").partition("## Settings")[2].partition("\n## ")[0]
    assert first_cells(settings) == environment_names - ELSEWHERE


def test_settings_read_elsewhere_are_read():
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "storage").glob("*.py"))
    assert all(f'environ.get("{name}")' in source for name in ELSEWHERE)


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z]+):", page("Makefile"), re.MULTILINE))
    for name in ("README.md", "CONTRIBUTING.md", "docs/demo.md", "docs/operations.md", ".ci/run"):
        named = re.findall(r"(?:`|^|\n)make ([a-z]+)\b", page(name))
        assert named or name == "docs/operations.md"
        assert set(named) <= targets, name
    assert targets <= set(re.findall(r"`make ([a-z]+)", page("CONTRIBUTING.md"))) | {"help"}


def test_command_line_is_documented():
    cells = first_cells(page("docs/operations.md").partition("## Settings")[0])
    assert {cell.split()[1] for cell in cells} == set(COMMAND_LINE)


def test_every_slash_command_is_in_the_readme():
    commands = {command for command, _, _ in COMMAND_TABLE}
    assert {
        f"`{cell}`" for cell in first_cells(page("README.md")) if cell.startswith("/dejaview")
    } == commands
    assert {command.strip("`").split()[1] for command in commands} == set(COMMANDS)


def test_readme_tells_what_each_command_does():
    for command, effect, _ in COMMAND_TABLE:
        assert f"| {command} | {effect} |" in page("README.md")


def test_every_metric_is_documented():
    metrics_table = page("docs/operations.md").partition("## Health")[2].partition("\n## ")[0]
    metrics = {metric.name for metric in Metrics().registry.collect()}
    named = {name.removesuffix("_total") for name in re.findall(r"deja_view_[a-z_]+", metrics_table)}
    assert named == metrics


def keys(part, prefix=""):
    for name, field in part.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Part):
            yield from keys(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_every_config_key_is_documented():
    assert first_cells(page("docs/configuration.md")) == set(keys(Config))


def test_every_event_is_in_the_permissions():
    text = page("docs/permissions.md").partition("## Events")[2]
    rows = re.findall(r"^\| `(\w+)` \| ([\w, ]+) \|", text, re.MULTILINE)
    assert {(event, action) for event, actions in rows for action in actions.split(", ")} == set(
        ROUTED_EVENTS
    )


def test_every_table_is_in_the_architecture_and_in_privacy():
    schema = page("storage/sql/schema.sql") + "".join(item.sql for item in migrations())
    tables = set(re.findall(r"CREATE TABLE (\w+)", schema))
    architecture = page("docs/architecture.md")
    assert {table for table in tables if f"**{table}**" not in architecture} == set()
    without_people = {"tiers", "repositories"}
    assert {
        table for table in tables - without_people if f"`{table}`" not in page("docs/privacy.md")
    } == set()


def test_decisions_are_numbered_and_listed():
    names = sorted(path.name for path in (ROOT / "docs/decisions").glob("[0-9]*.md"))
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
    assert links(page("docs/decisions/README.md")) == names
    for name in names:
        text = page(f"docs/decisions/{name}")
        assert text.startswith(f"# {name[:4]}: ")
        for heading in ("Context", "Decision", "Consequences", "Alternatives"):
            assert f"\n## {heading}\n" in text


def candidate(number, title, score, terms=()):
    moment = datetime(2022, 7, 1, tzinfo=UTC)
    issue = Issue(
        9, number, number, title, "", "open", None, "x", 1, False, (), False, False, 0, moment, moment
    )  # fmt: skip
    return Candidate(number, score, Features(0.5, 0.7, 0.37, 4.5, 6.4, same_author=False), issue, terms)


def test_the_comment_in_the_readme_is_what_is_written():
    repository = Repository(
        9, 1, 1, "apache", "hadoop", False, "c", RepositoryState.ACTIVE, None, None, None, 0, 0, None, None, None
    )  # fmt: skip
    best = replace(
        candidate(
            1240, "Upgrade Netty to 4.1.77.Final", 7.5, ("h4", "CVEs", "Netty", "2022", "Final", "CVE")
        ),
        features=Features(0.5, 0.7, 0.7, 4.5, 6.4, same_author=False),
        chance=0.14,
    )
    also = (
        candidate(1543, "Bump netty to the latest 4.1.86", 4),
        candidate(86, "Upgrade Netty version to 4.1.45.Final to handle CVE-2019-20444,CVE-2019-16869", 3),
    )
    issue = candidate(1556, "Upgrade Netty to 4.1.89.Final", 0).issue
    decision = Decision(True, "", 5.59, (best,), also)
    body = suggestion_comment(b"k" * 32, repository, issue, decision, "https://github.com")
    assert visible(body) in page("README.md")
