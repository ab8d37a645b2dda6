import re
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bot.core.decision import Question, decide
from bot.core.records import Candidate, Features, Issue, Ranking
from bot.core.repo_config import (
    DEFAULT,
    MAX_PROBLEMS,
    Config,
    ConfigAbsent,
    ConfigInvalid,
    ConfigOk,
    Part,
    parse,
    settled,
)
from tests.pace import allowed

DOCS = Path(__file__).parents[2] / "docs"


def changed(content):
    """What a valid file changes."""
    outcome = parse(content.encode() if isinstance(content, str) else content)
    assert isinstance(outcome, ConfigOk)
    return outcome.config.model_dump(exclude_defaults=True)


def problems(content):
    outcome = parse(content.encode() if isinstance(content, str) else content)
    assert isinstance(outcome, ConfigInvalid)
    assert outcome.problems
    return outcome.problems


@pytest.mark.parametrize("content", [b"", b"\n\n", b"# nothing\n", b"null", b"~", b"---\n", b"---\n...\n"])
def test_an_empty_file_is_none(content):  # F01
    assert parse(content) == ConfigAbsent()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{}", {}),
        ("mode: auto", {}),
        ("mode: comment", {"mode": "comment"}),
        ("precision_target: 0.5", {"precision_target": 0.5}),
        ("mode: off", {"mode": "off"}),
        ("mode: 'shadow'", {"mode": "shadow"}),
        ("budget: 0.5", {"budget": 0.5}),
        ("budget: .25", {"budget": 0.25}),
        ("budget: 5e-2", {"budget": 0.05}),
        ("max_results: 1", {"max_results": 1}),
        ("include: {closed: false, pull_requests: true}", {"include": {"closed": False, "pull_requests": True}}),
        ("gate:\n  min_chars: 80\n  labels_none: [a, 'on']", {"gate": {"min_chars": 80, "labels_none": ("a", "on")}}),
        ("ignore:\n  authors:\n  - x[bot]\n  labels: [yes]", {"ignore": {"authors": ("x[bot]",), "labels": ("yes",)}}),
        ("labels: {possible: dup, duplicate: ''}", {"labels": {"possible": "dup", "duplicate": ""}}),
        ("commands: {allow: {similar: anyone}}", {"commands": {"allow": {"similar": "anyone"}}}),
        ("include:\nlabels:\n  possible:\n", {}),
        ("mode: off\n...\n", {"mode": "off"}),
        ("%YAML 1.1\n---\nmode: off", {"mode": "off"}),
        pytest.param("labels: {possible: '@team closes #1 /dup <b>'}", {"labels": {"possible": "@team closes #1 /dup <b>"}}, id="F17"),
    ],
)  # fmt: skip
def test_a_valid_file(content, expected):
    assert changed(content) == expected


