"""A downgrade deletes nothing at once, and what has no room goes when its notice is over."""

from datetime import timedelta

import asyncpg
import pytest

import bot.app
from bot.core.indexing import index_job
from bot.core.reconcile import reconcile_job
from bot.core.records import Lane, NewJob, RepositoryState
from bot.core.tiers import NOTICE, over_limit
from storage.accounts import Accounts
from storage.jobs import Jobs
from tests.flow.conftest import REPORTS
from tests.flow.test_lifecycle import records

CANARY = "zebrafish"
OVER = NOTICE + timedelta(days=1)


@pytest.fixture
async def stage(open_stage):
    """A service whose Free tier has room for one repository and four issues there, Pro for two and twelve."""
    stage = await open_stage(tier="pro")
    owner = await asyncpg.connect(stage.process.base.settings.database_url)
    await owner.execute("UPDATE tiers SET repositories = 1, issues = 4 WHERE name = 'free'")
    await owner.execute("UPDATE tiers SET repositories = 2, issues = 12 WHERE name = 'pro'")
    await owner.close()
    return stage


async def tier(stage, name):
    await bot.app.admin(stage.process.base.settings, "tier", account="octo", tier=name)
    await stage.quiet()


async def end_notices(stage, ahead=OVER):
    """What is done daily, on a later day."""
    stage.clock["ahead"] = ahead
    await Jobs(stage.database).enqueue(NewJob("end_notices", Lane.BACKFILL))
    await stage.quiet()
    stage.clock["ahead"] = None


async def two(stage):
    """Two indexed repositories, the second with a canary in its issues; gives the second."""
    first = stage.new_repository("first", reports=REPORTS[:1])
    second = stage.new_repository(
        "second", reports=[(f"{CANARY} {REPORTS[0][0]}", REPORTS[0][1]), *REPORTS[1:4]]
    )
    await stage.install(first)
    stage.github.add_repositories(stage.installation, [second])
    await stage.indexed(second)
    return second


async def told(stage, postgres):
    """Tables in which the canary stands, as text or as bytes, seen by somebody whom no policy binds."""
    async with stage.database.system() as connection:
        name = await connection.fetchval("SELECT current_database()")
    superuser = await asyncpg.connect(postgres.address(name, "postgres"))
    tables = await superuser.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    found = []
    for (table,) in tables:
        query = f"SELECT count(*) FROM {table} AS line WHERE line::text ILIKE ANY($1::text[])"
        if await superuser.fetchval(query, [f"%{CANARY}%", f"%{CANARY.encode().hex()}%"]):
            found.append(table)
    await superuser.close()
    return set(found)


async def test_what_is_frozen_is_kept_and_comes_back_as_github_is_by_then(stage):
    second = await two(stage)
    collection = (await stage.row(second)).collection
    await tier(stage, "free")
    frozen = await stage.row(second)
    limits = await Accounts(stage.database).tier(second.owner.id)
    assert (frozen.state, frozen.reason) == (
        RepositoryState.INACTIVE,
        over_limit(limits, frozen.frozen_at),
    )
    late = await stage.report_again(1, repository=second)
    stage.github.close_issue(second, second.issues[2], reason="completed")
    await stage.quiet()
    assert stage.ours(late) == []
    await end_notices(stage, NOTICE - timedelta(days=1))
    assert (await stage.count(second), records(stage, collection)) == (4, 4)
    await tier(stage, "pro")
    await stage.indexed(second)
    assert (await stage.row(second)).frozen_at is None
    assert (await stage.count(second), records(stage, collection)) == (5, 5)
    assert (await stage.stored(2, second)).issue.state == "closed"
    assert len(stage.ours(await stage.report_again(2, repository=second))) == 1


