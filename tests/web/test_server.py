import pytest
from aiohttp import web
from structlog.testing import capture_logs

from bot.web.server import GUARDS, HOOK_PATH, application
from tests.web.conftest import raw, served


@pytest.fixture
async def site():
    async with served(None) as site:
        yield site


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_another_method_is_told_which_one_is_allowed(site, method):
    async with site.session.request(method, site.url + HOOK_PATH) as response:
        assert response.status == 405
        assert response.headers["Allow"] == "POST"
        assert await response.json() == {"error": "Method Not Allowed"}


@pytest.mark.parametrize(
    "path",
    ["/", "/webhooks", f"{HOOK_PATH}/", "/.env", "/healthz/x", "/a%00b", "/../etc/passwd", "/<script>"],
)
async def test_what_is_not_there(site, path):
    async with site.session.get(site.url + path) as response:
        assert response.status == 404
        assert await response.json() == {"error": "Not Found"}


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/none", HOOK_PATH])
async def test_what_every_answer_carries(site, path):
    async with site.session.get(site.url + path) as response:
        assert GUARDS.items() <= response.headers.items()
        assert len(response.headers["X-Request-Id"]) == 32
        assert "Server" not in response.headers


async def test_what_expects_too_much_is_guarded_too(site):
    async with site.session.get(site.url + "/healthz", headers={"Expect": "the-unexpected"}) as response:
        assert (response.status, response.headers["X-Content-Type-Options"]) == (417, "nosniff")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_head_is_get_without_the_body(site, path):
    async with site.session.head(site.url + path) as response:
        assert (response.status, await response.read()) == (200, b"")


async def test_an_unexpected_error_is_logged_and_not_told():
    async def refresh():
        raise RuntimeError("hunter22")

    with capture_logs() as logs:
        async with served(None, refresh=refresh) as site, site.session.get(f"{site.url}/metrics") as response:
            assert (response.status, await response.json()) == (500, {"error": "internal error"})
    assert [(line["event"], line["path"]) for line in logs] == [("request_failed", "/metrics")]


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
        b"POST /webhooks/github HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_400(site, data):
    answer = await raw(site.port, data)
    assert answer[9:12] == "400"
    assert "Traceback" not in answer


def test_a_process_serves_only_what_it_has():
    def paths(app):
        return {route.resource.canonical for route in app.router.routes()}

    async def show(_request):
        return web.Response()

    assert paths(application({}, None, None)) == {"/healthz", "/readyz"}
    assert paths(application({}, None, show)) == {"/healthz", "/readyz", "/metrics"}
