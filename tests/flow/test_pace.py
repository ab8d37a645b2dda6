"""GitHub's limits hold for all processes together: two clients, each with its pool, on one sandbox that looks at its clock."""

import asyncio
from contextlib import AsyncExitStack
from itertools import pairwise
from uuid import uuid4

import aiohttp
import pytest

from bot.core.errors import GitHubUnavailableError, RateLimitedError, StorageUnavailableError
from bot.core.pace import Kind, WritePace
from bot.core.records import Repository, RepositoryState
from bot.github.app import GitHubApp
from bot.github.auth import AppKeys
from bot.github.client import Api
from bot.sandbox.faults import Fault
from bot.sandbox.github import GitHub
from bot.sandbox.server import Sandbox, serve
from storage.database import Database
from storage.paces import Paces

from .conftest import REPORTS

COMMENTS = r"/issues/\d+/comments$"
QUICK = WritePace(comment_interval=0.15, per_minute=600, patience=0.5)
SECONDARY = '{"message": "You have exceeded a secondary rate limit."}'
LIMITED = '{"message": "API rate limit exceeded"}'
SHAPES = {
    "403, retry-after": Fault("POST", COMMENTS, status=403, body=SECONDARY, headers={"Retry-After": "900"}),
    "403, no retry-after": Fault("POST", COMMENTS, status=403, body=SECONDARY),
    "429, retry-after": Fault("POST", COMMENTS, status=429, body=SECONDARY, headers={"Retry-After": "900"}),
    "429, no retry-after": Fault("POST", COMMENTS, status=429, body='{"message": "Too many requests"}'),
    "422, submitted too quickly": Fault(
        "POST", COMMENTS, status=422, body='{"message": "was submitted too quickly"}'
    ),
    "403, nothing remains": Fault(
        "POST", COMMENTS, status=403, body=LIMITED, headers={"X-RateLimit-Remaining": "0"}
    ),
}


class Hub:
    """A sandbox with a repository on which an App is installed, and processes that write to it."""

    def __init__(self, sandbox, url, stack, database_url):
        self.sandbox, self.stack, self.url, self.database_url = sandbox, stack, url, database_url
        github = sandbox.github
        self.home = github.create_repository("octo", "app")
        self.issue = github.seed_issue(self.home, "Crash", "At start", "ann")
        self.app = github.create_app("deja-view", None, "s" * 40)
        self.installation = github.install(self.app, self.home.owner, [self.home])

    async def process(self, pace=QUICK):
        """The repository as one more process sees it."""
        database = await Database.connect(self.database_url, size=3)
        self.stack.push_async_callback(database.close)
        session = await self.stack.enter_async_context(aiohttp.ClientSession())
        known = Repository(
            self.home.id, self.home.owner.id, self.installation.id, "octo", "app", private=False, collection="c",
            state=RepositoryState.ACTIVE, reason=None, indexed_at=None, issues_total=None, issues_indexed=0,
            revision=0, threshold=None, threshold_model=None, config_notice=None,
        )  # fmt: skip
        paces, keys = Paces(database), AppKeys(self.app.id, [self.app.private_key])
        return GitHubApp(session, Api(self.url), keys, pace, paces, paces).repository(known)

    def writes(self):
        return sorted(self.sandbox.writes(), key=lambda call: call.began)


@pytest.fixture
async def hub(database_url):
    async with AsyncExitStack() as stack:
        sandbox = Sandbox(GitHub())
        url = await stack.enter_async_context(serve(sandbox))
        yield Hub(sandbox, url, stack, database_url)


async def told_until_done(write):
    """Write, and come back as often as one is told to."""
    while True:
        try:
            return await write()
        except RateLimitedError as error:
            await asyncio.sleep(error.retry_after)


async def test_two_processes_write_one_after_the_other_and_apart(hub):
    processes = [await hub.process() for _ in range(2)]
    # Writes take longer than the interval, so that one which did not wait for the other's end would be seen.
    hub.sandbox.faults.append(Fault("POST", COMMENTS, times=99, delay=0.2, passes=True))
    number = hub.issue.number
    await asyncio.gather(
        *(told_until_done(lambda n=n: processes[n % 2].comment(number, f"comment {n}")) for n in range(8))
    )
    writes = hub.writes()
    assert len(writes) == len(hub.issue.comments) == 8
    assert all(
        later.began - earlier.at >= QUICK.comment_interval - 0.01 for earlier, later in pairwise(writes)
    )


