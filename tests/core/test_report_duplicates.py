from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bot.core.records import Pairs, Repository, RepositoryState
from bot.core.report_duplicates import as_json, as_markdown, numbers_in, report_of
from tests.core.test_discussions import issue

NOW = datetime(2025, 8, 27, 12, tzinfo=UTC)
WEB = "https://github.com"
REPOSITORY = Repository(
    1, 9, 5, "octo", "hello", False, "c", RepositoryState.ACTIVE, None, None, None, 0, 0, None, None, None
)


def known(*numbers, closed=(), **changes):
    return {
        number: issue(
            f"Issue {number}",
            number=number,
            created_at=NOW - timedelta(days=1_000 - number),
            state="closed" if number in closed else "open",
            **changes,
        )
        for number in numbers
    }


def report(near, marks=None, issues=None, states="all", floor=0.8, asked=0.8):
    pairs = Pairs(tuple(near), floor, 50)
    found = known(*numbers_in(pairs, marks or {})) if issues is None else issues
    return report_of(REPOSITORY, pairs, marks or {}, found, asked=asked, states=states, now=NOW)


def shape(made):
    return [
        [item.root.issue.number, *(other.issue.number for other in item.others)] for item in made.clusters
    ]


@pytest.mark.parametrize(
    ("near", "marks", "closed", "states", "expected"),
    [
        ([], {}, (), "all", []),
        ([(1, 2, 0.9)], {}, (), "all", [[1, 2]]),
        ([(1, 2, 0.9), (2, 3, 0.95)], {}, (), "all", [[1, 2, 3]]),
        ([(1, 2, 0.9), (3, 4, 0.95)], {}, (), "all", [[3, 4], [1, 2]]),
        ([(1, 2, 0.9), (3, 4, 0.9)], {}, (), "all", [[1, 2], [3, 4]]),
        ([(1, 2, 0.9)], {2: 3}, (), "all", [[1, 2, 3]]),
        ([], {5: 3}, (), "all", [[3, 5]]),
        ([(1, 2, 0.9), (1, 3, 0.8)], {}, (1,), "all", [[2, 1, 3]]),
        ([(1, 2, 0.9)], {}, (1, 2), "all", [[1, 2]]),
        ([(1, 2, 0.9)], {}, (1, 2), "open", []),
        ([(1, 2, 0.9)], {}, (1,), "open", [[2, 1]]),
    ],
)
def test_clusters(near, marks, closed, states, expected):
    issues = known(1, 2, 3, 4, 5, closed=closed)
    assert shape(report(near, marks, issues, states)) == expected


def test_what_left_is_in_no_cluster_and_connects_nothing():
    made = report([(1, 2, 0.9), (2, 3, 0.9)], {4: 2}, known(1, 3, 4))
    assert made.clusters == ()


def test_json():
    made = report([(1, 2, 0.91239)], {3: 1}, known(1, 2, 3, closed=(3,)), floor=0.9)
    told = as_json(made, WEB)
    assert told["clusters"] == [
        {
            "size": 3,
            "similarity": 0.9124,
            "root": {
                "number": 1, "title": "Issue 1", "url": "https://github.com/octo/hello/issues/1", "state": "open", "is_pull_request": False,
                "similarity": 0.9124, "marked": False, "created_at": "2022-12-02T12:00:00+00:00",
            },
            "others": [
                {
                    "number": 2, "title": "Issue 2", "url": "https://github.com/octo/hello/issues/2", "state": "open", "is_pull_request": False,
                    "similarity": 0.9124, "marked": False, "created_at": "2022-12-03T12:00:00+00:00",
                },
                {
                    "number": 3, "title": "Issue 3", "url": "https://github.com/octo/hello/issues/3", "state": "closed", "is_pull_request": False,
                    "similarity": None, "marked": True, "created_at": "2022-12-04T12:00:00+00:00",
                },
            ],
        }
    ]  # fmt: skip
    assert (told["threshold"], told["effective_threshold"], told["issues_compared"]) == (0.8, 0.9, 50)
    assert (told["repository"], told["state"], told["clusters_left_out"]) == ("octo/hello", "all", 0)


def test_markdown():
    made = report([(1, 2, 0.91)], {3: 1}, known(1, 2, 3, closed=(3,)), floor=0.9)
    assert as_markdown(made, WEB) == (
        "# Possible duplicates in octo/hello\n"
        "\n"
        "1 cluster among 50 issues, similarity 0.90 or more, 2025-08-27 12:00 UTC.\n"
        "More pairs than can be shown reach 0.80, so the threshold was raised.\n"
        "\n"
        "## [#1](https://github.com/octo/hello/issues/1) Issue 1\n"
        "\n"
        "open · opened 2022-12-02 · 3 issues\n"
        "\n"
        "- [#2](https://github.com/octo/hello/issues/2) Issue 2 · open · similarity 0.91\n"
        "- [#3](https://github.com/octo/hello/issues/3) Issue 3 · closed · marked as a duplicate\n"
    )


def test_titles_are_inert_and_pull_requests_lead_to_theirs():
    issues = known(1, 2)
    issues[2] = replace(issues[2], title="@everyone [x](http://evil) #1\n# Big <b>", is_pull_request=True)
    text = as_markdown(report([(1, 2, 0.9)], {}, issues), WEB)
    assert "- [#2](https://github.com/octo/hello/pull/2) @\u2060everyone" in text
    assert "@everyone" not in text
    assert "](http:" not in text.replace(f"]({WEB}", "")
    assert text.count("\n# ") == 0
    assert "<b>" not in text


def test_reports_are_bounded():
    made = report([(1, n, 0.9) for n in range(2, 300)] + [(n, n + 1, 0.85) for n in range(1_000, 2_400, 2)])
    assert (len(made.clusters), made.left_out) == (500, 201)
    assert (made.clusters[0].size, len(made.clusters[0].others)) == (299, 100)
    text = as_markdown(made, WEB)
    assert "- and 198 more" in text
    assert "201 more clusters are not shown." in text
