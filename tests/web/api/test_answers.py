"""What every answer carries, and how little an error tells (T111, T119)."""

import itertools
import re
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import aiohttp
import asyncpg
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from bot.api import Search, parts_of
from bot.core import errors
from bot.web import legacy
from bot.web.api.call import Route
from bot.web.api.pipeline import handler_of
from bot.web.api.problems import Problem
from bot.web.api.routes import ROUTES
from bot.web.server import application
from tests.web.api.conftest import MY_REPOSITORY, MY_SECOND, OTHER_REPOSITORY, Answer, serve_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

VALUES = {"repository_id": str(MY_REPOSITORY), "number": "7", "key_id": "nobody"}
MEDIA = ("application/json", "application/problem+json", "application/x-ndjson", "text/markdown")
INSIDE = "hunter22 at /srv/deja SELECT digest FROM api_keys"
GITHUB = {"status": 500, "retry_after": 7.0, "resume_at": datetime.now(UTC), "secondary": True}
ERRORS = [
    (errors.StorageUnavailableError(INSIDE), 503, "unavailable"),
    (errors.SearchUnavailableError(INSIDE), 503, "unavailable"),
    (errors.ModelUnavailableError(INSIDE), 503, "unavailable"),
    (errors.GitHubUnavailableError(INSIDE), 503, "unavailable"),
    (errors.RateLimitedError(INSIDE, **GITHUB), 503, "unavailable"),
    (errors.CredentialsError(INSIDE), 503, "unavailable"),
    (errors.SuspendedError(INSIDE), 503, "unavailable"),
    (errors.PermissionMissingError(INSIDE), 503, "unavailable"),
    (errors.RefusedError(INSIDE), 503, "unavailable"),
    (errors.NotFoundError(INSIDE), 503, "unavailable"),
    (errors.GoneError(INSIDE), 503, "unavailable"),
    (errors.MovedError(INSIDE), 503, "unavailable"),
    (errors.InvalidRequestError(INSIDE), 503, "unavailable"),
    (errors.ForeignHostError(INSIDE), 503, "unavailable"),
    (errors.GitHubError(INSIDE), 503, "unavailable"),
    (errors.SignInError(INSIDE), 401, "unauthenticated"),
    (errors.MissingError(INSIDE), 404, "not_found"),
    (errors.UnauthenticatedError("words for the sender"), 401, "unauthenticated"),
    (errors.QuotaError("repositories", 3, "words for the sender"), 409, "quota_exceeded"),
    (errors.BotError(INSIDE), 500, "internal"),
    (errors.SettingsError(INSIDE), 500, "internal"),
    (errors.BadDeliveryError(400, INSIDE), 500, "internal"),
    (errors.SealError(INSIDE), 500, "internal"),
    (errors.TellError(INSIDE), 500, "internal"),
    (errors.RetryError(INSIDE, 5.0), 500, "internal"),
    (errors.SkipError(INSIDE), 500, "internal"),
    (errors.DeadError(INSIDE), 500, "internal"),
    (errors.BadRowError(INSIDE), 500, "internal"),
    (errors.LeaseLostError(INSIDE), 500, "internal"),
    (errors.CollectionBrokenError(INSIDE), 503, "unavailable"),
    (RuntimeError(INSIDE), 500, "internal"),
    (KeyError(INSIDE), 500, "internal"),
    (OSError(INSIDE), 500, "internal"),
    (TimeoutError(INSIDE), 500, "internal"),
    (asyncpg.UndefinedTableError(INSIDE), 500, "internal"),
    (aiohttp.ClientError(INSIDE), 500, "internal"),
    (aiohttp.web.HTTPGone(reason="hunter22"), 500, "internal"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(postgres, template, model_dir, tmp_path_factory):
    """One for all of these: none of them changes anything that another one looks at."""
    environ = {"PUBLIC_URL": "https://deja.example", "CLIENT_ADDRESS_HEADER": "X-Client"}
    async with serve_world(
        postgres, template, model_dir, tmp_path_factory.mktemp("answers"), **environ
    ) as one:
        yield one


NUMBERS = itertools.count(1)


def address():
    """Another client each time: the failures of one address are limited."""
    number = next(NUMBERS)
    return {"X-Client": f"10.0.{number // 256}.{number % 256}"}


def ensure_guarded(answer):
    """Fails where a header is missing that each answer has, whatever its status."""
    headers = answer.headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"
    for rule in ("default-src 'none'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"):
        assert rule in headers["Content-Security-Policy"]
    assert re.fullmatch("[0-9a-f]{32}", headers["X-Request-Id"])
    assert not {"Server", "Access-Control-Allow-Origin", "X-Powered-By"} & set(headers)


def ensure_problem(answer, status, code):
    """Fails where an error is not told as the description says."""
    ensure_guarded(answer)
    assert answer.headers["Content-Type"] == "application/problem+json; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    problem = Problem.model_validate(answer.json)
    assert (answer.status, problem.status, problem.code) == (status, status, code)
    assert problem.request_id == answer.headers["X-Request-Id"]
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)
    assert ("Retry-After" in answer.headers) == (code in ("rate_limited", "unavailable", "in_flight"))


@pytest.mark.parametrize("credential", ["none", "wrong", "good"])
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
async def test_every_route_answers_with_every_header(world, route, credential):
    key = {"none": None, "wrong": "djv_x", "good": await world.key()}[credential]
    path = re.sub(r"{(\w+)}", lambda match: VALUES[match[1]], route.path)
    body = {} if route.body else None  # of which none that is deleted by
    answer = await world.ask(route.method, f"/v1{path}", key, body=body, headers=address())
    ensure_guarded(answer)
    assert answer.headers["Cache-Control"] == "no-store"
    if answer.status >= 400:
        ensure_problem(answer, answer.status, answer.code)
    elif answer.status != 204:
        kind, _, rest = answer.headers["Content-Type"].partition("; ")
        assert kind in MEDIA
        assert rest == "charset=utf-8"


async def test_so_do_all_other_routes(world):
    for route in world.process.routes:
        if not route.path.startswith("/v1"):
            path = route.path.replace("{name}", "swagger-ui.css")
            ensure_guarded(await world.ask(route.method, path, headers=address()))


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/", "/v1/nothing", "/v1/repositories/", "/v1/account/x", "/v1/%2e%2e/v1"]
)
async def test_what_is_not_there_is_a_problem(world, path):
    ensure_problem(await world.get(path, headers=address()), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/v1/account", "GET"),
        ("HEAD", "/v1/account", "GET"),
        ("OPTIONS", "/v1/account", "GET"),
        ("TRACE", "/v1/account", "GET"),
        ("GET", "/v1/token", "DELETE,POST"),
        ("PUT", f"/v1/repositories/{OTHER_REPOSITORY}/settings", "GET,PATCH"),
        ("PROPFIND", "/v1/openapi.json", "GET"),
    ],
)
async def test_another_method_is_a_problem_with_those_that_are_allowed(world, method, path, allow):
    answer = await world.ask(method, path, headers=address())
    assert answer.headers["Allow"] == allow
    if method != "HEAD":
        ensure_problem(answer, 405, "method_not_allowed")


