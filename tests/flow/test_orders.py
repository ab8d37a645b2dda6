"""GitHub promises no order: whatever order a history's events come in, and however often, they end in one state."""

import asyncio
import json
import os
import secrets
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import aiohttp
import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bot.app
import handlers
from bot.core.context import Context, Services
from bot.core.errors import NotFoundError, SkipError
from bot.core.records import Job, Lane
from bot.sandbox.github import GitHub
from bot.sandbox.server import Sandbox, serve
from bot.settings import load
from handlers.following import ARCHIVED
from handlers.purging import follow_job
from handlers.tasks.follow_installation import follow_installation
from storage import embedded
from storage.issues import Issues

from .conftest import UNPACED

START = datetime(2024, 1, 1, tzinfo=UTC)
EXAMPLES = 25


@dataclass
class House:
    """The handlers with all that they reach, driven without the queue: the test decides the order."""

    runner: asyncio.Runner
    github: GitHub
    services: Services
    app: object
    repository: object
    installation: object
    seconds: int = 0

    def told(self):
        """A later second each time: GitHub's times do not order what happens within one."""
        self.seconds += 1
        return START + timedelta(seconds=self.seconds)

    def events(self, happen):
        """What GitHub sends while something happens, as (event, payload)."""
        before = len(self.github.hooks.attempts)
        self.runner.run(self.later(happen))
        sent = self.github.hooks.attempts[before:]
        return [(item.event, json.loads(item.body)) for item in sent]

    async def later(self, happen):
        happen()

    def receive(self, event, payload):
        """Work on one event; giving up in peace is fine."""
        with suppress(SkipError):
            self.run(handlers.ROUTES[event, payload["action"]], payload)

    def run(self, behaviour, *arguments, **payload):
        job = Job(
            1,
            "delivery",
            Lane.WEBHOOK,
            self.repository.owner.id,
            None,
            payload,
            None,
            {},
            4,
            8,
            uuid4(),
            START,
        )
        return self.runner.run(behaviour(Context(self.services, job), *arguments))

    def stored(self, number):
        found = self.services.issues.get(self.repository.owner.id, self.repository.id, [number])
        return self.runner.run(found).get(number)

    def row(self, repository):
        return self.runner.run(self.services.repositories.get(self.repository.owner.id, repository.id))


async def build(stack, postgres, template, folder, model_dir):
    """Everything real but the queue; webhooks are made and never sent."""
    name = f"orders_{os.urandom(6).hex()}"
    owner = await asyncpg.connect(postgres.address("template1", "postgres"))
    stack.push_async_callback(owner.close)
    await owner.execute(f"CREATE DATABASE {name} TEMPLATE {template} OWNER {embedded.ROLE}")
    stack.push_async_callback(owner.execute, f"DROP DATABASE {name} WITH (FORCE)")
    sandbox = Sandbox(GitHub())
    github, url = sandbox.github, await stack.enter_async_context(serve(sandbox))
    github.hooks.switches.drop = True
    app = github.create_app("deja-view", "http://127.0.0.1:9/", secrets.token_hex(32))
    environ = {
        "DATABASE_URL": postgres.address(name),
        "GITHUB_API_URL": url,
        "GITHUB_APP_ID": str(app.id),
        "GITHUB_APP_PRIVATE_KEY": app.private_key,
        "GITHUB_WEBHOOK_SECRET": app.webhook_secret,
        "JWT_SECRET": secrets.token_hex(32),
        "MODEL_DIR": str(model_dir),
        "DEFAULT_TIER": "enterprise",
    }
    chosen, options = load(environ, data_dir=folder), bot.app.Options(pace=UNPACED, host="127.0.0.1")
    session = await stack.enter_async_context(aiohttp.ClientSession())
    base = await stack.enter_async_context(bot.app.open_base(chosen, options, may_migrate=False))
    client = bot.app.open_github(chosen.github, options, session)
    issues = Issues(base.database)
    similarity, _ = await stack.enter_async_context(bot.app.open_similarity(base, issues))
    services = await bot.app.services_of(base, similarity, client)
    return github, app, services


@pytest.fixture(scope="module")
def house(postgres, template, tmp_path_factory, model_dir):
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            folder = tmp_path_factory.mktemp("orders")
            github, app, services = runner.run(build(stack, postgres, template, folder, model_dir))
            repository = github.create_repository("octo", "app")
            house = House(runner, github, services, app, repository, None)
            github.clock = house.told
            (created,) = house.events(lambda: install(house))
            house.receive(*created)
            runner.run(services.repositories.indexed(repository.owner.id, repository.id, total=0))
            runner.run(services.similarity.rebuild(house.row(repository)))  # as its index would have
            yield house
        finally:
            runner.run(stack.aclose())


def install(house):
    house.installation = house.github.install(house.app, house.repository.owner, [house.repository])


def patient(**more):
    """No deadline: what is worked on is real. The house is shared, and each example has an issue of its own."""
    return settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), **more)


