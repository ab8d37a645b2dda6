"""One query at 10,000 vectors through our store, against exact cosines in numpy on one thread and the same vectors.

It runs in a process of its own, because the number of numpy's threads is set before numpy is imported.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime

import numpy as np

from bench.measure import Result, folder, median, quantile
from bot.core.records import Repository, RepositoryState
from storage.chroma import CollectionsSettings
from storage.collections import open_collections

MOST = 3.0
"""How many times numpy's time a query may take."""

TOP = 50


def a_repository() -> Repository:
    """Whose collection is asked."""
    return Repository(
        id=7, account_id=1, installation_id=2, owner="octo", name="hello", private=False, collection="repo_1_octo_hello_7",
        state=RepositoryState.ACTIVE, reason=None, indexed_at=datetime.now(UTC), issues_total=None, issues_indexed=0,
        revision=0, threshold=None, threshold_model=None, config_notice=None,
    )  # fmt: skip


def like_texts(count: int, seed: int) -> np.ndarray:
    """Unit vectors that fill 384 dimensions unevenly, as those of one tracker's texts do."""
    scale = np.exp(-np.arange(384) / 60)
    base = np.random.default_rng(1).normal(size=(384, 384))
    vectors = (np.random.default_rng(seed).normal(size=(count, 384)) * scale) @ base
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def exact(vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    """The nearest rows, best first."""
    scores = vectors @ query
    best = np.argpartition(-scores, TOP)[:TOP]
    return best[np.argsort(-scores[best])]


async def compare(count: int, queries: int) -> dict[str, float]:
    """Both in turns for each query."""
    vectors, asked = like_texts(count, seed=7), like_texts(queries, seed=8)
    repository, ours, numpys, found = a_repository(), [], [], 0
    with folder() as data:
        store = await asyncio.to_thread(open_collections, CollectionsSettings(data, None, None, None, None))
        try:
            await store.reset(repository, "m")
            await store.upsert(repository, "m", [(n, vector, n) for n, vector in enumerate(vectors, 1)])
            await store.query(repository, "m", asked[0], TOP)
            for query in asked:
                started = time.perf_counter()
                answer = await store.query(repository, "m", query, TOP)
                middle = time.perf_counter()
                best = exact(vectors, query)
                numpys.append(time.perf_counter() - middle)
                ours.append(middle - started)
                found += len({number - 1 for number, _ in answer} & set(best.tolist()))
        finally:
            await asyncio.to_thread(store.close)
    return {
        "ours_ms": 1000 * median(ours),
        "ours_p99_ms": 1000 * quantile(ours, 0.99),
        "numpy_ms": 1000 * median(numpys),
        "recall": found / (TOP * queries),
    }


async def run(*, quick: bool) -> Result:
    """The ratio of the medians, and how much of the exact answer was found."""
    count, queries = (500, 20) if quick else (10_000, 400)
    one_thread = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.vector_query", str(count), str(queries),
        env={**os.environ, **one_thread}, stdout=subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    found = json.loads(out)
    ratio = found["ours_ms"] / found["numpy_ms"]
    says = (
        f"{count:,} vectors: {found['ours_ms']:.2f} ms (p99 {found['ours_p99_ms']:.2f}), numpy {found['numpy_ms']:.2f} ms: "
        f"{ratio:.1f} times; recall@{TOP} {found['recall']:.3f}"
    )
    return Result("vector-query", says, ratio, f"at most {MOST} times numpy", ratio <= MOST, found)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(compare(int(sys.argv[1]), int(sys.argv[2])))))
