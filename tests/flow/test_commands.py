import re

import pytest

from bot.sandbox.faults import Fault
from handlers import issue_comment
from storage.marks import Marks
from tests.gfm import judge

from .conftest import REPORTS

EVERYBODY = ("tess", "will", "anna")


@pytest.fixture
async def issue(stage):
    """A reported duplicate with our comment, opened by rita."""
    return await stage.report_again(0)


async def test_a_command_is_acknowledged(stage, issue):
    reactions, replies = await stage.command(issue, "tess", "/dejaview why #1")
    assert reactions == ["eyes", "+1"]
    (reply,) = replies
    assert "scores **" in reply
    assert "| **score** |" in reply


async def test_why_tells_reasons_and_what_was_left_out(stage):
    body = f"> me too\n- [x] searched\n{REPORTS[9][1]}\n@octo/team"
    issue = await stage.report_again(9, body=body)
    _, (reply,) = await stage.command(issue, "tess", "/dejaview why #10")
    assert "- Same error line `error: syntax error at or near NULLS NOT DISTINCT." in reply
    assert "- Almost the same title." in reply
    assert "before its meaning was compared: quoted lines 1, check boxes 1." in reply
    assert "- quoted lines: `> me too`" in reply
    assert "How probable that makes it is not calibrated yet." in reply
    assert "%" not in reply
    assert "missing" not in reply
    found = judge(reply)
    assert (found.active, found.foreign_html, found.references) == ((), (), {10})


@pytest.mark.parametrize("who", ["stranger", "ron"])
async def test_a_stranger_gets_a_reaction_and_no_comment(stage, issue, who):
    for text in (
        "/dejaview duplicate of #1",
        "/dejaview why #1",
        "/dejaview check",
        "/dejaview index refresh",
        "/dejaview nonsense",
    ):
        assert await stage.command(issue, who, text) == (["confused"], [])
    assert issue.state == "open"


async def test_anybody_may_ask_for_help_once_an_hour(stage, issue):
    reactions, replies = await stage.command(issue, "stranger", "/dejaview help")
    assert (reactions[-1], len(replies)) == ("+1", 1)
    reactions, replies = await stage.command(issue, "ron", "/dv help")
    assert (reactions[-1], replies) == ("+1", [])


@pytest.mark.parametrize("who", [*EVERYBODY, "rita"])
async def test_who_may_close_as_a_duplicate(stage, issue, who):
    reactions, replies = await stage.command(issue, who, "/dejaview duplicate of #1")
    assert (reactions, replies) == (["eyes", "+1"], [])
    assert (issue.state, issue.state_reason, issue.duplicate_of, issue.labels) == (
        "closed",
        "duplicate",
        1,
        ["duplicate"],
    )
    assert await stage.marks() == {issue.number: 1}


async def test_it_resolves_to_the_original(stage, issue):
    await stage.command(issue, "tess", "/dejaview duplicate of #1")
    second = await stage.report_again(
        0, author="ron", title="Settings dialog crash", body="wl_display_dispatch: Broken pipe"
    )
    await stage.command(second, "tess", f"/dejaview duplicate of #{issue.number}")
    assert second.duplicate_of == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/dejaview duplicate of #{own}", "itself"),
        ("/dejaview duplicate of #999", "no issue 999"),
        ("/dejaview duplicate of #2", "pull request"),
        ("/dejaview duplicate of other/repo#5", "this repository"),
        ("/dejaview duplicate", "duplicate of"),
        ("/dejaview why #999", "cannot compare"),
        ("/dejaview nonsense", "help"),
        ("/dejaview why `$(id)` @octo/team {{7*7}}", ""),
    ],
)
async def test_what_cannot_be_done_is_told_once(stage, issue, text, said):
    stage.repository.issues[2].is_pull_request = True
    reactions, replies = await stage.command(issue, "tess", text.format(own=issue.number))
    assert reactions[-1] == "confused"
    (reply,) = replies
    assert said in reply
    assert issue.state == "open"


async def test_a_circle_is_refused(stage, issue):
    await stage.command(issue, "tess", "/dejaview duplicate of #1")
    first = stage.repository.issues[1]
    reactions, replies = await stage.command(first, "tess", f"/dejaview duplicate of #{issue.number}")
    assert reactions[-1] == "confused"
    assert "circle" in replies[0]
    assert first.state == "open"


@pytest.mark.parametrize("who", ["tess", "rita"])
async def test_not_duplicate_folds_the_comment_for_good(stage, issue, who):
    reactions, replies = await stage.command(issue, who, "/dejaview not-duplicate")
    assert (reactions[-1], replies) == ("+1", [])
    assert "withdrawn" in stage.ours(issue)[0].body
    stage.github.edit_issue(stage.repository, issue, body=REPORTS[0][1])
    await stage.quiet()
    assert "withdrawn" in stage.ours(issue)[0].body


async def test_one_candidate_is_struck(stage, issue):
    await stage.command(issue, "rita", "/dejaview not-duplicate of #1")
    assert "#1 " not in stage.ours(issue)[0].body.partition("-->")[2]


