"""`python -m bench.chaos [--seed N] [--deliveries N] [--kills N]`: kill everything under load, then count.

People open copies of old issues while the service is killed with SIGKILL at random moments, PostgreSQL once, and some
answers of GitHub are lost after it took the comment. What was not acknowledged is delivered again, as an operator would,
and some of what was acknowledged too, as GitHub may. At the end a set checker compares what was acknowledged with what
stands under the issues: each acknowledged copy has exactly one comment, nothing is lost and nothing is doubled.

The service is a process of its own, without GitHub's pace of writes; the sandbox plays GitHub in this one.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import secrets
import signal
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import asyncpg

from bench.measure import say, until
from bench.service import World, address, free_port, indexed, serves, start, world
from bot.core.errors import StorageUnavailableError
from bot.core.records import Lane
from bot.logs import configure
from bot.sandbox.faults import Fault
from bot.sandbox.hooks import Attempt
from storage import embedded
from storage.database import Database
from storage.jobs import Jobs

SETTLE_LIMIT = 300.0
"""Seconds for everything to be done at the end: a job of a killed worker waits for its lease, which is 60."""

OPEN_EVERY = 0.25
"""Seconds between two issues."""

LOST_ANSWERS = 0.1
"""Share of the comments that GitHub takes without its answer arriving."""

AGAIN = 0.3
"""Share of the acknowledged deliveries that arrive once more."""

COMMENTS = r"/issues/\d+/comments$"


@dataclass(slots=True)
class Trouble:
    """What was done to the service."""

    services_killed: int = 0
    databases_killed: int = 0
    delivered_again: int = 0
    refused: set[int] = field(default_factory=set)  # ids of attempts that were not acknowledged


@dataclass(frozen=True, slots=True)
class Verdict:
    """Issue numbers, by what is wrong with them."""

    acknowledged: int
    lost: tuple[int, ...]  # acknowledged, and nothing stands under it
    doubled: tuple[int, ...]  # more than one comment stands under it

    @property
    def good(self) -> bool:
        """Whether something was acknowledged, and nothing is wrong."""
        return self.acknowledged > 0 and not self.lost and not self.doubled


def check(acknowledged: AbstractSet[int], comments: Mapping[int, int]) -> Verdict:
    """Compare what was acknowledged with the number of our comments under each issue."""
    lost = tuple(sorted(number for number in acknowledged if comments.get(number, 0) == 0))
    doubled = tuple(sorted(number for number, count in comments.items() if count > 1))
    return Verdict(len(acknowledged), lost, doubled)


def moments(rng: random.Random, deliveries: int, services: int, databases: int) -> dict[int, list[str]]:
    """What is killed before which issue, that many times each."""
    plan: dict[int, list[str]] = {}
    for what in ["service"] * services + ["database"] * databases:
        plan.setdefault(rng.randrange(1, max(2, deliveries)), []).append(what)
    return plan


class Play:
    """One run: a sandbox, a service that gets killed, and what was done to it."""

    def __init__(self, scene: World, rng: random.Random) -> None:
        """`start` brings the service up."""
        self.scene, self.rng, self.trouble = scene, rng, Trouble()
        self.port = free_port()
        self._process: asyncio.subprocess.Process | None = None

    @property
    def postgres(self) -> Path:
        """The folder of the database server."""
        return self.scene.data / "data" / "postgres"

    async def start(self) -> None:
        """Start the service; what it needs of the machine is up before it serves."""
        self._process = await start(self.scene, self.port, paced=False)

    async def kill(self, what: str) -> None:
        """SIGKILL to the service, which is started again, or to the database server, which the service starts again."""
        await asyncio.sleep(self.rng.random())
        if what == "database":
            pid = embedded.postmaster_pid(self.postgres)
            if pid is not None and embedded.is_running(self.postgres):
                os.kill(pid, signal.SIGKILL)
                self.trouble.databases_killed += 1
            return
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
            self.trouble.services_killed += 1
        await self._process.wait()
        await self.start()

    async def stop(self) -> None:
        """End the service, and the database server if it was left behind."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()
        await asyncio.to_thread(embedded.stop, self.postgres)

    def deliver_again(self) -> int:
        """Send what was never acknowledged, and some of what was; returns how many are still to be acknowledged."""
        hooks = self.scene.github.hooks
        open_guids = unacknowledged(hooks.attempts)
        for guid in sorted(open_guids):
            hooks.redeliver(self.scene.app, next(item.id for item in hooks.attempts if item.guid == guid))
        return len(open_guids)

    def repeat_some(self) -> None:
        """Deliver some of what was acknowledged once more."""
        hooks = self.scene.github.hooks
        for item in [item for item in hooks.attempts if item.status == "OK" and not item.redelivery]:
            if self.rng.random() < AGAIN:
                hooks.redeliver(self.scene.app, item.id)
                self.trouble.delivered_again += 1


