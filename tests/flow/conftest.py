"""The whole service against the sandbox: real HTTP, PostgreSQL, Chroma and model."""

import asyncio
import contextlib
import logging
import os
import secrets
import time
from dataclasses import dataclass, field

import asyncpg
import pytest
import structlog

import bot.app
from bot.core.context import now
from bot.core.pace import WritePace
from bot.core.records import RepositoryState
from bot.logs import configure
from bot.sandbox.github import GitHub
from bot.sandbox.server import Sandbox, serve
from bot.settings import load
from storage import embedded
from storage.effects import Effects
from storage.issues import Issues
from storage.marks import Marks
from storage.repositories import Repositories
from storage.suggestions import Suggestions

UNPACED = WritePace(comment_interval=0.0, per_minute=100_000, per_hour=1_000_000)
PATIENCE = 30.0

REPORTS = [
    ("Crash when opening the settings dialog on Wayland", "The compositor closes the connection: wl_display_dispatch: Broken pipe. It worked under X11."),
    ("Exported CSV files have the wrong line endings", "On Windows every exported file ends its lines with LF, and Excel shows one long row."),
    ("Search index is not updated after renaming a folder", "Rename a folder, then search for a file inside it: the old path is shown and opening it fails."),
    ("Login fails with an expired certificate", "The client refuses the server since yesterday: x509: certificate has expired or is not yet valid."),
    ("Dark theme is unreadable in the print preview", "Light grey text on white paper. The preview should always use the light theme."),
    ("Memory grows without bound while syncing large photos", "After 2,000 photos of 20 MB the process takes 6 GB and the kernel kills it."),
    ("Keyboard shortcut for bookmarks does nothing on macOS", "Command+D is swallowed by the menu; the bookmark dialog never opens."),
    ("Time zone of calendar events is shifted by one hour", "Events created before daylight saving time are shown one hour late afterwards."),
    ("Notification sound plays twice", "Every new message plays its sound two times when both the phone and the desktop are open."),
    ("Database migration 14 fails on PostgreSQL 12", "ERROR: syntax error at or near NULLS NOT DISTINCT. The documentation says that version 12 is supported."),
]  # fmt: skip


@dataclass
class Stage:
    """A GitHub, the bot, one repository that it is installed on, and ways to look at all of them."""

    sandbox: Sandbox
    app: object
    process: object
    url: str
    clock: dict = field(default_factory=dict)
    repository: object = None
    installation: object = None

    @property
    def github(self):
        return self.sandbox.github

    @property
    def database(self):
        return self.process.base.database

    def key(self, repository=None):
        repository = repository or self.repository
        return repository.owner.id, repository.id

    async def row(self, repository=None):
        return await Repositories(self.database).get(*self.key(repository))

    async def suggestion(self, number, repository=None):
        return await Suggestions(self.database).get(*self.key(repository), number)

    async def effect(self, number, key="suggestion"):
        return await Effects(self.database).get(*self.key(), number, key)

    async def stored(self, number, repository=None):
        return (await Issues(self.database).get(*self.key(repository), [number])).get(number)

    async def marks(self):
        return await Marks(self.database).all(*self.key())

    async def count(self, repository=None):
        return await Issues(self.database).count(*self.key(repository))

    async def until(self, ask, what="it", patience=PATIENCE):
        """Ask until the answer is true."""
        deadline = asyncio.get_running_loop().time() + patience
        while True:
            answer = ask()
            if asyncio.iscoroutine(answer):
                answer = await answer
            if answer:
                return answer
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"{what} did not happen; jobs: {await self.jobs()}")
            await asyncio.sleep(0.02)

    async def jobs(self):
        async with self.database.system() as connection:
            rows = await connection.fetch(
                "SELECT kind, state, attempt, reason FROM jobs WHERE state <> 'done'"
            )
        return [tuple(row) for row in rows]

    async def ended(self):
        """Every job's kind, state and note."""
        async with self.database.system() as connection:
            rows = await connection.fetch("SELECT kind, state, reason FROM jobs ORDER BY id")
        return [tuple(row) for row in rows]

    async def quiet(self):
        """Wait until webhooks were delivered and no job is due: those for later may wait."""
        await self.github.hooks.settled()

        async def idle():
            await self.make_due("look_again")  # more edits that would share it are not to come
            async with self.database.system() as connection:
                return (
                    await connection.fetchval(
                        "SELECT count(*) FROM jobs WHERE state = 'running' "
                        "OR (state = 'ready' AND run_at < now() + interval '60 seconds' AND kind <> 'watch_reactions')"
                    )
                    == 0
                )

        await self.until(idle, "quiet")

    async def quiet_but_for(self, kind):
        """Wait until all that is left are jobs of that kind which failed once and wait to be tried again."""
        await self.github.hooks.settled()

        async def waiting():
            async with self.database.system() as connection:
                rows = await connection.fetch(
                    "SELECT kind, state, reason FROM jobs WHERE state IN ('ready', 'running')"
                )
            rest = [row for row in rows if row["kind"] not in ("watch_reactions", "follow_installation")]
            return rest and all(
                row["kind"] == kind and row["state"] == "ready" and row["reason"] for row in rest
            )

        await self.until(waiting, f"a {kind} that waits")

    async def make_due(self, kind):
        """Run what waits for later now."""
        async with self.database.system() as connection:
            await connection.execute(
                "UPDATE jobs SET run_at = now() WHERE state = 'ready' AND kind = $1", kind
            )

    async def install(self, *repositories):
        """Install on these and wait for their indexes."""
        self.repository = repositories[0]
        self.installation = self.github.install(self.app, repositories[0].owner, repositories)
        for repository in repositories:
            await self.indexed(repository)
        return self.installation

    async def indexed(self, repository=None):
        async def active():
            row = await self.row(repository)
            return row is not None and row.state is RepositoryState.ACTIVE

        await self.until(active, "the index", 60.0)

    def new_repository(self, name="app", *, reports=REPORTS, config=None, private=False):
        """A repository with those issues, each by somebody else."""
        repository = self.github.create_repository("octo", name, private=private)
        repository.roles |= {"tess": "triage", "will": "write", "anna": "admin"}
        for n, (title, body) in enumerate(reports):
            self.github.seed_issue(repository, title, body, f"reporter-{n}")
        if config is not None:
            repository.files[".github/deja-view.yml"] = config
        return repository

    async def report_again(self, n=0, author="rita", repository=None, **more):
        """Somebody reports a known problem again; gives the issue when the bot has decided."""
        repository = repository or self.repository
        title, body = REPORTS[n]
        title, body = more.pop("title", f"{title} again"), more.pop("body", f"{body} Please help!")
        issue = self.github.open_issue(repository, author, title, body, **more)
        await self.quiet()
        return issue

    def ours(self, issue):
        """The App's comments on an issue."""
        return [item for item in issue.comments if item.app_id is not None]

    async def command(self, issue, author, text):
        """Give a command; gives the App's reactions and its new comments."""
        before = len(issue.comments)
        comment = self.github.comment(self.repository, issue, author, text)
        await self.quiet()
        reactions = [item.content for item in comment.reactions if item.user.kind == "Bot"]
        return reactions, [item.body for item in issue.comments[before + 1 :] if item.app_id is not None]


