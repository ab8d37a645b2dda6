import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given

from bot.core.errors import BadRowError, SettingsError
from bot.core.exchange import (
    MAX_LINE,
    Mark,
    ParentsDiscussion,
    Recorded,
    Row,
    Settings,
    belonging,
    header_in,
    header_line,
    line_of,
    parsed,
    row_of,
)
from bot.core.records import Issue, Outcome, OutcomeKind, Repository, RepositoryState, Suggestion
from bot.core.text import MAX_TEXT
from tests.parent import as_value, record
from tests.strategies import issues, marks, outcomes, settings, suggestions

AT = datetime(2024, 1, 1, 12, tzinfo=UTC)
NAME = "octo/app"
ISSUE = Issue(0, 3, 1003, "t", "b", "open", None, "ann", 5, False, ("bug",), False, False, 2, AT, AT)
SUGGESTION = Suggestion(0, 0, 3, True, "r", 1.5, "m", (2,), (1,), {"2": {"score": 1.0}}, b"h" * 32, AT)
OUTCOME = Recorded(Outcome(0, 0, 3, 2, OutcomeKind.CONFIRMED, 5, "command"), AT)
ITEMS = [ISSUE, SUGGESTION, OUTCOME, Mark(3, 2), Settings("shadow", AT), Settings(None, None)]


@given(issues | suggestions | outcomes | marks | settings)
def test_what_is_written_is_read(item):
    text = line_of(NAME, item)
    assert "\n" not in text
    assert row_of(parsed(text)) == Row(NAME, item)


def test_the_longest_issue_fits_in_a_line():
    text = line_of(NAME, replace(ISSUE, title="\x01" * MAX_TEXT, body="\x01" * MAX_TEXT))
    assert len(text) < MAX_LINE


def test_what_is_imported_belongs_to_where_it_goes():
    here = Repository(
        7, 1, 10, "octo", "app", False, "c", RepositoryState.ACTIVE, None, None, None, 0, 0, None, None, None
    )
    assert belonging(ISSUE, here).repository_id == 7
    assert (belonging(SUGGESTION, here).account_id, belonging(SUGGESTION, here).repository_id) == (1, 7)
    assert (belonging(OUTCOME, here).outcome.account_id, belonging(OUTCOME, here).at) == (1, AT)
    assert belonging(Mark(3, 2), here) == Mark(3, 2)


def test_a_line_says_nothing_of_whose_it_is():
    stranger = line_of(NAME, replace(ISSUE, repository_id=99))
    assert "99" not in stranger
    value = json.loads(line_of(NAME, SUGGESTION)) | {"account_id": 9, "repository_id": 99}
    assert row_of(value) == Row(NAME, SUGGESTION)


def test_a_discussion_is_not_exported():
    with pytest.raises(ValueError, match="not exported"):
        line_of(NAME, ParentsDiscussion(1))


def test_a_header_is_told_from_a_row():
    header = header_in(json.loads(header_line("octo", AT)))
    assert (header.account, header.at) == ("octo", AT)
    for value in ({"format": "zip"}, [], "deja-view", json.loads(line_of(NAME, ISSUE))):
        assert header_in(value) is None
    with pytest.raises(SettingsError, match="version 2, this release reads 1"):
        header_in({"format": "deja-view", "version": 2})
    for version in (None, "1", True, 0):
        with pytest.raises(BadRowError, match="names no version"):
            header_in({"format": "deja-view", "version": version})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"a": "b', "not JSON: Unterminated string"),
        ('{"a": "b\x00"}', "not JSON: Invalid control character"),
        ("[NaN]", "NaN is not JSON"),
        ("[-Infinity]", "-Infinity is not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 5_000, "a number too long"),
        ("", "not JSON"),
    ],
)
def test_what_is_no_json_is_refused(text, complaint):
    with pytest.raises(BadRowError, match=complaint) as refused:
        parsed(text)
    assert len(str(refused.value)) < 100


def changed(item, **more):
    return json.loads(line_of(NAME, item)) | more


