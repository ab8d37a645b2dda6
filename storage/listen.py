"""Hears of new jobs as soon as they are committed. Only a hint: whoever waits for jobs polls as well."""

import asyncio
import contextlib
from typing import Any

import asyncpg
import structlog

from storage.database import UNAVAILABLE

log = structlog.get_logger()

CHANNEL = "deja_view_jobs"

LIVENESS = 30.0
"""Seconds between proofs that the connection lives: a dead listener is silent."""

LONGEST_WAIT = 30.0
"""Seconds between attempts to connect again, at the most."""


async def listen(url: str, hint: asyncio.Event) -> None:
    """Set `hint` at every notification, until cancelled; reconnects with back-off.

    It has a connection of its own: one that returns to a pool forgets what it listened to.
    """
    wait = 0.5
    while True:
        try:
            connection = await asyncpg.connect(url, timeout=10, server_settings={"application_name": "deja-view listener"})
        except UNAVAILABLE as error:
            log.warning("listener_lost", reason=type(error).__name__)
            await asyncio.sleep(wait)
            wait = min(wait * 2, LONGEST_WAIT)
            continue
        wait = 0.5
        try:
            await connection.add_listener(CHANNEL, lambda *_: hint.set())
            hint.set()  # what was missed while nobody listened
            await stay_alive(connection)
        except UNAVAILABLE as error:
            log.warning("listener_lost", reason=type(error).__name__)
        finally:
            with contextlib.suppress(*UNAVAILABLE):
                connection.terminate()


async def stay_alive(connection: Any) -> None:
    """Ask for a sign of life again and again; raises when there is none."""
    while True:
        await connection.fetchval("SELECT 1", timeout=10)
        await asyncio.sleep(LIVENESS)
