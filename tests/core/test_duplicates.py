import time

import pytest

from bot.core.duplicates import canonical, chain, marked_original, same_problem, would_circle
from tests.pace import allowed

NAME = "octo/hello"


@pytest.mark.parametrize(
    ("text", "original"),
    [
        ("Duplicate of #12", 12),
        ("dup of #12", 12),
        ("This is a dupe of #12, thanks!", 12),
        ("Closing in favor of #12.", 12),
        ("Closed as duplicate of https://github.com/octo/hello/issues/12", 12),
        ("Duplicate of octo/hello#12", 12),
        ("Duplicate of OCTO/Hello#12", 12),
        ("Merged into #12", 12),
        ("Thanks for the report. Duplicate of #12. See the docs.", 12),
        ("Not a duplicate of #12", None),
        ("Might be a duplicate of #12", None),
        ("Is this a duplicate of #12?", None),
        ("This looks like a duplicate of #12", None),
        ("Duplicate of #12 and #13", None),
        ("Duplicate of #12.\nDuplicate of #13.", None),
        ("Duplicate of other/repo#12", None),
        ("Duplicate of https://github.com/other/repo/issues/12", None),
        ("> Duplicate of #12", None),
        ("```\nDuplicate of #12\n```", None),
        ("Duplicate", None),
        ("See #12", None),
        ("Duplicate of #0", None),
        ("Duplicate of #12abc", None),
        ("", None),
    ],
)
def test_marked_original(text, original):
    assert marked_original(text, NAME) == original


def test_hostile_comments_are_read_quickly():
    started = time.perf_counter()
    for text in ("duplicate of " * 6_000, "a/" * 30_000, "#" * 65_000, "not " * 16_000, ". " * 32_000):
        marked_original(text, NAME)
    assert time.perf_counter() - started < allowed(0.2)


@pytest.mark.parametrize(
    ("marks", "number", "expected"),
    [
        ({}, 5, [5]),
        ({5: 3}, 5, [5, 3]),
        ({5: 3, 3: 1}, 5, [5, 3, 1]),
        ({5: 3, 3: 5}, 5, [3]),
        ({5: 3, 3: 5}, 3, [3]),
        ({9: 5, 5: 3, 3: 4, 4: 5}, 9, [9, 3]),
    ],
)
def test_chain(marks, number, expected):
    assert chain(marks, number) == expected


def test_a_very_long_chain_ends():
    assert len(chain({n: n - 1 for n in range(1, 1_000)}, 999)) == 50


@pytest.mark.parametrize(
    ("marks", "number", "before", "known", "expected"),
    [
        ({}, 5, 9, {5}, 5),
        ({5: 3}, 5, 9, {3, 5}, 3),
        ({5: 3}, 5, 9, {5}, 5),  # the original was deleted
        ({5: 3, 3: 1}, 5, 9, {1, 5}, 1),
        ({5: 12}, 5, 9, {5, 12}, 5),  # never to a newer issue
        ({5: 3, 3: 5}, 5, 9, {3, 5}, 3),
    ],
)
def test_canonical(marks, number, before, known, expected):
    assert canonical(marks, number, before, known) == expected


def test_same_problem():
    groups = same_problem({5: 3, 6: 5, 9: 8, 3: 6})
    assert groups[3] == groups[5] == groups[6] == {3, 5, 6}
    assert groups[8] == groups[9] == {8, 9}
    assert 1 not in groups


def test_a_long_chain_is_one_group():
    groups = same_problem({n: n - 1 for n in range(1, 20_000)})
    assert len(groups[77]) == 20_000


def test_would_circle():
    assert would_circle({5: 3}, 3, 5)
    assert would_circle({}, 3, 3)
    assert not would_circle({5: 3}, 9, 5)
