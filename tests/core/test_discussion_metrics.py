from datetime import UTC, datetime, timedelta

import pytest

from bot.core.discussion_metrics import asked_since, is_question, metrics
from bot.core.records import Discussion

NOW = datetime(2025, 8, 27, 12, tzinfo=UTC)


def discussion(days, number=1, **changes):
    values = {
        "number": number, "title": f"Title {number}", "url": f"https://x/{number}", "category": "General", "answerable": False,
        "answered": False, "upvotes": 1, "comments": 0, "author": "ann", "created_at": NOW - timedelta(days=days),
    }  # fmt: skip
    return Discussion(**(values | changes))


def test_nothing_is_counted_as_nothing():
    assert metrics([], NOW, 4) == {
        "total_discussions": 0, "discussions_this_week": 0, "discussions_last_week": 0, "week_over_week_change": 0,
        "week_over_week_percentage": 0.0, "unanswered_qa": [], "total_unanswered_qa": 0, "top_upvoted": [], "category_breakdown": {},
        "answer_rate": 0.0, "avg_upvotes": 0.0, "period_start": "2025-07-30", "period_end": "2025-08-27",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("days", "weeks", "total", "this_week", "last_week", "change", "percentage"),
    [
        ([1, 2, 3], 4, 3, 3, 0, 3, 100.0),
        ([1, 8, 9], 4, 3, 1, 2, -1, -50.0),
        ([1, 2, 3, 8, 9], 1, 3, 3, 2, 1, 50.0),
        ([7, 14], 4, 2, 1, 1, 0, 0.0),
        ([7.01, 14.01], 4, 2, 0, 1, -1, -100.0),
        ([27, 28, 28.01, -1], 4, 2, 0, 0, 0, 0.0),
    ],
)
def test_weeks(days, weeks, total, this_week, last_week, change, percentage):
    found = metrics([discussion(day, n) for n, day in enumerate(days, 1)], NOW, weeks)
    assert found["total_discussions"] == total
    assert (found["discussions_this_week"], found["discussions_last_week"]) == (this_week, last_week)
    assert (found["week_over_week_change"], found["week_over_week_percentage"]) == (change, percentage)


def test_the_week_before_is_asked_for_too():
    assert asked_since(NOW, 1) == NOW - timedelta(days=14)
    assert asked_since(NOW, 52) == NOW - timedelta(weeks=52)


@pytest.mark.parametrize(
    ("category", "answerable", "expected"),
    [
        ("Q&A", False, True), ("q&a", True, True), ("Help", False, True), ("Open Questions", False, True),
        ("Fragen", True, True), ("General", False, False), ("Helpers", False, False),
    ],
)  # fmt: skip
def test_which_discussions_ask(category, answerable, expected):
    assert is_question(discussion(1, category=category, answerable=answerable)) is expected


def test_answers_upvotes_and_categories():
    found = metrics(
        [
            discussion(1, 1, category="Q&A", upvotes=2),
            discussion(2, 2, category="Q&A", answered=True, upvotes=9, author=None),
            discussion(3, 3, category="Help", upvotes=1),
            discussion(4, 4, category="Ideas", upvotes=4),
        ],
        NOW,
        4,
    )
    assert (found["answer_rate"], found["avg_upvotes"], found["total_unanswered_qa"]) == (33.33, 4.0, 2)
    assert [item["number"] for item in found["unanswered_qa"]] == [1, 3]
    assert found["unanswered_qa"][0] == {
        "number": 1, "title": "Title 1", "url": "https://x/1", "createdAt": "2025-08-26T12:00:00Z", "upvoteCount": 2, "category": "Q&A",
        "author": "ann",
    }  # fmt: skip
    assert [item["number"] for item in found["top_upvoted"]] == [2, 4, 1, 3]
    assert (found["top_upvoted"][0]["author"], found["top_upvoted"][0]["hasAnswer"]) == ("deleted-user", True)
    assert found["category_breakdown"] == {"Q&A": 2, "Help": 1, "Ideas": 1}


def test_lists_are_bounded_and_their_total_is_told():
    found = metrics([discussion(n / 100, n, answerable=True) for n in range(1, 81)], NOW, 4)
    assert (len(found["unanswered_qa"]), len(found["top_upvoted"]), found["total_unanswered_qa"]) == (
        50,
        20,
        80,
    )
