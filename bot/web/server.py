"""The HTTP application: which path goes where, and what an unexpected error looks like from outside."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog
from aiohttp import web

from bot.web import health
from bot.web.hooks import Intake

log = structlog.get_logger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HOOK_PATH = "/webhooks/github"


def application(
    checks: Mapping[str, health.Check],
    intake: Intake | None,
    metrics: Callable[[web.Request], Awaitable[web.Response]] | None,
    routes: Sequence[web.RouteDef] = (),
) -> web.Application:
    """Health for every process; webhooks, metrics and further routes where they are served."""
    app = web.Application(middlewares=[last_resort], client_max_size=1024 * 1024)
    app.router.add_get("/healthz", health.alive)
    app.router.add_get("/readyz", health.readiness(checks))
    if intake is not None:
        app.router.add_post(HOOK_PATH, intake.receive)
    app.add_routes(routes)
    if metrics is not None:
        app.router.add_get("/metrics", metrics)
    return app


@web.middleware
async def last_resort(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors as JSON that tells nothing of the inside."""
    try:
        response = await handler(request)
    except web.HTTPException as error:
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        response = web.json_response({"error": error.reason}, status=error.status, headers=headers)
    except Exception:
        log.exception("request_failed", path=request.path)
        response = web.json_response({"error": "internal error"}, status=500)
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
