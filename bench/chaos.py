"""`python -m bench.chaos [--seeds N | --seed N]`: kill everything under load, then count.

People open copies of old issues, edit them, give commands, and write what deserves no answer, while worker, web,
PostgreSQL and Chroma are killed with SIGKILL, half of the time at a named place of `bot.core.crash`. Webhooks arrive in
random order, one in ten arrives twice, and one answer in twenty to a comment is lost after GitHub took it. What was not
acknowledged is delivered again, as the sweep would. At the end the set checker of `bench.history` decides.

A seed decides what happens before which delivery. The machine decides the rest, so a seed that failed may have to be
tried more than once.
"""

import argparse
import asyncio
import os
import random
import secrets
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp

from bench import history
from bench.crew import Crew, planned
from bench.history import Answer, History, Key, Verdict, check
from bench.measure import say, until
from bench.service import World, indexed, world
from bot.core.errors import StorageUnavailableError
from bot.logs import configure
from bot.sandbox.faults import Fault
from bot.sandbox.hooks import TIMEOUT, Attempt
from bot.sandbox.state import Issue
from storage.database import Database

LOST_ANSWERS = 0.05
"""Share of the comments that GitHub takes without its answer arriving."""

TWICE = 0.1
"""Share of the deliveries that arrive two times."""

WINDOW = 12
"""Deliveries among which the next one is drawn: so far may one overtake another."""

AT_ONCE = 8
"""Deliveries under way at the same time."""

