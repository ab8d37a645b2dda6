"""Whether the process lives, whether its parts answer, and its metrics."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from bot.metrics import Metrics

Check = Callable[[], Awaitable[str]]
"""Answers "ok" or a few words about what is wrong; raising is wrong too."""

CHECK_TIMEOUT = 3.0
"""Seconds for one part to answer."""

SELDOM_TIMEOUT = 2.0
"""Seconds for a part that is asked seldom: less, so that its silence is an answer that is kept and not asked for again."""


async def alive(_request: web.Request) -> web.Response:
    """`GET /healthz`: the process serves requests."""
    return web.json_response({"status": "ok"})


async def ask(check: Check, within: float | None = None) -> str:
    """One part's answer; never raises, and never tells more than the kind of a failure."""
    try:
        return await asyncio.wait_for(check(), CHECK_TIMEOUT if within is None else within)
    except Exception as error:  # noqa: BLE001  # any failure of a part is this part's answer
        return f"failed: {type(error).__name__}"


def seldom(check: Check, every: float, clock: Callable[[], float] = time.monotonic) -> Check:
    """The same check, made at most once in `every` seconds, whoever asks how often; until then its answer stands.

    A failure stands too: a part that is down is not asked more often. `clock` is in seconds and never goes back.
    """
    asking, answers = asyncio.Lock(), list[tuple[float, str]]()

    async def last() -> str:
        async with asking:
            if not answers or clock() - answers[0][0] >= every:
                answers[:] = [(clock(), await ask(check, SELDOM_TIMEOUT))]
            return answers[0][1]

    return last


def readiness(checks: Mapping[str, Check]) -> Callable[[web.Request], Awaitable[web.Response]]:
    """`GET /readyz`: each part by name; 503 where one of them fails."""

    async def ready(_request: web.Request) -> web.Response:
        asked = dict(checks)  # more come while a process starts
        answers = await asyncio.gather(*(ask(check) for check in asked.values()))
        parts = dict(zip(asked, answers, strict=True))
        failing = any(answer.startswith("failed") for answer in answers)
        return web.json_response({"ready": not failing, "parts": parts}, status=503 if failing else 200)

    return ready


def exposition(
    metrics: Metrics, refresh: Callable[[], Awaitable[None]]
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """`GET /metrics`: Prometheus text; `refresh` reads the gauges that live in PostgreSQL."""

    async def show(_request: web.Request) -> web.Response:
        await refresh()
        return web.Response(
            body=metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    return show
