"""`make demo`: the whole loop against the sandbox, on real issues. It runs the code that production runs."""

import asyncio
import contextlib
import os
import shutil
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import bot.app
from bot.core.comment import visible
from bot.core.pace import WritePace
from bot.core.records import Repository, RepositoryState, Suggestion
from bot.core.repo_config import DEFAULT, Config, ConfigOk, parse
from bot.logs import configure
from bot.sandbox.github import GitHub
from bot.sandbox.server import Sandbox, serve
from bot.sandbox.state import App as SandboxApp
from bot.sandbox.state import Issue as SandboxIssue
from bot.sandbox.state import Repository as SandboxRepository
from bot.sandbox.tracker import Report, Tracker, load, packaged
from bot.settings import load as load_settings
from storage import embedded
from storage.issues import Issues
from storage.repositories import Repositories
from storage.suggestions import Suggestions

T = TypeVar("T")

INDEX_LIMIT = 1_800.0
"""Seconds for the index: a large export on a small machine."""

DECISION_LIMIT = 60.0
"""Seconds for one issue."""

UNPACED = WritePace(comment_interval=0.0, per_minute=100_000, per_hour=1_000_000)
"""GitHub wants three seconds between comments; the sandbox is nobody's server."""

SECRET = "the-sandbox-signs-its-webhooks-with-this"  # noqa: S105  # it opens nothing but a demo on this machine

MAINTAINER = "maintainer"

HOSTILE = "@everyone ![](http://evil.test/x.png) closes #1 <img src=x> `[a](b)`"
"""A title that would ping, link, close and break the layout if it were not made inert."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asked for."""

    data_dir: Path
    issues: Path | None = None
    keep: bool = False


@dataclass(slots=True)
class Score:
    """What the demo counts."""

    duplicates: int = 0
    found: int = 0
    others: int = 0
    alarms: int = 0
    comments: int = 0
    opened: int = 0
    seconds: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Stage:
    """Everything that plays: a GitHub, the bot, and one repository."""

    github: GitHub
    process: bot.app.Process
    repository: SandboxRepository
    reports: dict[int, Report]  # by issue number
    clock: dict[str, datetime]  # the tracker's time, not the wall's

    @property
    def key(self) -> tuple[int, int]:
        """Account and repository, by GitHub's ids."""
        return self.repository.owner.id, self.repository.id

    async def row(self) -> Repository | None:
        """The repository as the bot knows it."""
        return await Repositories(self.process.base.database).get(*self.key)

    async def suggestion(self, number: int) -> Suggestion | None:
        """What the bot decided about an issue."""
        return await Suggestions(self.process.base.database).get(*self.key, number)


async def play(options: Options) -> int:
    """Play the whole loop; 0 where it worked from end to end."""
    tracker = load(options.issues) if options.issues else packaged()
    options.data_dir.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with (options.data_dir / "demo.log").open("w", encoding="utf-8") as log_file:
        configure("json", log_file)
        async with stage(options, tracker) as scene:
            say(
                f"A sandbox GitHub and Deja View are up after {time.monotonic() - started:.1f} s ({options.data_dir / 'demo.log'} has the log)."
            )
            await watch_index(scene, tracker)
            score = Score()
            example = await open_all(scene, tracker, score)
            if example is not None:
                await commands(scene, example)
            summary(score)
            if options.keep:
                await keep_running(scene)
    return 0


@contextlib.asynccontextmanager
async def stage(options: Options, tracker: Tracker) -> AsyncIterator[Stage]:
    """Start a GitHub and the bot, wire them as an App's registration would, and install it on one repository."""
    run = options.data_dir / "run"
    remove(run)
    clock = {"now": tracker.history[-1].created_at}
    sandbox = Sandbox(GitHub(clock=lambda: clock["now"]))
    async with serve(sandbox) as url:
        registered = sandbox.github.create_app("deja-view", None, SECRET)
        settings = load_settings(environment(url, registered, options.data_dir), data_dir=run)
        chosen = bot.app.Options(clock=lambda: clock["now"], pace=UNPACED, comment_gap=0.0, host="127.0.0.1")
        async with bot.app.running(settings, chosen) as process:
            registered.webhook_url = f"http://127.0.0.1:{process.port}/webhooks/github"
            repository, reports = publish(sandbox.github, tracker)
            sandbox.github.install(registered, repository.owner, [repository])
            yield Stage(sandbox.github, process, repository, reports, clock)
    remove(run)