def unacknowledged(attempts: Iterable[Attempt]) -> set[str]:
    """Deliveries of which no attempt was acknowledged and none is under way."""
    attempts = list(attempts)
    return {item.guid for item in attempts} - {
        item.guid for item in attempts if item.status in ("OK", "pending")
    }


def issues_acknowledged(attempts: Iterable[Attempt], after: int) -> set[int]:
    """Numbers of the opened issues whose delivery was acknowledged."""
    bodies = [item.body for item in attempts if item.event == "issues" and item.status == "OK"]
    numbers = {int(json.loads(body)["issue"]["number"]) for body in bodies}
    return {number for number in numbers if number > after}


async def open_under_fire(play: Play, deliveries: int, plan: Mapping[int, Sequence[str]]) -> None:
    """Open issues, kill in between, and lose some of GitHub's answers."""
    scene = play.scene
    originals = list(scene.repository.issues.values())
    killing: list[asyncio.Task[None]] = []
    for n in range(deliveries):
        for what in plan.get(n, []):
            if what == "service" and killing:
                await asyncio.gather(*killing)
            killing.append(asyncio.create_task(play.kill(what)))
        if play.rng.random() < LOST_ANSWERS:
            scene.sandbox.faults.append(Fault("POST", COMMENTS, accepted=True, hang_up=True))
        original = originals[n % len(originals)]
        scene.github.open_issue(scene.repository, f"reporter-of-{n}", original.title, original.body)
        await asyncio.sleep(play.rng.uniform(0, 2 * OPEN_EVERY))
    await asyncio.gather(*killing)


async def acknowledge_all(play: Play) -> None:
    """Deliver again until everything is acknowledged."""
    await until(partial(serves, play.port), 60.0)
    play.repeat_some()

    async def done() -> bool | None:
        await play.scene.github.hooks.settled()
        return True if play.deliver_again() == 0 else None

    await until(done, SETTLE_LIMIT, every=1.0)


async def settled(play: Play) -> None:
    """Wait until no webhook waits or runs. Raises TimeoutError."""
    database = await connected(play)
    try:

        async def idle() -> bool | None:
            try:
                depths = await Jobs(database).depth()
            except StorageUnavailableError:
                return None
            waiting = [
                item
                for item in depths
                if item.lane is not Lane.BACKFILL and item.state in ("ready", "running")
            ]
            say(f"  {sum(item.jobs for item in waiting)} jobs to go")
            return None if waiting else True

        await until(idle, SETTLE_LIMIT, every=2.0)
    finally:
        await database.close()


async def connected(play: Play) -> Database:
    """The service's database, from outside."""

    async def answering() -> Database | None:
        with contextlib.suppress(StorageUnavailableError, OSError, asyncpg.PostgresError):
            return await Database.connect(address(play.postgres), size=2)
        return None

    return await until(answering, 60.0)


async def run(
    seed: int, deliveries: int, history: int, *, services: int, databases: int
) -> tuple[Verdict, Trouble]:
    """Play once, killing that many services and databases, and judge."""
    async with world(history) as scene:
        play = Play(scene, random.Random(seed))
        try:
            await play.start()
            await until(partial(serves, play.port), 60.0)
            scene.github.install(scene.app, scene.repository.owner, [scene.repository])
            database = await connected(play)
            await indexed(scene, database)
            await database.close()
            await open_under_fire(play, deliveries, moments(play.rng, deliveries, services, databases))
            await acknowledge_all(play)
            await settled(play)
        finally:
            await play.stop()
        comments = {
            number: sum(item.app_id is not None for item in issue.comments)
            for number, issue in scene.repository.issues.items()
        }
        return check(issues_acknowledged(scene.github.hooks.attempts, history), comments), play.trouble


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; exit code 1 where something was lost or doubled."""
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="repeats the same moments")
    parser.add_argument("--deliveries", type=int, default=100, help="issues that are opened (100)")
    parser.add_argument("--kills", type=int, default=4, help="how often the service is killed (4)")
    parser.add_argument("--database-kills", type=int, default=1, help="how often PostgreSQL is killed (1)")
    parser.add_argument("--history", type=int, default=200, help="issues that are indexed before (200)")
    args = parser.parse_args(argv)
    say(f"seed {args.seed}")
    started = time.monotonic()
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        configure("json", nowhere)
        verdict, trouble = asyncio.run(
            run(args.seed, args.deliveries, args.history, services=args.kills, databases=args.database_kills)
        )
    print(
        f"{'ok  ' if verdict.good else 'MISS'} chaos: {verdict.acknowledged} acknowledged, {len(verdict.lost)} lost, "
        f"{len(verdict.doubled)} doubled; service killed {trouble.services_killed} times, PostgreSQL "
        f"{trouble.databases_killed}, {trouble.delivered_again} delivered again; seed {args.seed}, "
        f"{time.monotonic() - started:.0f} s"
    )
    if not verdict.good:
        print(f"lost {list(verdict.lost)}, doubled {list(verdict.doubled)}")
    return 0 if verdict.good else 1


if __name__ == "__main__":
    sys.exit(main())
