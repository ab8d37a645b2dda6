"""Webhook deliveries: signed, sent in order, logged, and sent again only when somebody asks for it."""

import asyncio
import hmac
import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import uuid4

import aiohttp
import structlog

from bot.sandbox.state import App

log = structlog.get_logger()

TIMEOUT = 10.0
"""Seconds that GitHub waits for an answer."""


@dataclass(slots=True)
class Attempt:
    """One request of a delivery, as `GET /app/hook/deliveries` lists it."""

    id: int
    guid: str
    event: str
    action: str | None
    body: bytes
    headers: dict[str, str]
    installation_id: int | None
    repository_id: int | None
    redelivery: bool
    delivered_at: datetime
    status_code: int = 0
    status: str = "pending"
    seconds: float = 0.0
    answer: str = ""

    def summary(self) -> dict[str, Any]:
        """A `hook-delivery-item`."""
        return {
            "id": self.id,
            "guid": self.guid,
            "delivered_at": self.delivered_at.isoformat(),
            "redelivery": self.redelivery,
            "duration": self.seconds,
            "status": self.status,
            "status_code": self.status_code,
            "event": self.event,
            "action": self.action,
            "installation_id": self.installation_id,
            "repository_id": self.repository_id,
        }

    def detail(self) -> dict[str, Any]:
        """A `hook-delivery`."""
        return self.summary() | {
            "request": {"headers": self.headers, "payload": json.loads(self.body)},
            "response": {"headers": {}, "payload": self.answer},
        }


@dataclass(slots=True)
class Switches:
    """What goes wrong on the way, for tests."""

    drop: bool = False  # nothing is sent, and the log says that it failed
    drop_each: int = 0  # the same for each n-th
    twice: bool = False  # every delivery arrives two times


@dataclass(slots=True)
class Hooks:
    """Deliveries of one App, sent by a task that `run` is."""

    switches: Switches = field(default_factory=Switches)
    attempts: list[Attempt] = field(default_factory=list)
    _queue: asyncio.Queue[tuple[App, Attempt]] = field(default_factory=asyncio.Queue)
    _last_id: int = 0

    def emit(self, app: App, event: str, payload: dict[str, Any]) -> None:
        """Queue a new delivery."""
        if app.webhook_url is None:
            return
        body = json.dumps(payload, ensure_ascii=True).encode()
        installation, repository = payload.get("installation") or {}, payload.get("repository") or {}
        ids = installation.get("id"), repository.get("id")
        self._put(app, str(uuid4()), event, payload.get("action"), body, *ids, redelivery=False)

    def redeliver(self, app: App, attempt_id: int) -> bool:
        """Queue the delivery of an attempt again, under the same GUID; False for an unknown one."""
        for known in self.attempts:
            if known.id == attempt_id:
                self._put(
                    app,
                    known.guid,
                    known.event,
                    known.action,
                    known.body,
                    known.installation_id,
                    known.repository_id,
                    redelivery=True,
                )
                return True
        return False

    def _put(
        self,
        app: App,
        guid: str,
        event: str,
        action: str | None,
        body: bytes,
        installation_id: int | None,
        repository_id: int | None,
        *,
        redelivery: bool,
    ) -> None:
        self._last_id += 1
        attempt = Attempt(
            self._last_id,
            guid,
            event,
            action,
            body,
            headers(app, guid, event, body),
            installation_id,
            repository_id,
            redelivery,
            datetime.now(UTC),
        )
        self.attempts.append(attempt)
        self._queue.put_nowait((app, attempt))
        if self.switches.twice and not redelivery:
            self._queue.put_nowait((app, attempt))

    async def run(self) -> None:
        """Send what is queued, in order, until cancelled."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                app, attempt = await self._queue.get()
                try:
                    await self._send(session, app, attempt)
                finally:
                    self._queue.task_done()

    async def settled(self) -> None:
        """Wait until everything queued was sent."""
        await self._queue.join()

    async def _send(self, session: aiohttp.ClientSession, app: App, attempt: Attempt) -> None:
        started = time.monotonic()
        each = self.switches.drop_each
        lost = self.switches.drop or (each > 0 and not attempt.redelivery and attempt.id % each == 0)
        if lost or app.webhook_url is None:
            attempt.status, attempt.status_code = "failed to connect to host", 0
            return
        try:
            async with session.post(app.webhook_url, data=attempt.body, headers=attempt.headers) as response:
                attempt.answer = await response.text()
                attempt.status_code = response.status
                attempt.status = (
                    "OK" if response.status < 300 else f"Invalid HTTP Response: {response.status}"
                )
        except (aiohttp.ClientError, TimeoutError) as error:
            attempt.status = f"failed: {type(error).__name__}"
        attempt.seconds = time.monotonic() - started
        if attempt.status != "OK":
            log.info("sandbox_delivery_failed", event_name=attempt.event, status=attempt.status)


def headers(app: App, guid: str, event: str, body: bytes) -> dict[str, str]:
    """The headers of a delivery (docs.github.com, webhook events and payloads)."""
    return {
        "Content-Type": "application/json",
        "User-Agent": "GitHub-Hookshot/sandbox",
        "X-GitHub-Delivery": guid,
        "X-GitHub-Event": event,
        "X-GitHub-Hook-ID": "1",
        "X-GitHub-Hook-Installation-Target-ID": str(app.id),
        "X-GitHub-Hook-Installation-Target-Type": "integration",
        "X-Hub-Signature": "sha1=" + hmac.new(app.webhook_secret.encode(), body, "sha1").hexdigest(),
        "X-Hub-Signature-256": "sha256=" + hmac.new(app.webhook_secret.encode(), body, sha256).hexdigest(),
    }