# --- errors of every kind


@asynccontextmanager
async def failing(world, error):
    """A route that ends so, behind the pipeline of all routes."""

    async def run(_call):
        raise error

    search = Search()
    async with aiohttp.ClientSession() as session:
        parts = parts_of(
            world.settings, world.database, search, session, None, None, world.process.base.options.clock
        )
        route = Route(name="fail", method="GET", path="/fail", run=run, summary="", tag="t", scope=None)
        app = application({}, None, None, [aiohttp.web.get("/v1/fail", handler_of(parts, route))], https=True)
        runner = aiohttp.web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1/fail"
        finally:
            await runner.cleanup()


@pytest.mark.parametrize(("error", "status", "code"), ERRORS, ids=lambda item: type(item).__name__)
async def test_an_error_tells_nothing_of_the_inside(world, error, status, code):
    with capture_logs() as logs:
        async with failing(world, error) as url, world.session.get(url, headers=address()) as response:
            answer = Answer(response.status, response.headers, await response.read())
    ensure_problem(answer, status, code)
    whole = answer.raw.decode() + str(answer.headers)
    assert not [
        word for word in ("hunter22", "/srv", "SELECT", "Traceback", type(error).__name__) if word in whole
    ]
    failed = [line for line in logs if line["event"] == "request_failed"]
    assert bool(failed) == (status == 500)


async def test_every_error_of_ours_is_tried():
    known = {
        item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, errors.BotError)
    }
    assert known == {type(error) for error, _, _ in ERRORS if isinstance(error, errors.BotError)}


async def test_an_export_that_breaks_off_does_not_look_whole(world):
    """What was sent cannot be taken back: the connection ends in the middle, which clients tell as an error."""
    owner = await asyncpg.connect(world.settings.database_url)
    await owner.execute("ALTER TABLE suggestions RENAME TO away")
    try:
        with capture_logs() as logs:
            given = {"Authorization": f"Bearer {await world.key()}"}
            async with world.session.get(f"{world.url}/v1/export", headers=given) as response:
                assert response.status == 200
                with pytest.raises(aiohttp.ClientPayloadError):
                    await response.read()
    finally:
        await owner.execute("ALTER TABLE away RENAME TO suggestions")
        await owner.close()
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["answer_broke_off"]
    assert b'"kind":"issue"' in (await world.get("/v1/export", await world.key())).raw


async def test_without_the_database_every_route_says_so(world):
    key = await world.key()
    gone = await asyncpg.create_pool(world.settings.database_url, min_size=0)
    await gone.close()
    whole, world.database._pool = world.database._pool, gone
    try:
        for route in ROUTES:
            path = re.sub(r"{(\w+)}", lambda match: VALUES[match[1]], route.path)
            answer = await world.ask(route.method, f"/v1{path}", key, body={} if route.body else None)
            ensure_problem(answer, 503, "unavailable")
        ensure_problem(await world.get("/v1/openapi.json"), 503, "unavailable")
        for route in legacy.ROUTES:
            path = route.path.format(owner="octo", repo="app")
            answer = await world.ask(route.method, path, key, body={} if route.body else None)
            assert (answer.status, set(answer.json), "Retry-After" in answer.headers) == (
                503,
                {"detail"},
                True,
            )
            ensure_guarded(answer)
        assert [(await world.get(path)).status for path in ("/healthz", "/health", "/docs")] == [200] * 3
    finally:
        world.database._pool = whole


async def test_without_the_model_the_rest_still_answers(world):
    key, search = await world.key(), world.process.search
    loaded, search.loaded = search.loaded, None
    here = f"/v1/repositories/{MY_SECOND}"
    try:
        for method, path, body in (
            ("POST", "similar", {"title": "a crash"}),
            ("GET", "issues/7/similar", None),
            ("GET", "duplicates", None),
        ):
            ensure_problem(await world.ask(method, f"{here}/{path}", key, body=body), 503, "unavailable")
        for path in ("issues", "status", "settings", "suggestions", "outcomes"):
            assert (await world.get(f"{here}/{path}", key)).status == 200
    finally:
        search.loaded = loaded
