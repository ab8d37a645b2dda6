"""How probable it is that a named candidate reports the same problem, and the word for it.

A score means something else in each repository; its distance from the score that one issue in ten of the repository's past
reaches hardly does. The curve was fitted to the best candidate of each query of three trackers, weighted to ten duplicates in
a hundred issues, and holds on the tracker that was left out (docs/experiments.md). Labels miss duplicates that nobody marked, so
it is rather too low.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from bot.core.records import Candidate, Ranking
from bot.core.scoring import WHITENED, weights_for

AT_TENTH = -1.96
BY_SCORE = 0.358
"""The logit at the score that one issue in ten reaches, and how much a point of score adds."""

TENTH = 0.1
TAIL = 1.7
"""Points of score by which the threshold rises while the share that reaches it falls to 1 in e; 1.2 to 2.7 on the trackers."""

MOST = 0.9
"""More than this the trackers have too few cases to tell."""

LIKELY = 0.5


def probability(score: float, threshold: float, budget: float = TENTH) -> float:
    """The chance, from 0 to `MOST`, that a candidate with this score is the same problem.

    `threshold` is the score that a share `budget` of the repository's past issues reach. A score or threshold that is not
    a finite number gives 0.
    """
    if not (math.isfinite(score) and math.isfinite(threshold)):
        return 0.0
    tenth = threshold - TAIL * math.log(TENTH / min(max(budget, 1e-3), 1.0))
    logit = AT_TENTH + BY_SCORE * (score - tenth)
    return min(MOST, 1 / (1 + math.exp(-min(max(logit, -30.0), 30.0))))


def word(chance: float) -> Literal["likely", "possible"]:
    """The chance as people are told it: "likely" where it is rather so than not, else "possible"."""
    return "likely" if chance >= LIKELY else "possible"


@dataclass(frozen=True, slots=True)
class Calibration:
    """A score of a repository's own past and the share of its issues that reached it."""

    threshold: float
    share: float

    def chance(self, score: float) -> float:
        """The chance that a candidate with this score is the same problem."""
        return probability(score, self.threshold, self.share)


def calibration_of(report: Mapping[str, Any]) -> Calibration | None:
    """What a stored back-test (`bot.core.backtest.Report.as_json`) says about scores; None where nothing was replayed.

    Of its curve the point is taken whose share is nearest to one in ten, which the curve above was fitted to: whatever the
    budget, and whether a stricter threshold was chosen, a score then means the same. A share of none counts as one issue,
    since that is all that so many issues can tell.
    """
    asked = report.get("asked") or 0
    points = [point for point in report.get("points") or () if point["threshold"] is not None]
    if not asked or not points:
        return None
    best = min(points, key=lambda point: abs(point["comments"] / asked - TENTH))
    return Calibration(best["threshold"], max(best["comments"], 1) / asked)


def with_chances(ranking: Ranking, model: str, report: Mapping[str, Any]) -> Ranking:
    """The candidates of a ranking with their chances, by the back-test of that model; as they are where it does not fit."""
    calibration = calibration_of(report) if ranking.model == model and ranking.degraded is None else None
    if calibration is None:
        return ranking

    def told(item: Candidate) -> Candidate:
        # Only scores of the full model were replayed: those of a pair without vectors are of another scale.
        full = weights_for(item.features) is WHITENED
        return replace(item, chance=calibration.chance(item.score)) if full else item

    return replace(ranking, candidates=tuple(map(told, ranking.candidates)))