async def test_when_the_notice_is_over_the_contents_are_gone_and_the_row_is_listed(stage, postgres):
    second = await two(stage)
    await stage.report_again(0, repository=second, title=f"{REPORTS[0][0]}, {CANARY}")
    collection = (await stage.row(second)).collection
    assert {"issues", "deliveries"} <= await told(stage, postgres)
    await tier(stage, "free")
    await end_notices(stage)
    row = await stage.row(second)
    limits = await Accounts(stage.database).tier(second.owner.id)
    assert (row.state, row.reason, row.frozen_at) == (RepositoryState.INACTIVE, over_limit(limits), None)
    assert await told(stage, postgres) == set()
    assert records(stage, collection) == 0
    assert await stage.count() == 1, "the one that has its place is as it was"
    await tier(stage, "pro")
    await stage.indexed(second)
    assert (await stage.count(second), records(stage, collection)) == (5, 5)


async def test_room_before_the_notice_is_over_restores_what_was_frozen(stage):
    second = await two(stage)
    await tier(stage, "free")
    stage.github.remove_repositories(stage.installation, [stage.repository])
    await stage.indexed(second)
    await end_notices(stage)
    assert await stage.count(second) == 4


async def test_issues_beyond_the_new_limit_stay_for_the_notice_and_grow_no_more(stage):
    await stage.install(stage.new_repository())
    row = await stage.row()
    assert (await stage.count(), records(stage, row.collection)) == (10, 10)
    await tier(stage, "free")
    new = await stage.report_again(9)
    assert len(stage.ours(new)) == 1, "what it is compared with is still there"
    await Jobs(stage.database).enqueue(index_job(row))
    await stage.quiet()
    await Jobs(stage.database).enqueue(reconcile_job(row))
    await stage.quiet()
    await end_notices(stage, NOTICE - timedelta(days=1))
    assert (await stage.count(), records(stage, row.collection)) == (10, 10)
    assert await stage.stored(new.number) is not None
    await end_notices(stage)
    row = await stage.row()
    assert (await stage.count(), records(stage, row.collection), row.issues_indexed) == (4, 4, 4)
    assert await stage.stored(new.number) is not None
    assert (await Accounts(stage.database).tier(row.account_id)).shrunk_at is None
    await tier(stage, "pro")
    await stage.until(lambda: full(stage, 11), "the index of all")


async def full(stage, issues):
    return await stage.count() == issues


async def test_the_next_issue_after_the_notice_trims_where_nothing_else_did(stage):
    await stage.install(stage.new_repository())
    await tier(stage, "free")
    async with stage.database.system() as connection:
        await connection.execute("UPDATE accounts SET shrunk_at = shrunk_at - $1::interval", OVER)
    await stage.report_again(0)
    assert (await stage.count(), records(stage, (await stage.row()).collection)) == (4, 4)


async def test_what_is_frozen_has_its_own_notice(stage):
    second = await two(stage)
    await stage.report_again(1, repository=second)
    await tier(stage, "free")
    async with stage.database.system() as connection:
        await connection.execute("UPDATE accounts SET shrunk_at = shrunk_at - $1::interval", OVER)
    await end_notices(stage, ahead=None)
    assert await stage.count(second) == 5


async def test_a_downgrade_while_the_trimming_waits_begins_a_new_notice(stage):
    await stage.install(stage.new_repository())
    await tier(stage, "free")
    row = await stage.row()
    trim = NewJob(
        "trim_repository", Lane.BACKFILL, account_id=row.account_id, payload={"repository_id": row.id}
    )
    await Jobs(stage.database).enqueue(trim)
    await stage.quiet()
    assert await stage.count() == 10


async def test_an_index_that_is_full_already_is_read_to_its_end(stage):
    """What changed unseen is found there, though nothing more has room."""
    await stage.install(stage.new_repository(reports=REPORTS[:4]))
    await tier(stage, "free")
    stage.github.hooks.switches.drop = True
    stage.github.close_issue(stage.repository, stage.repository.issues[2], reason="completed")
    await stage.github.hooks.settled()
    await Jobs(stage.database).enqueue(index_job(await stage.row()))
    await stage.quiet()
    assert (await stage.stored(2)).issue.state == "closed"