def environment(url: str, app: SandboxApp, data_dir: Path) -> dict[str, str]:
    """The settings of a registered App, pointing at the sandbox."""
    return {
        "GITHUB_API_URL": url,
        "GITHUB_APP_ID": str(app.id),
        "GITHUB_APP_PRIVATE_KEY": app.private_key,
        "GITHUB_WEBHOOK_SECRET": SECRET,
        "DEFAULT_TIER": "enterprise",
        "MODEL_DIR": os.environ.get("MODEL_DIR") or str(data_dir / "model"),
        "PORT": "0",
    }


def remove(folder: Path) -> None:
    """Forget an earlier run, whose database may still be up if it was killed."""
    embedded.stop(folder.resolve() / "postgres")
    shutil.rmtree(folder, ignore_errors=True)


def publish(github: GitHub, tracker: Tracker) -> tuple[SandboxRepository, dict[int, Report]]:
    """The repository with the tracker's history."""
    owner, _, name = tracker.name.partition("/")
    repository = github.create_repository(owner, name)
    repository.roles[MAINTAINER] = "triage"
    if tracker.config is not None:
        repository.files[".github/deja-view.yml"] = tracker.config
    reports = {}
    for report in tracker.history:
        issue = github.seed_issue(
            repository, report.title, report.body, report.author, created_at=report.created_at, state=report.state,
            state_reason="completed" if report.state == "closed" else None,
        )  # fmt: skip
        reports[issue.number] = report
    return repository, reports


def configured(tracker: Tracker) -> Config:
    """The repository's config as the bot reads it."""
    outcome = parse(tracker.config or b"")
    return outcome.config if isinstance(outcome, ConfigOk) else DEFAULT


# --- scenes


async def watch_index(scene: Stage, tracker: Tracker) -> None:
    """Show how the index grows until it is complete."""
    say(f"\nThe App is installed on {scene.repository.full_name}: {len(tracker.history):,} issues to index.")
    started, issues = time.monotonic(), Issues(scene.process.base.database)

    async def complete() -> Repository | None:
        row, count = await scene.row(), await issues.count(*scene.key)
        progress(f"  indexed {count:,} of {len(tracker.history):,}", count / len(tracker.history))
        return row if row is not None and row.state is RepositoryState.ACTIVE else None

    row = await until(complete, INDEX_LIMIT, "the index", every=0.5)
    took = time.monotonic() - started
    rate = row.issues_indexed / took
    say(
        f"\n  {row.issues_indexed:,} issues in {took:.1f} s ({rate:.0f} a second) in the collection {row.collection}."
    )
    budget = configured(tracker).budget
    say(
        f"  It will speak from a score of {row.threshold:.2f}: the best {budget:.0%} of this repository's past reach that.\n"
    )


async def open_all(scene: Stage, tracker: Tracker, score: Score) -> SandboxIssue | None:
    """People open issues, one after the other; returns one on which the bot spoke rightly."""
    example = None
    for report in tracker.opened:
        scene.clock["now"] = max(scene.clock["now"], report.created_at)
        opened, started = report.created_at, time.monotonic()
        issue = scene.github.open_issue(
            scene.repository, report.author, report.title, report.body, created_at=opened
        )
        scene.reports[issue.number] = report
        decided = await until(
            partial(scene.suggestion, issue.number),
            DECISION_LIMIT,
            f"a decision about #{issue.number}",
            every=0.01,
        )
        if decided.spoken:
            await until(
                partial(comment_on, issue),
                DECISION_LIMIT,
                f"the comment under #{issue.number}",
                every=0.005,
            )
            score.seconds.append(time.monotonic() - started)
        right = count(scene, report, decided, score)
        show(report, issue, decided, right=right)
        example = issue if right and example is None else example
    return example


async def comment_on(issue: SandboxIssue) -> str | None:
    """The App's comment on an issue."""
    return next((item.body for item in issue.comments if item.app_id is not None), None)


def count(scene: Stage, report: Report, decided: Suggestion, score: Score) -> bool:
    """Add one decision to the score; True where a right issue was named."""
    named = (*decided.likely, *decided.also)[:3] if decided.spoken else ()
    right = any(report.same_as(scene.reports[number]) for number in named)
    score.opened += 1
    score.comments += decided.spoken
    has_earlier = any(
        report.same_as(item) for number, item in scene.reports.items() if number < decided.issue_number
    )
    if report.judged and has_earlier:
        score.duplicates += 1
        score.found += right
    elif report.judged:
        score.others += 1
        score.alarms += decided.spoken
    return right


