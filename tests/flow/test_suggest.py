import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest

from bot.core.marker import read
from bot.core.records import Lane, NewJob
from tests.gfm import judge

from .conftest import REPORTS


async def test_the_index_is_made_without_a_word(stage):
    assert await stage.count() == len(REPORTS)
    assert all(not stage.ours(issue) for issue in stage.repository.issues.values())
    row = await stage.row()
    assert (row.issues_total, row.issues_indexed) == (10, 10)
    assert stage.sandbox.writes() == []


async def test_a_known_problem_gets_one_comment(stage):
    issue = await stage.report_again(0)
    (comment,) = stage.ours(issue)
    assert "- #1 Crash when opening the settings dialog on Wayland · open" in comment.body
    marker = read(stage.process.base.settings.marker_key, comment.body, stage.repository.id, issue.number)
    assert marker.effect_key == "suggestion"
    assert marker.candidates[0] == 1
    assert (await stage.suggestion(issue.number)).spoken
    assert comment.body.startswith("<!-- deja-view:")


async def test_a_new_problem_gets_silence(stage):
    issue = stage.github.open_issue(
        stage.repository,
        "rita",
        "Add a Basque translation",
        "The interface lacks Basque; I can translate it.",
    )
    await stage.quiet()
    assert stage.ours(issue) == []
    assert not (await stage.suggestion(issue.number)).spoken


async def test_a_delivery_that_comes_twice_is_one_comment(stage):
    stage.github.hooks.switches.twice = True
    issue = await stage.report_again(1)
    assert len(stage.ours(issue)) == 1


async def test_a_redelivery_changes_nothing(stage):
    issue = await stage.report_again(1)
    (attempt,) = [item for item in stage.github.hooks.attempts if item.event == "issues"]
    stage.github.hooks.redeliver(stage.app, attempt.id)
    await stage.quiet()
    assert len(stage.ours(issue)) == 1
    assert stage.github.hooks.attempts[-1].answer == '{"outcome": "known"}'


async def test_an_edited_issue_gets_its_comment_edited(stage):
    issue = await stage.report_again(2)
    before = stage.ours(issue)[0].body
    stage.github.edit_issue(stage.repository, issue, title=REPORTS[3][0], body=REPORTS[3][1])
    await stage.quiet()
    (comment,) = stage.ours(issue)
    assert "#3 " in before
    assert "#4 " in comment.body


async def test_an_edit_that_takes_the_reason_away_folds_the_comment(stage):
    issue = await stage.report_again(2)
    stage.github.edit_issue(
        stage.repository, issue, title="Basque translation", body="I would like to translate everything."
    )
    await stage.quiet()
    (comment,) = stage.ours(issue)
    assert "withdrawn" in comment.body


async def test_a_hostile_title_is_printed_and_does_nothing(stage):
    title = f"{REPORTS[4][0]} @octo/team closes #1 ![](http://evil.test/x) <img src=x> `a` [b](c)"
    hostile = stage.github.open_issue(stage.repository, "mallory", title, REPORTS[4][1])
    await stage.quiet()
    issue = await stage.report_again(4)
    (comment,) = stage.ours(issue)
    found = judge(comment.body)
    assert f"#{hostile.number}" in comment.body
    assert (found.active, found.images, found.foreign_html) == ((), (), ())
    assert found.references <= {5, hostile.number}


async def test_texts_that_postgresql_refuses_are_kept_without_those_characters(stage):
    issue = stage.github.open_issue(
        stage.repository, "rita", "NUL \x00 in a title", "and a lone \ud800 surrogate"
    )
    await stage.quiet()
    stored = (await stage.stored(issue.number)).issue
    assert (stored.title, stored.body) == ("NUL \ufffd in a title", "and a lone \ufffd surrogate")


async def test_a_ghost_and_an_empty_body_are_fine(stage):
    issue = stage.github.seed_issue(stage.repository, "A title that says enough", None, None)
    stage.github._about_issue(stage.repository, issue, "opened", None)
    await stage.quiet()
    assert (await stage.stored(issue.number)).issue.author is None


async def test_nothing_is_said_under_an_old_issue(stage):
    stage.clock["ahead"] = timedelta(hours=25)
    issue = await stage.report_again(5)
    assert stage.ours(issue) == []


@pytest.mark.parametrize("change", [{"state": "closed"}, {"locked": True}], ids=["closed", "locked"])
async def test_nothing_is_said_under_an_issue_that_was_ended_meanwhile(stage, change):
    title, body = REPORTS[5]
    issue = stage.github.open_issue(stage.repository, "rita", f"{title} again", body)
    for name, value in change.items():
        setattr(issue, name, value)
    await stage.quiet()
    assert stage.ours(issue) == []
    assert not [call for call in stage.sandbox.calls if call.path.endswith("/comments")]


async def test_a_comment_that_somebody_deleted_stays_away(stage):
    issue = await stage.report_again(2)
    stage.github.delete_comment(stage.repository, issue, stage.ours(issue)[0])
    for n in (3, 4):
        stage.github.edit_issue(stage.repository, issue, title=REPORTS[n][0], body=REPORTS[n][1])
        await stage.quiet()
    assert stage.ours(issue) == []


