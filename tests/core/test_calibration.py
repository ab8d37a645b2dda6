import math

import pytest

from bot.core.backtest import Asked, backtest
from bot.core.calibration import MOST, Calibration, calibration_of, probability, with_chances, word
from bot.core.records import Candidate, Features, Ranking


@pytest.mark.parametrize(
    ("score", "chance"), [(5.0, 0.12), (8.0, 0.29), (11.0, 0.55), (30.0, MOST), (-90.0, 0.0)]
)
def test_the_curve(score, chance):
    assert probability(score, 5.0) == pytest.approx(chance, abs=0.01)


@pytest.mark.parametrize(
    ("score", "threshold"),
    [(math.nan, 5.0), (-math.inf, 5.0), (5.0, math.inf), (5.0, math.nan), (5.0, -math.inf)],
)
def test_what_is_no_number_has_no_chance(score, threshold):
    assert probability(score, threshold) == 0.0


def test_a_stricter_budget_means_a_better_candidate_at_its_threshold():
    chances = [probability(5.0, 5.0, budget) for budget in (0.01, 0.05, 0.1, 0.2, 1.0)]
    assert chances == sorted(chances, reverse=True)
    assert chances[0] > chances[-1]


def test_only_the_distance_counts():
    assert probability(6.5, 5.0) == pytest.approx(probability(1.5, 0.0))


@pytest.mark.parametrize(("chance", "expected"), [(0.49, "possible"), (0.5, "likely"), (0.0, "possible")])
def test_words(chance, expected):
    assert word(chance) == expected


TOPS = [float(n) for n in range(1, 1_001)]


def report(tops=TOPS, *, budget=0.1, lowest=-99.0, originals=frozenset(), target=0.2):
    past = [Asked(n, ((n - 1, top),), originals) for n, top in enumerate(tops, 1)]
    return backtest(past, budget=budget, precision_target=target, lowest=lowest).as_json()


@pytest.mark.parametrize("budget", [0.01, 0.1, 0.12, 0.5])
def test_a_score_means_the_same_whatever_the_budget(budget):
    assert calibration_of(report(budget=budget)) == Calibration(pytest.approx(900.0), 0.1)


def test_a_stricter_threshold_changes_nothing():
    """The back-test may choose one; the share that reaches a score is still what it was."""
    past = [Asked(n, ((n - 1, float(n)),), frozenset({n - 1}) if n > 950 else frozenset({5_000})) for n in range(1, 1_001)]  # fmt: skip
    judged = backtest(past, budget=0.2, precision_target=0.9, lowest=-99.0)
    assert judged.threshold > 900.0
    assert calibration_of(judged.as_json()) == Calibration(pytest.approx(900.0), 0.1)


@pytest.mark.parametrize(
    ("lowest", "expected"),
    [(989.5, Calibration(989.5, 0.011)), (2_000.0, Calibration(2_000.0, 0.001))],
    ids=["fewer reach it", "none reaches it: at most one in a thousand"],
)
def test_the_lowest_threshold_comes_with_the_share_that_reaches_it(lowest, expected):
    assert calibration_of(report(lowest=lowest)) == expected


@pytest.mark.parametrize(
    "told",
    [{}, {"asked": 0, "points": []}, {"asked": None, "points": None}, {"asked": 9, "points": [{"threshold": None, "comments": 1}]}, report([])],
    ids=["nothing", "no history", "nulls", "no threshold", "nothing asked"],
)  # fmt: skip
def test_without_a_past_nothing_is_calibrated(told):
    assert calibration_of(told) is None


FULL = Features(0.5, 0.6, 0.7, 3.0, 10.0, same_author=False, whitened_title=0.3, whitened_text=0.4)
COLD = Features(0.5, 0.6, 0.7, 3.0, 10.0, same_author=False)
LEXICAL = Features(0.0, 0.0, 0.7, 3.0, 10.0, same_author=False, whitened_title=0.3, whitened_text=0.4)


def chances(ranking, model="m", told=None):
    return [item.chance for item in with_chances(ranking, model, told or report()).candidates]


def ranking(*features, model="m", degraded=None):
    found = tuple(Candidate(n, 901.0, item, None) for n, item in enumerate(features, 1))
    return Ranking(found, 99, model, degraded)


def test_each_candidate_is_told_its_chance():
    (chance,) = chances(ranking(FULL))
    assert chance == pytest.approx(probability(901.0, 900.0, 0.1))
    assert with_chances(ranking(FULL), "m", report()).candidates[0].evidence()["chance"] == chance


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (ranking(FULL, degraded="Chroma unavailable"), None),
        (ranking(FULL, model="m-lexical"), None),
        (ranking(FULL, model="older"), None),
        (ranking(COLD), None),
        (ranking(LEXICAL), None),
        (ranking(FULL), {"asked": 0}),
    ],
    ids=["degraded", "words alone", "another model", "small history", "a pair without vectors", "no past"],
)
def test_no_chance_is_claimed_where_nothing_says_what_a_score_means(given, told):
    assert chances(given, told=told) == [None]