async def commands(scene: Stage, issue: SandboxIssue) -> None:
    """Somebody answers with slash commands, and somebody opens an issue with a hostile title."""
    decided = await scene.suggestion(issue.number)
    assert decided is not None
    say(f"\nA maintainer answers under #{issue.number}:")
    for text in (f"/dejaview why #{decided.likely[0]}", f"/dejaview duplicate of #{decided.likely[0]}"):
        await answer(scene, issue, text)
    say(f"  #{issue.number} is now {issue.state} as {issue.state_reason}, labels {issue.labels}.")
    say("\nSomebody copies an old issue under a title that would ping people and close issues:")
    original = scene.reports[decided.likely[0]]
    hostile = scene.github.open_issue(
        scene.repository,
        "mallory",
        f"{original.title} {HOSTILE}",
        original.body,
        created_at=scene.clock["now"],
    )
    found = await until(partial(scene.suggestion, hostile.number), DECISION_LIMIT, "a decision")
    say(f"  #{hostile.number} {'got a comment' if found.spoken else 'silent'}: {found.reason}")


async def answer(scene: Stage, issue: SandboxIssue, text: str) -> None:
    """Give one command and show what came back."""
    before = len(issue.comments)
    comment = scene.github.comment(scene.repository, issue, MAINTAINER, text)

    async def settled() -> str | None:
        return next((item.content for item in comment.reactions if item.content != "eyes"), None)

    reaction = await until(settled, DECISION_LIMIT, f"an answer to {text}")
    say(f"  {text}  ->  {reaction}")
    for reply in issue.comments[before + 1 :]:
        say(indented(visible(reply.body), "    | "))


# --- what is printed


def show(report: Report, issue: SandboxIssue, decided: Suggestion, *, right: bool) -> None:
    """One issue: its comment, or "silent"."""
    labelled = "duplicate" if report.group else "new"
    if not decided.spoken:
        say(f"#{issue.number:<5} {report.title[:90]}\n       silent: {decided.reason}")
        return
    verdict = "a right issue is named" if right else f"labelled {labelled}, none of these"
    say(f"#{issue.number:<5} {report.title[:90]}\n       comment ({verdict}):")
    body = next(item.body for item in issue.comments if item.app_id is not None)
    say(indented(visible(body), "       | "))


def summary(score: Score) -> None:
    """The result, in five lines."""
    say("\nSummary")
    say(f"  opened                {score.opened} issues, commented on {score.comments}")
    say(f"  duplicates found      {share(score.found, score.duplicates)} (a right issue named among three)")
    say(f"  false alarms          {share(score.alarms, score.others)} of the issues labelled as new")
    if len(score.seconds) > 1:
        steps = statistics.quantiles(score.seconds, n=20)
        say(
            f"  opened to comment     p50 {1000 * statistics.median(score.seconds):.0f} ms, p95 {1000 * steps[18]:.0f} ms"
        )
    say(
        "  labels are people's marks in the tracker (GitBugs, CC BY 4.0): a false alarm may be a duplicate nobody marked."
    )


def share(part: int, whole: int) -> str:
    """A part of a whole."""
    return f"{part} of {whole}" + (f" = {100 * part / whole:.0f} %" if whole else "")


def indented(text: str, prefix: str) -> str:
    """Lines behind a prefix."""
    return "\n".join(prefix + line for line in text.splitlines())


def say(text: str) -> None:
    """Print now."""
    print(text, flush=True)


def progress(text: str, done: float) -> None:
    """A bar that stays on its line in a terminal, and is left out elsewhere."""
    if sys.stdout.isatty():
        filled = round(30 * min(1.0, done))
        print(f"\r  [{'#' * filled}{'.' * (30 - filled)}]{text}", end="", flush=True)


class StuckError(RuntimeError):
    """Something that has to happen did not."""


async def until(ask: Callable[[], Awaitable[T | None]], limit: float, what: str, every: float = 0.05) -> T:
    """Ask again and again until there is an answer. Raises StuckError after `limit` seconds."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        if (found := await ask()) is not None:
            return found
        await asyncio.sleep(every)
    raise StuckError(f"{what} did not come within {limit:.0f} s")


async def keep_running(scene: Stage) -> None:
    """Stay up until interrupted."""
    say(
        f"\nStill running: http://127.0.0.1:{scene.process.port}/readyz and {scene.github.url}. Ctrl-C ends it."
    )
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
