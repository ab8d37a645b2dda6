import asyncio
import hmac
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import uuid4

import aiohttp
import pytest
from aiohttp import web

import handlers
from bot.metrics import Metrics
from bot.web import health
from bot.web.hooks import Intake
from bot.web.server import HOOK_PATH, application
from bot.web.serving import Runner
from storage.inbox import Inbox

SECRET, OLD_SECRET = b"s" * 32, b"o" * 32
APP_ID = 4711
ISSUE = {
    "action": "opened",
    "installation": {"id": 77},
    "repository": {"id": 2_900_000_001},
    "issue": {"id": 2_900_000_002, "number": 7, "title": "It crashes"},
    "sender": {"id": 5, "login": "ann", "type": "User"},
}


def signed(body, secret=SECRET):
    return "sha256=" + hmac.new(secret, body, "sha256").hexdigest()


def body_of(payload=None):
    return json.dumps(ISSUE if payload is None else payload).encode()


def headers(body, event="issues", **changes):
    """The headers of a delivery; a change to None leaves one out."""
    given = {
        "Content-Type": "application/json",
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": str(uuid4()),
        "X-Hub-Signature-256": signed(body),
    } | {name.replace("_", "-"): value for name, value in changes.items()}
    return {name: value for name, value in given.items() if value is not None}


@dataclass
class Site:
    """A served application, and a client that talks to it."""

    url: str
    port: int
    session: aiohttp.ClientSession
    metrics: Metrics
    intake: Intake

    async def post(self, body, **changes):
        """Deliver; gives status and outcome."""
        return await self.send(body, headers(body, **changes))

    async def send(self, body, given):
        async with self.session.post(self.url + HOOK_PATH, data=body, headers=given) as response:
            return response.status, (await response.json()).get("outcome")

    def counted(self, event, status):
        """How many deliveries were counted so."""
        return self.metrics.registry.get_sample_value(
            "deja_view_deliveries_total", {"event": event, "outcome": str(status)}
        )


@asynccontextmanager
async def served(inbox, checks=None, refresh=None):
    """A site as production makes it: bodies arrive as they were sent."""
    metrics = Metrics()
    intake = Intake(inbox, (SECRET, OLD_SECRET), handlers.routed, APP_ID, metrics)

    async def nothing():
        pass

    app = application(checks or {}, intake, health.exposition(metrics, refresh or nothing))
    runner = Runner(app, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    connector = aiohttp.TCPConnector(limit=100)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
        yield Site(f"http://127.0.0.1:{port}", port, session, metrics, intake)
    await runner.cleanup()


@pytest.fixture
async def site(database):
    async with served(Inbox(database)) as site:
        yield site


@pytest.fixture
def rows(database):
    """How many deliveries and jobs there are."""

    async def count():
        async with database.system() as connection:
            return tuple(
                await connection.fetchrow(
                    "SELECT (SELECT count(*) FROM deliveries), (SELECT count(*) FROM jobs)"
                )
            )

    return count


async def raw(port, data):
    """What the server answers to these bytes, and nothing more is sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in data if isinstance(data, list) else [data]:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.05)  # what was sent so far is read before the next part comes
        return (await asyncio.wait_for(reader.read(65_536), 10)).decode()
    finally:
        writer.close()
