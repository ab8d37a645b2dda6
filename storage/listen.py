"""Hears of new jobs as soon as they are committed. Only a hint: whoever waits for jobs polls as well."""

import asyncio
import contextlib
import time
from typing import Any

import asyncpg
import structlog

from storage.database import UNAVAILABLE

log = structlog.get_logger()

CHANNEL = "deja_view_jobs"

LIVENESS = 30.0
"""Seconds between proofs that the connection lives: a dead listener is silent."""

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
"""Seconds before the connection is made again: doubled from the first to the longest while it keeps failing."""


async def listen(url: str, hint: asyncio.Event) -> None:
    """Set `hint` at every notification, until cancelled; reconnects with back-off, whatever PostgreSQL says.

    It has a connection of its own: one that returns to a pool forgets what it listened to.
    """
    wait = FIRST_WAIT
    while True:
        started = time.monotonic()
        try:
            await hear(url, hint)
        except (*UNAVAILABLE, asyncpg.PostgresError) as error:
            log.warning("listener_lost", reason=type(error).__name__)
        if time.monotonic() - started > LIVENESS:
            wait = FIRST_WAIT  # it did work for a while
        await asyncio.sleep(wait)
        wait = min(wait * 2, LONGEST_WAIT)


async def hear(url: str, hint: asyncio.Event) -> None:
    """Set `hint` at every notification on one connection; raises when it is lost."""
    connection = await asyncpg.connect(
        url, timeout=10, server_settings={"application_name": "deja-view listener"}
    )
    try:
        await connection.add_listener(CHANNEL, lambda *_: hint.set())
        hint.set()  # what was missed while nobody listened
        await stay_alive(connection)
    finally:
        with contextlib.suppress(*UNAVAILABLE):
            connection.terminate()


async def stay_alive(connection: Any) -> None:
    """Ask for a sign of life again and again; raises when there is none."""
    while True:
        await connection.fetchval("SELECT 1", timeout=10)
        await asyncio.sleep(LIVENESS)
