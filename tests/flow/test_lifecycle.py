import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

import bot.app
from bot.core.records import InstallationState, RepositoryState
from handlers import issues as handler
from handlers import target
from handlers.following import ARCHIVED
from storage.accounts import Accounts
from storage.issues import Issues
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
    assert not has_collection(stage, collection)
    calls = len(stage.sandbox.calls)
    await stage.report_again(1)
    assert len(stage.sandbox.calls) == calls


def has_collection(stage, name):
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
    stage.github.rename_repository(stage.repository, "renamed", told=False)
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


async def test_a_removed_repository_leaves_no_collection_and_no_raw_event(stage):
    await stage.report_again(0)
    collection = (await stage.row()).collection
    stage.github.remove_repositories(stage.installation, [stage.repository])
    await stage.quiet()
    assert not has_collection(stage, collection)
    await stage.make_due("purge_repository")
    await stage.quiet()
    async with stage.database.system() as connection:
        await connection.execute("UPDATE deliveries SET received_at = received_at - interval '5 minutes'")
    await stage.make_due("erase")
    await stage.quiet()
    async with stage.database.system() as connection:
        assert await connection.fetchval("SELECT count(*) FROM deliveries") > 0
        assert await connection.fetch("SELECT event, action FROM deliveries WHERE body <> ''") == []
        assert await connection.fetch("SELECT payload FROM jobs WHERE payload ? 'collection'") == []


async def test_a_repository_that_comes_back_before_its_collection_was_dropped_starts_empty(stage):
    row = await stage.row()
    stage.github.remove_repositories(stage.installation, [stage.repository])
    await stage.quiet()
    stage.repository.issues = {1: stage.repository.issues[1]}
    stage.github.add_repositories(stage.installation, [stage.repository])
    await stage.indexed()
    assert records(stage, row.collection) == 1
    # What was under way when it was removed came late: a record that no row knows.
    await Issues(stage.database).delete(*stage.key(), [1], datetime.now(UTC))
    await stage.make_due("purge_repository")
    await stage.quiet()
    assert (await stage.row()).collection == row.collection
    assert has_collection(stage, row.collection)
    assert records(stage, row.collection) == 0


def records(stage, name):
    """How many records Chroma has in a collection, asked of its own files."""
    (path,) = stage.process.base.settings.data_dir.glob("chroma/**/chroma.sqlite3")
    query = (
        "SELECT count(*) FROM embeddings JOIN segments ON segments.id = segment_id "
        "JOIN collections ON collections.id = collection WHERE name = ?"
    )
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        return connection.execute(query, (name,)).fetchone()[0]


async def test_a_deleted_repository_is_forgotten(stage):
    collection = (await stage.row()).collection
    stage.github.delete_repository(stage.repository)
    await stage.quiet()
    assert await stage.row() is None
    assert await stage.count() == 0
    assert not has_collection(stage, collection)


async def test_a_transferred_repository_leaves_its_old_account_at_once_and_starts_empty_in_the_new_one(stage):
    there = stage.new_repository("there", reports=REPORTS[:1])
    there.owner = stage.github.world.account("newhome", "Organization")
    stage.github.install(stage.app, there.owner, [there])
    await stage.indexed(there)
    old, before = stage.key(), await stage.row()
    stage.repository.issues = {1: stage.repository.issues[1]}
    stage.github.transfer_repository(stage.repository, there.owner)
    await stage.quiet()
    await stage.indexed()
    row = await stage.row()
    assert await Repositories(stage.database).get(*old) is None
    assert (row.account_id, row.owner, await stage.count()) == (there.owner.id, "newhome", 1)
    assert row.collection != before.collection
    assert not has_collection(stage, before.collection)


async def test_a_repository_that_was_given_to_somebody_without_the_app_is_forgotten(stage):
    old = stage.key()
    stage.github.transfer_repository(stage.repository, stage.github.world.account("stranger"))
    await stage.quiet()
    assert await Repositories(stage.database).get(*old) is None
    assert await Repositories(stage.database).list(old[0]) == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["in order", "swapped"])
@pytest.mark.parametrize("last", ["added", "removed"])
async def test_what_an_installation_sees_is_found_out_whatever_order_its_events_came_in(stage, last, order):
    other = stage.new_repository("other", reports=REPORTS[:1])
    stage.github.hooks.switches.drop = True
    if last == "removed":
        stage.github.add_repositories(stage.installation, [other])
        stage.github.remove_repositories(stage.installation, [other])
    else:
        stage.installation.repositories[other.id] = other
        stage.github.remove_repositories(stage.installation, [other])
        stage.github.add_repositories(stage.installation, [other])
    await stage.github.hooks.settled()
    stage.github.hooks.switches.drop = False
    events = stage.github.hooks.attempts[-2:]
    for n in order:
        stage.github.hooks.redeliver(stage.app, events[n].id)
        await stage.github.hooks.settled()
    await stage.until(lambda: worked(stage, events), "both events")
    await stage.make_due("follow_installation")
    if last == "added":
        await stage.indexed(other)
    await stage.quiet()
    assert (await stage.row(other) is not None) == (last == "added")
    assert await stage.count() == len(REPORTS)


