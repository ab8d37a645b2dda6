"""Hops 1 to 4: reads a webhook, verifies it, makes it durable, answers."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog
from aiohttp import ClientError, web

from bot.core.errors import BadDeliveryError, StorageUnavailableError
from bot.core.intake import ignored, job_for
from bot.core.ports import Inbox
from bot.core.records import Delivery
from bot.core.webhook import VerifiedEvent, verify
from bot.metrics import Metrics

log = structlog.get_logger()

MAX_BODY = 25 * 1024 * 1024
"""Bytes of one delivery; GitHub sends no larger ones (docs: webhook events and payloads)."""

READ_TIMEOUT = 10.0
"""Seconds to receive a body; GitHub itself gives up after ten."""

MAX_IN_FLIGHT = 8 * MAX_BODY
"""Bytes of bodies held at once: above it the answer is 503, so that a flood of large ones does not fill the memory."""


@dataclass(slots=True)
class Intake:
    """The webhook route and what it needs."""

    inbox: Inbox
    secrets: Sequence[bytes]
    routed: Callable[[str, str | None], bool]
    app_id: int | None
    metrics: Metrics
    _in_flight: int = field(default=0, init=False)

    async def receive(self, request: web.Request) -> web.Response:
        """Answer 202 stored, 200 known, 202 ignored, 4xx refused, 503 not stored."""
        event = "unverified"
        try:
            async with asyncio.timeout(READ_TIMEOUT):
                body = await self._read(request)
            try:
                verified = verify(request.headers, body, self.secrets)
                event = verified.event if self.routed(verified.event, verified.action) else "unrouted"
                status, outcome = await self._take(verified)
            finally:
                self._in_flight -= len(body)
        except BadDeliveryError as error:
            log.info("delivery_refused", status=error.status, reason=error.reason)
            status, outcome = error.status, error.reason
        except StorageUnavailableError:
            log.warning("delivery_not_stored")
            status, outcome = 503, "not stored, deliver it again"
        except TimeoutError:
            status, outcome = 408, "the body did not arrive in time"
        self.metrics.deliveries.labels(event=event, outcome=str(status)).inc()
        return web.json_response({"outcome": outcome}, status=status)

    async def _take(self, verified: VerifiedEvent) -> tuple[int, str]:
        if verified.event == "ping":
            return 200, "pong"
        if not self.routed(verified.event, verified.action):
            return 202, "ignored: nothing handles this event"
        reason = ignored(verified.event, verified.payload, self.app_id)
        if reason is not None:
            return 202, f"ignored: {reason}"
        ids = verified.installation_id, verified.repository_id
        delivery = Delivery(verified.delivery_id, verified.event, verified.action, *ids, verified.body)
        job = job_for(verified.event, verified.payload, *ids, verified.delivery_id)
        stored = await self.inbox.accept(delivery, job)
        return (202, "stored") if stored else (200, "known")

    async def _read(self, request: web.Request) -> bytes:
        """The raw body, bounded while it arrives, whatever its declared length says. Raises BadDeliveryError."""
        chunks: list[bytes] = []
        size = 0
        try:
            async for chunk in request.content.iter_any():
                size += len(chunk)
                self._in_flight += len(chunk)
                self._ensure_bounded(size)
                chunks.append(chunk)
        except BaseException as error:
            self._in_flight -= size
            if isinstance(error, ConnectionError | ClientError):
                raise BadDeliveryError(400, "the body broke off") from None
            raise
        return b"".join(chunks)

    def _ensure_bounded(self, size: int) -> None:
        if size > MAX_BODY:
            raise BadDeliveryError(413, "the body is larger than 25 MiB")
        if self._in_flight > MAX_IN_FLIGHT:
            raise BadDeliveryError(503, "too many large bodies at once")
