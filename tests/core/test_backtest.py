import json
import math

import pytest

from bot.core.backtest import Asked, backtest, point, upper_bound

RIGHT, WRONG = frozenset({1}), frozenset({2})


def past(*rows):
    """Issues from (score, originals); each names issue 1."""
    return [Asked(10 + n, ((1, score),), originals) for n, (score, originals) in enumerate(rows)]


def run(rows, budget=0.1, target=0.3):
    return backtest(past(*rows), budget=budget, precision_target=target, lowest=3.0)


NOISE = [(n / 100, frozenset()) for n in range(400)]


def test_a_point_counts():
    found = point(past((9, RIGHT), (8, WRONG), (7, frozenset()), (1, RIGHT)), 5)
    assert (found.comments, found.right, found.comments_per_100) == (3, 1, 75.0)
    assert (found.precision, found.recall) == (pytest.approx(1 / 3), pytest.approx(1 / 3))


def test_nothing_is_divided_by_nothing():
    assert point([], 5).precision is None
    assert point(past((1, frozenset())), 5).recall is None
    assert run([]).verdict == "comment"


def test_without_marks_the_budget_decides():
    report = run(NOISE)
    assert report.verdict == "comment"
    assert "too few" in report.reason
    assert sum(score >= report.threshold for score, _ in NOISE) <= 40


def test_a_good_past_speaks():
    report = run(NOISE + [(10 + n / 10, RIGHT) for n in range(30)])
    assert (report.verdict, report.marked) == ("comment", 30)
    assert report.points[0].precision == 1.0


def test_a_bad_past_stays_silent():
    report = run(NOISE + [(10 + n / 10, frozenset()) for n in range(40)] + [(1.0, RIGHT)] * 30)
    assert report.verdict == "shadow"
    assert "only 0 of" in report.reason


def test_a_stricter_threshold_may_reach_the_target():
    rows = (
        NOISE
        + [(20 + n, RIGHT) for n in range(12)]
        + [(10 + n / 10, frozenset()) for n in range(60)]
        + [(1.0, RIGHT)] * 10
    )
    report = run(rows, budget=0.15, target=0.6)
    assert report.verdict == "comment"
    assert "stricter" in report.reason
    assert report.threshold > 10


def test_the_lowest_score_holds():
    assert run([(n / 1000, frozenset()) for n in range(400)]).threshold == 3.0


def test_examples_are_the_latest():
    report = run(NOISE + [(10 + n / 10, RIGHT) for n in range(30)])
    numbers = [item.number for item in report.examples]
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) == 10
    assert all(item.right and item.marked for item in report.examples)


def test_a_report_is_json():
    report = backtest(
        past(*[(-math.inf, frozenset())] * 5), budget=0.1, precision_target=0.3, lowest=math.inf
    )
    assert json.loads(json.dumps(report.as_json(), allow_nan=False))["threshold"] is None


@pytest.mark.parametrize(
    ("right", "comments", "expected"), [(0, 0, 1.0), (0, 10, 0.2775), (5, 10, 0.7634), (10, 10, 1.0)]
)
def test_upper_bound(right, comments, expected):
    assert upper_bound(right, comments) == pytest.approx(expected, abs=1e-3)