async def worked(stage, events):
    """Whether the jobs of these deliveries are done or dead."""
    async with stage.database.system() as connection:
        return await connection.fetchval(
            "SELECT count(*) FROM jobs WHERE delivery_id = ANY($1::uuid[]) AND state IN ('done', 'dead')",
            [item.guid for item in events],
        ) == len(events)


async def test_an_archived_repository_keeps_its_index_and_is_not_written_to_until_it_is_back(stage):
    stage.github.archive_repository(stage.repository)
    await stage.quiet()
    row = await stage.row()
    assert (row.state, row.reason) == (RepositoryState.INACTIVE, ARCHIVED)
    assert has_collection(stage, row.collection)
    calls = len(stage.sandbox.calls)
    issue = await stage.report_again(0)
    assert (stage.ours(issue), len(stage.sandbox.calls)) == ([], calls)
    assert await stage.count() == len(REPORTS)
    stage.github.unarchive_repository(stage.repository)
    await stage.indexed()
    assert await stage.count() == len(REPORTS) + 1
    assert len(stage.ours(await stage.report_again(1))) == 1


async def test_an_archived_repository_leaves_its_place_and_waits_for_one_when_it_is_back(open_stage):
    stage = await open_stage(tier="free")
    many = [stage.new_repository(f"r{n}", reports=REPORTS[:1]) for n in range(4)]
    stage.repository = many[0]
    stage.installation = stage.github.install(stage.app, many[0].owner, many)
    await stage.quiet()
    (out,) = [item for item in many if (await stage.row(item)).state is RepositoryState.INACTIVE]
    other = next(item for item in many if item is not out)
    stage.github.archive_repository(other)
    await stage.indexed(out)
    stage.github.unarchive_repository(other)
    await stage.quiet()
    row = await stage.row(other)
    assert (row.state, "plan indexes 3" in row.reason) == (RepositoryState.INACTIVE, True)


async def test_names_and_visibility_follow_github(stage):
    collection = (await stage.row()).collection
    stage.github.rename_repository(stage.repository, "other")
    stage.github.set_private(stage.repository, private=True)
    await stage.quiet()
    row = await stage.row()
    assert (row.name, row.private, row.collection) == ("other", True, collection)
    stage.github.set_private(stage.repository, private=False)
    stage.github.rename_account(stage.repository.owner, "octopus")
    await stage.quiet()
    row = await stage.row()
    assert (row.full_name, row.private, row.collection) == ("octopus/other", False, collection)
    account = await Accounts(stage.database).account(stage.repository.owner.id)
    assert account.login == "octopus"
    assert len(stage.ours(await stage.report_again(0))) == 1


async def test_a_pin_is_no_work(stage):
    before = len(await stage.ended())
    stage.github.pin_issue(stage.repository, stage.repository.issues[3])
    await stage.quiet()
    assert stage.github.hooks.attempts[-1].status_code == 202
    assert len(await stage.ended()) == before


async def test_the_index_knows_of_locks(stage):
    issue = stage.repository.issues[3]
    for change, locked in ((stage.github.lock_issue, True), (stage.github.unlock_issue, False)):
        change(stage.repository, issue)
        await stage.quiet()
        assert (await stage.stored(3)).issue.locked is locked


async def test_deleting_our_comment_is_a_refusal(stage):
    issue = await stage.report_again(2)
    stage.github.delete_comment(
        stage.repository, issue, stage.ours(issue)[0], stage.github.world.account("will")
    )
    await stage.quiet()
    assert (await stage.effect(issue.number)).state == "cancelled"
    _, replies = await stage.command(issue, "tess", "/dejaview check")
    assert not any("- #3 " in body for body in replies)
    for n in (3, 4):
        stage.github.edit_issue(stage.repository, issue, title=REPORTS[n][0], body=REPORTS[n][1])
        await stage.quiet()
    assert not any("- #" in comment.body for comment in stage.ours(issue))
    assert (await stage.effect(issue.number)).state == "cancelled"


