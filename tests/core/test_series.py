from datetime import UTC, datetime

import pytest

from bot.core.records import Issue
from bot.core.series import same_series, skeleton

NOW = datetime(2025, 1, 1, tzinfo=UTC)
LONG = " ".join(f"word{n} broke" for n in range(30))


def issue(title, body="", author_id=5):
    return Issue(1, 2, 3, title, body, "open", None, "me", author_id, False, (), False, False, 0, NOW, NOW)


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Release 1.2.3 checklist", "release … checklist"),
        ("[core] Add tests for `read_line`", "… add tests for …"),
        ("Port readLine to Windows", "port … to windows"),
        ("Crash on startup", "crash on startup"),
        ("Über den Wolken 7", "über den wolken …"),
        ("", ""),
        ("🔥 7", "… …"),
    ],
)
def test_skeletons(title, expected):
    assert skeleton(title) == expected


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (issue("Release 1.2 checklist"), issue("Release 1.3 checklist"), True),
        (issue("Release 1.2 checklist", author_id=None), issue("Release 1.3 checklist", author_id=None), False),
        (issue("Release 1.2 checklist"), issue("Release 1.3 checklist", author_id=6), False),
        (issue("Release 1.2 checklist"), issue("Release 1.2 checklist"), False),  # sent twice
        (issue("Release 1.2 checklist", LONG), issue("Release 1.3 checklist", LONG), False),
        (issue("Release 1.2 checklist", LONG), issue("Release 1.3 checklist", LONG + " and quite another tail here"), True),
        (issue("Release 1.2 checklist", "same"), issue("Release 1.3 checklist", "same"), True),  # too short to say so
        (issue("1.2"), issue("1.3"), False),
        (issue("Crash on startup"), issue("Crash on shutdown"), False),
        (issue("Add tests for `a`"), issue("Add tests for `b`"), True),
    ],
)  # fmt: skip
def test_same_series(one, other, expected):
    assert same_series(one, other) == same_series(other, one) == expected


def test_fifty_issues_of_one_skeleton_are_one_series():
    series = [issue(f"Translate chapter {n} of the book", f"See page {n}") for n in range(50)]
    assert all(same_series(one, series[0]) for one in series[1:])
