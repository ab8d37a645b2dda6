"""The HTTP application: which path goes where, what every answer carries, and what an error looks like from outside."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from uuid import uuid4

import structlog
from aiohttp import web

from bot.web import health
from bot.web.api.pipeline import internal, told
from bot.web.api.problems import ApiError
from bot.web.hooks import Intake

log = structlog.get_logger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Prepare = Callable[[web.Request, web.StreamResponse], Awaitable[None]]

HOOK_PATH = "/webhooks/github"
API_PATH = "/v1/"

GUARDS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""What an answer carries unless its route says otherwise (ASVS 5.0, V3.4)."""

YEAR = 31_536_000

PROBLEMS = {404: "not_found", 405: "method_not_allowed"}
"""Codes of what is refused before any route of the API is found."""


def application(
    checks: Mapping[str, health.Check],
    intake: Intake | None,
    metrics: Callable[[web.Request], Awaitable[web.Response]] | None,
    routes: Sequence[web.RouteDef] = (),
    *,
    https: bool = False,
) -> web.Application:
    """Health for every process; webhooks, metrics and further routes where they are served."""
    app = web.Application(middlewares=[last_resort], client_max_size=1024 * 1024)
    app.on_response_prepare.append(guarded(https=https))
    app.router.add_get("/healthz", health.alive)
    app.router.add_get("/readyz", health.readiness(checks))
    if intake is not None:
        app.router.add_post(HOOK_PATH, intake.receive)
    app.add_routes(routes)
    if metrics is not None:
        app.router.add_get("/metrics", metrics)
    return app


def guarded(*, https: bool) -> Prepare:
    """Gives an answer its headers just before they are sent: errors and streams get them too."""
    always = (
        {**GUARDS, "Strict-Transport-Security": f"max-age={YEAR}; includeSubDomains"} if https else GUARDS
    )

    async def prepare(_request: web.Request, response: web.StreamResponse) -> None:
        for name, value in always.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("X-Request-Id", uuid4().hex)
        response.headers.popall("Server", None)  # whose versions concern nobody

    return prepare


@web.middleware
async def last_resort(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors as JSON that tells nothing of the inside; problem details where programs ask."""
    request_id = uuid4().hex
    shown = problem if f"{request.path}/".startswith(API_PATH) else plain
    try:
        return await handler(request)
    except web.HTTPException as error:
        response = shown(error, request_id)
    except Exception:
        log.exception("request_failed", path=request.path, request_id=request_id)
        response = shown(web.HTTPInternalServerError(reason="internal error"), request_id)
    response.headers["X-Request-Id"] = request_id
    return response


def plain(error: web.HTTPException, _request_id: str) -> web.Response:
    """An error of a route that is not the API's."""
    return web.json_response({"error": error.reason}, status=error.status, headers=allowed(error))


def problem(error: web.HTTPException, request_id: str) -> web.Response:
    """The same for the API's clients."""
    code = PROBLEMS.get(error.status)
    found = ApiError(error.status, code, error.reason, allowed(error)) if code else internal()
    return told(found, request_id)


def allowed(error: web.HTTPException) -> dict[str, str]:
    """Which methods would have been, where that was the fault (RFC 9110, section 15.5.6)."""
    return {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
