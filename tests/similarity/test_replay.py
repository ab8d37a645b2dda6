import numpy as np
import pytest

from bot.core.decision import COLD_THRESHOLD, WHITENED_THRESHOLD
from bot.core.lexical import bag_of
from bot.core.text import clean
from bot.similarity.history import Entry, History
from bot.similarity.replay import LATEST, LOWEST, Replay


def unit(seed):
    vector = np.random.default_rng(seed).normal(size=384).astype(np.float32)
    return vector / np.linalg.norm(vector)


def entries(count, *, repeated=(), asks=True):
    """Unlike issues, except that each number in `repeated` copies the one before it."""
    history, found = History(), []
    for number in range(1, count + 1):
        seed = number - 1 if number in repeated else number
        title, body = f"Problem word{seed} thing{seed}", f"detail{seed} other{seed} and the same tail"
        terms = history.lexical.learn(bag_of(title, clean(title, body)))
        found.append(
            Entry(number, float(number * 86_400), 0, asks, b"", terms, unit(seed), unit(seed + 100_000))
        )
    return found


def replayed(issues):
    replay = Replay(len(issues))
    replay.feed(issues)
    return replay


@pytest.mark.parametrize(
    ("count", "threshold"), [(0, COLD_THRESHOLD), (50, COLD_THRESHOLD), (150, WHITENED_THRESHOLD)]
)
def test_a_short_past_gives_the_careful_threshold(count, threshold):
    assert replayed(entries(count)).threshold(0.1) == threshold


def test_the_budget_is_the_share_that_would_have_been_spoken_about():
    repeated = range(210, 400, 10)
    replay = replayed(entries(400, repeated=repeated))
    assert len(replay.top_scores) == 300
    for budget in (0.01, 0.05):
        threshold = replay.threshold(budget)
        spoken = sum(score >= threshold for score in replay.top_scores)
        assert spoken <= budget * 300 < spoken + 2


def test_an_issue_is_never_compared_with_later_ones():
    alone = replayed(entries(300, repeated=[300])).top_scores[-1]
    followed = replayed(entries(320, repeated=[300, 301, 302])).top_scores[199]
    assert alone == pytest.approx(followed)


def test_nothing_is_repeated_so_little_is_worth_a_comment():
    assert replayed(entries(300)).threshold(0.9) == LOWEST


def test_issues_that_get_no_suggestion_do_not_use_up_the_budget():
    assert replayed(entries(250, asks=False)).top_scores == []


def test_only_the_latest_are_asked():
    assert len(replayed(entries(LATEST + 150)).top_scores) == LATEST


def test_feeding_in_parts_changes_nothing():
    issues = entries(260, repeated=[240])
    parts = Replay(len(issues))
    for start in range(0, 260, 7):
        parts.feed(issues[start : start + 7])
    assert parts.top_scores == replayed(issues).top_scores
