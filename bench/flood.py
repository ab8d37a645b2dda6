"""2,000 webhooks within ten seconds: all have to be taken, and all have to be worked on.

They are events about known issues, sent by 25 connections as fast as they are answered. At the end every issue has to be
stored as GitHub has it, and no job may have failed for good.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator

import aiohttp

from bench.measure import Result, say, until
from bench.service import World, service, world
from bot.app import Process
from bot.sandbox.hooks import Attempt
from storage.issues import Issues

WITHIN = 10.0
"""Seconds in which all have to be taken."""

DRAINED = 600.0
"""Seconds for all to be worked on: there only has to be an end."""

AT_ONCE = 0.5
"""Connections for each issue: an event is answered before the next one about its issue is sent, as both are of one second."""


async def run(*, quick: bool) -> Result:
    """Send, wait for the end of all jobs, compare."""
    count, known = (40, 10) if quick else (2_000, 50)
    async with world(known) as scene, service(scene) as process:
        flood = await deliveries(scene, count)
        started = time.perf_counter()
        answers = await send(str(scene.app.webhook_url), flood, int(AT_ONCE * known))
        took = time.perf_counter() - started
        say(f"  taken in {took:.1f} s")
        dead = await until(lambda: ended(process), DRAINED)
        drained = time.perf_counter() - started
        wrong = await differing(scene, process)
    says = (
        f"{count:,} webhooks taken in {took:.1f} s, {answers[202]:,} with 202; worked on after {drained:.0f} s: "
        f"{dead.total()} dead, {wrong} of {known} issues differ"
    )
    good = took <= WITHIN and answers == {202: count} and not dead and not wrong
    details = {"answers": dict(answers), "drained": drained, "dead": dead.total(), "wrong": wrong}
    return Result(
        "flood", says, took, f"taken within {WITHIN:.0f} s, all of them, and worked on", good, details
    )


async def deliveries(scene: World, count: int) -> list[Attempt]:
    """So many webhooks of new labels, none of them sent."""
    hooks, issues = scene.github.hooks, list(scene.repository.issues.values())
    await hooks.settled()
    before, hooks.switches.drop = len(hooks.attempts), True
    for n in range(count):
        scene.github.add_labels(scene.repository, issues[n % len(issues)], [f"label-{n}"])
    await hooks.settled()
    hooks.switches.drop = False
    return hooks.attempts[before:]


async def send(url: str, flood: list[Attempt], at_once: int) -> Counter[int]:
    """How often each status was the answer."""
    answers, waiting = Counter[int](), iter(flood)

    async def sender(session: aiohttp.ClientSession, attempts: Iterator[Attempt]) -> None:
        for attempt in attempts:
            async with session.post(url, data=attempt.body, headers=attempt.headers) as response:
                await response.read()
                answers[response.status] += 1

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=at_once)) as session:
        await asyncio.gather(*(sender(session, waiting) for _ in range(at_once)))
    return answers


async def ended(process: Process) -> Counter[str] | None:
    """Dead jobs by their reason, as soon as no delivery waits or runs."""
    async with process.base.database.system() as connection:
        rows = await connection.fetch(
            "SELECT state, reason FROM jobs WHERE kind = 'delivery' AND state <> 'done'"
        )
    if any(row["state"] != "dead" for row in rows):
        return None
    return Counter(row["reason"] for row in rows)


async def differing(scene: World, process: Process) -> int:
    """How many issues are not stored with the labels that GitHub has."""
    issues, repository = scene.repository.issues, scene.repository
    stored = await Issues(process.base.database).get(repository.owner.id, repository.id, list(issues))
    return sum(
        number not in stored or set(stored[number].issue.labels) != set(item.labels)
        for number, item in issues.items()
    )
