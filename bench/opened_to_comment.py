"""From an issue being opened to the comment under it, with 2,500 issues indexed: everything but GitHub's own time.

The sandbox, PostgreSQL, Chroma, the model and the service share this machine; writes are not paced.
"""

import random
import time

from bench.measure import Result, median, quantile, until
from bench.service import comment_on, service, world
from bench.texts import near_duplicate

MOST = 0.25
"""Seconds, at the median."""


async def run(*, quick: bool) -> Result:
    """Open near-duplicates one after the other; those on which it stays silent do not count."""
    size, opened = (60, 5) if quick else (2_500, 100)
    rng, took, silent = random.Random(7), [], 0
    async with world(size) as scene, service(scene):
        known = list(scene.repository.issues.values())
        for _ in range(opened):
            original = rng.choice(known)
            title, body = near_duplicate(original.title, original.body or "", rng)
            started = time.perf_counter()
            issue = scene.github.open_issue(scene.repository, "ann", title, body)
            try:
                await until(lambda issue=issue: comment_on(issue), 3.0, every=0.002)
                took.append(time.perf_counter() - started)
            except TimeoutError:
                silent += 1
    p50, p95 = median(took or [9.0]), quantile(took or [9.0], 0.95)
    says = f"{size:,} issues: p50 {1000 * p50:.0f} ms, p95 {1000 * p95:.0f} ms over {len(took)} comments, {silent} silent"
    details = {"p50": p50, "p95": p95, "comments": len(took), "silent": silent}
    return Result("opened-to-comment", says, p50, f"p50 at most {1000 * MOST:.0f} ms", p50 <= MOST, details)