BAD = [
    ([], "not a JSON object"),
    ({}, "neither a line of an export nor a record"),
    (changed(ISSUE, kind="vector"), "its kind is none of repository, issue"),
    (changed(ISSUE, kind=["issue"]), "its kind is none of"),
    *((changed(ISSUE, repository=name), "not named as owner/name") for name in (None, 7, "app", "octo/", "../app", "octo/..", "octo/a/b", "octo/a b", "octo/\u0430")),
    *((changed(ISSUE, number=number), "number is not a whole number") for number in (0, -1, 2**31, "3", 3.0, True, None)),
    *((changed(ISSUE, created_at=date), "created_at is not a date") for date in ("2024-01-01", "2024-01-01T00:00:00", "2024-13-01T00:00:00Z", 7, None, "9999-12-31T23:59:59-14:00")),
    (changed(ISSUE, title="x" * (MAX_TEXT + 1)), "title has more than 65536 characters"),
    (changed(ISSUE, body="a\x00b"), "body holds a NUL"),
    (changed(ISSUE, body=None), "body is not text"),
    (changed(ISSUE, state="merged"), "state is none of open, closed"),
    (changed(ISSUE, labels="bug"), "labels is not a list"),
    (changed(ISSUE, labels=[1]), "labels is not a list"),
    (changed(ISSUE, locked="no"), "locked is neither true nor false"),
    (changed(ISSUE, reactions=-1), "reactions is not a whole number"),
    (changed(ISSUE, github_id=2**63), "github_id is not a whole number"),
    (changed(ISSUE, author_id=0), "author_id is not a whole number"),
    (changed(SUGGESTION, evidence=[]), "evidence is not an object"),
    (changed(SUGGESTION, evidence={"a": "\x00"}), "evidence holds a character"),
    (changed(SUGGESTION, evidence={"a": "\ud800"}), "evidence holds a character"),
    (changed(SUGGESTION, evidence={"a": json.loads("1e999")}), "evidence holds a number"),
    (changed(SUGGESTION, threshold=True), "threshold is not a number"),
    (changed(SUGGESTION, threshold="high"), "threshold is not a number"),
    (changed(SUGGESTION, threshold=10**400), "threshold is not a number"),
    (changed(SUGGESTION, likely=3), "likely is not a list"),
    (changed(SUGGESTION, likely=["3"]), "likely is not a whole number"),
    (changed(SUGGESTION, content_hash="H" * 64), "content_hash is not"),
    (changed(OUTCOME, outcome="maybe"), "outcome is none of"),
    (changed(Mark(3, 2), original=3), "not its own original"),
    (changed(Settings("shadow", None), override="off"), "override is neither"),
    (changed(Settings("shadow", AT), override="comment"), "only the override shadow"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "complaint"), BAD, ids=[f"{n}-{complaint}" for n, (_, complaint) in enumerate(BAD)])  # fmt: skip
def test_what_is_no_row_is_refused(value, complaint):
    with pytest.raises(BadRowError, match=complaint):
        row_of(value)


def test_a_record_of_a_parent_becomes_an_issue():
    value = as_value(record(12, "Body: of a title", "a\n\nBody: b", labels=["bug", "good first issue"]))
    issue = row_of(value).item
    assert issue == Issue(
        0, 12, 0, "Body: of a title", "a\n\nBody: b", "open", None, None, None, False, ("bug", "good first issue"),
        False, False, 0, datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ("", ""),
        ("x" * 10_000, "x" * 10_000),
        ("x" * 10_001, "x" * 10_000),
        ("I wrote ... [truncated]", "I wrote ... [truncated]"),
    ],
    ids=["none", "whole", "cut", "the author's own words"],
)
def test_a_parents_mark_of_a_cut_is_taken_off(body, kept):
    assert row_of(as_value(record(1, body=body))).item.body == kept


def test_what_a_parent_has_beside_issues_is_known_as_that():
    assert row_of(as_value(record(1, type="pull_request"))).item.is_pull_request
    assert row_of(as_value(record(1, type="discussion"))).item == ParentsDiscussion(1)
    assert row_of(as_value(record(1)) | {"document": None}).item.body == ""


def with_metadata(**more):
    value = as_value(record(1))
    return value | {"metadata": value["metadata"] | more}


BAD_RECORDS = [
    *((as_value(record(1)) | {"id": name}, "its id is not owner/repo") for name in (
        None, 7, "octo/app/issues/0", "octo/app/issues/x", "octo/app/issues/1/2", "../../etc/passwd/issues/1",
        "../app/issues/1", "octo/../issues/1", "octo/app/wiki/1", "octo/app/issues/1\n", "octo/app/issues/\u0661",
    )),
    *((with_metadata(**{key: value}), "name different issues") for key, value in (("owner", "cat"), ("repo", "other"), ("number", "2"), ("type", "discussion"))),
    (as_value(record(1)) | {"metadata": None}, "no metadata"),
    (with_metadata(type="wiki"), "type is none of"),
    (with_metadata(state="merged"), "state is none of"),
    (with_metadata(title=None), "title is not text"),
    (with_metadata(labels=["bug"]), "labels is not text"),
    (with_metadata(updated_at="yesterday"), "updated_at is not a date"),
    (as_value(record(2**31)), "number is not a whole number"),
    (as_value(record(1)) | {"document": 7}, "document is not text"),
    (as_value(record(1)) | {"document": "x" * 200_000}, "document is not text"),
    (as_value(record(1)) | {"document": f"Title: t\n\nBody: {'x' * 70_000}"}, "body has more than"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "complaint"), BAD_RECORDS, ids=range(len(BAD_RECORDS)))
def test_what_is_no_record_of_a_parent_is_refused(value, complaint):
    with pytest.raises(BadRowError, match=complaint):
        row_of(value)


def test_every_kind_of_item_goes_out_and_comes_in():
    assert [row_of(parsed(line_of(NAME, item))).item for item in ITEMS] == ITEMS