async def test_a_process_that_dies_while_it_writes_blocks_nobody_for_long(hub):
    """Its turn runs out by itself; until then the others are told to come back."""
    brief = WritePace(comment_interval=0.1, per_minute=600, patience=0.1, lease=0.5)
    dead, living = await hub.process(brief), await hub.process(brief)
    paces = dead.access.pace._turns
    assert await paces.take(hub.installation.id, uuid4(), Kind.COMMENT, brief, 0.0) is None
    await told_until_done(lambda: living.comment(hub.issue.number, "at last"))
    assert len(hub.issue.comments) == 1


@pytest.mark.parametrize("shape", SHAPES)
async def test_no_process_asks_inside_a_pause_and_none_after_a_restart(hub, shape):
    here, there = await hub.process(), await hub.process()
    hub.sandbox.faults.append(SHAPES[shape])
    with pytest.raises(RateLimitedError) as raised:
        await here.comment(hub.issue.number, "too much")
    assert raised.value.retry_after > 50
    assert not raised.value.sent
    calls = len(hub.sandbox.calls)
    for process in (here, there, await hub.process()):
        for ask in (
            lambda process=process: process.issue(hub.issue.number),
            lambda process=process: process.comment(hub.issue.number, "again"),
        ):
            with pytest.raises(RateLimitedError) as raised:
                await ask()
            assert raised.value.retry_after > 30
    assert len(hub.sandbox.calls) == calls
    assert hub.issue.comments == []
    hub.sandbox.faults.clear()


async def test_without_postgresql_nothing_is_written(hub):
    process = await hub.process()
    await process.issue(hub.issue.number)
    await process.access.pace._turns._database.close()
    calls = len(hub.sandbox.calls)
    with pytest.raises(StorageUnavailableError):
        await process.comment(hub.issue.number, "blind")
    assert len(hub.sandbox.calls) == calls


async def test_a_write_that_hangs_beyond_its_lease_keeps_its_turn(hub):
    slow = WritePace(comment_interval=0.05, per_minute=600, patience=0.05, lease=0.6)
    here, there = await hub.process(slow), await hub.process(slow)
    hub.sandbox.faults.append(Fault("POST", COMMENTS, delay=1.5, passes=True))
    first = asyncio.create_task(here.comment(hub.issue.number, "slow"))
    while not hub.sandbox.calls:
        await asyncio.sleep(0.01)
    await told_until_done(lambda: there.comment(hub.issue.number, "quick"))
    await first
    earlier, later = hub.writes()
    assert later.began >= earlier.at


async def test_a_server_that_names_a_time_is_not_asked_before_it(hub):
    process = await hub.process()
    hub.sandbox.faults.append(
        Fault("GET", r"/issues/\d+$", status=503, headers={"Retry-After": "90"}, times=9)
    )
    with pytest.raises(GitHubUnavailableError) as raised:
        await process.issue(hub.issue.number)
    assert raised.value.retry_after == 90.0
    assert len([call for call in hub.sandbox.calls if call.status == 503]) == 1


async def test_a_burst_is_written_at_its_pace_and_holds_no_worker(open_stage):
    """Six comments are due at once; those whose turn is far wait in the queue, and none is lost or doubled."""
    pace = WritePace(comment_interval=0.5, per_minute=120, patience=0.05)
    stage = await open_stage(pace=pace)
    await stage.install(stage.new_repository(config=b"mode: comment\nbudget: 0.5\n"))
    issues = [
        stage.github.open_issue(stage.repository, "rita", f"{title} again", body)
        for title, body in REPORTS[:6]
    ]
    await stage.quiet()
    spoken = [issue for issue in issues if stage.ours(issue)]
    assert len(spoken) >= 2
    assert all(len(stage.ours(issue)) == 1 for issue in spoken)
    posts = sorted(
        (call for call in stage.sandbox.writes() if call.path.endswith("/comments")),
        key=lambda call: call.began,
    )
    assert len(posts) == len(spoken)
    assert all(later.began - earlier.at >= pace.comment_interval - 0.01 for earlier, later in pairwise(posts))


async def test_a_new_issue_does_not_wait_for_another_account_s_backfill(stage):
    """Its comment is there before the first page of the other's hundred issues is embedded."""
    other = stage.github.create_repository("giant", "big")
    for n in range(100):
        title, body = REPORTS[n % len(REPORTS)]
        stage.github.seed_issue(other, f"{title}, build {n}", f"{body} Revision r{n * 7919}. " * 8, "ann")
    stage.github.install(stage.app, other.owner, [other])

    async def stored():
        return await stage.count(other) == 100

    await stage.until(stored, "the page")
    title, body = REPORTS[0]
    issue = stage.github.open_issue(stage.repository, "rita", f"{title} again", body)
    await stage.until(lambda: stage.ours(issue), "the comment", 60.0)
    async with stage.database.account(other.owner.id) as connection:
        assert await connection.fetchval("SELECT count(text_vector) FROM issues") == 0