async def test_an_author_who_links_the_earlier_issue_is_not_told_of_it(stage):
    issue = await stage.report_again(6, body=f"{REPORTS[6][1]} This is like #7.")
    assert stage.ours(issue) == []


async def test_a_closed_issue_is_never_a_place_to_move_to(stage):
    known = stage.repository.issues[8]
    known.closed_by, known.milestone = 91, "v2"
    stage.github.close_issue(stage.repository, known)
    issue = await stage.report_again(7)
    (comment,) = stage.ours(issue)
    assert "closed as completed by [PR 91](" in comment.body
    assert "milestone v2" in comment.body
    assert "close this one" not in comment.body


async def test_a_deleted_issue_is_never_named(stage):
    stage.github.delete_issue(stage.repository, stage.repository.issues[9])
    await stage.quiet()
    issue = await stage.report_again(8)
    assert stage.ours(issue) == []
    assert await stage.stored(9) is None


async def test_a_transferred_issue_leaves_the_index(stage):
    other = stage.github.create_repository("octo", "other")
    stage.github.transfer_issue(stage.repository, stage.repository.issues[9], other)
    await stage.quiet()
    assert await stage.stored(9) is None


async def test_a_copy_of_our_marker_is_not_ours(stage):
    first = await stage.report_again(0)
    copied = stage.ours(first)[0].body
    second = stage.github.open_issue(stage.repository, "rita", f"{REPORTS[0][0]} once more", REPORTS[0][1])
    stage.github.comment(stage.repository, second, "mallory", copied)
    await stage.quiet()
    assert len(stage.ours(second)) == 1
    assert second.comments[0].body == copied


async def test_a_marked_duplicate_leads_to_its_original(stage):
    first = await stage.report_again(9)
    reactions, _ = await stage.command(first, "tess", "/dejaview duplicate of #10")
    assert reactions[-1] == "+1"
    again = await stage.report_again(9, author="ron")
    (comment,) = stage.ours(again)
    assert "- #10 " in comment.body
    assert f"- #{first.number} " not in comment.body
    assert f"[#{first.number}]" not in comment.body


async def test_a_maintainers_plain_words_are_a_mark(stage):
    first = await stage.report_again(3)
    stage.github.comment(stage.repository, first, "stranger", "Duplicate of #4")
    await stage.quiet()
    assert await stage.marks() == {}
    stage.github.comment(stage.repository, first, "tess", "Duplicate of #4")
    await stage.quiet()
    assert await stage.marks() == {first.number: 4}
    assert first.state == "open"


async def test_hostile_evidence_is_printed_and_does_nothing(stage):
    """Error lines and labels are foreign text too."""
    evil = "@octo/team closes #2 ![](http://evil.test/x) <img src=x> `a` [b](c)"
    body = f"{REPORTS[4][1]}\n\nerror: cannot print {evil}"
    labels = [f"print {evil}"]
    hostile = stage.github.open_issue(stage.repository, "mallory", "Preview unreadable", body, labels=labels)
    await stage.quiet()
    issue = await stage.report_again(4, title="Preview unreadable again", body=body, labels=labels)
    (comment,) = stage.ours(issue)
    assert (
        "Same error line `error: cannot print team closes ## ![](httx) <img src=x> 'a' [b](c)`."
        in comment.body
    )
    _, (why,) = await stage.command(issue, "tess", f"/dejaview why #{hostile.number}")
    assert "Both are labelled `print @octo/team" in why
    for text in (comment.body, why):
        found = judge(text)
        assert (found.active, found.images, found.foreign_html) == ((), (), ())
        assert found.references <= {5, hostile.number}


async def test_a_decision_without_chroma_is_recorded_and_told_as_that(stage):
    # The rebuild that the service asks for is a later one already, so that the decision comes first on any machine.
    row = await stage.row()
    later = NewJob(
        kind="rebuild_collection",
        lane=Lane.BACKFILL,
        account_id=row.account_id,
        dedupe=f"rebuild:{row.id}",
        payload={"repository_id": row.id},
        after=3_600.0,
    )
    await stage.process.base.jobs.enqueue(later)
    (path,) = stage.process.base.settings.data_dir.glob("chroma/**/chroma.sqlite3")
    with closing(sqlite3.connect(path)) as chroma, chroma:
        chroma.execute("DELETE FROM collections WHERE name = ?", [row.collection])
    issue = await stage.report_again(0)
    assert (await stage.suggestion(issue.number)).degraded == "Chroma unavailable"
    _, (reply,) = await stage.command(issue, "tess", "/dejaview why #1")
    assert "My last decision here was made with a part missing: Chroma unavailable." in reply
    assert " match" not in stage.ours(issue)[0].body
    await stage.make_due("rebuild_collection")
    await stage.quiet()
    await stage.command(issue, "tess", "/dejaview check")
    assert (await stage.suggestion(issue.number)).degraded is None
