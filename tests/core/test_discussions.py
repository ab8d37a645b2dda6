import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bot.core.discussions import LABELS, best, suggestions, verdict
from bot.core.records import Issue
from tests.hostile import FRAGMENTS, LONG
from tests.pace import allowed

AT = datetime(2025, 3, 4, 5, 6, 7, tzinfo=UTC)


def issue(title, body="", **changes):
    values = {
        "repository_id": 1, "number": 1, "github_id": 1, "title": title, "body": body, "state": "open", "state_reason": None,
        "author": None, "author_id": None, "author_is_bot": False, "labels": (), "is_pull_request": False, "locked": False, "reactions": 0,
        "created_at": AT, "updated_at": AT,
    }  # fmt: skip
    return Issue(**(values | changes))


@pytest.mark.parametrize(
    ("title", "body", "labels", "score"),
    [
        ("Settings do not open", "", (), 0.15),
        ("How do I configure models?", "", (), 0.55),
        ("Can we have tabs", "", (), 0.55),
        ("Can not open a file", "", (), 0.15),
        ("Does not start", "", (), 0.15),
        ("[ui] why is it blue", "", (), 0.55),
        ("設定はどこですか？", "", (), 0.55),
        ("Models", "Is there a way to use two of them?", (), 0.55),
        ("Models", "> Is there a way to use two of them?", (), 0.15),
        ("Models", "```\nIs there a way to use two of them?\n```", (), 0.15),
        ("Models", "### How to reproduce\nstart it", (), 0.15),
        ("Models", "### Is there an existing issue for this?\nyes", (), 0.15),
        ("Feature request: dark theme", "", (), 0.95),
        ("Dark theme", "It would be nice to have one", (), 0.5),
        ("Dark theme", "Please add a setting for it", (), 0.5),
        ("Dark theme", "I restarted. The command failed.", (), 0.15),
        ("RFC: a new parser", "", (), 1.0),
        ("Parser", "We propose another one", (), 0.6),
        ("Parser", "Looking for your thoughts", (), 0.55),
        ("Parser", "", ("question",), 0.65),
        ("Parser", "", ("Type: Feature Request",), 0.65),
        ("Parser", "", ("bug", "area/parser"), 0.15),
        ("Parser", "", ("discussion", "should-be-discussion"), 0.15),
        ("Parser", "community roadmap", (), 0.35),
        ("Parser", "community roadmap strategy philosophy methodology", (), 0.45),
        ("It crashes", "", (), 0.0),
        ("It stops", "```\nTraceback (most recent call last):\n```", (), 0.0),
        ("[Idea] tabs", "", (), 0.6),
        ("An idea for tabs", "", (), 0.35),
        ("", "", (), 0.15),
    ],
)
def test_verdict(title, body, labels, score):
    assert verdict(issue(title, body, labels=labels)).score == pytest.approx(score)


def test_a_closed_issue_counts_less():
    opened = issue("How do I configure models?")
    assert verdict(replace(opened, state="closed")).score == pytest.approx(verdict(opened).score - 0.15)


@pytest.mark.parametrize(
    ("labels", "state", "confidence", "label"),
    [
        (("idea", "x"), "open", "medium", "discussion"),
        ((), "open", "low", None),
        (("idea",), "closed", "medium", "discussion"),
    ],
)
def test_the_confidence_names_the_label(labels, state, confidence, label):
    found = verdict(issue("Parser", labels=labels, state=state))
    assert (found.confidence, found.label) == (confidence, label)
    assert verdict(issue("RFC: parser")).label == LABELS["high"] == "should-be-discussion"


def test_reasons_are_told_in_our_own_words():
    found = verdict(issue("How about <script>?", "@everyone crash", labels=("<b>", "Q: Question")))
    assert found.reasons == (
        "It asks a question",
        "Its label is 'question'",
        "It may report a bug: something crashes",
    )


def test_hostile_texts_are_judged():
    for text in (*FRAGMENTS, *LONG, "\n".join(FRAGMENTS)):
        found = verdict(issue(text, text, labels=(text[:100],)))
        assert 0 <= found.score <= 1


@pytest.mark.parametrize(
    "text",
    [
        "i want " * 9_000, "please add a " * 5_000, "[" * 60_000, "looking for " * 5_000, " " * 60_000, "how to " * 9_000, "feature(" * 8_000,
        "a/" * 30_000, "\n" * 60_000, "would be " * 7_000, "can we " * 9_000,
    ],
    ids=lambda text: text[:8].strip() or repr(text[0]),
)  # fmt: skip
def test_long_texts_are_judged_in_linear_time(text):
    start = time.process_time()
    verdict(issue(text, text, labels=(text[:100],)))
    assert time.process_time() - start < allowed(1.0)


def test_suggestions_have_the_shape_that_clients_read():
    issues = [
        issue("How do I configure models?", number=4, labels=("ui",)),
        issue("RFC: a new parser", number=5),
        issue("RFC: a pull request", number=6, is_pull_request=True),
        issue("Broken", number=7),
        issue("RFC: an older one", number=3),
    ]
    found = suggestions(issues, 0.5, lambda item: f"https://x/{item.number}")
    assert found[0] == {
        "number": 4, "title": "How do I configure models?", "url": "https://x/4", "score": 0.55, "confidence": "medium",
        "reasons": ["It asks a question"], "state": "open", "labels": ["ui"], "created_at": "2025-03-04T05:06:07Z",
    }  # fmt: skip
    assert [item["number"] for item in found] == [4, 5, 3]
    assert [item["number"] for item in best(found, 2)] == [3, 5]
    assert len(suggestions(issues, 0.0, str)) == 4
