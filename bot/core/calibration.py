"""How probable it is that a named candidate reports the same problem, and the word for it.

A score means something else in each repository; its distance from the score that one issue in ten of the repository's past
reaches hardly does. The curve was fitted to the best candidate of each query of three trackers, weighted to ten duplicates in
a hundred issues, and holds on the tracker that was left out (docs/experiments.md). Labels miss duplicates that nobody marked, so
it is rather too low.
"""

import math

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


def word(chance: float) -> str:
    """The chance as people are told it: "likely" where it is rather so than not, else "possible"."""
    return "likely" if chance >= LIKELY else "possible"
