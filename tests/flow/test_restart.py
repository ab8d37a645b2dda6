"""What is killed comes back and goes on: the worker, PostgreSQL, Chroma's files."""

import asyncio
import os
import secrets
import signal
import sqlite3
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

import aiohttp
import pytest
from structlog.testing import capture_logs

import bot.app
from bot.core.records import RepositoryState
from bot.sandbox.faults import Fault
from bot.sandbox.github import GitHub
from bot.sandbox.server import Sandbox, serve
from bot.settings import load
from storage import embedded
from storage.database import Database
from tests.chroma_server import free_port, start_server
from tests.files import take_away

from .conftest import REPORTS, UNPACED, Stage

PAGES = r"/repos/octo/app/issues$"
MANY = [
    (
        f"{REPORTS[n % len(REPORTS)][0]}, build {n}",
        f"{REPORTS[n % len(REPORTS)][1]} It broke in revision r{n * 7919}.",
    )
    for n in range(300)
]


@dataclass
class Base:
    """As much of a process as a stage looks at: the database of one that runs elsewhere."""

    database: Database


@dataclass
class Elsewhere:
    """A service in a process of its own."""

    base: Base


@pytest.fixture
async def sandbox():
    sandbox = Sandbox(GitHub())
    async with serve(sandbox):
        yield sandbox
    assert sandbox.unknown == []


def environment(sandbox, app, model_dir, **more):
    """The settings of a registered App, pointing at the sandbox."""
    return {
        "GITHUB_API_URL": sandbox.github.url,
        "GITHUB_APP_ID": str(app.id),
        "GITHUB_APP_PRIVATE_KEY": app.private_key,
        "GITHUB_WEBHOOK_SECRET": app.webhook_secret,
        "JWT_SECRET": secrets.token_hex(32),
        "MODEL_DIR": str(model_dir),
        "DEFAULT_TIER": "enterprise",
        "PORT": "0",
        **more,
    }


async def answers(port, path="/readyz"):
    """Whether the process says that all of it works."""
    url = f"http://127.0.0.1:{port}{path}"
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


@pytest.fixture
async def separate(sandbox, database, database_url, tmp_path, model_dir):
    """A stage whose service is a process that can be killed; `start` starts one."""
    port = free_port()
    app = sandbox.github.create_app(
        "deja-view", f"http://127.0.0.1:{port}/webhooks/github", secrets.token_hex(32)
    )
    environ = environment(sandbox, app, model_dir, DATABASE_URL=database_url, PORT=str(port))
    stage = Stage(sandbox, app, Elsewhere(Base(database)), sandbox.github.url)
    started = []

    async def start(command="run", stderr=None, waits=True):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bot", command, "--data-dir", str(tmp_path / "data"), "--port", str(port if waits else 0),
            env={**os.environ, **environ}, stdout=asyncio.subprocess.DEVNULL, stderr=stderr,
        )  # fmt: skip
        started.append(process)
        if waits:
            await stage.until(partial(started_well, process, port), "the start", 60.0)
        return process

    yield stage, start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def started_well(process, port):
    assert process.returncode is None, "it ended at once"
    return await answers(port)


async def lease_ends(stage):
    """Let the time pass after which a dead worker's jobs are anybody's."""
    async with stage.database.system() as connection:
        await connection.execute(
            "UPDATE jobs SET lease_until = now() - interval '1 second' WHERE state = 'running'"
        )


async def index_job(stage):
    async with stage.database.system() as connection:
        return await connection.fetchrow(
            "SELECT state, attempt, progress FROM jobs WHERE kind = 'index_repository'"
        )


def listings(sandbox):
    """How many pages of issues were asked for."""
    return sum(call.method == "GET" and call.path.endswith("/octo/app/issues") for call in sandbox.calls)


def vectors(data_dir, folder="chroma"):
    """How many records Chroma's own files hold, all different."""
    (path,) = data_dir.glob(f"{folder}/**/chroma.sqlite3")
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        return connection.execute("SELECT count(*), count(DISTINCT embedding_id) FROM embeddings").fetchone()


