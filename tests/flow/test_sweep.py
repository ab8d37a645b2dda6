"""What GitHub could not deliver, or what was lost after it was taken, arrives all the same: once."""

import asyncio
import sys
from collections import Counter
from datetime import timedelta
from functools import partial

import pytest

import bot.app
from bot.core.context import Context
from bot.core.records import Lane, NewJob
from bot.sandbox.faults import Fault
from handlers.tasks.sweep_deliveries import sweep_deliveries
from storage.jobs import Jobs
from storage.missed import Missed

from .conftest import REPORTS


@pytest.fixture
async def stage(stage):
    """A sweep leaves alone what is younger than a minute: here it comes later than that."""
    stage.clock["ahead"] = timedelta(minutes=2)
    return stage


async def sweep(stage, runs=1):
    """Sweep, and let what comes back be done."""
    for _ in range(runs):
        await Jobs(stage.database).enqueue(NewJob("sweep_deliveries", Lane.WEBHOOK))
        await stage.quiet()  # the sweep, and then what it asked for
        await stage.quiet()


async def later(stage):
    """Let the time pass after which something is asked for again."""
    async with stage.database.system() as connection:
        await connection.execute("UPDATE missed_deliveries SET asked_at = asked_at - interval '1 day'")


def opened(stage, n=0, author="rita"):
    title, body = REPORTS[n]
    return stage.github.open_issue(stage.repository, author, f"{title} again", body)


def redeliveries(stage):
    """How often each delivery was sent again."""
    return Counter(item.guid for item in stage.github.hooks.attempts if item.redelivery)


async def test_what_was_dropped_arrives_once_and_gets_its_comment(stage):
    stage.github.hooks.switches.drop_each = 10
    issues = [opened(stage, n % 10, f"rita-{n}") for n in range(30)]
    await stage.quiet()
    lost = [issue for issue in issues if not await stage.stored(issue.number)]
    assert lost
    await sweep(stage, 2)
    assert [issue.number for issue in issues if not await stage.stored(issue.number)] == []
    assert {len(stage.ours(issue)) for issue in lost} == {1}
    assert max(redeliveries(stage).values()) == 1


async def test_what_reached_the_inbox_is_not_sent_again_whatever_github_was_told(stage):
    issue = opened(stage)
    await stage.quiet()
    next(
        item for item in stage.github.hooks.attempts if item.action == "opened"
    ).status_code = 502  # a proxy's word
    await sweep(stage)
    assert redeliveries(stage) == {}
    assert len(stage.ours(issue)) == 1


async def test_what_was_taken_and_lost_is_sent_again(stage):
    """As after a restore: GitHub was told 202, and the row is gone."""
    stage.github.hooks.switches.drop = True
    issue = opened(stage)
    await stage.github.hooks.settled()
    stage.github.hooks.switches.drop = False
    stage.github.hooks.attempts[-1].status_code = 202
    await sweep(stage)
    assert len(stage.ours(issue)) == 1


async def test_what_intake_leaves_out_is_looked_at_and_not_sent_again(stage):
    issue = opened(stage)
    await stage.quiet()
    assert len(stage.ours(issue)) == 1  # GitHub told us of it, and we did not store that
    await sweep(stage, 2)
    assert redeliveries(stage) == {}
    looks = [call.path for call in stage.sandbox.calls if call.path.startswith("/app/hook/deliveries/")]
    assert len(looks) == 1


async def test_what_no_handler_wants_is_not_asked_for(stage):
    stage.github.hooks.switches.drop = True
    stage.github._about_issue(stage.repository, stage.repository.issues[1], "assigned", None)
    await stage.github.hooks.settled()
    await sweep(stage)
    assert redeliveries(stage) == {}


async def test_what_may_still_be_under_way_is_left_alone(stage):
    stage.clock["ahead"] = None
    stage.github.hooks.switches.drop = True
    opened(stage)
    await stage.github.hooks.settled()
    await sweep(stage)
    assert redeliveries(stage) == {}
    stage.clock["ahead"] = timedelta(minutes=2)
    await sweep(stage)
    assert list(redeliveries(stage).values()) == [1]


async def test_what_is_older_than_github_keeps_is_left_alone(stage):
    stage.github.hooks.switches.drop = True
    opened(stage)
    await stage.github.hooks.settled()
    stage.github.hooks.attempts[-1].delivered_at -= timedelta(days=3)
    await sweep(stage)
    assert redeliveries(stage) == {}


async def test_two_sweepers_at_once_ask_once(stage, monkeypatch):
    stage.github.hooks.switches.drop = True
    for n in range(10):
        opened(stage, n)
    await stage.github.hooks.settled()
    stage.github.hooks.switches.drop = False
    services = []
    monkeypatch.setattr(bot.app.handlers, "run", remember(services, bot.app.handlers.run))
    await Jobs(stage.database).enqueue(NewJob("forget_done", Lane.WEBHOOK))
    await stage.quiet()
    context = Context(services[0], None)
    await asyncio.gather(*(sweep_deliveries(context) for _ in range(4)))
    await stage.quiet()
    await stage.quiet()
    assert sorted(redeliveries(stage).values()) == [1] * 10
    assert await stage.count() == len(REPORTS) + 10


def remember(services, run):
    async def running(ctx):
        services.append(ctx.services)
        await run(ctx)

    return running


async def test_a_delivery_that_keeps_failing_is_given_up(stage):
    opened(stage)
    await stage.quiet()
    stage.github.hooks.switches.drop = True
    opened(stage, 1)
    await stage.github.hooks.settled()
    guid = stage.github.hooks.attempts[-1].guid
    for n in range(9):
        async with stage.database.system() as connection:  # others arrive meanwhile
            await connection.execute(
                "UPDATE deliveries SET received_at = now() + $1 * interval '1 minute'", n
            )
        await sweep(stage)
        await later(stage)
    assert redeliveries(stage) == {guid: 6}
    assert await Missed(stage.database).count() == (0, 1)


