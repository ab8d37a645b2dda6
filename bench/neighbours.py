"""What one account's backfill costs the others: from an issue being opened to its comment, beside an idle service.

Two repositories of one account are indexed, which is as much as one account is given at a time, while issues are
opened in another account's repository. Idle comes before and after, so that a machine that gets busier is seen.
"""

import random
import time
from dataclasses import dataclass

from bench.measure import Result, median, quantile, say, until
from bench.service import World, comment_on, service, world
from bench.texts import issues, near_duplicate
from bot.app import Process
from bot.sandbox.state import Installation

MOST = 2.0
"""How many times as long it may take, at the 95th percentile and at the median."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything."""

    known: int  # issues of the repository in which others are opened
    backfill: int  # issues of each of the two repositories that are indexed
    opened: int  # issues opened while idle, twice, and twice as many while the others are indexed


FULL, QUICK = Sizes(1_000, 5_000, 40), Sizes(60, 300, 3)


async def run(*, quick: bool) -> Result:
    """Idle, beside a backfill, idle again."""
    sizes = QUICK if quick else FULL
    rng = random.Random(7)
    async with world(sizes.known) as scene, service(scene) as process:
        idle = await times(scene, sizes.opened, rng)
        say(f"  idle: {1000 * median(idle):.0f} ms")
        giant = install_giant(scene, sizes.backfill)
        await until(lambda: begun(process, giant), 120.0)
        before, started = await embedded(process, giant), time.perf_counter()
        busy = await times(scene, 2 * sizes.opened, rng)
        rate = (await embedded(process, giant) - before) / (time.perf_counter() - started)
        say(f"  beside a backfill: {1000 * median(busy):.0f} ms; that went on at {rate:.1f} issues/s")
        scene.github.uninstall(giant)
        await until(lambda: ended(process, giant), 120.0)
        idle += await times(scene, sizes.opened, rng)
    return result(idle, busy, rate)


def install_giant(scene: World, size: int) -> Installation:
    """Another account with two repositories, whose backfill begins."""
    texts = list(issues(2 * size, seed=8))
    repositories = [scene.github.create_repository("giant", name) for name in ("left", "right")]
    for n, (title, body) in enumerate(texts):
        scene.github.seed_issue(repositories[n % 2], title, body, f"reporter-{n}")
    return scene.github.install(scene.app, repositories[0].owner, repositories)


async def embedded(process: Process, giant: Installation) -> int:
    """How many issues the backfill has embedded."""
    async with process.base.database.account(giant.account.id) as connection:
        return int(await connection.fetchval("SELECT count(text_vector) FROM issues"))


async def begun(process: Process, giant: Installation) -> bool | None:
    """Whether the backfill goes on."""
    return True if await embedded(process, giant) else None


async def ended(process: Process, giant: Installation) -> bool | None:
    """Whether nothing runs for the other account any more."""
    async with process.base.database.system() as connection:
        found = await connection.fetchval(
            "SELECT count(*) FROM jobs WHERE state = 'running' AND kind = 'index_repository'"
        )
    return None if found or await embedded(process, giant) else True


def result(idle: list[float], busy: list[float], rate: float) -> Result:
    """The worse of both ratios."""
    ratios = [median(busy) / median(idle), quantile(busy, 0.95) / quantile(idle, 0.95)]
    says = (
        f"p50 {1000 * median(busy):.0f} ms beside a backfill, {1000 * median(idle):.0f} idle: {ratios[0]:.2f} times; p95 "
        f"{1000 * quantile(busy, 0.95):.0f} and {1000 * quantile(idle, 0.95):.0f}: {ratios[1]:.2f} times; "
        f"the backfill went on at {rate:.1f} issues/s"
    )
    details = {"idle": idle, "busy": busy, "p50": ratios[0], "p95": ratios[1], "backfill": rate}
    return Result("neighbours", says, max(ratios), f"at most {MOST} times", max(ratios) <= MOST, details)


async def times(scene: World, wanted: int, rng: random.Random) -> list[float]:
    """Seconds from opening to comment, of so many near-duplicates; those on which it stays silent do not count."""
    known, took = list(scene.repository.issues.values()), []
    for _ in range(3 * wanted):
        original = rng.choice(known)
        title, body = near_duplicate(original.title, original.body or "", rng)
        started = time.perf_counter()
        issue = scene.github.open_issue(scene.repository, "ann", title, body)
        try:
            await until(lambda issue=issue: comment_on(issue), 3.0, every=0.002)
        except TimeoutError:
            continue
        took.append(time.perf_counter() - started)
        if len(took) == wanted:
            break
    return took