async def test_a_killed_worker_goes_on_where_it_stopped(separate, sandbox, tmp_path):
    stage, start = separate
    repository = stage.new_repository(reports=MANY)
    second_page = Fault("GET", PAGES, skip=1, delay=3.0, passes=True)
    sandbox.faults.append(second_page)
    process = await start()
    stage.repository, stage.installation = (
        repository,
        sandbox.github.install(stage.app, repository.owner, [repository]),
    )

    async def first_page_is_kept():
        job = await index_job(stage)
        asked_for_the_next = second_page.times == 0
        return job is not None and job["progress"].get("page") == 2 and asked_for_the_next

    await stage.until(first_page_is_kept, "the first page")
    process.send_signal(signal.SIGKILL)
    await process.wait()
    assert (await stage.row()).state is RepositoryState.INDEXING
    assert await stage.count() == 100

    await start()
    assert (await index_job(stage))["state"] == "running"  # nobody takes it before its lease ends
    await lease_ends(stage)
    await stage.indexed()
    assert await stage.count() == 300
    assert vectors(tmp_path / "data") == (300, 300)
    assert (await index_job(stage))["attempt"] == 2
    # The first page once, the second one twice, the third, and the closed ones: none. The one that nobody waited for ends late.
    await stage.until(lambda: listings(sandbox) >= 5, "the end of the broken-off request")
    assert listings(sandbox) == 5
    issue = await stage.report_again(0, title=MANY[40][0], body=MANY[40][1])
    assert len(stage.ours(issue)) == 1


async def test_a_stop_ends_within_seconds_and_loses_nothing(separate, sandbox):
    stage, start = separate
    process = await start()
    repository = stage.new_repository()
    await stage.install(repository)
    sandbox.faults.append(Fault("POST", "/comments$", delay=1.5, passes=True))
    title, body = REPORTS[0]
    issue = sandbox.github.open_issue(repository, "rita", f"{title} again", body)
    await stage.until(partial(is_being_sent, stage, issue), "the comment under way")
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 10.0) == 0
    assert len(stage.ours(issue)) == 1
    assert (await stage.effect(issue.number)).state == "done"
    assert [job for job in await stage.jobs() if job[1] == "running"] == []


async def is_being_sent(stage, issue):
    effect = await stage.effect(issue.number)
    return effect is not None and effect.state == "sending"


@asynccontextmanager
async def running(stage, settings):
    """A service in this process, wired to the stage."""
    async with bot.app.running(settings, bot.app.Options(pace=UNPACED, host="127.0.0.1")) as process:
        stage.app.webhook_url = f"http://127.0.0.1:{process.port}/webhooks/github"
        stage.process = process
        yield process


@pytest.fixture
def whole(sandbox, tmp_path, model_dir):
    """A stage without a service, and the settings of one that has everything embedded."""
    app = sandbox.github.create_app("deja-view", None, secrets.token_hex(32))
    settings = load(environment(sandbox, app, model_dir), data_dir=tmp_path / "data")
    return Stage(sandbox, app, None, sandbox.github.url), settings


async def test_a_killed_database_comes_back_and_nothing_is_lost(whole, sandbox, tmp_path):
    stage, settings = whole
    async with running(stage, settings) as process:
        await stage.install(stage.new_repository())
        before = await stage.report_again(0)
        os.kill(embedded.postmaster_pid(tmp_path / "data" / "postgres"), signal.SIGKILL)
        await stage.until(partial(down, process.port), "the loss")
        # GitHub is told that its event was not taken, and shows that in the log of deliveries.
        title, body = REPORTS[1]
        missed = sandbox.github.open_issue(stage.repository, "ron", f"{title} again", body)
        await sandbox.github.hooks.settled()
        refused = sandbox.github.hooks.attempts[-1]
        await stage.until(partial(answers, process.port), "the database")
        if refused.status_code != 202:
            assert refused.status_code == 503
            sandbox.github.hooks.redeliver(stage.app, refused.id)
        await stage.quiet()
        assert (len(stage.ours(before)), len(stage.ours(missed))) == (1, 1)
        after = await stage.report_again(2)
        assert len(stage.ours(after)) == 1
        assert await stage.count() == len(REPORTS) + 3


