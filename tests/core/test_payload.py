from datetime import UTC, datetime

import pytest

from bot.core.errors import DeadError
from bot.core.payload import (
    Sender,
    account_from,
    comment_from,
    issue_from,
    repository_name_from,
    sender_from,
)
from bot.core.records import Account, Issue, RepositoryName

USER = {"id": 5, "login": "ann", "type": "User"}
ISSUE = {
    "id": 2_900_000_000, "number": 12, "title": "Crash", "body": "It crashes.", "state": "open", "state_reason": None, "user": USER,
    "labels": [{"name": "bug"}], "locked": False, "reactions": {"+1": 3, "total_count": 9},
    "created_at": "2026-01-02T03:04:05Z", "updated_at": "2026-01-02T05:04:05+02:00", "closed_at": None,
}  # fmt: skip
COMMENT = {
    "id": 7,
    "body": "/dv check",
    "user": USER,
    "performed_via_github_app": None,
    "created_at": "2026-01-02T03:04:05Z",
}
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def issue(**changes):
    return issue_from(ISSUE | changes, 99)


def test_an_issue():
    assert issue() == Issue(
        repository_id=99, number=12, github_id=2_900_000_000, title="Crash", body="It crashes.", state="open", state_reason=None,
        author="ann", author_id=5, author_is_bot=False, labels=("bug",), is_pull_request=False, locked=False, reactions=3,
        created_at=MOMENT, updated_at=MOMENT, closed_at=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "field", "expected"),
    [
        pytest.param({"title": "a\0b"}, "title", "a\ufffdb", id="W24-title"),
        pytest.param({"body": "a\0b"}, "body", "a\ufffdb", id="W24-body"),
        pytest.param({"labels": ["a\0b"]}, "labels", ("a\ufffdb",), id="W24-label"),
        pytest.param({"user": USER | {"login": "a\0b"}}, "author", "a\ufffdb", id="W24-login"),
        pytest.param({"title": "a\ud800b"}, "title", "a\ufffdb", id="W25"),
        pytest.param({"id": 2_900_000_000}, "github_id", 2_900_000_000, id="W34"),
        pytest.param({"body": "x" * 1_000_000}, "body", "x" * 65_536, id="W37"),
        pytest.param({"title": " \u200b🦄\u202e "}, "title", " \u200b🦄\u202e ", id="W38"),
        pytest.param({"user": None}, "author", None, id="W39-ghost"),
        pytest.param({"user": None}, "author_id", None, id="W39-ghost-id"),
        pytest.param({"body": None}, "body", "", id="W39-body"),
        pytest.param({"labels": None}, "labels", (), id="W39-labels"),
        pytest.param({"labels": "bug"}, "labels", (), id="W39-labels-text"),
        pytest.param({"labels": ["a", {"name": "b"}, 5, {}, {"name": None}, None, ""]}, "labels", ("a", "b"), id="W39-odd-labels"),
        pytest.param({"labels": ["a"] * 5_000}, "labels", ("a",) * 100, id="many-labels"),
        pytest.param({"labels": ["a" * 5_000]}, "labels", ("a" * 100,), id="long-label"),
        pytest.param({"pull_request": {}}, "is_pull_request", True, id="W40"),
        pytest.param({"pull_request": None}, "is_pull_request", False, id="W40-null"),
        pytest.param({"user": USER | {"type": "Bot"}}, "author_is_bot", True, id="W41"),
        pytest.param({"reactions": None}, "reactions", 0, id="no-reactions"),
        pytest.param({"reactions": {"+1": True}}, "reactions", 0, id="odd-reactions"),
        pytest.param({"reactions": {"+1": -1}}, "reactions", 0, id="negative-reactions"),
        pytest.param({"reactions": {"+1": 2**40}}, "reactions", 2**31 - 1, id="too-many-reactions"),
        pytest.param({"locked": "yes"}, "locked", False, id="odd-locked"),
        pytest.param({"state": "closed", "closed_at": "2026-01-02T03:04:05.5Z"}, "closed_at", MOMENT.replace(microsecond=500_000), id="closed"),
        pytest.param({"state_reason": "duplicate"}, "state_reason", "duplicate", id="reason"),
        pytest.param({"state_reason": 5}, "state_reason", None, id="odd-reason"),
        pytest.param({"number": 2**31 - 1}, "number", 2**31 - 1, id="greatest-number"),
        pytest.param({"id": 2**63 - 1}, "github_id", 2**63 - 1, id="greatest-id"),
    ],
)  # fmt: skip
def test_what_becomes_of_odd_parts(given, field, expected):
    assert getattr(issue(**given), field) == expected


NO_NUMBERS = [2**63, -1, 0, "1", 1.5, 5.0, True, None, [1]]


