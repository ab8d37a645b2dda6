import hmac
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import jwt
import pytest
from aiohttp import web

from bot.sandbox.github import GitHub
from bot.sandbox.server import Sandbox, serve

SECRET = "w" * 40


@dataclass
class Receiver:
    """A server that webhooks are sent to; `answer` is the status it gives."""

    url: str = ""
    answer: int = 202
    got: list = field(default_factory=list)

    async def take(self, request):
        self.got.append((dict(request.headers), await request.read()))
        return web.json_response({"outcome": "x"}, status=self.answer)


@dataclass
class Play:
    """A sandbox with one App, installed on one of two repositories of an account."""

    sandbox: Sandbox
    session: aiohttp.ClientSession
    receiver: Receiver
    url: str

    def __post_init__(self):
        github = self.github
        self.app = github.create_app("deja-view", self.receiver.url, SECRET)
        self.open = github.create_repository("ann", "tool")
        self.secret = github.create_repository("ann", "secret", private=True)
        self.other = github.create_repository("ann", "other")
        self.installation = github.install(self.app, self.open.owner, [self.open])

    @property
    def github(self) -> GitHub:
        return self.sandbox.github

    def jwt(self, **changes):
        """The App's token; a change to None leaves a claim out."""
        now = int(time.time())
        key = changes.pop("key", self.app.private_key)
        claims = {"iat": now - 60, "exp": now + 480, "iss": str(self.app.id)} | changes
        return jwt.encode({name: value for name, value in claims.items() if value is not None}, key, "RS256")

    def token(self, repositories=None, **permissions):
        """An installation token, without asking for it."""
        ids = None if repositories is None else frozenset(item.id for item in repositories)
        return self.github.tokens.issue(
            self.installation, ids, permissions or self.installation.permissions
        ).value

    async def call(self, method, path, token=None, body=None, **more):
        """Ask; gives status, JSON and headers. Redirects are not followed."""
        given = {"Authorization": f"Bearer {token or self.token()}"} if token != "" else {}
        address = path if path.startswith("http") else self.url + path
        async with self.session.request(
            method, address, json=body, headers=given, allow_redirects=False, **more
        ) as response:
            return response.status, await response.json(content_type=None), response.headers

    async def status(self, method, path, token=None, body=None):
        return (await self.call(method, path, token, body))[0]

    async def sent(self):
        """The events that arrived so far, as (event, action)."""
        await self.github.hooks.settled()
        return [(item.event, item.action) for item in self.github.hooks.attempts]


@asynccontextmanager
async def receiving():
    """A server for webhooks."""
    receiver = Receiver()
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/hook", receiver.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield receiver
    await runner.cleanup()


@pytest.fixture
async def play():
    sandbox = Sandbox()
    async with receiving() as receiver, serve(sandbox) as url, aiohttp.ClientSession() as session:
        yield Play(sandbox, session, receiver, url)


def verifies(headers, body, secret=SECRET):
    """Whether a request is signed as GitHub signs."""
    expected = "sha256=" + hmac.new(secret.encode(), body, "sha256").hexdigest()
    return hmac.compare_digest(headers["X-Hub-Signature-256"], expected)
