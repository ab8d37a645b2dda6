"""What the operator sees and does: periodic work, alarms, dead jobs."""

from datetime import timedelta
from functools import partial

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

import bot.app
from bot.core.access import Actor
from bot.core.errors import SettingsError
from bot.core.periodic import PERIODIC
from bot.core.records import Lane, NewJob
from bot.sandbox.faults import Fault
from storage.accounts import Accounts
from storage.audit import Audit
from storage.jobs import Jobs

from .conftest import REPORTS


@pytest.fixture
async def open_stage(open_stage, monkeypatch):
    monkeypatch.setattr(bot.app, "SCHEDULE_EVERY", 0.05)
    return open_stage


async def shown(stage):
    """The numbers at /metrics, by name and labels."""
    url = f"http://127.0.0.1:{stage.process.port}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        page = await response.text()
    return {
        (sample.name.removeprefix("deja_view_"), *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


async def execute(stage, statement, *values):
    async with stage.database.system() as connection:
        return await connection.execute(statement, *values)


async def scheduled(stage):
    async with stage.database.system() as connection:
        return await connection.fetchval("SELECT count(*) FROM periodic") == len(PERIODIC)


async def test_a_missed_delivery_comes_back_without_anybody_doing_anything(stage):
    await stage.until(partial(scheduled, stage), "the schedule")
    stage.clock["ahead"] = timedelta(minutes=2)
    stage.github.hooks.switches.drop = True
    title, body = REPORTS[0]
    issue = stage.github.open_issue(stage.repository, "rita", f"{title} again", body)
    await stage.github.hooks.settled()
    stage.github.hooks.switches.drop = False
    await execute(stage, "UPDATE periodic SET due_at = now() WHERE kind = 'sweep_deliveries'")
    await stage.until(lambda: stage.ours(issue), "the comment")
    await stage.quiet()
    async with stage.database.system() as connection:
        due = await connection.fetchval("SELECT due_at - now() FROM periodic WHERE kind = 'sweep_deliveries'")
    assert timedelta(minutes=3) < due <= timedelta(minutes=5)


async def test_every_kind_of_periodic_work_runs_and_says_so(stage):
    await stage.until(partial(scheduled, stage), "the schedule")
    await execute(stage, "UPDATE periodic SET due_at = now(), done_at = now() - interval '2 days'")
    stale = {key: value for key, value in (await shown(stage)).items() if key[0] == "periodic_age_seconds"}
    assert len(stale) == len(PERIODIC)

    async def done():
        ages = await stage.process.base.periodic.ages()
        return all(age < 86_400 for age in ages.values())

    await stage.until(done, "all kinds")


async def test_alarms_are_raised_by_what_they_are_about(stage):
    await stage.until(partial(scheduled, stage), "the schedule")
    quiet = await shown(stage)
    assert (quiet["stuck", "account"], quiet["stuck", "repository"]) == (0, 0)
    assert quiet["missed_deliveries", "given_up"] == 0
    assert quiet["github_answers_total", "200"] > 0
    assert abs(quiet["clock_skew_seconds",]) < 5
    assert ("queue_jobs", "backfill", "dead") not in quiet
    assert ("github_answers_total", "401") not in quiet

    await Jobs(stage.database).enqueue(NewJob("no such task", Lane.BACKFILL))
    await execute(stage, "UPDATE periodic SET done_at = now() - interval '16 minutes'")
    stage.github.hooks.switches.drop = True
    stage.github.open_issue(stage.repository, "rita", "One more", "that nobody hears of")
    await stage.github.hooks.settled()
    attempt = stage.github.hooks.attempts[-1]
    await execute(
        stage,
        "INSERT INTO missed_deliveries (id, attempt_id, event, answered, delivered_at, asked) VALUES ($1, 1, 'issues', false, now(), 6)",
        attempt.guid,
    )
    stage.sandbox.faults.append(
        Fault("GET", "/issues$", status=401, body='{"message": "Bad credentials"}', times=9)
    )
    row = await stage.row()
    job = NewJob("reconcile", Lane.BACKFILL, row.account_id, payload={"repository_id": row.id})
    await Jobs(stage.database).enqueue(job)
    await stage.until(lambda: refused(stage), "a refusal")
    await execute(
        stage, "UPDATE jobs SET enqueued_at = now() - interval '16 minutes' WHERE kind = 'reconcile'"
    )
    await execute(stage, "UPDATE jobs SET ended_at = now() - interval '16 minutes' WHERE state = 'done'")
    loud = await shown(stage)
    assert loud["queue_jobs", "backfill", "dead"] == 1
    assert loud["periodic_age_seconds", "sweep_deliveries"] > 900
    assert loud["missed_deliveries", "given_up"] == 1
    assert loud["github_answers_total", "401"] >= 1
    assert loud["stuck", "account"] == 1


async def refused(stage):
    return [job for job in await stage.jobs() if job[0] == "reconcile" and job[3]]


async def test_the_operator_reads_and_tries_again_what_died(stage):
    settings = stage.process.base.settings
    assert await bot.app.admin(settings, "jobs") == "no dead jobs"
    row = await stage.row()
    job = NewJob("no\x1b[31m such task", Lane.BACKFILL, row.account_id, payload={"repository_id": row.id})
    await Jobs(stage.database).enqueue(job)
    await stage.until(lambda: buried(stage), "the end of the job")
    text = await bot.app.admin(settings, "jobs", verb="list")
    assert text.startswith("1 dead jobs")
    assert f"{row.full_name}: no task is called no" in text
    assert "\x1b" not in text
    (found,) = await Jobs(stage.database).view()
    assert f"where     {row.full_name}, account {row.account_id}" in await bot.app.admin(
        settings, "jobs", verb="show", job_id=found.id
    )
    assert await bot.app.admin(settings, "jobs", verb="retry", job_id=found.id) == "1 jobs are ready again"
    await stage.until(lambda: buried(stage), "the end of the second try")
    assert await bot.app.admin(settings, "jobs", verb="retry") == "1 jobs are ready again"


async def buried(stage):
    return [job for job in await stage.jobs() if job[1] == "dead"]


@pytest.mark.parametrize(
    ("verb", "complaint"), [("show", "no job has"), ("retry", "no dead job"), ("bury", "no job that")]
)
async def test_an_id_that_is_none_is_told_in_one_line(stage, verb, complaint):
    with pytest.raises(SettingsError, match=complaint):
        await bot.app.admin(stage.process.base.settings, "jobs", verb=verb, job_id=99_999)


async def test_a_job_that_waits_is_ended(stage):
    await Jobs(stage.database).enqueue(NewJob("t", Lane.BACKFILL, after=3_600))
    async with stage.database.system() as connection:
        found = await connection.fetchval("SELECT id FROM jobs WHERE kind = 't'")
    settings = stage.process.base.settings
    assert await bot.app.admin(settings, "jobs", verb="bury", job_id=found) == f"job {found} is dead"
    assert "buried by the operator" in await bot.app.admin(settings, "jobs")


async def test_an_account_is_compared_with_github_on_demand(stage):
    settings = stage.process.base.settings
    stage.github.hooks.switches.drop = True
    issue = stage.github.open_issue(stage.repository, "rita", "Nobody heard of this", "at all")
    await stage.github.hooks.settled()
    assert (await bot.app.admin(settings, "reconcile", account="OCTO")).startswith("1 repositories will")
    await stage.quiet()
    assert await stage.stored(issue.number) is not None
    with pytest.raises(SettingsError, match="nobody has no repository"):
        await bot.app.admin(settings, "reconcile", account="nobody")


async def test_an_upgrade_indexes_what_had_no_room_and_is_audited(open_stage):
    stage = await open_stage(tier="free")
    settings = stage.process.base.settings
    repositories = [stage.new_repository(f"app{n}", reports=REPORTS[:1]) for n in range(4)]
    stage.repository = repositories[0]
    stage.installation = stage.github.install(stage.app, repositories[0].owner, repositories)
    await stage.quiet()
    told = await bot.app.admin(settings, "tier", account="OCTO", tier="pro")
    assert told == "octo has the tier pro: 4 repositories will be indexed, 0 have no room"
    await stage.indexed(repositories[3])
    told = await bot.app.admin(settings, "tier", account="octo", tier="free")
    assert told == "octo has the tier free: 0 repositories will be indexed, 1 have no room"
    account = repositories[0].owner.id
    lines = await Audit(stage.database).list(account, None, 9)
    assert [line.act.details for line in lines] == [
        {"from": "pro", "to": "free"},
        {"from": "free", "to": "pro"},
    ]
    assert {(line.act.actor, line.act.action, line.act.subject) for line in lines} == {
        (Actor.OPERATOR, "account.tier", "octo")
    }
    with pytest.raises(SettingsError, match="nobody is not an account"):
        await bot.app.admin(settings, "tier", account="nobody", tier="pro")
    with pytest.raises(SettingsError, match="gold: There is no such tier"):
        await bot.app.admin(settings, "tier", account="octo", tier="gold")


async def test_an_issue_that_is_deleted_leaves_an_index_that_rests_too(stage):
    account = stage.repository.owner.id
    await Accounts(stage.database).deactivate(account, stage.repository.id)
    quiet = await stage.report_again(0)
    assert stage.ours(quiet) == []
    stage.github.delete_issue(stage.repository, stage.repository.issues[2])
    await stage.quiet()
    assert await stage.stored(2) is None
    assert await stage.stored(3) is not None