LAUGHS = "a: &a [x]\n" + "".join(
    f"{y}: &{y} [*{x}, *{x}]\n" for x, y in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param("- a", "must be a mapping", id="F02-list"),
        pytest.param("a", "must be a mapping", id="F02-text"),
        pytest.param("5", "must be a mapping", id="F02-number"),
        pytest.param("!!python/object/apply:os.system [id]", "line 1: tags are not allowed", id="F03"),
        pytest.param("mode: !!str off", "tags are not allowed", id="F03-str"),
        pytest.param("mode: ! off", "tags are not allowed", id="F03-plain"),
        pytest.param(LAUGHS, "line 1: anchors and aliases", id="F04"),
        pytest.param("mode: *x", "anchors and aliases", id="F04-alias"),
        pytest.param("[" * 2_000, "deeper than 20", id="F05"),
        pytest.param("- " * 2_000, "deeper than 20", id="F05-block"),
        pytest.param("x" * 65_537, "larger than 64 KiB", id="F05-size"),
        pytest.param("ignore: {labels: [" + "a," * 6_000 + "]}", "more than 5000 parts", id="F05-parts"),
        pytest.param("budget: " + "9" * 5_000, "budget must be a number", id="F06"),
        pytest.param("mode: off\nmode: shadow", "line 2: the key mode is there twice", id="F07"),
        pytest.param("include: {closed: true, closed: true}", "twice", id="F07-nested"),
        pytest.param("include: {closed: no}", "include.closed must be true or false", id="F08"),
        pytest.param("include: {closed: 1}", "include.closed must be true or false", id="F08-one"),
        pytest.param("on: true", "the key on does not exist", id="F08-key"),
        pytest.param("max_results: 02", "max_results must be 1, 2 or 3", id="F09-octal"),
        pytest.param("max_results: 0:02", "max_results must be 1, 2 or 3", id="F09-sexagesimal"),
        pytest.param("max_results: 2.0", "max_results must be 1, 2 or 3", id="F09-float"),
        pytest.param("max_results: true", "max_results must be 1, 2 or 3", id="F09-true"),
        pytest.param("max_results: 0x1", "max_results must be 1, 2 or 3", id="F09-hex"),
        pytest.param("gate: {min_chars: 1_0}", "gate.min_chars must be a whole number", id="F09-underscore"),
        pytest.param("labels: {possible: 5}", "labels.possible must be a label", id="F09-number"),
        *[
            pytest.param(f"budget: {value}", "budget must be a number above 0 and at most 0.5", id=f"F10-{value}")
            for value in (".nan", ".inf", "-.inf", '"0.3"', "0,3", "2", "-1", "0", "-0.0", "0.51", "1e99", "1e999", "e5", "true", "[]")
        ],
        pytest.param(b"mode: \0", "character that YAML does not allow", id="F11-nul"),
        pytest.param(b"\xef\xbb\xbfmode: off", "byte order mark", id="F11-bom"),
        pytest.param("mode: off".encode("utf-16"), "not UTF-8", id="F11-utf16"),
        pytest.param("include:\n\tclosed: true", "line 2, column 1: this is not valid YAML", id="F11-tab"),
        pytest.param("mode: off\n---\nmode: shadow", "line 2: there is more than one document", id="F11-two"),
        pytest.param("&a [*a]", "anchors and aliases", id="F12"),
        pytest.param("bugdet: 0.1", "the key bugdet does not exist; did you mean budget?", id="F13"),
        pytest.param("treshold: 0.1", "the key treshold does not exist; known here: mode, budget", id="F13-far"),
        pytest.param("treshold:", "the key treshold does not exist", id="F13-null"),
        pytest.param("include: {pull-requests: true}", "include.pull?requests does not exist; did you mean pull_requests?", id="F13-nested"),
        pytest.param("commands: {allow: {similiar: anyone}}", "commands.allow.similiar does not exist; did you mean similar?", id="F13-deep"),
        pytest.param("x" * 1_048_576, "larger than 64 KiB", id="F14-large"),
        pytest.param("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "must be a mapping", id="F14-lfs"),
        pytest.param("extends: other-owner/private", "the key extends does not exist", id="F16"),
        pytest.param("ignore: {title_regex: (a+)+$}", "ignore.title_regex does not exist", id="F18"),
        pytest.param("? [a]\n: b", "line 1: a key must be a word", id="list-as-key"),
        pytest.param("mode: {}", "mode must be auto, comment, shadow or off", id="mapping-as-mode"),
        pytest.param("include: 5", "include must be a mapping", id="number-as-mapping"),
        pytest.param("ignore: {authors: ann}", "ignore.authors must be a list", id="text-as-list"),
        pytest.param("ignore: {authors: ['@ann']}", "ignore.authors must be a list", id="mention"),
        pytest.param("ignore: {authors: [~]}", "ignore.authors must be a list", id="null-in-list"),
        pytest.param('labels: {possible: "a\\nb"}', "labels.possible must be a label", id="line-break"),
        pytest.param("labels: {possible: '" + "a" * 51 + "'}", "labels.possible must be a label", id="long-label"),
        pytest.param("mode: [", "not valid YAML", id="unclosed"),
    ],
)  # fmt: skip
def test_an_invalid_file(content, told):
    began = time.perf_counter()
    found = problems(content)
    assert time.perf_counter() - began < allowed(0.5)  # F05
    assert told in found[0]


@pytest.mark.parametrize(
    "key",
    [
        "@org/team",
        "closes #1",
        "`x`",
        "<script>",
        "![a](http://x)",
        "/dup",
        "www.evil.example",
        "GH-1",
        "a\\nb",
        "x" * 5_000,
        "é\\u202e",
    ],
)
def test_what_is_told_of_a_file_is_inert(key):  # F17
    for content in (f'"{key}": 1', f'include: {{"{key}": 1}}', f'"{key}": 1\n"{key}": 2', f'mode: "{key}"'):
        for problem in problems(content):
            assert re.fullmatch(r"[A-Za-z0-9_ .,:;?()-]*", problem)
            assert "www." not in problem
            assert "GH-1" not in problem
            assert len(problem) < 200


def test_no_more_than_ten_problems_are_told():
    found = problems("".join(f"k{n}: 1\n" for n in range(100)))
    assert len(found) == MAX_PROBLEMS
    assert found[-1] == "and 91 more problems"


def test_the_same_problem_is_told_once():
    assert len(problems("ignore: {labels: [1, 2, 3]}")) == 1


