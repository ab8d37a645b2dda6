import asyncio
import time

import pytest

from bot.metrics import Metrics
from bot.web import health
from tests.pace import allowed
from tests.web.conftest import served


async def fine():
    return "ok"


async def not_set():
    return "not configured: set X"


async def words():
    return "failed: it has not answered yet"


async def broken():
    raise RuntimeError("hunter22 at 10.0.0.7")


async def hanging():
    await asyncio.sleep(3600)


@pytest.mark.parametrize(
    ("checks", "status", "parts"),
    [
        ({}, 200, {}),
        ({"a": fine, "b": fine}, 200, {"a": "ok", "b": "ok"}),
        ({"a": fine, "b": not_set}, 200, {"a": "ok", "b": "not configured: set X"}),
        ({"a": fine, "b": broken}, 503, {"a": "ok", "b": "failed: RuntimeError"}),
        ({"a": words}, 503, {"a": "failed: it has not answered yet"}),
        ({"a": hanging, "b": fine, "c": hanging}, 503, {"a": "failed: TimeoutError", "b": "ok", "c": "failed: TimeoutError"}),
    ],
)  # fmt: skip
async def test_each_part_is_asked(monkeypatch, checks, status, parts):
    monkeypatch.setattr(health, "CHECK_TIMEOUT", 0.1)
    started = time.monotonic()
    async with served(None, checks) as site, site.session.get(f"{site.url}/readyz") as response:
        assert response.status == status
        assert await response.json() == {"ready": status == 200, "parts": parts}
    assert time.monotonic() - started < allowed(2)  # parts are asked at once, each for a moment


async def test_what_is_added_later_is_asked_too():
    checks = {"a": fine}
    async with served(None, checks) as site:
        checks["b"] = broken
        async with site.session.get(f"{site.url}/readyz") as response:
            assert (await response.json())["parts"] == {"a": "ok", "b": "failed: RuntimeError"}


async def test_what_is_added_while_the_others_are_asked_is_asked_the_next_time():
    checks = {}

    async def starting():
        checks["b"] = fine
        return "ok"

    checks["a"] = starting
    async with served(None, checks) as site:
        for parts in ({"a": "ok"}, {"a": "ok", "b": "ok"}):
            async with site.session.get(f"{site.url}/readyz") as response:
                assert (await response.json())["parts"] == parts


async def test_a_real_database_is_a_part(database):
    async def ask():
        await database.ping()
        return "ok"

    async with served(None, {"postgresql": ask}) as site:
        async with site.session.get(f"{site.url}/readyz") as response:
            assert response.status == 200
        database._pool.terminate()
        async with site.session.get(f"{site.url}/readyz") as response:
            assert response.status == 503
            assert await response.json() == {
                "ready": False,
                "parts": {"postgresql": "failed: StorageUnavailableError"},
            }
        async with site.session.get(f"{site.url}/healthz") as response:
            assert (response.status, await response.json()) == (
                200,
                {"status": "ok"},
            )  # a restart would not help


async def test_metrics_are_what_prometheus_reads():
    async with served(None) as site:
        await site.post(b"{}", X_Hub_Signature_256=None)
        async with site.session.get(f"{site.url}/metrics") as response:
            assert response.status == 200
            assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            page = await response.text()
    assert 'deja_view_deliveries_total{event="unverified",outcome="401"} 1.0' in page


async def test_gauges_are_read_anew_for_each_page():
    asked = []

    async def refresh():
        asked.append(1)

    async with served(None, refresh=refresh) as site:
        for _ in range(3):
            async with site.session.get(f"{site.url}/metrics"):
                pass
    assert len(asked) == 3


async def test_a_page_without_a_database_still_has_what_is_counted_here():
    async def refresh():
        raise RuntimeError("hunter22")

    async with served(None, refresh=refresh) as site, site.session.get(f"{site.url}/metrics") as response:
        assert "hunter22" not in await response.text()
        assert response.status in (200, 500)


def test_an_empty_page_is_a_page():
    assert Metrics().render().startswith(b"# HELP deja_view_deliveries_total")


async def test_a_part_that_is_asked_seldom_is_asked_once_whoever_asks_how_often():
    said, now = ["ok", RuntimeError("gone"), "ok"], [100.0]
    asked = []

    async def check():
        asked.append(now[0])
        await asyncio.sleep(0)
        answer = said.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    rare = health.seldom(check, 30.0, lambda: now[0])
    assert await asyncio.gather(*(rare() for _ in range(20))) == ["ok"] * 20
    now[0] = 129.9
    assert await rare() == "ok"
    now[0] = 130.0
    assert [await rare(), await rare()] == ["failed: RuntimeError"] * 2, "a failure stands too"
    now[0] = 160.0
    assert await rare() == "ok"
    assert asked == [100.0, 130.0, 160.0]


async def test_a_part_that_is_asked_seldom_and_hangs_is_not_asked_again_at_once(monkeypatch):
    monkeypatch.setattr(health, "SELDOM_TIMEOUT", 0.05)
    asked = []

    async def check():
        asked.append(1)
        await hanging()

    rare = health.seldom(check, 30.0)
    assert [await rare() for _ in range(3)] == ["failed: TimeoutError"] * 3
    assert asked == [1]


def test_what_is_asked_seldom_has_answered_before_it_would_be_broken_off():
    assert health.SELDOM_TIMEOUT < health.CHECK_TIMEOUT
