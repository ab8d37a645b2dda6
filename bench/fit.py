"""Fits the weights of `bot/core/scoring.py` to labelled trackers, and says how they do on the one that was left out.

    python -m bench.fit DIR --model DIRECTORY [--cache FILE]

DIR is laid out as docs/retrieval.md says. The cache keeps vectors between runs, by the hash of their text.
"""

import argparse
import asyncio
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bot.core.decision import budget_threshold
from bot.core.scoring import COLD, LEXICAL, WHITENED, values_of
from bot.similarity.embedder import Embedder
from bot.similarity.evaluate import Stream, embedded, read
from bot.similarity.evaluate import auc as auc_of

MODELS = {"WHITENED": WHITENED, "COLD": COLD, "LEXICAL": LEXICAL}
SHIFT = {"WHITENED": 6.0, "COLD": 5.0, "LEXICAL": 5.0}
"""Added to each bias, so that the careful thresholds of `bot/core/decision.py` give one or two comments in a hundred issues."""

LISTWISE = 3.0
"""What the order within a query's candidates counts, against how far candidates of all queries are told apart."""

RIDGE = 1.0
MOST_STEPS = 40

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pools:
    """The candidates of all queries of a tracker, in order of their queries."""

    values: Mapping[str, Floats]  # by feature
    right: npt.NDArray[np.bool_]
    query: npt.NDArray[np.intp]
    duplicate: npt.NDArray[np.bool_]  # by query

    def table(self, names: Sequence[str]) -> Floats:
        """One row a candidate, one column a feature."""
        return np.column_stack([self.values[name] for name in names])


class Cache:
    """An embedder that remembers."""

    def __init__(self, embedder: Embedder, path: Path | None) -> None:
        self._embedder, self._path = embedder, path
        self._known: dict[str, npt.NDArray[np.float32]] = {}
        if path is not None and path.exists():
            with np.load(path) as kept:
                self._known = dict(zip(kept["keys"].tolist(), kept["vectors"], strict=True))

    @property
    def model(self) -> str:
        """The model's name."""
        return self._embedder.model

    async def embed(self, texts: Sequence[str], *, urgent: bool = False) -> npt.NDArray[np.float32]:
        """Vectors of these texts, one a row."""
        keys = [hashlib.sha256(text.encode()).hexdigest()[:24] for text in texts]
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._known}
        if new:
            vectors = await self._embedder.embed(list(new.values()), urgent=urgent)
            self._known.update(zip(new, vectors, strict=True))
        return np.stack([self._known[key] for key in keys])

    def save(self) -> None:
        """Keep what is known."""
        if self._path is not None:
            np.savez(self._path, keys=list(self._known), vectors=np.stack(list(self._known.values())))


async def pools_of(folder: Path, embedder: Any) -> Pools:
    """Stream a tracker through the code that serves production, and keep every candidate."""
    raw, queries, issues = read(folder)
    stream, duplicate = Stream(), list[bool]()
    rows, right, query = list[dict[str, float]](), list[bool](), list[int]()
    async for issue, entry in embedded(issues, embedder, stream.history):
        wanted = queries.get(raw[issue.number - 1]["id"])
        if wanted is not None:
            stream.history.refit()
            for item in stream.history.search(entry, limit=1_000):
                rows.append(values_of(item.features))
                right.append(raw[item.number - 1]["id"] in wanted["relevant"])
                query.append(len(duplicate))
            duplicate.append(wanted["duplicate"])
        stream.add(issue, entry)
    values = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return Pools(values, np.array(right), np.array(query), np.array(duplicate))


def fitted(pools: Sequence[Pools], names: Sequence[str]) -> tuple[float, Floats]:
    """Bias and weights: a logistic loss over all candidates, and a softmax over those of each query that has a right one."""
    table = np.concatenate([item.table(names) for item in pools])
    right = np.concatenate([item.right for item in pools]).astype(np.float64)
    starts = np.cumsum([0, *(len(item.duplicate) for item in pools)])
    query = np.concatenate([item.query + start for item, start in zip(pools, starts, strict=False)])
    mean, spread = table.mean(axis=0), table.std(axis=0) + 1e-9
    weights = newton((table - mean) / spread, right, query)
    slopes = weights[1:] / spread
    return float(weights[0] - slopes @ mean), slopes


