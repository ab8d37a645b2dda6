import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bot.core.decision import (
    COLD_THRESHOLD,
    DEGRADED_MARGIN,
    WHITENED_THRESHOLD,
    Question,
    budget_threshold,
    decide,
)
from bot.core.records import Candidate, Features, Issue, Ranking
from bot.core.repo_config import Config

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def issue(number=100, **changes):
    values = {
        "repository_id": 1, "number": number, "github_id": number, "title": "Crash when opening settings", "body": "It crashes at once.",
        "state": "open", "state_reason": None, "author": "ann", "author_id": 7, "author_is_bot": False, "labels": (),
        "is_pull_request": False, "locked": False, "reactions": 0, "created_at": NOW + timedelta(days=number), "updated_at": NOW,
    }  # fmt: skip
    return Issue(**(values | changes))


def candidate(number, score, *, whitened=0.5):
    return Candidate(
        number, score, Features(0.5, 0.5, 0.5, 1.0, 1.0, False, whitened, whitened), issue(number)
    )


def question(*scores, threshold=5.0, refused=(), mode="comment", degraded=None, asked=None, whitened=0.5):
    """Candidates #1, #2, … with these scores."""
    found = tuple(candidate(number, score, whitened=whitened) for number, score in enumerate(scores, 1))
    ranking = Ranking(found, 99, "m", degraded)
    return Question(asked or issue(), "owner/repo", ranking, threshold, frozenset(refused), Config(mode=mode))


def numbers(candidates):
    return [item.number for item in candidates]


@pytest.mark.parametrize(
    ("asked", "likely", "also"),
    [
        (question(6.0), [1], []),
        (question(5.0), [1], []),
        (question(6.0, 4.0, 3.0, 2.0), [1], [2, 3]),
        (question(6.0, 4.0, 0.5), [1], [2]),
        (question(9.0, 8.0, 7.0, 6.0, 5.5, 4.9), [1, 2, 3], [4, 5]),
        (question(*[9.0] * 12), [1, 2, 3], [4, 5, 6, 7, 8]),
        (question(math.nan, 6.0), [2], []),
        (question(6.0, 7.0), [2, 1], []),
        (question(9.0, 6.0, refused=[1]), [2], []),
        (question(9.0, 6.0, asked=issue(body="Not the same as #1, I think.")), [2], []),
        (question(9.0, 6.0, asked=issue(body="See https://github.com/owner/repo/issues/1 first.")), [2], []),
        (question(9.0, 6.0, asked=issue(number=2)), [1], []),
    ],
)
def test_what_is_shown(asked, likely, also):
    decision = decide(asked)
    assert decision.speak
    assert (numbers(decision.likely), numbers(decision.also)) == (likely, also)


def test_a_series_is_not_named_to_its_own_author():
    asked = question(9.0, 8.0, asked=issue(title="Port chapter 9 to the new format"))
    found = asked.ranking.candidates
    series = replace(found[0], issue=issue(1, title="Port chapter 8 to the new format"))
    decision = decide(replace(asked, ranking=replace(asked.ranking, candidates=(series, found[1]))))
    assert numbers(decision.likely) == [2]


def test_a_bot_s_issue_may_be_named_to_a_person_but_not_to_a_bot():
    asked = question(9.0)
    bot = replace(asked.ranking.candidates[0], issue=issue(1, author_is_bot=True))
    asked = replace(asked, ranking=replace(asked.ranking, candidates=(bot,)))
    assert decide(asked).speak
    assert not decide(replace(asked, issue=issue(author_is_bot=True))).speak


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (question(4.9), "below 5.0"),
        (question(), "shares anything"),
        (question(9.0, refused=[1]), "left to name"),
        (question(9.0, refused=[None]), "no duplicate"),
        (question(9.0, mode="off"), "switched off"),
        (question(9.0, asked=issue(author_is_bot=True)), "bot"),
        (question(9.0, asked=issue(is_pull_request=True)), "pull requests"),
        (question(9.0, asked=issue(title="Bug")), "placeholder"),
        (question(9.0, asked=issue(title="🦄🦄🦄", body="")), "few letters"),
        (question(math.nan), "below"),
        (question(-math.inf), "below"),
        (question(5.9, degraded="Chroma unavailable"), "below 6.0"),
        (question(7.9, threshold=None), "below 8.0"),
        (question(6.9, threshold=None, whitened=None), "below 7.0"),
        (question(7.9, threshold=math.nan), "below 8.0"),
    ],
)
def test_silence_has_its_reason(asked, reason):
    decision = decide(asked)
    assert not decision.speak
    assert reason in decision.reason


def test_shadow_mode_keeps_what_it_would_have_said():
    decision = decide(question(9.0, 4.0, mode="shadow"))
    assert not decision.speak
    assert (numbers(decision.likely), numbers(decision.also)) == ([1], [2])


@pytest.mark.parametrize(
    ("asked", "threshold"),
    [
        (question(9.0), 5.0),
        (question(9.0, threshold=None), WHITENED_THRESHOLD),
        (question(9.0, threshold=None, whitened=None), COLD_THRESHOLD),
        (question(9.0, degraded="x"), 5.0 + DEGRADED_MARGIN),
        (question(), 5.0),
    ],
)
def test_threshold(asked, threshold):
    assert decide(asked).threshold == threshold


@pytest.mark.parametrize(
    ("scores", "budget", "above"),
    [
        (range(100), 0.1, 10),
        (range(100), 0.05, 5),
        (range(9), 0.1, 0),
        ([5.0] * 100, 0.1, 0),
        ([5.0] * 50 + [6.0] * 5 + [7.0] * 5, 0.1, 5),
        ([-math.inf] * 100, 0.1, 0),
        ([math.nan] * 5 + [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 9.5], 0.1, 1),
        ([1.0, 2.0], 1.0, 2),
        ([], 0.1, 0),
    ],
)
def test_no_more_than_the_budget_lies_above_its_threshold(scores, budget, above):
    threshold = budget_threshold(list(scores), budget)
    assert not math.isnan(threshold)
    assert sum(score >= threshold for score in scores) == above
