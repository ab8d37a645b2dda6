"""Hop 4: deliveries made durable, those that arrive together in one commit."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate
from typing import Any

import asyncpg
import structlog

from bot.core import crash
from bot.core.errors import DeadError, StorageUnavailableError
from bot.core.records import Delivery, Job, NewJob
from storage.database import Database
from storage.queries import load

log = structlog.get_logger()

SQL = load("deliveries")

LARGEST_BATCH = 64
LARGEST_BYTES = 8 * 1024 * 1024
"""What one commit takes at the most: more would make those who wait behind it wait too long."""


@dataclass(slots=True)
class Waiting:
    """One caller of `accept`."""

    delivery: Delivery
    job: NewJob
    stored: asyncio.Future[bool]


class Inbox:
    """Deliveries and their jobs, in one transaction; see `bot.core.ports.Inbox`.

    Group commit: whoever arrives while a commit is under way is written with the next one, so that the price of a
    durable write is shared by all that wait.
    """

    def __init__(self, database: Database) -> None:
        """Starts writing with the first delivery."""
        self._database = database
        self._waiting: list[Waiting] = []
        self._writer: asyncio.Task[None] | None = None
        self._connection: Any = None

    async def accept(self, delivery: Delivery, job: NewJob) -> bool:
        """Store; False where the id is known. Raises StorageUnavailableError where nothing was stored."""
        waiting = Waiting(delivery, job, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        return await waiting.stored

    async def read(self, job: Job) -> Delivery:
        """The delivery of a job."""
        async with self._database.system() as connection:
            row = await connection.fetchrow(SQL["read"], job.delivery_id)
        if row is None:
            raise DeadError("the delivery was purged")
        if not row["body"]:
            raise DeadError("the delivery was purged with what it is about")
        return Delivery(**row)

    async def _write(self) -> None:
        """Commit batch after batch until nobody waits."""
        try:
            while self._waiting:
                await self._take_turn(self._next_batch())
        finally:
            self._writer = None

    async def _take_turn(self, batch: list[Waiting]) -> None:
        """Commit this batch, and on the same connection those that arrived meanwhile, until nobody waits."""
        try:
            async with self._database.system() as self._connection:
                while batch:
                    await self._commit(batch)
                    batch = self._next_batch()
        except asyncpg.DataError as error:
            if len(batch) == 1:
                fail(batch, error)
                return
            # A value that PostgreSQL refuses must not take the others with it.
            for waiting in batch:
                await self._take_turn([waiting])
        except Exception as error:  # noqa: BLE001  # every caller must hear of it, and the next batch must go on
            fail(batch, error)

    def _next_batch(self) -> list[Waiting]:
        """The first of those who wait: as many as a commit takes, one at least."""
        sizes = accumulate(len(waiting.delivery.body) for waiting in self._waiting[:LARGEST_BATCH])
        n = max(1, sum(size <= LARGEST_BYTES for size in sizes))
        batch, self._waiting = self._waiting[:n], self._waiting[n:]
        return batch

    async def _commit(self, batch: Sequence[Waiting]) -> None:
        """Store a batch, commit, begin anew, and tell everybody of the batch."""
        digests = [sha256(item.delivery.body).digest() for item in batch]
        rows = await self._connection.fetch(SQL["accept"], *columns(batch, digests))
        new = {row["id"] for row in rows}
        known = [
            (item.delivery.id, digest)
            for item, digest in zip(batch, digests, strict=True)
            if item.delivery.id not in new
        ]
        if known:
            for row in await self._connection.fetch(SQL["other_bodies"], *zip(*known, strict=True)):
                log.warning("delivery_id_reused", security=True, delivery_id=str(row["id"]))
        crash.point("delivery-written")
        await self._connection.execute(SQL["commit"])
        crash.point("delivery-committed")
        for item in batch:
            if not item.stored.done():
                item.stored.set_result(item.delivery.id in new)
            new.discard(item.delivery.id)


def columns(batch: Sequence[Waiting], digests: Sequence[bytes]) -> list[list[object]]:
    """The batch as one array for each column of the statement."""
    rows = [
        (
            item.delivery.id,
            item.delivery.event,
            item.delivery.action,
            item.delivery.installation_id,
            item.delivery.repository_id,
            item.delivery.body,
            digest,
            item.job.kind,
            int(item.job.lane),
            item.job.serial,
            item.job.payload,
            item.job.max_attempts,
        )
        for item, digest in zip(batch, digests, strict=True)
    ]
    return [list(column) for column in zip(*rows, strict=True)]


def fail(batch: Sequence[Waiting], error: Exception) -> None:
    """Tell everybody of a batch that nothing of it was stored."""
    reason = str(error) if isinstance(error, StorageUnavailableError) else type(error).__name__
    log.error("deliveries_not_stored", deliveries=len(batch), reason=reason)
    for item in batch:
        if not item.stored.done():
            item.stored.set_exception(StorageUnavailableError("the delivery was not stored"))