COMMENTS = r"/issues/\d+/comments$"


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of everything."""

    deliveries: int = 1_000
    history: int = 200
    workers: int = 3
    webs: int = 2
    databases: int = 2
    chromas: int = 1
    every: float = 0.1  # seconds between two deliveries, on average
    patience: float = 900.0  # seconds for everything to be done at the end
    hurry: bool = False  # see `Crew`

    @property
    def kills(self) -> Counter[str]:
        """How often each process is killed."""
        return Counter(worker=self.workers, web=self.webs, database=self.databases, chroma=self.chromas)


FULL = Plan()
SMALL = Plan(deliveries=60, history=20, workers=1, webs=1, databases=1, every=0.05, patience=90.0, hurry=True)
"""What fits into a run of the tests."""


@dataclass(frozen=True, slots=True)
class Report:
    """One run."""

    seed: int
    verdict: Verdict
    deserved: int
    deliveries: int
    repeats: int
    answers_lost: int
    killed: Counter[str]
    places: tuple[str, ...]
    seconds: float
    planned: Counter[str]

    @property
    def good(self) -> bool:
        """Whether everything was killed that should be, and nothing is wrong."""
        return not self.verdict.wrong and self.killed >= self.planned

    def line(self) -> str:
        """For people."""
        wrong = {kind: list(found) for kind, found in self.verdict.wrong.items()}
        killed = ", ".join(f"{name} {count}" for name, count in sorted(self.killed.items()))
        return (
            f"{'ok  ' if self.good else 'MISS'} seed {self.seed}: {self.deliveries} deliveries, {self.repeats} again, "
            f"{self.deserved} comments deserved, {len(self.verdict.lost)} lost, {len(self.verdict.doubled)} doubled; "
            f"{self.answers_lost} answers lost; killed: {killed}; at {', '.join(self.places) or 'no named place'}; "
            f"{self.seconds:.0f} s{f'; wrong: {wrong}' if wrong else ''}"
        )


@dataclass(slots=True)
class Play:
    """What people do, what GitHub delivers of it, and what it was answered."""

    scene: World
    crew: Crew
    rng: random.Random
    deserved: dict[Key, str] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    repeats: int = 0
    answers_lost: int = 0
    _seen: int = 0
    _first: dict[str, Attempt] = field(default_factory=dict)  # by GUID
    _opened: list[Issue] = field(default_factory=list)
    _unasked: list[Issue] = field(default_factory=list)  # where nobody gave a command yet
    _originals: list[Issue] = field(default_factory=list)

    def begin(self) -> None:
        """From here on the sandbox sends nothing by itself: what it would send is delivered by `run`."""
        self.scene.github.hooks.switches.drop = True
        self._seen = len(self.scene.github.hooks.attempts)
        self._originals = list(self.scene.repository.issues.values())
        self.scene.repository.roles["tess"] = "triage"

    def fresh(self) -> list[Attempt]:
        """Deliveries that became due since the last call, those about the App's own comments too."""
        attempts = self.scene.github.hooks.attempts
        found = [item for item in attempts[self._seen :] if not item.redelivery]
        self._seen = len(attempts)
        return found

    def act(self, n: int) -> None:
        """Somebody does something: mostly they report an old problem again."""
        github, repository, dice = self.scene.github, self.scene.repository, self.rng.random()
        if dice < 0.1 and self._unasked:
            self.ask(self._unasked.pop(self.rng.randrange(len(self._unasked))))
        elif dice < 0.15 and self._opened:
            issue = self.rng.choice(self._opened)
            github.edit_issue(repository, issue, body=f"{issue.body}\n\nEdited: it still happens.")
        elif dice < 0.25:
            github.open_issue(repository, f"reporter-of-{n}", "Bug", "")  # says too little to be compared
        else:
            issue = self.report(n)
            self._opened.append(issue)
            self._unasked.append(issue)

    def original(self, n: int) -> Issue:
        """An issue from before."""
        return self._originals[n % len(self._originals)]

    def report(self, n: int) -> Issue:
        """An old problem, reported again."""
        original = self.original(n)
        github, repository = self.scene.github, self.scene.repository
        issue = github.open_issue(repository, f"reporter-of-{n}", original.title, original.body)
        self.deserved[issue.number, "suggestion"] = github.hooks.attempts[-1].guid
        return issue

    def ask(self, issue: Issue) -> None:
        """A command that is answered with a comment."""
        github, repository = self.scene.github, self.scene.repository
        comment = github.comment(repository, issue, "tess", "/dejaview index status")
        self.deserved[issue.number, f"reply:{comment.id}"] = github.hooks.attempts[-1].guid

    def lose_an_answer(self) -> None:
        """GitHub takes the next comment, and its answer does not arrive."""
        self.scene.sandbox.faults.append(Fault("POST", COMMENTS, accepted=True, hang_up=True))
        self.answers_lost += 1

    async def run(self, plan: Plan) -> None:
        """Act, kill, and deliver, until everything was acknowledged."""
        kills = planned(self.rng, plan.deliveries, plan.kills)
        waiting: list[Attempt] = []
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as group:
            free = asyncio.Semaphore(AT_ONCE)
            for n in range(plan.deliveries):
                for kill in kills.get(n, []):
                    group.create_task(self.crew.kill(kill))
                if self.rng.random() < LOST_ANSWERS:
                    self.lose_an_answer()
                self.act(n)
                for attempt in self.fresh():
                    self._first[attempt.guid] = attempt
                    waiting.append(attempt)
                while len(waiting) > WINDOW:
                    await self._send_one(session, group, free, waiting)
                await asyncio.sleep(self.rng.uniform(0, 2 * plan.every))
            while waiting:
                await self._send_one(session, group, free, waiting)
        await self.deliver_the_rest(plan.patience)

    async def _send_one(
        self,
        session: aiohttp.ClientSession,
        group: asyncio.TaskGroup,
        free: asyncio.Semaphore,
        waiting: list[Attempt],
    ) -> None:
        """Send one that waits, whichever; some come back to be sent once more."""
        attempt = waiting.pop(self.rng.randrange(len(waiting)))
        if self.rng.random() < TWICE:
            self.repeats += 1
            group.create_task(self._deliver(session, attempt, free))
        await free.acquire()
        free.release()
        group.create_task(self._deliver(session, attempt, free))

    async def _deliver(
        self, session: aiohttp.ClientSession, attempt: Attempt, free: asyncio.Semaphore
    ) -> None:
        """One attempt, and what it was answered."""
        async with free:
            try:
                async with session.post(
                    self.crew.hook, data=attempt.body, headers=attempt.headers
                ) as response:
                    answer = Answer(attempt.guid, response.status, await response.text())
            except (aiohttp.ClientError, TimeoutError):
                answer = Answer(attempt.guid, 0, "")
        self.answers.append(answer)
        if answer.is_acknowledged:
            attempt.status, attempt.status_code = "OK", answer.status

    async def deliver_the_rest(self, limit: float) -> None:
        """Deliver what is due, and again until everything is acknowledged: what the sweep does in production."""
        due = {item.guid: item for item in self.fresh()}
        self._first |= due
        missing = set(due) | {item.guid for item in self.answers}
        free = asyncio.Semaphore(AT_ONCE)

        async def done() -> bool | None:
            left = sorted(missing - history.acknowledged(self.answers))
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT)) as session:
                await asyncio.gather(*(self._deliver(session, self._first[guid], free) for guid in left))
            return None if left else True

        await until(done, limit, every=0.5)

    def seen(self, jobs: Mapping[str, Sequence[str]]) -> History:
        """The run so far, with those jobs."""
        return History(
            deserved=self.deserved,
            acknowledged=history.acknowledged(self.answers),
            kept=history.kept(self.answers),
            standing=history.standing(self.scene.repository),
            jobs=jobs,
        )

    async def settled(self, database: Database, plan: Plan) -> dict[str, list[str]]:
        """Wait until every delivery's job has ended; gives the states of all, ended or not, when patience does."""
        deadline = time.monotonic() + plan.patience
        while True:
            try:
                if plan.hurry:
                    await self.crew.make_due(database)
                async with database.system() as connection:
                    jobs = await history.jobs_of(connection)
            except StorageUnavailableError:
                jobs = {"": ["ready"]}
            left = sum(state in ("ready", "running") for states in jobs.values() for state in states)
            if not left or time.monotonic() > deadline:
                return jobs
            say(f"  {left} jobs to go")
            await asyncio.sleep(0.5 if plan.hurry else 3.0)


