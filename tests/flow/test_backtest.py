"""A repository whose own past decides whether the bot may comment there."""

import asyncio
import random
import sys
from dataclasses import replace
from functools import partial

import pytest

import bot.app
from bot.core.calibration import MOST, word
from bot.github.client import Api
from bot.sandbox.faults import Fault
from handlers.tasks.index_repository import marks_job
from storage.backtests import Backtests
from storage.jobs import Jobs

from .conftest import REPORTS
from .test_config import forget_configs

WORDS = [
    "anchor",
    "balance",
    "cargo",
    "daemon",
    "engine",
    "filter",
    "garden",
    "harbor",
    "island",
    "jacket",
    "kernel",
    "ladder",
    "market",
    "needle",
    "orchid",
    "packet",
    "quartz",
    "ribbon",
    "signal",
    "tunnel",
    "update",
    "vector",
    "window",
    "yellow",
    "zipper",
    "beacon",
    "candle",
    "dragon",
    "ember",
    "falcon",
    "glacier",
    "hammer",
    "insect",
    "jungle",
]


def problems(count, seed=7):
    """Reports that have little in common."""
    rng = random.Random(seed)
    for n in range(count):
        words = [*rng.sample(WORDS, 6), f"part{n}"]
        yield (
            " ".join(words[:4]).capitalize(),
            f"The {words[4]} of {words[5]} fails in {words[6]} after {n} runs",
        )


def marked_wrongly(stage):
    """A repository in which people mark what the bot cannot find, and in which what it finds is marked by nobody."""
    reports = list(problems(200))
    reports += [
        (f"{title} again", f"{body} again") for title, body in reports[-60:]
    ]  # it would speak about these
    repository = stage.new_repository(reports=[*reports, *REPORTS])
    for number in range(150, 190):
        issue = repository.issues[number]
        issue.state, issue.state_reason, issue.duplicate_of = "closed", "duplicate", number - 140
    return repository


@pytest.fixture
async def wrong(open_stage):
    stage = await open_stage()
    await stage.install(marked_wrongly(stage))
    return stage


async def test_where_it_would_be_wrong_too_often_nothing_is_posted(wrong):
    assert len(await wrong.marks()) == 40
    last = await Backtests(wrong.database).get(*wrong.key())
    assert last.verdict == "shadow"
    issue = await wrong.report_again(0)
    assert wrong.ours(issue) == []
    decided = await wrong.suggestion(issue.number)
    assert (decided.spoken, decided.likely[0]) == (False, 261)
    _, (reply,) = await wrong.command(issue, "tess", "/dejaview index status")
    assert "post nothing by myself" in reply
    assert "too few for the target" in reply


async def test_marks_that_github_could_not_tell_are_read_later_and_in_the_end_done_without(
    open_stage, monkeypatch
):
    monkeypatch.setattr(bot.app, "Api", partial(Api, read_retries=()))
    stage = await open_stage()
    repository = stage.new_repository()
    repository.issues[5].state, repository.issues[5].duplicate_of = "closed", 2
    stage.sandbox.faults.append(Fault("POST", "/graphql$", status=502, times=999))
    await stage.install(repository)  # an index waits for no marks
    first = await Backtests(stage.database).get(*stage.key())
    await stage.make_due("learn_marks")
    await stage.until(partial(tried, stage), "another attempt")
    assert await stage.marks() == {}
    never = stage.sandbox.faults.pop()
    await stage.make_due("learn_marks")
    await stage.quiet()
    assert await stage.marks() == {5: 2}
    judged = await Backtests(stage.database).get(*stage.key())
    assert judged.made_at > first.made_at, "the past is judged anew"

    stage.sandbox.faults.append(never)
    await Jobs(stage.database).enqueue(replace(marks_job(await stage.row()), max_attempts=1, after=0.0))
    await stage.quiet()
    kind, state, note = (await stage.ended())[-1]
    assert (kind, state, note.split(":")[0]) == ("learn_marks", "done", "GitHub does not tell the marks")


async def tried(stage):
    async with stage.database.system() as connection:
        found = "SELECT attempt FROM jobs WHERE kind = 'learn_marks' AND state = 'ready' AND attempt > 0"
        return await connection.fetchval(found)


async def test_the_config_overrules_it(wrong):
    wrong.repository.files[".github/deja-view.yml"] = b"mode: comment\n"
    await forget_configs(wrong)
    issue = await wrong.report_again(0)
    assert len(wrong.ours(issue)) == 1


async def test_a_command_overrules_it(wrong):
    issue = wrong.github.open_issue(wrong.repository, "ron", "What else", "A question about nothing at all.")
    assert await wrong.command(issue, "anna", "/dejaview resume") == (["eyes", "+1"], [])
    again = await wrong.report_again(0)
    assert len(wrong.ours(again)) == 1
    _, (reply,) = await wrong.command(issue, "tess", "/dejaview index status")
    assert "By command I comment by myself" in reply


async def test_the_command_line_shows_the_back_test(wrong):
    settings = wrong.process.base.settings
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "backtest", "OCTO/app", "--data-dir", str(settings.data_dir),
        env=environment(settings), stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    text = out.decode()
    assert process.returncode == 0
    assert "Verdict: shadow" in text
    assert "40 of them marked" in text or "marked as duplicates" in text
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "backtest", "octo/unknown", "--data-dir", str(settings.data_dir),
        env=environment(settings), stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await process.communicate()
    assert (process.returncode, said.decode()) == (
        2,
        "deja-view: octo/unknown is not a repository that an installation sees\n",
    )


def environment(settings):
    """The settings of the service, as environment."""
    return {
        "DATABASE_URL": settings.database_url,
        "GITHUB_APP_ID": str(settings.github.app_id),
        "GITHUB_APP_PRIVATE_KEY": settings.github.private_keys[0],
        "GITHUB_API_URL": settings.github.api_url,
        "GITHUB_WEBHOOK_SECRET": settings.webhook_secrets[0].decode(),
        "JWT_SECRET": settings.webhook_secrets[0].decode(),
    }


async def test_what_a_calibrated_repository_says_of_its_candidates(wrong):
    wrong.repository.files[".github/deja-view.yml"] = b"mode: comment\n"
    await forget_configs(wrong)
    issue = await wrong.report_again(0)
    (comment,) = wrong.ours(issue)
    evidence = (await wrong.suggestion(issue.number)).evidence["261"]
    assert 0 < evidence["chance"] <= MOST
    assert f" · open · {word(evidence['chance'])} match\n" in comment.body
    assert "%" not in comment.body
    _, (why,) = await wrong.command(issue, "tess", "/dejaview why #261")
    assert f"about {100 * evidence['chance']:.0f} % probability ({word(evidence['chance'])})" in why
