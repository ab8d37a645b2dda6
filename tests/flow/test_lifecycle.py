import sqlite3

import pytest

from bot.core.records import InstallationState, RepositoryState
from handlers import target
from storage.accounts import Accounts
from storage.repositories import Repositories

from .conftest import REPORTS


async def state(stage):
    found = await Accounts(stage.database).installation(stage.installation.id)
    return found.state if found else None


async def test_uninstalling_forgets_everything(stage):
    await stage.report_again(0)
    collection = (await stage.row()).collection
    stage.github.uninstall(stage.installation)
    await stage.quiet()
    assert await stage.row() is None
    assert await stage.count() == 0
    assert await state(stage) is None
    assert not await has_collection(stage, collection)
    calls = len(stage.sandbox.calls)
    await stage.report_again(1)
    assert len(stage.sandbox.calls) == calls


async def has_collection(stage, name):
    """Whether Chroma still has a collection, asked of its own files."""
    (path,) = stage.process.base.settings.data_dir.glob("chroma/**/chroma.sqlite3")
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        return (
            connection.execute("SELECT count(*) FROM collections WHERE name = ?", (name,)).fetchone()[0] > 0
        )


async def test_a_removal_that_overtakes_its_installation_wins(open_stage):
    stage = await open_stage()
    repository = stage.new_repository()
    stage.github.hooks.switches.drop = True
    stage.repository, stage.installation = (
        repository,
        stage.github.install(stage.app, repository.owner, [repository]),
    )
    await stage.github.hooks.settled()
    created = stage.github.hooks.attempts[-1]
    stage.github.hooks.switches.drop = False
    stage.github.uninstall(stage.installation)
    await stage.quiet()
    stage.github.hooks.redeliver(stage.app, created.id)
    await stage.quiet()
    assert await stage.row() is None


async def test_suspension_stops_everything_until_it_ends(stage):
    stage.github.suspend(stage.installation)
    await stage.quiet()
    assert await state(stage) is InstallationState.SUSPENDED
    issue = stage.github.seed_issue(stage.repository, f"{REPORTS[0][0]} again", REPORTS[0][1], "rita")
    stage.installation.suspended = False  # a delivery that was under way
    stage.github._about_issue(stage.repository, issue, "opened", issue.author)
    stage.installation.suspended = True
    await stage.quiet()
    assert stage.ours(issue) == []
    stage.github.unsuspend(stage.installation)
    await stage.quiet()
    assert await state(stage) is InstallationState.ACTIVE
    assert await stage.stored(issue.number) is not None
    assert stage.ours(issue) == []  # what was opened meanwhile is indexed, and not commented on


async def test_a_suspension_that_only_calls_show_parks_the_work(stage):
    stage.installation.suspended = True
    issue = stage.github.seed_issue(stage.repository, f"{REPORTS[0][0]} again", REPORTS[0][1], "rita")
    stage.github.tokens.revoke(stage.installation.id)
    stage.installation.suspended = False
    stage.github._about_issue(stage.repository, issue, "opened", issue.author)
    stage.installation.suspended = True
    await stage.quiet()
    assert await state(stage) is InstallationState.SUSPENDED
    calls = len(stage.sandbox.calls)
    stage.installation.suspended = False
    stage.github.comment(stage.repository, issue, "tess", "/dejaview why #1")
    await stage.quiet()
    assert len(stage.sandbox.calls) == calls


async def test_a_permission_that_is_missing_parks_until_it_is_accepted(stage):
    stage.github.tokens.revoke(stage.installation.id)
    stage.installation.permissions = {"metadata": "read", "contents": "read"}
    issue = await stage.report_again(0)
    assert await state(stage) is InstallationState.NEEDS_PERMISSION
    stage.github.accept_permissions(stage.installation, stage.app.permissions)
    await stage.quiet()
    assert await state(stage) is InstallationState.ACTIVE
    again = await stage.report_again(1)
    assert (stage.ours(issue), len(stage.ours(again))) == ([], 1)


async def test_repositories_come_and_go(stage):
    other = stage.new_repository("other", reports=REPORTS[:3])
    stage.github.add_repositories(stage.installation, [other])
    await stage.indexed(other)
    assert await stage.count(other) == 3
    stage.github.remove_repositories(stage.installation, [other])
    await stage.quiet()
    assert await stage.row(other) is None
    assert await stage.count(other) == 0
    assert await stage.count() == len(REPORTS)