async def run(seed: int, plan: Plan) -> Report:
    """Play once and judge."""
    started, rng = time.monotonic(), random.Random(seed)
    async with world(plan.history) as scene, Crew(scene, plan.hurry) as crew:
        play = Play(scene, crew, rng)
        scene.github.install(scene.app, scene.repository.owner, [scene.repository])
        database = await crew.database()
        try:
            await indexed(scene, database)
            play.begin()
            await play.run(plan)
            jobs = await play.settled(database, plan)
        finally:
            await database.close()
        deliveries = len({item.guid for item in play.answers})
        return Report(
            seed=seed,
            verdict=check(play.seen(jobs)),
            deserved=len(play.deserved),
            deliveries=deliveries,
            repeats=play.repeats,
            answers_lost=play.answers_lost,
            killed=crew.killed,
            places=tuple(crew.places),
            seconds=time.monotonic() - started,
            planned=plan.kills,
        )


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; exit code 1 where anything was wrong, with the seed that shows it."""
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="play this one seed again")
    parser.add_argument("--seeds", type=int, default=20, help="how many seeds are played (20)")
    parser.add_argument("--deliveries", type=int, default=FULL.deliveries, help="what people do (1000)")
    parser.add_argument("--small", action="store_true", help="as much as a run of the tests plays")
    args = parser.parse_args(argv)
    plan = SMALL if args.small else replace(FULL, deliveries=args.deliveries)
    first = secrets.randbelow(10**6)
    seeds = [args.seed] if args.seed is not None else [first + n for n in range(args.seeds)]
    failed = []
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        configure("json", nowhere)
        for seed in seeds:
            report = asyncio.run(run(seed, plan))
            print(report.line(), flush=True)
            if not report.good:
                failed.append(seed)
    for seed in failed:
        print(f'replay it with: make chaos ARGS="--seed {seed}"')
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
