"""The score of one candidate: a linear model over what it shares with the new issue.

`bench/fit.py` fits the weights to three public trackers (docs/experiments.md). z is a logit there, plus a constant; but
its scale moves between repositories, which is why the threshold is found on each repository's own past.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from bot.core.records import Features

SCORER = "linear-5"
"""Names the features, weights and text cleaning below; a threshold belongs to one scorer. Change it with any of them."""

POOL = 50
"""Candidates that each leg contributes."""

COVER = 10.0
"""What a candidate that the query covers whole counts, in standard deviations of `bm25_z` (docs/experiments.md)."""

WHITENING_FROM = 100
REFIT_EVERY = 500
"""Issues of history from which whitening pays, and how often it is fitted anew."""

EPOCHS = 4
BATCH = 512
SMALLEST_BATCH = 32
RATE = 2e-3
TEMPERATURE = 0.07
CONTRASTED = 2_000
"""How the map of `Whitening` is trained, and on how many issues at most: half a second of work, whatever the repository."""

Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Weights:
    """A linear model by feature name; a feature without a weight does not count."""

    bias: float
    by_feature: Mapping[str, float]


COLD = Weights(
    -3.8296,
    {
        "cos_title": 1.9604,
        "cos_text": 6.0052,
        "bm25_title_self": 1.273,
        "bm25_z": 0.3106,
        "log_age": -0.5776,
        "same_author": -2.0343,
    },
)
"""For a history too short to whiten."""

WHITENED = Weights(
    -1.0961,
    {
        "cos_title": -0.4033,
        "cos_text": 1.7459,
        "whitened_title": 2.4493,
        "whitened_text": 4.9169,
        "bm25_title_self": 0.1442,
        "bm25_z": 0.2192,
        "log_age": -0.56,
        "same_author": -2.2268,
        "rare_tokens": 0.3655,
    },
)
"""The full model."""


LEXICAL = Weights(
    -0.4742,
    {
        "bm25_title_self": 3.5413,
        "bm25_z": 0.3212,
        "log_age": -0.5408,
        "same_author": -1.9753,
        "rare_tokens": 0.3425,
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


def lexical_strength(
    scores: npt.NDArray[np.float64], ranked: npt.NDArray[np.float64], covered: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """`Features.bm25_z`: how far scores stand out, and `COVER` times the root of the share of the candidate that they cover.

    The share keeps long candidates down, which hold a few words of every query. Together they are one part of the sum,
    since both say how much of the text is shared; their ratio hardly differed between trackers.
    """
    strength: npt.NDArray[np.float64] = bm25_z(scores, ranked) + COVER * np.sqrt(covered)
    return strength


@dataclass(frozen=True, slots=True)
class Whitening:
    """What makes whitened vectors, `unit((x - mean) @ map)`: it shrinks the directions in which an issue's title and its text differ.

    An issue's title and text say the same thing in other words, so their difference is an unlabelled within-class
    covariance (within-class covariance normalisation, Hatch et al. 2006): what varies there does not tell problems apart.
    From there the map is trained further until each text is nearer to its own title than to the others (`contrasted`).
    """

    title_mean: Matrix  # (d,)
    text_mean: Matrix  # (d,)
    map: Matrix  # (d, d)

    @classmethod
    def fit(cls, titles: Matrix, texts: Matrix) -> Self:
        """Fit to unit vectors of titles and texts, (n, d) each, of the same issues in the same order."""
        means = titles.mean(axis=0), texts.mean(axis=0)
        difference = titles - texts
        difference -= difference.mean(axis=0)
        spread, axes = np.linalg.eigh(difference.T @ difference / len(difference))
        floor = max(float(spread.mean()), 1e-12)
        shrink = (np.maximum(spread, 0) / floor + 1) ** -0.5
        chosen = np.linspace(0, len(titles) - 1, min(len(titles), CONTRASTED)).astype(np.intp)
        pairs = titles[chosen] - means[0], texts[chosen] - means[1]
        return cls(*means, contrasted((axes * shrink).astype(np.float32), *pairs))


def contrasted(start: Matrix, titles: Matrix, texts: Matrix) -> Matrix:
    """The map trained by Adam (Kingma and Ba 2015) to pick each text's own title among a batch, and each title's text.

    That is the InfoNCE loss (van den Oord et al. 2018) in both directions. The same input gives the same map.
    """
    order, step = np.random.default_rng(0), 0
    mapping = start / max(float(np.linalg.norm(start, axis=1).mean()), 1e-12)
    first, second = np.zeros_like(mapping), np.zeros_like(mapping)
    for _ in range(EPOCHS):
        shuffled = order.permutation(len(titles))
        for at in range(0, len(shuffled), BATCH):
            rows = shuffled[at : at + BATCH]
            if len(rows) < SMALLEST_BATCH:
                continue
            slope = info_nce_slope(mapping, titles[rows], texts[rows])
            step += 1
            first = 0.9 * first + 0.1 * slope
            second = 0.99 * second + 0.01 * slope**2
            size = RATE / (1 - 0.9**step)
            mapping = mapping - size * first / (np.sqrt(second / (1 - 0.99**step)) + 1e-8)
    return mapping.astype(np.float32)


def info_nce_slope(mapping: Matrix, titles: Matrix, texts: Matrix) -> Matrix:
    """How the loss of one batch changes with the map."""
    left, left_length = scaled(titles @ mapping)
    right, right_length = scaled(texts @ mapping)
    logits = left @ right.T / TEMPERATURE
    chosen = softmax(logits, 1) + softmax(logits, 0) - 2 * np.eye(len(logits), dtype=np.float32)
    slope = chosen / (2 * len(logits) * TEMPERATURE)
    to_left, to_right = slope @ right, slope.T @ left
    to_left = (to_left - left * (to_left * left).sum(axis=1, keepdims=True)) / left_length
    to_right = (to_right - right * (to_right * right).sum(axis=1, keepdims=True)) / right_length
    found: Matrix = titles.T @ to_left + texts.T @ to_right
    return found


def scaled(rows: Matrix) -> tuple[Matrix, Matrix]:
    """Rows of length 1, and how long they were."""
    lengths = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return rows / lengths, lengths


def softmax(logits: Matrix, axis: int) -> Matrix:
    """Shares that sum to 1 along an axis."""
    powers = np.exp(logits - logits.max(axis=axis, keepdims=True))
    shares: Matrix = powers / powers.sum(axis=axis, keepdims=True)
    return shares


def fit_size(issues: int) -> int:
    """On how many of the oldest issues the whitening of a history of that size is fitted; 0 below the least."""
    if issues < WHITENING_FROM:
        return 0
    step = WHITENING_FROM if issues < REFIT_EVERY else REFIT_EVERY
    return issues - issues % step
