"""The API as it is served: real HTTP, PostgreSQL, Chroma and model, for two accounts that must not meet."""

import asyncio
import json
import os
import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import aiohttp
import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import bot.app
from bot.core.access import NewApiKey
from bot.core.api_keys import digest, mint
from bot.core.principal import Principal, Scope, Source
from bot.core.records import Account, Issue, RepositoryName
from bot.settings import load
from bot.web.tokens import TokenIssuer
from storage import embedded
from storage.accounts import Accounts
from storage.api_keys import ApiKeys
from storage.database import Database
from storage.issues import Issues
from storage.repositories import Repositories
from tests.flow.conftest import REPORTS

MINE, OTHER = 1_001, 2_002
MY_REPOSITORY, MY_SECOND, OTHER_REPOSITORY = 11_001, 11_002, 22_001
AT = datetime(2025, 1, 1, tzinfo=UTC)
NOWHERE = "http://127.0.0.1:9"
KEY = (
    rsa.generate_private_key(public_exponent=65537, key_size=2048)
    .private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    .decode()
)


def issue(repository_id, number, title, body, **changes):
    values = {
        "repository_id": repository_id, "number": number, "github_id": repository_id * 1000 + number, "title": title, "body": body,
        "state": "open", "state_reason": None, "author": f"reporter-{number}", "author_id": 500 + number, "author_is_bot": False,
        "labels": (), "is_pull_request": False, "locked": False, "reactions": 0, "created_at": AT + timedelta(days=number),
        "updated_at": AT + timedelta(days=number),
    }  # fmt: skip
    return Issue(**(values | changes))


@dataclass
class Answer:
    """What the API answered."""

    status: int
    headers: object  # names without regard to case
    raw: bytes

    @property
    def json(self):
        return json.loads(self.raw)

    @property
    def code(self):
        return self.json["code"]


@dataclass
class World:
    """A running service without GitHub, and everything to knock at its API with."""

    url: str
    process: object
    session: aiohttp.ClientSession
    settings: object
    clock: dict = field(default_factory=dict)

    @property
    def database(self):
        return self.process.base.database

    async def ask(self, method, path, key=None, *, body=None, raw=None, headers=None, **more):
        """One request; `key` is what stands after Bearer."""
        given = dict(headers or {})
        if key is not None:
            given["Authorization"] = f"Bearer {key}"
        if body is not None:
            raw = json.dumps(body).encode()
            given.setdefault("Content-Type", "application/json")
        async with self.session.request(
            method, self.url + path, data=raw, headers=given, allow_redirects=False, **more
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path, key=None, **more):
        return await self.ask("GET", path, key, **more)

    async def post(self, path, key=None, body=None, **more):
        return await self.ask("POST", path, key, body=body, **more)

    async def key(self, account_id=MINE, scope=Scope.ADMIN, repository_id=None, **more):
        """The text of a new API key."""
        text = mint()
        new = NewApiKey(text.id, "test", digest(text.secret), scope, repository_id, **more)
        await ApiKeys(self.database).add(account_id, new)
        return text.text

    def token(self, account_id=MINE, scope=Scope.ADMIN, repository_id=None, **more):
        """A token of ours, as `POST /v1/token` would give it."""
        issuer = TokenIssuer(self.settings.jwt_secrets, self.settings.public_url or "deja-view")
        given = {"source": Source.ACTIONS, "repository_id": repository_id or MY_REPOSITORY} | more
        return issuer.issue(Principal(account_id, scope, **given), datetime.now(UTC))[0]

    async def index(self, account_id, repository_id):
        """Embed what is stored there."""
        similarity = self.process.search.loaded
        repository = await Repositories(self.database).get(account_id, repository_id)
        numbers = [
            item.number for item in await Issues(self.database).list(account_id, repository_id, None, 0, 1000)
        ]
        await similarity.index(repository, numbers)
        await Repositories(self.database).indexed(account_id, repository_id, total=len(numbers))


async def fill(database):
    """Two accounts; the first has two repositories with issues, the second one."""
    accounts, issues = Accounts(database, default_tier="enterprise"), Issues(database)
    mine = [
        RepositoryName(MY_REPOSITORY, "octo", "app", private=False),
        RepositoryName(MY_SECOND, "octo", "lib", private=True),
    ]
    await accounts.install(Account(MINE, "octo", "Organization", "enterprise"), 101, mine)
    other = [RepositoryName(OTHER_REPOSITORY, "cat", "secret", private=True)]
    await accounts.install(Account(OTHER, "cat", "User", "enterprise"), 202, other)
    for account_id, repository_id, prefix in (
        (MINE, MY_REPOSITORY, ""),
        (MINE, MY_SECOND, ""),
        (OTHER, OTHER_REPOSITORY, "CANARY "),
    ):
        rows = [
            issue(repository_id, n, prefix + title, body) for n, (title, body) in enumerate(REPORTS, start=1)
        ]
        await issues.save(account_id, rows)


@asynccontextmanager
async def serve_world(postgres, template, model_dir, folder, **environ):
    """Start it; the model is loaded when it is there."""
    name = f"api_{os.urandom(6).hex()}"
    owner = await asyncpg.connect(postgres.address("template1", "postgres"))
    await owner.execute(f"CREATE DATABASE {name} TEMPLATE {template} OWNER {embedded.ROLE}")
    try:
        settings = load(
            {
                "DATABASE_URL": postgres.address(name),
                "GITHUB_API_URL": NOWHERE,
                "GITHUB_APP_ID": "1",
                "GITHUB_APP_PRIVATE_KEY": KEY,
                "GITHUB_WEBHOOK_SECRET": secrets.token_hex(32),
                "JWT_SECRET": secrets.token_hex(32),
                "MODEL_DIR": str(model_dir),
                "DEFAULT_TIER": "enterprise",
                "PORT": "0",
            }
            | environ,
            data_dir=folder / name,
        )
        database = await Database.connect(postgres.address(name), size=1)
        await fill(database)
        await database.close()
        clock = {"ahead": timedelta(0)}
        options = bot.app.Options(clock=lambda: datetime.now(UTC) + clock["ahead"], host="127.0.0.1")
        async with (
            bot.app.running(settings, options, jobs=False) as process,
            aiohttp.ClientSession(
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=60),
                cookie_jar=aiohttp.DummyCookieJar(),
            ) as session,
        ):
            world = World(f"http://127.0.0.1:{process.port}", process, session, settings, clock)
            while process.search.loaded is None:
                assert not process.worker.done(), process.worker.exception()
                await asyncio.sleep(0.02)
            await world.index(MINE, MY_REPOSITORY)
            await world.index(MINE, MY_SECOND)
            await world.index(OTHER, OTHER_REPOSITORY)
            yield world
    finally:
        await owner.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await owner.close()


async def limits(world, **allowances):
    """Change what tiers allow, as the operator may: calls a minute by tier."""
    owner = await asyncpg.connect(world.settings.database_url)
    for tier, calls in allowances.items():
        await owner.execute("UPDATE tiers SET api_calls = $2 WHERE name = $1", tier, calls)
    await owner.close()


@pytest.fixture
async def world(postgres, template, model_dir, tmp_path):
    """A service of its own for each test."""
    async with serve_world(postgres, template, model_dir, tmp_path) as world:
        yield world