async def test_two_repositories_never_mix(stage):
    other = stage.new_repository("other", reports=REPORTS[:1])
    stage.github.add_repositories(stage.installation, [other])
    await stage.indexed(other)
    issue = await stage.report_again(5, repository=other)
    assert stage.ours(issue) == []
    issue = await stage.report_again(0, repository=other)
    assert "#1 " in stage.ours(issue)[0].body


async def test_a_free_account_gets_three_repositories_and_a_hundred_issues(open_stage):
    stage = await open_stage(tier="free")
    many = [(f"Problem {n} with part{n}", f"It fails in case{n}") for n in range(130)]
    first = stage.new_repository("first", reports=many)
    for issue in list(first.issues.values())[:60]:
        issue.state, issue.state_reason = "closed", "completed"
    others = [stage.new_repository(f"other{n}", reports=REPORTS[:1]) for n in range(4)]
    stage.repository = first
    stage.installation = stage.github.install(stage.app, first.owner, [first, *others])
    await stage.quiet()
    found = await Repositories(stage.database).list(first.owner.id)
    assert [item.state for item in found].count(RepositoryState.ACTIVE) == 3
    assert {item.reason for item in found if item.state is RepositoryState.INACTIVE} == {
        "The Free plan indexes 3 repositories; remove one here or upgrade."
    }
    row = await stage.row()
    assert (await stage.count(), row.issues_total, row.issues_left_out) == (100, 130, 30)
    kept = [number for number in first.issues if await stage.stored(number)]
    assert set(range(61, 131)) <= set(kept)  # all open ones
    stage.github.remove_repositories(stage.installation, [others[0]])
    await stage.quiet()
    states = [item.state for item in await Repositories(stage.database).list(first.owner.id)]
    assert states.count(RepositoryState.ACTIVE) == 3


async def test_pull_requests_only_where_the_repository_asks_for_them(open_stage):
    stage = await open_stage()
    repository = stage.new_repository()
    stage.github.seed_issue(
        repository, "Fix the settings dialog", "Handles the broken pipe", "ann", is_pull_request=True
    )
    await stage.install(repository)
    assert await stage.count() == len(REPORTS)
    asking = stage.new_repository("asking", config=b"include:\n  pull_requests: true\n")
    stage.github.seed_issue(
        asking, "Fix the settings dialog", "Handles the broken pipe", "ann", is_pull_request=True
    )
    stage.github.add_repositories(stage.installation, [asking])
    await stage.indexed(asking)
    assert await stage.count(asking) == len(REPORTS) + 1


async def test_a_renamed_repository_is_known_by_its_id(stage):
    collection = (await stage.row()).collection
    stage.github.rename_repository(stage.repository, "renamed")
    issue = await stage.report_again(0)
    assert len(stage.ours(issue)) == 1
    row = await stage.row()
    assert (row.name, row.collection) == ("renamed", collection)


async def test_an_installation_of_hundreds_is_acknowledged_and_limited(open_stage):
    stage = await open_stage(tier="free")
    repository = stage.new_repository()
    others = [stage.github.create_repository("octo", f"many{n}") for n in range(500)]
    stage.repository = repository
    stage.installation = stage.github.install(stage.app, repository.owner, [repository, *others])
    await stage.quiet()
    found = await Repositories(stage.database).list(repository.owner.id)
    assert len(found) == 501
    assert sum(item.state is RepositoryState.INACTIVE for item in found) == 498


async def test_a_foreign_repository_in_an_event_is_refused(stage, monkeypatch):
    monkeypatch.setattr(target, "UNKNOWN_WAITS", 0)
    issue = stage.repository.issues[1]
    stranger = stage.github.create_repository("evil", "repo")
    stranger.issues = {1: issue}
    stage.installation.repositories[stranger.id] = stranger
    stage.github._about_issue(stranger, issue, "opened", issue.author)
    await stage.quiet()
    assert (await stage.ended())[-1][1:] == (
        "dead",
        f"repository {stranger.id} does not belong to installation {stage.installation.id}",
    )


@pytest.mark.parametrize("action", ["closed", "reopened", "labeled", "unlabeled"])
async def test_the_index_follows_an_issue(stage, action):
    issue = stage.repository.issues[3]
    stage.github.close_issue(stage.repository, issue, reason="not_planned")
    if action == "reopened":
        stage.github.reopen_issue(stage.repository, issue)
    if action in ("labeled", "unlabeled"):
        stage.github.add_labels(stage.repository, issue, ["bug"])
    if action == "unlabeled":
        stage.github.remove_label(stage.repository, issue, "bug")
    await stage.quiet()
    stored = (await stage.stored(3)).issue
    assert (stored.state, stored.labels) == (issue.state, tuple(issue.labels))