async def test_what_others_delete_is_not_kept(stage):
    issue = stage.repository.issues[3]
    comment = stage.github.comment(stage.repository, issue, "rita", "a secret")
    await stage.quiet()
    before = len(await stage.ended())
    stage.github.delete_comment(stage.repository, issue, comment)
    await stage.quiet()
    assert len(await stage.ended()) == before


async def test_an_issue_that_is_opened_again_is_no_duplicate_any_more(stage):
    first = await stage.report_again(9)
    await stage.command(first, "tess", "/dejaview duplicate of #10")
    assert await stage.marks() == {first.number: 10}
    stage.github.reopen_issue(stage.repository, first)
    await stage.quiet()
    assert await stage.marks() == {}
    stage.github.comment(stage.repository, first, "tess", "Duplicate of #4")
    stage.github.add_labels(stage.repository, first, ["bug"])
    await stage.quiet()
    assert await stage.marks() == {first.number: 4}


@pytest.mark.parametrize("since", ["closed", "labeled"])
async def test_an_old_reopening_does_not_take_a_mark_away(stage, since):
    issue = stage.repository.issues[3]
    stage.github.close_issue(stage.repository, issue)
    stage.github.reopen_issue(stage.repository, issue)
    old = stage.github.hooks.attempts[-1]
    await stage.quiet()
    stage.github.clock = lambda: issue.updated_at + timedelta(seconds=5)
    if since == "closed":
        stage.github.close_issue(stage.repository, issue, reason="duplicate")
    else:
        stage.github.add_labels(stage.repository, issue, ["bug"])
    stage.github.comment(stage.repository, issue, "tess", "Duplicate of #4")
    await stage.quiet()
    assert await stage.marks() == {3: 4}
    async with stage.database.system() as connection:
        await connection.execute(
            "UPDATE jobs SET state = 'ready', run_at = now() WHERE delivery_id = $1::uuid", old.guid
        )
    await stage.quiet()
    assert await stage.marks() == {3: 4}


async def test_closed_issues_leave_the_index_where_they_are_not_wanted(open_stage):
    stage = await open_stage()
    await stage.install(stage.new_repository(config=b"include:\n  closed: false\n"))
    collection, issue = (await stage.row()).collection, stage.repository.issues[3]
    stage.github.close_issue(stage.repository, issue)
    closed = stage.github.hooks.attempts[-1]
    await stage.quiet()
    assert await stage.stored(3) is None
    assert (await stage.count(), records(stage, collection)) == (len(REPORTS) - 1, len(REPORTS) - 1)
    assert stage.ours(await stage.report_again(2)) == []
    # An event from before it was closed does not bring it back: GitHub is asked.
    issue.state = "open"
    stage.github._about_issue(stage.repository, issue, "labeled", issue.author)
    issue.state = "closed"
    await stage.quiet()
    assert await stage.stored(3) is None
    stage.github.clock = lambda: issue.updated_at + timedelta(seconds=5)
    stage.github.reopen_issue(stage.repository, issue)
    await stage.quiet()
    assert (await stage.stored(3)).issue.state == "open"
    async with stage.database.system() as connection:
        await connection.execute(
            "UPDATE jobs SET state = 'ready', run_at = now() WHERE delivery_id = $1::uuid", closed.guid
        )
    await stage.quiet()
    assert (await stage.stored(3)).issue.state == "open"


async def test_a_deleted_issue_is_forgotten_where_others_were_compared_with_it(stage):
    issue = await stage.report_again(0)
    own = await stage.report_again(0, author="ron")
    assert "- #1 " in stage.ours(issue)[0].body
    stage.github.delete_issue(stage.repository, stage.repository.issues[1])
    stage.github.delete_issue(stage.repository, own)
    await stage.quiet()
    suggestion, effect = await stage.suggestion(issue.number), await stage.effect(issue.number)
    assert "1" not in suggestion.evidence
    assert 1 not in (*suggestion.likely, *suggestion.also)
    assert "#1 " not in effect.body
    assert REPORTS[0][0] not in effect.body
    assert "- #1 " not in stage.ours(issue)[0].body
    assert (await stage.suggestion(own.number), await stage.effect(own.number)) == (None, None)
    # An event that was overtaken finds a tombstone, and its raw body goes too.
    issue = stage.github.open_issue(stage.repository, "rita", *REPORTS[1])
    await stage.quiet()
    stage.github.delete_issue(stage.repository, issue)
    await stage.quiet()
    await stage.make_due("erase")
    await stage.quiet()
    stage.github._about_issue(stage.repository, issue, "opened", issue.author)
    await stage.quiet()
    assert await stage.stored(issue.number) is None
    await stage.make_due("erase")
    await stage.quiet()
    async with stage.database.system() as connection:
        rows = await connection.fetch(
            "SELECT event, action FROM deliveries JOIN jobs ON delivery_id = deliveries.id "
            "WHERE serial = $1 AND body <> ''",
            f"issue:{stage.repository.id}:{issue.number}",
        )
    assert rows == []