@pytest.fixture(autouse=True)
def logs(tmp_path):
    """What the service logs goes to a file, as in production, and not through a pretty printer."""
    with (tmp_path / "service.log").open("w", encoding="utf-8") as file:
        configure("json", file)
        yield
        structlog.reset_defaults()
        logging.getLogger().handlers[:] = []


@pytest.fixture
async def open_stage(postgres, template, tmp_path, model_dir):
    """Starts a sandbox with a service; at the end nothing unknown may have been asked of the sandbox."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(tier="enterprise", pace=UNPACED, comment_gap=0.0, environ=None):
            name = f"flow_{os.urandom(6).hex()}"
            owner = await asyncpg.connect(postgres.address("template1", "postgres"))
            await owner.execute(f"CREATE DATABASE {name} TEMPLATE {template} OWNER {embedded.ROLE}")
            stack.push_async_callback(drop, owner, name)
            clock = {"ahead": None}
            sandbox = Sandbox(GitHub())
            url = await stack.enter_async_context(serve(sandbox))
            secret = secrets.token_hex(32)
            app = sandbox.github.create_app("deja-view", None, secret)
            given = {
                "DATABASE_URL": postgres.address(name),
                "GITHUB_API_URL": url,
                "GITHUB_APP_ID": str(app.id),
                "GITHUB_APP_PRIVATE_KEY": app.private_key,
                "GITHUB_WEBHOOK_SECRET": secret,
                "JWT_SECRET": secrets.token_hex(32),
                "MODEL_DIR": str(model_dir),
                "DEFAULT_TIER": tier,
                "PORT": "0",
            }
            settings = load(given | (environ(url, app) if environ else {}), data_dir=tmp_path / name)

            def told():
                return now() + clock["ahead"] if clock["ahead"] else now()

            def ticks():
                return time.monotonic() + (clock["ahead"].total_seconds() if clock["ahead"] else 0.0)

            options = bot.app.Options(
                clock=told, monotonic=ticks, pace=pace, comment_gap=comment_gap, host="127.0.0.1"
            )
            process = await stack.enter_async_context(bot.app.running(settings, options))
            app.webhook_url = f"http://127.0.0.1:{process.port}/webhooks/github"
            stage = Stage(sandbox, app, process, url, clock)
            stack.callback(unknown_to, sandbox)
            return stage

        yield start


def unknown_to(sandbox):
    assert sandbox.unknown == []


async def drop(owner, name):
    await owner.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await owner.close()


@pytest.fixture
async def stage(open_stage):
    """A service that is installed on one repository with ten issues."""
    stage = await open_stage()
    await stage.install(stage.new_repository())
    return stage