ISSUE_CHANGES = {
    "edit": lambda github, at, issue: github.edit_issue(at, issue, title=f"{issue.title} and more"),
    "close": lambda github, at, issue: github.close_issue(at, issue),
    "reopen": lambda github, at, issue: github.reopen_issue(at, issue),
    "label": lambda github, at, issue: github.add_labels(at, issue, [f"label{len(issue.labels)}"]),
    "unlabel": lambda github, at, issue: (
        github.remove_label(at, issue, issue.labels[-1]) if issue.labels else None
    ),
    "lock": lambda github, at, issue: github.lock_issue(at, issue),
}
ENDS = {
    "stays": lambda github, at, issue, other: None,
    "deleted": lambda github, at, issue, other: github.delete_issue(at, issue),
    "transferred": lambda github, at, issue, other: github.transfer_issue(at, issue, other),
}


def shuffled(draw, events):
    """The events in any order, some of them twice."""
    again = draw(st.lists(st.sampled_from(range(len(events))), max_size=3)) if events else []
    order = draw(st.permutations([*range(len(events)), *again]))
    return [events[n] for n in order]


@patient()
@given(
    changes=st.lists(st.sampled_from(sorted(ISSUE_CHANGES)), min_size=1, max_size=5),
    end=st.sampled_from(sorted(ENDS)),
    data=st.data(),
)
def test_an_issues_history_ends_in_one_state(house, changes, end, data):
    github, at, mine = house.github, house.repository, []
    elsewhere = github.create_repository("octo", f"elsewhere{house.seconds}")

    def happen():
        number = len(at.issues) + len(at.gone) + len(at.moved) + 1
        issue = github.open_issue(at, "rita", f"Gadget {number} makes noise", f"It hums in room {number}.")
        mine.append(issue)
        for change in changes:
            ISSUE_CHANGES[change](github, at, issue)
        ENDS[end](github, at, issue, elsewhere)

    events = house.events(happen)
    (issue,) = mine
    for event, payload in shuffled(data.draw, events):
        house.receive(event, payload)
    stored = house.stored(issue.number)
    key = (at.owner.id, at.id)
    if end != "stays":
        assert stored is None
        assert house.runner.run(house.services.issues.tombstones(*key, [issue.number])) == [issue.number]
        assert house.runner.run(house.services.suggestions.get(*key, issue.number)) is None
        return
    found = stored.issue
    assert (found.title, found.state, found.locked) == (issue.title, issue.state, issue.locked)
    assert (found.labels, found.updated_at) == (tuple(issue.labels), issue.updated_at)
    assert stored.text_vector is not None
    ranking = house.runner.run(
        house.services.similarity.rank(
            house.row(at), replace(found, number=10_000_000, created_at=datetime.now(UTC))
        )
    )
    assert ranking.degraded is None
    assert issue.number in [item.number for item in ranking.candidates]


def rename(house, repository):
    house.github.rename_repository(repository, f"{repository.name}x")


def take(house, repository):
    if repository.id in house.installation.repositories:
        house.github.remove_repositories(house.installation, [repository])


def give(house, repository):
    if repository.id not in house.installation.repositories:
        house.github.add_repositories(house.installation, [repository])


REPOSITORY_CHANGES = {
    "rename": rename,
    "archive": lambda house, repository: house.github.archive_repository(repository),
    "unarchive": lambda house, repository: house.github.unarchive_repository(repository),
    "privatize": lambda house, repository: house.github.set_private(repository, private=True),
    "publicize": lambda house, repository: house.github.set_private(repository, private=False),
    "take": take,
    "give": give,
}


@patient()
@given(
    changes=st.lists(st.sampled_from(sorted(REPOSITORY_CHANGES)), min_size=1, max_size=6),
    end=st.sampled_from(["stays", "deleted"]),
    data=st.data(),
)
def test_a_repositorys_history_ends_in_one_state(house, changes, end, data):
    repository = house.github.create_repository("octo", f"other{house.seconds}")

    def happen():
        house.told()
        give(house, repository)
        for change in changes:
            REPOSITORY_CHANGES[change](house, repository)
        if end == "deleted":
            house.github.delete_repository(repository)

    for event, payload in shuffled(data.draw, house.events(happen)):
        house.receive(event, payload)
    follow(house)
    row = house.row(repository)
    seen = end == "stays" and repository.id in house.installation.repositories
    assert (row is not None) == seen
    if row is not None:
        assert (row.name, row.private) == (repository.name, repository.private)
        assert (row.reason == ARCHIVED) == repository.archived
    assert house.row(house.repository) is not None
    house.installation.repositories.pop(repository.id, None)
    follow(house)


def follow(house):
    """What the job does that every such event leaves behind."""
    job = follow_job(house.repository.owner.id, house.installation.id)
    house.run(follow_installation, **job.payload)


def test_an_installation_that_github_does_not_know_is_left_for_its_own_event(house, monkeypatch):
    async def gone(_installation_id):
        raise NotFoundError("gone")
        yield

    monkeypatch.setattr(type(house.services.github), "installation_repositories", lambda _, n: gone(n))
    with pytest.raises(SkipError, match="does not know"):
        follow(house)
    assert house.row(house.repository) is not None
