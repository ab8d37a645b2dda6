"""With a guard taken out, the set checker of `bench.history` must see what the guard is for; with all of them in, nothing."""

import asyncio
import os
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from bench.history import Answer, History, acknowledged, check, jobs_of, kept, standing
from bot.core.marker import Marker
from bot.core.outcome import Finish
from bot.core.records import Delivery, EffectState, Lane, NewJob
from bot.metrics import Metrics
from bot.sandbox.faults import Fault
from bot.worker import Pace, Worker
from handlers import writing
from storage import inbox, jobs
from storage.effects import Effects
from storage.inbox import Inbox
from storage.jobs import Jobs

from .conftest import REPORTS

COMMENTS = r"/issues/\d+/comments$"


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """A write whose reply was lost may be looked for at once."""
    monkeypatch.setattr(writing, "LOOK_UP_AFTER", timedelta(0))


# --- what happens


async def report(stage, deserved, n):
    """A known problem is reported again, and the bot decides."""
    title, body = REPORTS[n]
    issue = stage.github.open_issue(stage.repository, "rita", f"{title} again", body)
    deserved[issue.number, "suggestion"] = stage.github.hooks.attempts[-1].guid
    await stage.github.hooks.settled()
    return issue


async def ended(stage):
    """Run what waits for later now, until every delivery's job has ended."""
    await stage.github.hooks.settled()

    async def none_waits():
        await stage.make_due("delivery")
        return not [job for job in await stage.jobs() if job[0] == "delivery" and job[1] != "dead"]

    await stage.until(none_waits, "the end of all deliveries")


async def an_answer_is_lost(stage, deserved):
    """GitHub takes the comment, and its answer does not arrive."""
    stage.sandbox.faults.append(Fault("POST", COMMENTS, accepted=True, hang_up=True))
    await report(stage, deserved, 0)


async def a_comment_is_lost_beside_a_reply(stage, deserved):
    """A comment does not reach GitHub, and before it is looked for, the bot writes another one under the issue."""
    stage.sandbox.faults.append(Fault("POST", COMMENTS, hang_up=True))
    issue = await report(stage, deserved, 1)
    await stage.quiet_but_for("delivery")
    comment = stage.github.comment(stage.repository, issue, "tess", "/dejaview index status")
    deserved[issue.number, f"reply:{comment.id}"] = stage.github.hooks.attempts[-1].guid
    await stage.until(lambda: stage.ours(issue), "the reply")


async def a_delivery_comes_twice(stage, deserved):
    """GitHub delivers again what was acknowledged."""
    await report(stage, deserved, 2)
    assert stage.github.hooks.redeliver(stage.app, stage.github.hooks.attempts[-1].id)


async def an_issue_is_told_of_twice(stage, deserved):
    """Two deliveries tell that the same issue was opened."""
    issue = await report(stage, deserved, 3)
    await ended(stage)
    stage.github._about_issue(stage.repository, issue, "opened", issue.author)


# --- what is taken out


def no_intent_row(monkeypatch):
    """Nothing is written down before a comment is sent."""

    async def sending(_, effect, body):
        return replace(effect, state=EffectState.SENDING, body=body)

    monkeypatch.setattr(Effects, "sending", sending)


def no_look_up(monkeypatch):
    """What may have been written is written again."""
    monkeypatch.setattr(writing, "look_up", lambda ctx, effect, _: ctx.services.effects.reset(effect))


def no_marker_found(monkeypatch):
    """Our own comments are not known again."""
    monkeypatch.setattr(writing, "read", lambda *_: None)


def any_marker_will_do(monkeypatch):
    """A comment of ours is taken for the one that is looked for, whatever it is."""
    monkeypatch.setattr(writing, "read", lambda *_: Marker(writing.SUGGESTION, ()))


def no_known_deliveries(monkeypatch):
    """A delivery that is known is enqueued like a new one."""
    again = inbox.SQL["accept"].replace(
        "ON CONFLICT (id) DO NOTHING", "ON CONFLICT (id) DO UPDATE SET action = excluded.action"
    )
    assert again != inbox.SQL["accept"]
    monkeypatch.setattr(inbox, "SQL", {**inbox.SQL, "accept": again})


def no_key_of_an_effect(monkeypatch):
    """Each attempt writes a comment of its own."""
    intend = Effects.intend

    async def another(self, account_id, repository_id, number, key, body):
        return await intend(self, account_id, repository_id, number, f"{key}.{os.urandom(4).hex()}", body)

    monkeypatch.setattr(Effects, "intend", another)