async def down(port):
    return not await answers(port)


def test_a_server_that_cannot_be_started_now_is_tried_again_later(tmp_path):
    (tmp_path / "file").touch()
    with capture_logs() as logs:
        bot.app.start_again(tmp_path / "file" / "data")  # as where the disk is full: an error of the system
    assert [line["event"] for line in logs] == ["postgresql_not_started"]


@pytest.mark.parametrize("restarts", [False, True])
async def test_without_chromas_files_suggestions_go_on_and_the_index_is_made_anew(whole, tmp_path, restarts):
    stage, settings = whole
    async with AsyncExitStack() as service:
        await service.enter_async_context(running(stage, settings))
        await stage.install(stage.new_repository())
        if restarts:
            await service.aclose()
        take_away(tmp_path / "data" / "chroma")
        if restarts:
            await service.enter_async_context(running(stage, settings))
        issue = await stage.report_again(0)
        assert len(stage.ours(issue)) == 1
        await stage.until(partial(holds, tmp_path / "data", len(REPORTS) + 1), "the index made anew")
        again = await stage.report_again(1)
        assert len(stage.ours(again)) == 1
        await stage.quiet()
        assert vectors(tmp_path / "data") == (len(REPORTS) + 2, len(REPORTS) + 2)
        suggestion = await stage.suggestion(again.number)
        assert suggestion.threshold == (await stage.row()).threshold  # nothing was missing


def holds(data_dir, records):
    """Whether Chroma's own files hold that many records, all different."""
    try:
        return vectors(data_dir) == (records, records)
    except (ValueError, sqlite3.OperationalError):
        return False  # not made yet


async def degraded(stage, issue):
    """What the bot missed when it decided about an issue."""
    found = await stage.suggestion(issue.number)
    return found and found.threshold != (await stage.row()).threshold


async def test_a_chroma_server_that_is_killed_is_done_without_until_it_is_back(whole, tmp_path):
    stage, settings = whole
    port = free_port()
    server = start_server(tmp_path / "server", port)
    settings = replace(settings, chroma=replace(settings.chroma, url=f"http://127.0.0.1:{port}"))
    try:
        async with running(stage, settings) as process:
            await stage.install(stage.new_repository())
            server.kill()
            server.wait()
            await stage.until(partial(down, process.port), "a part that is said to be down")
            title, body = REPORTS[0]
            issue = stage.github.open_issue(stage.repository, "rita", f"{title} again", body)
            await stage.until(partial(waits, stage, "rebuild_collection"), "the rebuild that waits")
            await stage.until(lambda: stage.ours(issue), "the comment")
            assert await degraded(stage, issue)
            server = start_server(tmp_path / "server", port)
            await stage.until(partial(answers, process.port), "all parts")
            await stage.make_due("rebuild_collection")
            await stage.quiet()
            assert not await waits(stage, "rebuild_collection")
            assert vectors(tmp_path, "server") == (len(REPORTS) + 1, len(REPORTS) + 1)
            again = await stage.report_again(1)
            assert len(stage.ours(again)) == 1
            assert not await degraded(stage, again)
            assert vectors(tmp_path, "server") == (len(REPORTS) + 2, len(REPORTS) + 2)
    finally:
        server.kill()
        server.wait()


async def waits(stage, kind):
    """Whether a job of that kind waits for a part, without an attempt counted."""
    return [job for job in await stage.jobs() if job[:3] == (kind, "ready", 0) and job[3]]


@pytest.mark.parametrize("command", ["run", "worker"])
async def test_a_second_process_on_the_same_index_is_refused_in_one_line(separate, tmp_path, command):
    _, start = separate
    await start()
    second = await start(command, stderr=asyncio.subprocess.PIPE, waits=False)
    _, said = await asyncio.wait_for(second.communicate(), 60.0)
    assert second.returncode == 2
    (line,) = [line for line in said.decode().splitlines() if not line.startswith("{")]
    assert line.startswith(
        f"deja-view: another process uses the vector index in {tmp_path / 'data' / 'chroma'}: stop it"
    )
