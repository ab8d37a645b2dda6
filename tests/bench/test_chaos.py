import asyncio
import random
import re
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from bench import chaos
from bench.crew import PLACES, Crew, planned
from bench.measure import until
from bench.service import indexed, world
from bot.core.crash import POINTS
from bot.sandbox.faults import Fault

ROOT = Path(__file__).parent.parent.parent
FILES = sorted(path for top in ("bot", "handlers", "storage") for path in (ROOT / top).rglob("*.py"))

GROUPS = {
    "around": ["delivery-written", "delivery-committed", "job-claimed", "job-run", "job-settled"],
    "before": ["issue-stored", "issue-indexed", "issue-ranked", "suggestion-recorded", "effect-wanted", "effect-intended"],
    "after": ["effect-sending", "effect-posted", "effect-done", "effect-found", "effect-missed", "effect-edited"],
}  # fmt: skip
"""Every place of `bot.core.crash`; those of a group are visited by one service."""

BEFORE = {
    "effect-found": Fault("POST", chaos.COMMENTS, accepted=True, hang_up=True),
    "effect-missed": Fault("POST", chaos.COMMENTS, hang_up=True),
}
"""What has to go wrong for a worker to come there."""


def test_the_same_seed_kills_at_the_same_moments():
    kills = Counter(worker=3, web=2, database=2, chroma=1)
    first, again = (planned(random.Random(3), 50, kills) for _ in range(2))
    assert first == again
    assert Counter(kill.whom for each in first.values() for kill in each) == kills
    assert all(10 <= n < 50 for n in first)


def test_the_plan_is_the_one_that_is_promised():
    assert chaos.FULL.deliveries == 1_000
    assert chaos.FULL.kills == Counter(worker=3, web=2, database=2, chroma=1)
    assert (chaos.TWICE, chaos.LOST_ANSWERS) == (0.1, 0.05)


def test_every_place_is_passed_once_in_the_code_and_visited_here():
    passed = Counter(
        name
        for path in FILES
        for name in re.findall(r'crash\.point\("([^"]+)"\)', path.read_text(encoding="utf-8"))
    )
    assert passed == Counter(list(POINTS))
    assert sorted(name for group in GROUPS.values() for name in group) == sorted(POINTS)
    assert sorted(name for group in PLACES.values() for name in group) == sorted(POINTS)


def test_nothing_in_the_service_listens_for_places():
    assert not [path for path in FILES if "crash.hook" in path.read_text(encoding="utf-8")]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("places", GROUPS.values(), ids=GROUPS)
async def test_killed_at_each_place_it_writes_exactly_one_comment(places, model_dir, monkeypatch):
    monkeypatch.setenv("MODEL_DIR", str(model_dir))
    plan = replace(chaos.SMALL, patience=120.0)
    async with world(10) as scene, Crew(scene, hurry=True) as crew:
        play = chaos.Play(scene, crew, random.Random(1))
        scene.github.install(scene.app, scene.repository.owner, [scene.repository])
        database = await crew.database()
        try:
            await indexed(scene, database)
            play.begin()
            for n, place in enumerate(places):
                if place in BEFORE:
                    scene.sandbox.faults.append(replace(BEFORE[place]))
                issue = play.report(n)
                if place == "effect-edited":
                    await play.deliver_the_rest(60.0)
                    await play.settled(database, plan)
                    other = play.original(n + 1)
                    scene.github.edit_issue(scene.repository, issue, title=other.title, body=other.body)
                whom = next(name for name, known in PLACES.items() if place in known)
                crew.arm(whom, place)
                await play.deliver_the_rest(60.0)
                if whom == "worker":
                    reached = asyncio.create_task(crew.reached(whom, place, 60.0))
                    while not reached.done():
                        await crew.make_due(database)
                        await asyncio.sleep(0.2)
                    assert await reached, place
                jobs = await play.settled(database, plan)
                assert chaos.check(play.seen(jobs)).wrong == {}, place
            await until(partial(all_killed, crew, len(places)), 30.0)
        finally:
            await database.close()


async def all_killed(crew, wanted):
    """The last process is counted a moment after its end."""
    return crew.killed.total() == wanted or None


async def test_a_small_run_loses_and_doubles_nothing(model_dir, monkeypatch):
    monkeypatch.setenv("MODEL_DIR", str(model_dir))
    report = await chaos.run(1, chaos.SMALL)
    assert report.verdict.wrong == {}
    assert report.deserved > 30
    assert report.killed >= chaos.SMALL.kills
    assert report.good
    assert report.answers_lost > 0
    assert report.repeats > 0
