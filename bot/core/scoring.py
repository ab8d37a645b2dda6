"""The score of one candidate: a linear model over what it shares with the new issue.

The weights were fitted by logistic regression on three public trackers (docs/retrieval.md); z is a logit there,
but its scale moves between repositories, which is why the threshold is found on each repository's own past.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from bot.core.records import Features

SCORER = "linear-3"
"""Names the features, weights and text cleaning below; a threshold belongs to one scorer. Change it with any of them."""

POOL = 50
"""Candidates that each leg contributes."""

WHITENING_FROM = 100
REFIT_EVERY = 500
"""Issues of history from which whitening pays, and how often it is fitted anew."""

Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Weights:
    """A linear model by feature name; a feature without a weight does not count."""

    bias: float
    by_feature: Mapping[str, float]


COLD = Weights(
    -3.739,
    {
        "cos_title": 1.375,
        "cos_text": 7.948,
        "bm25_title_self": 2.624,
        "bm25_z": 0.563,
        "log_age": -0.503,
        "same_author": -0.604,
    },
)
"""For a history too short to whiten."""

WHITENED = Weights(
    -3.1911,
    {
        "cos_title": -0.2223,
        "cos_text": 4.5889,
        "whitened_title": 1.1091,
        "whitened_text": 5.2715,
        "bm25_title_self": 2.4182,
        "bm25_z": 0.3269,
        "log_age": -0.4574,
        "same_author": -0.7454,
        "rare_tokens": 0.4847,
    },
)
"""The full model."""


LEXICAL = Weights(
    -6.0,
    {
        "bm25_title_self": 4.0,
        "bm25_z": 0.5,
        "log_age": -0.45,
        "same_author": -0.6,
        "rare_tokens": 0.6,
    },
)
"""For a pair of which a vector is missing: the embedder is down, or has not come to one of the two yet."""


def score(features: Features) -> float:
    """The z of one candidate; minus infinity where any part is not a finite number, so that it never passes a threshold."""
    z = weights_for(features).bias + sum(parts(features).values())
    return z if math.isfinite(z) else -math.inf


def weights_for(features: Features) -> Weights:
    """The weights that fit what is known of a pair."""
    if features.cos_text == 0 and features.cos_title == 0:  # exact zeros come of missing vectors alone
        return LEXICAL
    return COLD if features.whitened_text is None else WHITENED


def parts(features: Features) -> dict[str, float]:
    """What each feature adds to z, by name; with the bias of `weights_for` they sum to the score."""
    values = values_of(features)
    return {name: weight * values[name] for name, weight in weights_for(features).by_feature.items()}


def values_of(features: Features) -> dict[str, float]:
    """The features as numbers, by the names the weights use."""
    return {
        "cos_title": features.cos_title,
        "cos_text": features.cos_text,
        "whitened_title": features.whitened_title or 0.0,
        "whitened_text": features.whitened_text or 0.0,
        "bm25_title_self": features.bm25_title_self,
        "bm25_z": features.bm25_z,
        "log_age": math.log1p(max(features.age_days, 0.0)),
        "same_author": float(features.same_author),
        "rare_tokens": features.rare_tokens,
    }


def bm25_z(scores: npt.NDArray[np.float64], ranked: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How far BM25 scores stand out from the query's ranks 2 to 51, in standard deviations, cut to [-5, 20].

    `ranked` are the query's best scores, best first. The deviation is at least 3 % of the best one, or flat lists
    would blow noise up.
    """
    crowd = ranked[1 : POOL + 1]
    if not len(crowd) or ranked[0] <= 0:
        return np.zeros_like(scores)
    spread = max(float(crowd.std()), 0.03 * float(ranked[0]))
    clipped: npt.NDArray[np.float64] = np.clip((scores - crowd.mean()) / spread, -5.0, 20.0)
    return clipped


@dataclass(frozen=True, slots=True)
class Whitening:
    """What makes whitened vectors, `unit((x - mean) @ map)`: it shrinks the directions in which an issue's title and its text differ.

    An issue's title and text say the same thing in other words, so their difference is an unlabelled within-class
    covariance (within-class covariance normalisation, Hatch et al. 2006): what varies there does not tell problems apart.
    """

    title_mean: Matrix  # (d,)
    text_mean: Matrix  # (d,)
    map: Matrix  # (d, d)

    @classmethod
    def fit(cls, titles: Matrix, texts: Matrix) -> Self:
        """Fit to unit vectors of titles and texts, (n, d) each, of the same issues in the same order."""
        difference = titles - texts
        difference -= difference.mean(axis=0)
        spread, axes = np.linalg.eigh(difference.T @ difference / len(difference))
        floor = max(float(spread.mean()), 1e-12)
        shrink = (np.maximum(spread, 0) / floor + 1) ** -0.5
        return cls(titles.mean(axis=0), texts.mean(axis=0), (axes * shrink).astype(np.float32))


def fit_size(issues: int) -> int:
    """On how many of the oldest issues the whitening of a history of that size is fitted; 0 below the least."""
    if issues < WHITENING_FROM:
        return 0
    step = WHITENING_FROM if issues < REFIT_EVERY else REFIT_EVERY
    return issues - issues % step