async def test_check_answers_even_where_it_stays_silent(stage):
    new = stage.github.open_issue(
        stage.repository, "rita", "Add a Basque translation", "The interface lacks Basque, I can help."
    )
    await stage.quiet()
    reactions, replies = await stage.command(new, "rita", "/dejaview check")
    assert reactions[-1] == "+1"
    assert "suggest nothing" in replies[0]


async def test_similar_fills_the_one_comment(stage, issue):
    reactions, _ = await stage.command(issue, "tess", "/dejaview similar 4 state:open")
    assert reactions[-1] == "+1"
    (comment,) = stage.ours(issue)
    assert comment.body.count("\n- [#") == 4


async def test_similar_names_originals_instead_of_their_duplicates(stage, issue):
    await stage.command(issue, "tess", "/dejaview duplicate of #1")
    again = await stage.report_again(0, author="ron")
    assert await stage.command(again, "tess", "/dejaview similar 3") == (["eyes", "+1"], [])
    (comment,) = stage.ours(again)
    first, *others = listed(comment)
    assert first == 1
    assert len(others) == 2
    assert issue.number not in others
    assert "also reported as `#" in comment.body


async def test_similar_lists_nothing_newer_though_marks_lead_there(stage, issue):
    """Marks may lead to the issue itself, to a newer one, or round in a circle."""
    newer = await stage.report_again(0, author="ron")
    marks = {1: issue.number, 3: newer.number, 5: 6, 6: 5}
    await Marks(stage.database).save(*stage.key(), marks)
    await stage.command(issue, "tess", "/dejaview similar 10")
    (comment,) = stage.ours(issue)
    numbers = listed(comment)
    assert len(numbers) == len(set(numbers)) == 9  # of ten, 5 stands for 6
    assert max(numbers) < issue.number
    assert 6 not in numbers


def listed(comment):
    """Numbers of the issues that a comment lists, in order."""
    return [int(number) for number in re.findall(r"^- \[#(\d+)\]", comment.body, re.MULTILINE)]


async def test_similar_says_which_issues_are_ignored(open_stage):
    stage = await open_stage()
    config = b"ignore:\n  authors: [reporter-0]\n"
    await stage.install(stage.new_repository(config=config))
    issue = await stage.report_again(0)
    assert stage.ours(issue) == []
    await stage.command(issue, "tess", "/dejaview similar 3")
    assert "[#1]" not in stage.ours(issue)[0].body


async def test_index_status_and_refresh(stage, issue):
    reactions, replies = await stage.command(issue, "tess", "/dejaview index status")
    assert (reactions[-1], "It holds 11 issues." in replies[0]) == ("+1", True)
    reactions, replies = await stage.command(issue, "will", "/dejaview index refresh")
    assert (reactions[-1], "administrator" in replies[0]) == ("confused", True)
    reactions, replies = await stage.command(issue, "anna", "/dejaview index refresh")
    assert (reactions[-1], replies) == ("rocket", [])
    assert len(stage.ours(issue)) == 3


async def test_a_redelivered_command_runs_once(stage, issue):
    await stage.command(issue, "tess", "/dejaview duplicate of #1")
    attempt = [item for item in stage.github.hooks.attempts if item.event == "issue_comment"][-1]
    stage.github.reopen_issue(stage.repository, issue)
    await stage.quiet()
    async with stage.database.system() as connection:
        await connection.execute(
            "UPDATE jobs SET state = 'ready', attempt = 0 WHERE delivery_id = $1::uuid", attempt.guid
        )
    await stage.quiet()
    assert issue.state == "open"


async def test_an_edit_by_the_author_runs_the_changed_command(stage, issue):
    comment = stage.github.comment(stage.repository, issue, "tess", "/dejaview duplicate")
    await stage.quiet()
    stage.github.edit_comment(stage.repository, issue, comment, "/dejaview duplicate of #1")
    await stage.quiet()
    assert issue.duplicate_of == 1


async def test_an_edit_by_somebody_else_runs_nothing(stage, issue):
    comment = stage.github.comment(stage.repository, issue, "anna", "Thanks")
    await stage.quiet()
    by = stage.github.world.account("will")
    stage.github.edit_comment(stage.repository, issue, comment, "/dejaview duplicate of #1", by=by)
    await stage.quiet()
    assert issue.state == "open"


async def test_an_edit_of_an_old_comment_runs_nothing(stage, issue, monkeypatch):
    monkeypatch.setattr(issue_comment, "EDIT_WINDOW", -issue_comment.EDIT_WINDOW)
    comment = stage.github.comment(stage.repository, issue, "tess", "Thanks")
    await stage.quiet()
    stage.github.edit_comment(stage.repository, issue, comment, "/dejaview duplicate of #1")
    await stage.quiet()
    assert issue.state == "open"


async def test_a_deleted_comment_runs_nothing(stage, issue):
    comment = stage.github.comment(stage.repository, issue, "tess", "/dejaview duplicate of #1")
    issue.comments.remove(comment)
    await stage.quiet()
    assert issue.state == "open"


