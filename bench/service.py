"""A sandbox with a repository of issues, and the service on it, in this process or in one of its own."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from bench.measure import a_secret, environment, folder, say, settings, until
from bench.texts import issues
from bot.app import Options, Process, running
from bot.core.pace import WritePace
from bot.core.records import RepositoryState
from bot.logs import configure
from bot.sandbox.github import GitHub
from bot.sandbox.server import Sandbox, serve
from bot.sandbox.state import App, Issue, Repository
from bot.settings import load
from storage import embedded
from storage.database import Database
from storage.issues import Issues
from storage.repositories import Repositories

UNPACED = WritePace(comment_interval=0.0, per_minute=100_000, per_hour=1_000_000)
INDEX_LIMIT = 1_800.0


@dataclass(frozen=True, slots=True)
class World:
    """A GitHub with one repository."""

    sandbox: Sandbox
    url: str
    app: App
    secret: str
    repository: Repository
    data: Path

    @property
    def github(self) -> GitHub:
        """What people do."""
        return self.sandbox.github


@contextlib.asynccontextmanager
async def world(count: int) -> AsyncIterator[World]:
    """A sandbox whose repository has that many issues, from before."""
    sandbox, secret = Sandbox(GitHub()), a_secret()
    with folder() as data:
        async with serve(sandbox) as url:
            app = sandbox.github.create_app("deja-view", None, secret)
            repository = sandbox.github.create_repository("octo", "hello")
            # How often it speaks is not what is measured: near-duplicates are to get their comment.
            repository.files[".github/deja-view.yml"] = b"budget: 0.5\nmode: comment\n"
            for title, body in issues(count):
                sandbox.github.seed_issue(repository, title, body, f"reporter-{len(repository.issues)}")
            yield World(sandbox, url, app, secret, repository, data)


@contextlib.asynccontextmanager
async def service(scene: World) -> AsyncIterator[Process]:
    """The service in this process, its index complete."""
    made = settings(scene.url, scene.app, scene.secret, scene.data)
    async with running(made, Options(pace=UNPACED, host="127.0.0.1")) as process:
        scene.app.webhook_url = f"http://127.0.0.1:{process.port}/webhooks/github"
        scene.github.install(scene.app, scene.repository.owner, [scene.repository])
        await indexed(scene, process.base.database)
        yield process


async def indexed(scene: World, database: Database) -> None:
    """Wait until the index is complete."""
    key = scene.repository.owner.id, scene.repository.id

    async def complete() -> bool | None:
        row = await Repositories(database).get(*key)
        say(f"  indexed {await Issues(database).count(*key)} of {len(scene.repository.issues)}")
        return True if row is not None and row.state is RepositoryState.ACTIVE else None

    await until(complete, INDEX_LIMIT, every=5.0)


async def start(scene: World, port: int, *, paced: bool = True) -> asyncio.subprocess.Process:
    """The service as a process of its own, serving; without GitHub's pace of writes where `paced` is False."""
    environ = {
        **os.environ,
        **environment(scene.url, scene.app, scene.secret),
        "PORT": str(port),
        "LOG_FORMAT": "json",
    }
    with (scene.data / "service.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *(["-m", "bot", "run", "--data-dir"] if paced else ["-m", "bench.service"]),
            str(scene.data / "data"),
            env=environ,
            stderr=log,
        )
    scene.app.webhook_url = f"http://127.0.0.1:{port}/webhooks/github"
    return process


async def run_unpaced(data: Path) -> None:
    """What `deja-view run` does, writing as fast as it can: a sandbox is nobody's server."""
    made, stopping = load(dict(os.environ), data_dir=data), asyncio.Event()
    configure(made.log_format)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    async with running(made, Options(pace=UNPACED, host="127.0.0.1")):
        await stopping.wait()


def free_port() -> int:
    """A port that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def serves(port: int) -> bool | None:
    """Whether something listens there."""
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        return True
    return None


def address(folder: Path) -> str:
    """The address of the database server of a service in another process, by the server's folder."""
    return embedded.EmbeddedPostgres(folder, embedded.socket_folder(folder), embedded.find_bin()).url


async def stop(process: asyncio.subprocess.Process) -> int:
    """End it as a platform does."""
    process.send_signal(signal.SIGTERM)
    return await process.wait()


async def comment_on(issue: Issue) -> str | None:
    """What the App said under an issue."""
    return next((item.body for item in issue.comments if item.app_id is not None), None)


if __name__ == "__main__":
    asyncio.run(run_unpaced(Path(sys.argv[1])))
