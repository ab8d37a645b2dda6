"""Whether the process lives, whether its parts answer, and its metrics."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from bot.metrics import Metrics

Check = Callable[[], Awaitable[str]]
"""Answers "ok" or a few words about what is wrong; raising is wrong too."""

CHECK_TIMEOUT = 3.0
"""Seconds for one part to answer."""


async def alive(_request: web.Request) -> web.Response:
    """`GET /healthz`: the process serves requests."""
    return web.json_response({"status": "ok"})


async def ask(check: Check) -> str:
    """One part's answer; never raises, and never tells more than the kind of a failure."""
    try:
        return await asyncio.wait_for(check(), CHECK_TIMEOUT)
    except Exception as error:  # noqa: BLE001  # any failure of a part is this part's answer
        return f"failed: {type(error).__name__}"


def readiness(checks: Mapping[str, Check]) -> Callable[[web.Request], Awaitable[web.Response]]:
    """`GET /readyz`: each part by name; 503 where one of them fails."""

    async def ready(_request: web.Request) -> web.Response:
        answers = await asyncio.gather(*(ask(check) for check in checks.values()))
        parts = dict(zip(checks, answers, strict=True))
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