def test_a_config_needs_nothing_and_never_changes():
    assert Config() == DEFAULT
    assert hash(Config()) == hash(DEFAULT)
    with pytest.raises(ValidationError):
        DEFAULT.mode = "off"


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=200) | st.text(alphabet="{}[],:&*!|>'\"%@`-? \n#abc0.~", max_size=200).map(str.encode)
)
def test_parsing_never_raises(content):
    assert isinstance(parse(content), ConfigOk | ConfigInvalid | ConfigAbsent)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*Config.model_fields, "x"]),
        st.none() | st.booleans() | st.floats() | st.text() | st.lists(st.text()),
    )
)
def test_any_value_of_any_key_is_judged(value):
    assert isinstance(parse(yaml.safe_dump(value).encode()), ConfigOk | ConfigInvalid)


def paths(part, prefix=""):
    """Every key that holds a value, with its default as YAML writes it."""
    for name, field in part.model_fields.items():
        if isinstance(field.default, Part):
            yield from paths(type(field.default), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field.default


def test_the_example_is_the_default_and_holds_every_key():
    content = (DOCS / "deja-view.example.yml").read_bytes()
    assert parse(content) == ConfigOk(DEFAULT)
    written = yaml.safe_load(content)
    for path, _ in paths(Config):
        value = written
        for name in path.split("."):
            assert name in value
            value = value[name]


def test_every_key_is_documented_with_its_default():
    rows = re.findall(
        r"^\| `([a-z_.]+)` \| `([^`]*)` \|", (DOCS / "configuration.md").read_text(), re.MULTILINE
    )
    written = {True: "true", False: "false", (): "[]", "": '""'}
    assert rows == [
        (
            path,
            written.get(value, str(value))
            if not isinstance(value, int) or isinstance(value, bool)
            else str(value),
        )
        for path, value in paths(Config)
    ]


def issue(number, author="ann", labels=()):
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return Issue(
        1, number, number, "Crash when opening settings", "At once.", "open", None, author, 7, False, labels, False, False, 0, moment, moment
    )  # fmt: skip


def decided(content, asked):
    """The decision under a config about #9, where #1 (by bob), #2 (labelled wontfix) and #3 reach the threshold."""
    outcome = parse(content.encode())
    assert isinstance(outcome, ConfigOk)
    features = Features(0.5, 0.5, 0.5, 1.0, 1.0, False)
    found = tuple(
        Candidate(earlier.number, 9.0 - earlier.number, features, earlier)
        for earlier in (issue(1, "bob"), issue(2, labels=("wontfix",)), issue(3))
    )
    decision = decide(Question(asked, "o/r", Ranking(found, 9, "m"), 5.0, frozenset(), outcome.config))
    return [item.number for item in decision.likely] if decision.speak else decision.reason


@pytest.mark.parametrize(
    ("content", "asked", "expected"),
    [
        ("{}", issue(9), [1, 2, 3]),
        ("max_results: 1", issue(9), [1]),
        ("max_results: 2", issue(9), [1, 2]),
        ("ignore: {authors: [BOB]}", issue(9), [2, 3]),
        ("ignore: {labels: [WontFix]}", issue(9), [1, 3]),
        ("ignore: {authors: [Ann]}", issue(9), "ignored here"),
        ("ignore: {labels: [X]}", issue(9, labels=("a", "x")), "ignored here"),
        ("ignore: {labels: ['']}", issue(9, author=None), [1, 2, 3]),
        ("gate: {labels_none: [X]}", issue(9, labels=("a", "x")), "nothing is suggested"),
        ("gate: {labels_none: [wontfix]}", issue(9), [1, 2, 3]),
        ("gate: {min_chars: 30}", issue(9), [1, 2, 3]),
        ("gate: {min_chars: 31}", issue(9), "shorter"),
        ("mode: off", issue(9), "switched off"),
    ],
)
def test_the_decision_honours_the_file(content, asked, expected):
    found = decided(content, asked)
    assert found == expected if isinstance(expected, list) else expected in found


@pytest.mark.parametrize(
    ("mode", "verdict", "wish", "expected"),
    [
        ("auto", None, None, "comment"),
        ("auto", "comment", None, "comment"),
        ("auto", "shadow", None, "shadow"),
        ("auto", "shadow", "comment", "comment"),
        ("auto", "comment", "shadow", "shadow"),
        ("comment", "shadow", None, "comment"),
        ("comment", "comment", "shadow", "shadow"),
        ("shadow", "comment", "comment", "shadow"),
        ("off", "comment", "comment", "off"),
        ("off", "comment", "shadow", "off"),
    ],
)
def test_who_decides_whether_the_bot_comments(mode, verdict, wish, expected):
    assert settled(Config(mode=mode), verdict, wish).mode == expected