async def test_twenty_edits_in_a_row_are_few_decisions(stage, monkeypatch):
    issue = await stage.report_again(0)
    ranked = await decisions(stage)
    for n in range(20):
        stage.github.edit_issue(stage.repository, issue, body=f"{REPORTS[0][1]} Edited {n} times.")
    await stage.github.hooks.settled()
    await stage.until(lambda: deliveries_done(stage), "the edits")
    assert await decisions(stage) == ranked  # the issue was decided a moment ago
    assert [job[0] for job in await stage.jobs() if job[0] == "look_again"] == ["look_again"]
    await stage.quiet()
    assert await decisions(stage) == ranked + 1
    assert "Edited 19 times" in (await stage.stored(issue.number)).issue.body
    monkeypatch.setattr(handler, "BETWEEN_LOOKS", 0.0)
    stage.github.edit_issue(stage.repository, issue, body=REPORTS[0][1])
    await stage.quiet()
    assert await decisions(stage) == ranked + 2


async def decisions(stage):
    async with stage.database.account(stage.repository.owner.id) as connection:
        return await connection.fetchval("SELECT sum(amount) FROM usage WHERE metric = 'suggestions'")


async def deliveries_done(stage):
    async with stage.database.system() as connection:
        query = "SELECT count(*) FROM jobs WHERE kind = 'delivery' AND state IN ('ready', 'running')"
        return await connection.fetchval(query) == 0


async def test_two_comments_of_ours_on_one_issue_are_a_minute_apart(open_stage):
    stage = await open_stage(comment_gap=60.0)
    await stage.install(stage.new_repository())
    issue = await stage.report_again(0)
    stage.github.comment(stage.repository, issue, "tess", "/dejaview why #1")

    async def waits():
        return any("too young" in (job[3] or "") for job in await stage.jobs())

    await stage.until(waits, "the wait")
    assert len(stage.ours(issue)) == 1
    async with stage.database.account(stage.repository.owner.id) as connection:
        await connection.execute("UPDATE effects SET first_done_at = first_done_at - interval '2 minutes'")
    await stage.make_due("delivery")
    await stage.until(lambda: len(stage.ours(issue)) == 2, "the answer")


async def test_five_comments_a_day_are_the_end(stage):
    issue = await stage.report_again(0)
    for n in range(7):
        await stage.command(issue, "tess", f"/dejaview why #{n + 1}")
    assert len(stage.ours(issue)) == 5
    notes = [note for kind, _, note in await stage.ended() if kind == "delivery" and note]
    assert sum("of our comments today" in note for note in notes) == 3


async def test_a_bot_that_answers_every_comment_gets_no_answer(stage):
    issue = await stage.report_again(0)
    echo = stage.github.world.account("echo[bot]", "Bot")
    for n in range(10):
        stage.github.comment(stage.repository, issue, echo, f"/dejaview similar\n\nEcho {n}", stage.app)
        stage.github.comment(stage.repository, issue, echo, "/dejaview check")
    await stage.quiet()
    assert [item.body for item in stage.ours(issue) if item.author is not echo][1:] == []


async def test_a_flood_is_taken_and_drained(stage):
    taken = len(stage.github.hooks.attempts)
    for n in range(200):
        issue = stage.repository.issues[n % len(REPORTS) + 1]
        stage.github.add_labels(stage.repository, issue, [f"label{n}"])
    await stage.until(lambda: sent(stage, taken), "the flood", 60.0)
    await stage.quiet()
    assert [item.status_code for item in stage.github.hooks.attempts[taken:]] == [202] * 200
    for number in range(1, len(REPORTS) + 1):
        assert len((await stage.stored(number)).issue.labels) == 20
    assert await stage.count() == len(REPORTS)


def sent(stage, taken):
    return all(item.status != "pending" for item in stage.github.hooks.attempts[taken:])


async def test_what_another_process_purged_leaves_this_one_s_memory(open_stage, monkeypatch, caplog):
    monkeypatch.setattr(bot.app, "LET_GO_EVERY", 0.05)
    stage = await open_stage()
    await stage.install(stage.new_repository())
    await stage.quiet()
    repository = stage.repository
    await Accounts(stage.database).remove_repositories(repository.owner.id, [repository.id])

    def let_go():
        said = [item.msg for item in caplog.records if isinstance(item.msg, dict)]
        return [item["repository_ids"] for item in said if item["event"] == "let_go"]

    await stage.until(let_go, "that it is let go")
    assert let_go() == [[repository.id]]
