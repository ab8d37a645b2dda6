import json
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bot.core.pace import WritePace
from bot.core.records import Repository, RepositoryState
from bot.github.app import GitHubApp
from bot.github.auth import AppKeys
from bot.github.client import Api

APP_ID = 4711
INSTALLATION = 7
MINT = f"/app/installations/{INSTALLATION}/access_tokens"


def new_key():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


@dataclass
class Reply:
    """What the server says once; `cut` sends half of the body, `drop` takes the request and hangs up."""

    status: int = 200
    body: object = None
    headers: dict = field(default_factory=dict)
    cut: bool = False
    drop: bool = False

    @property
    def raw(self):
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass
class Seen:
    """A request as it came off the wire."""

    method: str
    path: str  # as sent, without the query
    query: dict
    token: str
    data: object
    headers: dict


class Script:
    """A GitHub that says what a test tells it to; the last reply to a request is repeated."""

    def __init__(self):
        self.seen, self.replies, self.minted = [], defaultdict(list), []
        self.token_lives = timedelta(hours=1)

    def on(self, method, path, *replies):
        self.replies[method, path] = list(replies)

    def to(self, path):
        return [seen for seen in self.seen if seen.path == path]

    @property
    def work(self):
        """What was asked for besides tokens."""
        return [seen for seen in self.seen if not seen.path.endswith("/access_tokens")]

    async def answer(self, request):
        raw = await request.read()
        path = request.raw_path.split("?")[0]
        token = request.headers.get("Authorization", "").partition(" ")[2]
        data = json.loads(raw) if raw else None
        self.seen.append(
            Seen(
                request.method,
                path,
                dict(request.query),
                token,
                data,
                {name.lower(): value for name, value in request.headers.items()},
            )
        )
        replies = self.replies.get((request.method, path))
        if replies is None and path.endswith("/access_tokens"):
            return self.mint(data)
        if replies is None:
            return web.json_response({"message": f"nothing scripted for {request.method} {path}"}, status=400)
        return await self.say(request, replies.pop(0) if len(replies) > 1 else replies[0])

    def mint(self, data):
        self.minted.append(data)
        ends = datetime.now(UTC) + self.token_lives
        value = f"ghs_token{len(self.minted)}"
        return web.json_response({"token": value, "expires_at": ends.isoformat()}, status=201)

    async def say(self, request, reply):
        if reply.drop:
            request.transport.close()
            return web.Response()
        headers = {"Content-Type": "application/json", **reply.headers}
        if not reply.cut:
            return web.Response(
                status=reply.status, body=b"" if reply.status == 204 else reply.raw, headers=headers
            )
        response = web.StreamResponse(status=reply.status, headers=headers)
        response.content_length = len(reply.raw)
        await response.prepare(request)
        await response.write(reply.raw[: len(reply.raw) // 2])
        request.transport.close()
        return response


@pytest.fixture
async def start():
    """Starts scripted servers."""
    servers = []

    async def start_one():
        script = Script()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", script.answer)
        server = TestServer(app)
        await server.start_server()
        servers.append(server)
        script.url = str(server.make_url("")).rstrip("/")
        return script

    yield start_one
    for server in servers:
        await server.close()


@pytest.fixture
async def server(start):
    script = await start()
    script.on("GET", "/app", Reply(body={"id": APP_ID, "slug": "deja-view"}))
    return script


@pytest.fixture
async def session():
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture(scope="session")
def pem():
    return new_key()


@pytest.fixture(scope="session")
def other_pem():
    return new_key()


@pytest.fixture
def api(server):
    return Api(server.url, timeout=2.0, read_retries=(0.0, 0.0), young_token_retries=(0.0, 0.0, 0.0))


@pytest.fixture
def github(session, api, pem):
    """The App, with no time between writes."""
    return GitHubApp(session, api, AppKeys(APP_ID, [pem]), WritePace(0.0, 10_000, 10_000))


@pytest.fixture
def row():
    return Repository(
        id=42,
        account_id=1,
        installation_id=INSTALLATION,
        owner="octo",
        name="hello",
        private=False,
        collection="r42",
        state=RepositoryState.ACTIVE,
        reason=None,
        indexed_at=None,
        issues_total=None,
        issues_indexed=0,
        revision=0,
        threshold=None,
        threshold_model=None,
        config_notice=None,
    )


@pytest.fixture
def repository(github, row):
    return github.repository(row)


@pytest.fixture
async def app_at():
    """A repository of a sandbox as an App that is installed there sees it."""
    async with aiohttp.ClientSession() as session:

        async def at(sandbox, url, home):
            made = sandbox.github.create_app("deja-view", None, "s" * 40)
            installation = sandbox.github.install(made, home.owner, [home])
            known = Repository(
                home.id, home.owner.id, installation.id, home.owner.login, home.name, private=False, collection="c",
                state=RepositoryState.ACTIVE, reason=None, indexed_at=None, issues_total=None, issues_indexed=0,
                revision=0, threshold=None, threshold_model=None, config_notice=None,
            )  # fmt: skip
            return GitHubApp(session, Api(url), AppKeys(made.id, [made.private_key])).repository(known)

        yield at