@pytest.mark.parametrize(
    "given",
    [
        *[pytest.param({"number": value}, id=f"W33-{value}") for value in [*NO_NUMBERS, 2**31]],
        *[pytest.param({"id": value}, id=f"W33-id-{value}") for value in NO_NUMBERS],
        *[pytest.param({"user": USER | {"id": value}}, id=f"W33-user-{value}") for value in NO_NUMBERS],
        *[pytest.param({"user": value}, id=f"user-{value}") for value in [5, "ann", [], {}, {"id": 1}]],
        *[pytest.param({"title": value}, id=f"title-{value}") for value in [None, 5, ["a"]]],
        pytest.param({"body": 5}, id="body"),
        *[pytest.param({"state": value}, id=f"state-{value}") for value in [None, "OPEN", "locked", 1, []]],
        *[
            pytest.param({"created_at": value}, id=f"date-{value}")
            for value in [None, 0, "", "2026-01-02", "2026-01-02T03:04:05", "2026-13-02T03:04:05Z", "0001-01-01T00:00:00+23:00",
                          "2026-01-02 03:04:05Z", "٢026-01-02T03:04:05Z"]
        ],
        pytest.param({"updated_at": None}, id="updated"),
        pytest.param({"closed_at": "soon"}, id="closed"),
    ],
)  # fmt: skip
def test_an_issue_that_github_never_sends_is_dead(given):
    with pytest.raises(DeadError):
        issue(**given)


PARSERS = [lambda value: issue_from(value, 1), comment_from, account_from, repository_name_from]


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("value", [None, 5, "x", [], {}, True])
def test_what_is_no_object_is_dead(parser, value):
    with pytest.raises(DeadError):
        parser(value)


@pytest.mark.parametrize("field", sorted(ISSUE))
@pytest.mark.parametrize("value", [None, 5, "x", [], {}, True, -1])
def test_an_odd_issue_is_read_or_dead(field, value):
    try:
        issue(**{field: value})
    except DeadError:
        return


REPOSITORY = {"id": 8, "name": "b.c", "full_name": "an-n_x/b.c", "private": False}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({}, RepositoryName(8, "an-n_x", "b.c", private=False), id="installation-event"),
        pytest.param({"owner": {"login": "bob"}}, RepositoryName(8, "bob", "b.c", private=False), id="owner"),
        pytest.param({"private": None}, RepositoryName(8, "an-n_x", "b.c", private=True), id="not-told"),
        pytest.param({"private": "false"}, RepositoryName(8, "an-n_x", "b.c", private=True), id="odd"),
        pytest.param(
            {"archived": True},
            RepositoryName(8, "an-n_x", "b.c", private=False, archived=True),
            id="archived",
        ),
    ],
)
def test_a_repository(given, expected):
    assert repository_name_from(REPOSITORY | given) == expected


@pytest.mark.parametrize(
    "given",
    [
        *[pytest.param({"id": value}, id=f"W33-{value}") for value in NO_NUMBERS],
        *[
            pytest.param({"name": value}, id=f"name-{value}")
            for value in [None, "", ".", "..", "a/b", "a b", "a" * 101, "é", "a\n"]
        ],
        *[
            pytest.param({"owner": {"login": value}}, id=f"owner-{value}")
            for value in [None, "", "a/b", "..", "a?b"]
        ],
        pytest.param({"full_name": None}, id="full-name"),
        pytest.param({"full_name": "/b"}, id="no-owner"),
    ],
)
def test_a_repository_that_cannot_be_addressed_is_dead(given):
    with pytest.raises(DeadError):
        repository_name_from(REPOSITORY | given)


@pytest.mark.parametrize("kind", ["User", "Organization"])
def test_an_account(kind):
    assert account_from({"id": 1, "login": "ann", "type": kind}) == Account(1, "ann", kind, "")


@pytest.mark.parametrize(
    "given", [{"type": "Bot"}, {"type": None}, {"login": None}, {"login": "a b"}, {"id": True}]
)
def test_another_account_is_dead(given):
    with pytest.raises(DeadError):
        account_from({"id": 1, "login": "ann", "type": "User"} | given)


@pytest.mark.parametrize(
    ("given", "field", "expected"),
    [
        ({}, "author", "ann"),
        ({"user": None}, "author_id", None),
        ({"body": None}, "body", ""),
        ({"body": "a\0"}, "body", "a\ufffd"),
        ({}, "app_id", None),
        ({"performed_via_github_app": {"id": 4}}, "app_id", 4),
        ({}, "created_at", MOMENT),
    ],
)
def test_a_comment(given, field, expected):
    assert getattr(comment_from(COMMENT | given), field) == expected


@pytest.mark.parametrize(
    "given", [{"id": "7"}, {"body": 5}, {"performed_via_github_app": 5}, {"created_at": None}]
)
def test_a_comment_that_github_never_sends_is_dead(given):
    with pytest.raises(DeadError):
        comment_from(COMMENT | given)


def test_a_ghost_is_nobody():
    ghost = sender_from(None)
    assert ghost == Sender(0, None, is_bot=False)
    # Else the edit of a ghost's comment by a ghost would pass for one by its author.
    assert ghost.id != comment_from(COMMENT | {"user": None}).author_id


def test_a_bot_is_one():
    assert sender_from({"id": 1, "login": "x[bot]", "type": "Bot"}) == Sender(1, "x[bot]", is_bot=True)
