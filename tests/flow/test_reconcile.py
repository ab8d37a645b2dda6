"""What no event ever told is found by comparing with GitHub, and never commented on."""

from datetime import timedelta

from bot.core.reconcile import reconcile_job
from bot.core.records import Lane, NewJob
from storage.jobs import Jobs

from .conftest import REPORTS


async def reconcile(stage):
    await Jobs(stage.database).enqueue(reconcile_job(await stage.row()))
    await stage.quiet()


def silently(stage, n):
    """Somebody opens issues and no webhook tells of it."""
    stage.github.hooks.switches.drop = True
    return [
        stage.github.open_issue(
            stage.repository, f"rita-{i}", f"{REPORTS[i % 10][0]} again, case {i}", REPORTS[i % 10][1]
        )
        for i in range(n)
    ]


def listings(stage):
    return sum(
        call.method == "GET" and call.path.endswith("/octo/app/issues") for call in stage.sandbox.calls
    )


async def test_a_hundred_issues_that_no_event_told_of_are_indexed_and_none_is_commented_on(stage):
    issues = silently(stage, 100)
    await stage.github.hooks.settled()
    before = listings(stage)
    await reconcile(stage)
    assert await stage.count() == len(REPORTS) + 100
    stored = [await stage.stored(issue.number) for issue in issues]
    assert [item.issue.number for item in stored if item.text_vector is None] == []
    assert [issue.number for issue in issues if stage.ours(issue)] == []
    assert stage.sandbox.writes() == []
    assert listings(stage) - before <= 3
    stage.github.hooks.switches.drop = False
    again = await stage.report_again(0, title=issues[42].title, body=issues[42].body)
    assert f"#{issues[42].number} " in stage.ours(again)[0].body


async def test_only_what_changed_since_is_listed(stage):
    for issue in stage.repository.issues.values():
        issue.updated_at -= timedelta(days=30)
    stage.repository.issues[7].title = "Older than the last time: nobody asks for it"
    stage.github.hooks.switches.drop = True
    stage.github.edit_issue(stage.repository, stage.repository.issues[3], title="Another title altogether")
    await stage.github.hooks.settled()
    await reconcile(stage)
    assert (await stage.stored(3)).issue.title == "Another title altogether"
    assert (await stage.stored(7)).issue.title == REPORTS[6][0]


async def test_what_was_deleted_or_moved_in_silence_leaves_the_index(stage):
    other = stage.new_repository("other", reports=REPORTS[:1])
    stage.github.hooks.switches.drop = True
    stage.github.delete_issue(stage.repository, stage.repository.issues[2])
    stage.github.transfer_issue(stage.repository, stage.repository.issues[4], other)
    await stage.github.hooks.settled()
    await reconcile(stage)
    assert (await stage.stored(2), await stage.stored(4)) == (None, None)
    assert await stage.count() == len(REPORTS) - 2


async def test_nothing_is_looked_for_one_by_one_while_the_numbers_agree(stage):
    await reconcile(stage)
    assert [call for call in stage.sandbox.calls if call.path.split("/")[-1].isdecimal()] == []


async def test_a_closed_issue_leaves_where_only_open_ones_are_wanted(open_stage):
    stage = await open_stage()
    await stage.install(stage.new_repository(config=b"include:\n  closed: false\n"))
    stage.github.hooks.switches.drop = True
    stage.github.close_issue(stage.repository, stage.repository.issues[5])
    await stage.github.hooks.settled()
    await reconcile(stage)
    assert await stage.stored(5) is None
    assert await stage.count() == len(REPORTS) - 1


async def test_an_end_of_a_suspension_brings_in_what_was_missed_without_indexing_anew(stage):
    stage.github.suspend(stage.installation)
    await stage.quiet()
    issue = stage.github.open_issue(stage.repository, "rita", f"{REPORTS[0][0]} again", REPORTS[0][1])
    stage.github.unsuspend(stage.installation)
    await stage.quiet()
    assert (await stage.stored(issue.number)).text_vector is not None
    assert stage.ours(issue) == []
    kinds = [kind for kind, _, _ in await stage.ended()]
    assert (kinds.count("index_repository"), kinds.count("reconcile")) == (1, 1)


async def test_each_night_every_active_repository_has_its_turn(stage):
    await Jobs(stage.database).enqueue(NewJob("reconcile_all", Lane.BACKFILL))
    await stage.until(lambda: waiting(stage), "the night's jobs")
    await stage.make_due("reconcile")
    await stage.quiet()
    assert ("reconcile", "done", None) in await stage.ended()


async def waiting(stage):
    return "reconcile" in {kind for kind, *_ in await stage.jobs()}


async def test_the_collection_is_compared_when_the_rows_are_up_to_date(stage):
    await reconcile(stage)
    done = [kind for kind, state, _ in await stage.ended() if state == "done"]
    assert done.index("reconcile") < done.index("verify_collection")
