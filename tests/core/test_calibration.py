import math

import pytest

from bot.core.calibration import MOST, probability, word


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
