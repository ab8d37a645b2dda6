"""What is renamed, or not shown yet, while work about it is under way."""

import pytest

from bot.sandbox.faults import Fault

from .conftest import REPORTS


def opened_and_renamed(stage, *, taken):
    """Somebody reports a known problem, and the repository is renamed before the event arrives; gives issue and squatter."""
    title, body = REPORTS[0]
    issue = stage.github.open_issue(stage.repository, "rita", f"{title} again", body)
    stage.github.rename_repository(stage.repository, "moved", told=False)
    squatter = stage.github.create_repository("octo", "app") if taken else None
    for n in range(issue.number if squatter else 0):
        stage.github.seed_issue(squatter, f"Something else {n}")
    return issue, squatter


@pytest.mark.parametrize("taken", [False, True], ids=["free", "taken"])
async def test_a_comment_finds_a_repository_that_was_renamed_meanwhile(stage, taken):
    issue, squatter = opened_and_renamed(stage, taken=taken)
    await stage.quiet()
    assert len(stage.ours(issue)) == 1
    assert (await stage.row()).name == "moved"
    if squatter is not None:
        assert all(item.comments == [] for item in squatter.issues.values())


async def test_an_event_from_before_the_rename_does_not_bring_the_old_name_back(stage):
    issue, _ = opened_and_renamed(stage, taken=True)
    await stage.quiet()
    (attempt,) = [item for item in stage.github.hooks.attempts if item.event == "issues"]
    async with stage.database.system() as connection:
        await connection.execute(
            "UPDATE jobs SET state = 'ready', run_at = now() WHERE delivery_id = $1::uuid", attempt.guid
        )
    await stage.quiet()
    assert len(stage.ours(issue)) == 1
    assert (await stage.row()).name == "moved"


async def test_an_index_goes_on_under_the_new_name(open_stage):
    stage = await open_stage()
    repository = stage.new_repository()
    stage.repository = repository
    stage.installation = stage.github.install(stage.app, repository.owner, [repository])
    stage.github.rename_repository(repository, "moved", told=False)
    await stage.indexed()
    row = await stage.row()
    assert (row.name, await stage.count()) == ("moved", len(REPORTS))


async def test_a_repository_that_is_seen_no_more_is_left_alone(stage):
    title, body = REPORTS[0]
    issue = stage.github.open_issue(stage.repository, "rita", f"{title} again", body)
    del stage.installation.repositories[stage.repository.id]
    stage.github.tokens.revoke(stage.installation.id)

    async def given_up():
        await stage.make_due("delivery")
        return (await stage.ended())[-1][1] == "done"

    await stage.until(given_up, "the end")
    assert stage.ours(issue) == []
    assert (await stage.row()).name == "app"


async def test_a_command_that_a_replica_does_not_show_yet_is_run(stage):
    issue = await stage.report_again(0)
    stage.sandbox.faults.append(
        Fault("GET", r"/issues/comments/\d+$", status=404, body='{"message": "Not Found"}')
    )
    reactions, _ = await stage.command(issue, "tess", "/dejaview duplicate of #1")
    assert reactions == ["eyes", "+1"]
    assert issue.state == "closed"


async def test_a_refusal_names_an_issue_without_linking_it(stage):
    issue = await stage.report_again(0)
    _, (reply,) = await stage.command(issue, "tess", "/dejaview why #999")
    assert "issue 999" in reply
    assert "#999" not in reply.partition("<details>")[0]