def acknowledged_unstored(monkeypatch):
    """The answer comes before the commit, which then fails."""

    async def accept(*_):
        return True

    monkeypatch.setattr(Inbox, "accept", accept)


GUARDS = {
    "intent-row": (no_intent_row, an_answer_is_lost, {"doubled"}),
    "look-up": (no_look_up, an_answer_is_lost, {"doubled"}),
    "marker": (no_marker_found, an_answer_is_lost, {"doubled"}),
    "marker-key": (any_marker_will_do, a_comment_is_lost_beside_a_reply, {"lost"}),
    "inbox": (no_known_deliveries, a_delivery_comes_twice, {"repeated"}),
    "effect-key": (no_key_of_an_effect, an_issue_is_told_of_twice, {"doubled"}),
    "commit-first": (acknowledged_unstored, an_answer_is_lost, {"lost", "unprocessed"}),
}
"""Guards: how each is taken out, what happens then, and what the checker has to call it."""


async def verdict(stage, deserved):
    answers = [
        Answer(item.guid, item.status_code, item.answer or "{}") for item in stage.github.hooks.attempts
    ]
    async with stage.database.system() as connection:
        found = await jobs_of(connection)
    return check(
        History(deserved, acknowledged(answers), kept(answers), standing(stage.repository), found)
    ).wrong


async def test_with_every_guard_nothing_is_wrong(stage):
    deserved = {}
    for happens in dict.fromkeys(happens for _, happens, _ in GUARDS.values()):
        await happens(stage, deserved)
        await ended(stage)
    assert await verdict(stage, deserved) == {}
    assert len(deserved) == 5


@pytest.mark.parametrize(("taken_out", "happens", "kinds"), GUARDS.values(), ids=GUARDS)
async def test_without_a_guard_the_checker_sees_it(stage, monkeypatch, taken_out, happens, kinds):
    deserved = {}
    taken_out(monkeypatch)
    await happens(stage, deserved)
    await ended(stage)
    assert kinds <= (await verdict(stage, deserved)).keys()


# --- the fence


async def a_stale_worker_ends_a_job(database):
    """A worker sleeps past its lease; the next one gives the job back for later; the first wakes up and ends it.

    Gives what the checker says after everybody has worked on.
    """
    queue, guid, comments = Jobs(database), uuid4(), []
    await Inbox(database).accept(
        Delivery(guid, "issues", "opened", None, None, b"{}"), NewJob("delivery", Lane.WEBHOOK, delivery_id=guid)
    )  # fmt: skip
    (stale,) = await queue.claim(uuid4())
    async with database.system() as connection:
        await connection.execute("UPDATE jobs SET lease_until = now() - interval '1 second'")
    (taken,) = await queue.claim(uuid4())
    await queue.give_back(taken, after=0.0, reason="GitHub does not answer", counts=False)
    stop, hint = asyncio.Event(), asyncio.Event()

    async def write(_job):
        comments.append(1)

    worker = Worker(queue, write, hint, Metrics(), Pace(poll=0.05))
    # The stale worker's job ended: it believed that there was nothing to do.
    await worker._settle(stale, Finish("nothing to do"))
    working = asyncio.create_task(worker.work(stop))
    async with asyncio.timeout(30.0):
        while [item for item in await queue.depth() if item.state in ("ready", "running")]:
            await asyncio.sleep(0.02)
    stop.set()
    await working
    key = (7, "suggestion")
    async with database.system() as connection:
        found = await jobs_of(connection)
    promised = {str(guid)}
    return check(History({key: str(guid)}, promised, promised, {key: len(comments)}, found)).wrong


async def test_a_stale_worker_changes_nothing(database):
    assert await a_stale_worker_ends_a_job(database) == {}


async def test_without_the_fence_the_checker_sees_what_a_stale_worker_loses(database, monkeypatch):
    fence = "WHERE id = $1 AND worker = $2 AND attempt = $3 AND state = 'running'"
    open_ = "WHERE id = $1 AND ($2::uuid IS NOT NULL OR $3::int IS NOT NULL)"
    assert fence in jobs.SQL["finish"]
    monkeypatch.setattr(jobs, "SQL", {**jobs.SQL, "finish": jobs.SQL["finish"].replace(fence, open_)})
    assert "lost" in await a_stale_worker_ends_a_job(database)
