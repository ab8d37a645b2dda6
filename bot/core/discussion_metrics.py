"""Numbers about a repository's discussions, with the keys that the parent project's clients read."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from bot.core.records import Discussion

WEEK = timedelta(weeks=1)

MOST_UNANSWERED = 50
MOST_UPVOTED = 20
"""Entries of each list; `total_unanswered_qa` counts all."""

GHOST = "deleted-user"
"""The author of a discussion whose account is gone."""

ANSWER_CATEGORIES = frozenset({"q&a", "help"})
"""Categories that are for questions by their name, whether or not answers can be marked in them."""


def asked_since(now: datetime, weeks_back: int) -> datetime:
    """From when on discussions are needed: two weeks at the least, so that the last one can be compared with the one before."""
    return now - max(weeks_back, 2) * WEEK


def metrics(discussions: Sequence[Discussion], now: datetime, weeks_back: int) -> dict[str, Any]:
    """The numbers of the period that ends now.

    `answer_rate` and `week_over_week_percentage` are in percent; growth from none counts as 100.
    """
    start = now - weeks_back * WEEK
    within = [item for item in discussions if start <= item.created_at <= now]
    this_week = sum(now - WEEK <= item.created_at <= now for item in discussions)
    last_week = sum(now - 2 * WEEK <= item.created_at < now - WEEK for item in discussions)
    questions = [item for item in within if is_question(item)]
    unanswered = sorted((item for item in questions if not item.answered), key=newest_first)
    upvoted = sorted(within, key=lambda item: (-item.upvotes, newest_first(item)))
    return {
        "total_discussions": len(within),
        "discussions_this_week": this_week,
        "discussions_last_week": last_week,
        "week_over_week_change": this_week - last_week,
        "week_over_week_percentage": growth(last_week, this_week),
        "unanswered_qa": [entry(item) for item in unanswered[:MOST_UNANSWERED]],
        "total_unanswered_qa": len(unanswered),
        "top_upvoted": [{**entry(item), "hasAnswer": item.answered} for item in upvoted[:MOST_UPVOTED]],
        "category_breakdown": dict(Counter(item.category for item in within)),
        "answer_rate": share(sum(item.answered for item in questions), len(questions)),
        "avg_upvotes": round(sum(item.upvotes for item in within) / max(len(within), 1), 2),
        "period_start": f"{start:%Y-%m-%d}",
        "period_end": f"{now:%Y-%m-%d}",
    }


def is_question(item: Discussion) -> bool:
    """Whether a discussion asks for an answer: by its category's kind, or by its name as the parent project has it."""
    name = item.category.casefold()
    return item.answerable or name in ANSWER_CATEGORIES or "question" in name


def newest_first(item: Discussion) -> tuple[float, int]:
    """A key that puts the newest first."""
    return -item.created_at.timestamp(), -item.number


def growth(before: int, after: int) -> float:
    """The change in percent."""
    if before == 0:
        return 100.0 if after else 0.0
    return round((after - before) / before * 100, 2)


def share(some: int, of: int) -> float:
    """A share in percent; 0 of none."""
    return round(some / of * 100, 2) if of else 0.0


def entry(item: Discussion) -> dict[str, Any]:
    """A discussion in a list, named as the parent project names its parts."""
    return {
        "number": item.number,
        "title": item.title,
        "url": item.url,
        "createdAt": f"{item.created_at:%Y-%m-%dT%H:%M:%SZ}",
        "upvoteCount": item.upvotes,
        "category": item.category,
        "author": item.author or GHOST,
    }