def newton(table: Floats, right: Floats, query: npt.NDArray[np.intp]) -> Floats:
    """Weights, the bias first, that minimise the loss of `fitted`; queries stand together."""
    ones = np.column_stack([np.ones(len(table)), table])
    first = np.flatnonzero(np.r_[True, query[1:] != query[:-1]])
    group = np.cumsum(np.r_[False, query[1:] != query[:-1]])
    listed = LISTWISE * (np.add.reduceat(right, first) > 0)
    ridge = RIDGE * np.diag([0.0, *np.ones(table.shape[1])])
    weights = np.zeros(ones.shape[1])
    for _ in range(MOST_STEPS):
        scores = ones @ weights
        chance = 1 / (1 + np.exp(-np.clip(scores, -30, 30)))
        powers = np.exp(scores - np.maximum.reduceat(scores, first)[group])
        share = powers / np.add.reduceat(powers, first)[group]
        right_share = powers * right / np.maximum(np.add.reduceat(powers * right, first), 1e-12)[group]
        centre = np.add.reduceat(ones * share[:, None], first)
        slope = ones.T @ (chance - right + listed[group] * (share - right_share)) + ridge @ weights
        curve = (ones * (chance * (1 - chance) + listed[group] * share)[:, None]).T @ ones + ridge
        step = np.linalg.solve(curve - (centre * listed[:, None]).T @ centre, slope)
        weights = weights - step * min(1.0, 5 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-6:
            break
    return weights


def judged(pools: Pools, scores: Floats) -> dict[str, float]:
    """Recall of the ranking, and the decision at 10 % false alarms."""
    best, rank = np.full(len(pools.duplicate), -math.inf), np.full(len(pools.duplicate), math.inf)
    for number in range(len(pools.duplicate)):
        rows = np.flatnonzero(pools.query == number)
        if len(rows):
            order = rows[np.argsort(-scores[rows], kind="stable")]
            best[number] = scores[order[0]]
            rank[number] = next((at for at, row in enumerate(order) if pools.right[row]), math.inf)
    duplicate = pools.duplicate
    threshold = budget_threshold(best[~duplicate].tolist(), 0.1)
    return {
        **{f"R@{depth}": float((rank[duplicate] < depth).mean()) for depth in (1, 5, 10)},
        "hit@10%": float(((best >= threshold) & (rank < 3))[duplicate].mean()),
        "AUC": auc_of(best[duplicate].tolist(), best[~duplicate].tolist()) or 0.0,
    }


def report(pools: Mapping[str, Pools], model: str) -> None:
    """Print how a model does on each tracker when fitted to the others, and its weights when fitted to all."""
    names = list(MODELS[model].by_feature)
    found = []
    for project in pools:
        bias, weights = fitted([item for name, item in pools.items() if name != project], names)
        found.append(judged(pools[project], pools[project].table(names) @ weights + bias))
        print(f"{model} {project:12}", *(f"{name} {value:.3f}" for name, value in found[-1].items()))
    print(
        f"{model} {'macro':12}",
        *(f"{name} {np.mean([item[name] for item in found]):.3f}" for name in found[0]),
    )
    bias, weights = fitted(list(pools.values()), names)
    shown = {name: round(float(weight), 4) for name, weight in zip(names, weights, strict=True)}
    print(f"{model} = Weights({bias + SHIFT[model]:.4f}, {shown})", flush=True)


async def collect(folders: Sequence[Path], embedder: Any) -> dict[str, Pools]:
    """The pools of these trackers by name."""
    return {folder.name: await pools_of(folder, embedder) for folder in folders}


def main() -> None:
    """Fit all three models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--model", type=Path, required=True, help="where `deja-view model` put the model")
    parser.add_argument("--cache", type=Path, help="a .npz file that keeps vectors between runs")
    chosen = parser.parse_args()
    embedder = Embedder.load(chosen.model)
    try:
        cache = Cache(embedder, chosen.cache)
        folders = sorted(path.parent for path in chosen.directory.glob("*/queries.jsonl"))
        pools = asyncio.run(collect(folders, cache))
        cache.save()
    finally:
        embedder.close()
    for model in MODELS:
        report(pools, model)


if __name__ == "__main__":
    main()