async def test_while_nothing_arrives_a_few_are_tried_and_none_is_given_up(stage):
    stage.github.hooks.switches.drop = True
    for n in range(8):
        opened(stage, n)
    await stage.github.hooks.settled()
    await sweep(stage)
    assert sorted(redeliveries(stage).values()) == [1] * 8
    for _ in range(10):
        await later(stage)
        async with stage.database.system() as connection:
            await connection.execute("UPDATE deliveries SET received_at = received_at - interval '9 days'")
        await sweep(stage)
    assert sum(redeliveries(stage).values()) == 8 + 10 * 5
    assert await Missed(stage.database).count() == (8, 0)
    stage.github.hooks.switches.drop = False
    await later(stage)
    await sweep(stage)
    await later(stage)
    await sweep(stage)
    assert await stage.count() == len(REPORTS) + 8
    assert await Missed(stage.database).count() == (0, 0)


async def test_nothing_of_a_removed_account_comes_back(stage):
    stage.github.hooks.switches.drop = True
    opened(stage)
    await stage.github.hooks.settled()
    stage.github.hooks.switches.drop = False
    stage.github.uninstall(stage.installation)
    await stage.quiet()
    await sweep(stage, 2)
    assert redeliveries(stage) == {}


async def test_a_lost_installation_comes_before_what_happened_in_it(open_stage):
    stage = await open_stage()
    stage.clock["ahead"] = timedelta(minutes=2)
    stage.github.hooks.switches.drop = True
    stage.repository = stage.new_repository()
    stage.installation = stage.github.install(stage.app, stage.repository.owner, [stage.repository])
    issue = opened(stage)
    await stage.github.hooks.settled()
    stage.github.hooks.switches.drop = False
    await sweep(stage)
    await stage.indexed()
    await sweep(stage)
    assert len(stage.ours(issue)) == 1
    assert [job for job in await stage.jobs() if job[1] == "dead"] == []


async def test_a_long_log_is_read_on_from_where_the_last_turn_stopped(stage, monkeypatch):
    monkeypatch.setattr(sys.modules[sweep_deliveries.__module__], "PAGES", 1)
    stage.github.hooks.switches.drop = True
    lost = opened(stage)
    await stage.github.hooks.settled()
    stage.github.hooks.switches.drop = False
    for n in range(250):
        stage.github.add_labels(stage.repository, stage.repository.issues[1], [f"label{n % 90}"])
        stage.github.remove_label(stage.repository, stage.repository.issues[1], f"label{n % 90}")
    await stage.github.hooks.settled()
    before = len(pages(stage))
    await sweep(stage)
    assert redeliveries(stage) == {}
    await sweep(stage, 5)
    assert len(stage.ours(lost)) == 1
    assert len(pages(stage)) - before == 6


def pages(stage):
    return [call for call in stage.sandbox.calls if call.path == "/app/hook/deliveries"]


async def waits(stage):
    """Whether a sweep was given back."""
    return any(
        kind == "sweep_deliveries" and state == "ready" and reason
        for kind, state, _, reason in await stage.jobs()
    )


async def test_a_limit_of_github_ends_the_turn_and_the_next_one_goes_on(stage):
    stage.github.hooks.switches.drop = True
    issues = [opened(stage, n) for n in range(3)]
    await stage.github.hooks.settled()
    stage.github.hooks.switches.drop = False
    spent = {"Retry-After": "1", "X-RateLimit-Remaining": "0"}
    body = '{"message": "API rate limit exceeded"}'
    stage.sandbox.faults.append(Fault("POST", "/attempts$", skip=1, status=403, headers=spent, body=body))
    await Jobs(stage.database).enqueue(NewJob("sweep_deliveries", Lane.WEBHOOK))
    await stage.until(partial(waits, stage), "the end of the turn")
    assert sum(redeliveries(stage).values()) == 1
    await asyncio.sleep(1.0)  # the App's own pause
    await stage.make_due("sweep_deliveries")
    await stage.quiet()
    await later(stage)
    await sweep(stage)
    assert [len(stage.ours(issue)) for issue in issues] == [1, 1, 1]


async def test_after_a_restore_what_was_said_is_not_said_twice(stage):
    issue, other = opened(stage), opened(stage, 1, "ron")
    stage.github.comment(stage.repository, other, "tess", "/dejaview why #1")
    await stage.quiet()
    said = [len(stage.ours(item)) for item in (issue, other)]
    assert said == [1, 2]
    await forget(stage)
    assert await stage.stored(issue.number) is None
    await sweep(stage, 2)
    assert len(redeliveries(stage)) == 3
    assert [len(stage.ours(item)) for item in (issue, other)] == said
    assert (await stage.effect(issue.number)).github_id == stage.ours(issue)[0].id
    assert await stage.stored(issue.number) is not None


async def forget(stage):
    """What a restore takes: everything since the index was made."""
    account, repository = stage.key()
    values = (account, repository)
    async with stage.database.account(account) as connection:
        for table in ("effects", "suggestions", "outcomes"):
            await connection.execute(
                f"DELETE FROM {table} WHERE account_id = $1 AND repository_id = $2", *values
            )
        await connection.execute(
            "DELETE FROM issues WHERE account_id = $1 AND repository_id = $2 AND number > $3",
            *values,
            len(REPORTS),
        )
    async with stage.database.system() as connection:
        await connection.execute("DELETE FROM jobs WHERE kind IN ('delivery', 'watch_reactions')")
        await connection.execute("DELETE FROM deliveries WHERE event <> 'installation'")