async def test_rights_are_asked_of_github_now(stage, issue):
    comment = stage.github.comment(stage.repository, issue, "tess", "/dejaview duplicate of #1")
    del stage.repository.roles["tess"]
    await stage.quiet()
    assert issue.state == "open"
    assert [item.content for item in comment.reactions] == ["confused"]


async def test_without_an_answer_about_rights_nothing_runs_and_it_is_asked_again(stage, issue):
    stage.sandbox.faults.append(Fault("GET", "/permission$", times=3, status=502))
    comment = stage.github.comment(stage.repository, issue, "tess", "/dejaview duplicate of #1")
    await stage.quiet_but_for("delivery")
    assert (issue.state, comment.reactions) == ("open", [])
    await stage.make_due("delivery")
    await stage.quiet()
    assert issue.state == "closed"


@pytest.mark.parametrize(
    "text",
    [
        "> /dejaview duplicate of #1",
        "```\n/dejaview duplicate of #1\n```",
        "try /dejaview duplicate of #1",
        "/dejaview\u200b duplicate of #1",
    ],
)
async def test_what_is_no_command_does_nothing(stage, issue, text):
    assert await stage.command(issue, "tess", text) == ([], [])
    assert issue.state == "open"


async def test_bots_command_nothing(stage, issue):
    bot = stage.github.world.account("other[bot]", "Bot")
    stage.github.comment(stage.repository, issue, bot, "/dejaview duplicate of #1")
    ours = stage.app.bot
    stage.github.comment(stage.repository, issue, ours, "/dejaview duplicate of #1", stage.app)
    await stage.quiet()
    assert issue.state == "open"
    ignored = [item.answer for item in stage.github.hooks.attempts if "bot" in item.answer]
    assert len(ignored) == 3  # these two, and our own comment about the duplicate


async def test_there_is_an_end_to_our_comments(stage, issue):
    for n in range(2, 9):
        await stage.command(issue, "tess", f"/dejaview why #{n - 1}")
    assert len(stage.ours(issue)) == 5


@pytest.mark.parametrize(("who", "folded"), [("rita", True), ("tess", True), ("stranger", False)])
async def test_a_thumb_down_counts_from_whom_it_counts(stage, issue, who, folded):
    (comment,) = stage.ours(issue)
    stage.github.react(comment, who, "-1")
    await stage.make_due("watch_reactions")
    await stage.until(lambda: looked(stage), "a look at the reactions")
    await stage.quiet()
    assert ("withdrawn" in stage.ours(issue)[0].body) is folded


async def looked(stage):
    async with stage.database.system() as connection:
        return await connection.fetchval(
            "SELECT count(*) FROM jobs WHERE kind = 'watch_reactions' AND state = 'done'"
        )


async def test_labels_come_and_go(open_stage):
    stage = await open_stage()
    await stage.install(
        stage.new_repository(config=b"labels:\n  possible: maybe-duplicate\n  duplicate: dup\n")
    )
    issue = await stage.report_again(0)
    assert issue.labels == ["maybe-duplicate"]
    await stage.command(issue, "rita", "/dejaview not-duplicate")
    assert issue.labels == []
    await stage.command(issue, "tess", "/dejaview duplicate of #1")
    assert issue.labels == ["dup"]


async def test_a_pause_is_silence_until_it_ends(stage, issue):
    assert await stage.command(issue, "will", "/dejaview pause") == (["confused"], [])
    assert await stage.command(issue, "anna", "/dejaview pause 7d") == (["eyes", "+1"], [])
    silent = await stage.report_again(1)
    assert stage.ours(silent) == []
    assert "shadow mode" in (await stage.suggestion(silent.number)).reason
    _, (reply,) = await stage.command(issue, "tess", "/dejaview index status")
    assert "Paused by command until 20" in reply
    async with stage.database.system() as connection:
        await connection.execute("UPDATE repositories SET override_until = now()")
    spoken = await stage.report_again(2)
    assert len(stage.ours(spoken)) == 1


async def test_a_pause_without_an_end_is_ended_by_resume(stage, issue):
    await stage.command(issue, "anna", "/dejaview pause")
    silent = await stage.report_again(1)
    _, (reply,) = await stage.command(issue, "tess", "/dejaview index status")
    assert "Paused by command until `/dejaview resume`" in reply
    await stage.command(issue, "anna", "/dejaview resume")
    spoken = await stage.report_again(2)
    assert (len(stage.ours(silent)), len(stage.ours(spoken))) == (0, 1)


@pytest.mark.parametrize("mode", ["shadow", "off"])
async def test_what_the_file_says_is_not_resumed(open_stage, mode):
    stage = await open_stage()
    await stage.install(stage.new_repository(config=f"mode: {mode}\n".encode()))
    issue = await stage.report_again(0)
    reactions, (reply,) = await stage.command(issue, "anna", "/dejaview resume")
    assert reactions == ["eyes", "confused"]
    assert f"`mode: {mode}`" in reply
