"""The one way from a request to an answer: admitted, checked, done, told."""

import json
from hashlib import sha256
from typing import Any
from uuid import uuid4

import structlog
from aiohttp import web

from bot.core.access import Conflict, InFlight, Replay
from bot.core.errors import BotError
from bot.core.principal import Principal, Scope, Source
from bot.core.records import Repository
from bot.web.api import gate
from bot.web.api.address import client_address
from bot.web.api.call import ROLES, Call, Parts, Reply, Route
from bot.web.api.problems import MEDIA, ApiError, api_error_of
from bot.web.api.reading import body_of, json_of, path_values, query_of

log = structlog.get_logger()

LONGEST_KEY = 255
"""Characters of an Idempotency-Key."""

Handler = Any


def handler_of(parts: Parts, route: Route) -> Handler:
    """An aiohttp handler that does what a route says."""

    async def handle(request: web.Request) -> web.StreamResponse:
        request_id = uuid4().hex
        headers = {"X-Request-Id": request_id, "Cache-Control": "no-store"}
        with structlog.contextvars.bound_contextvars(request_id=request_id, operation=route.name):
            try:
                response = await answer(parts, route, request, headers)
            except ApiError as error:
                response = told(error, request_id)
            except BotError as error:
                response = told(of_bot_error(error), request_id)
            except Exception:
                log.exception("request_failed")
                response = told(internal(), request_id)
        if not response.prepared:
            response.headers.update(headers)
        return response

    return handle


def bare(parts: Parts, body: bytes) -> Handler:
    """A handler that gives everybody the same JSON."""

    async def handle(request: web.Request) -> web.StreamResponse:
        headers = {"X-Request-Id": uuid4().hex}
        try:
            address = client_address(request, parts.address_header)
            await gate.count(parts, f"page:{address}", gate.PAGES, headers)
            response: web.Response = web.Response(body=body, content_type="application/json", charset="utf-8")
        except ApiError as error:
            response = told(error, headers["X-Request-Id"])
        except BotError as error:
            response = told(of_bot_error(error), headers["X-Request-Id"])
        response.headers.update(headers)
        return response

    return handle


def of_bot_error(error: BotError) -> ApiError:
    """What an error of a part means outside; one that means nothing there is a bug."""
    try:
        return api_error_of(error)
    except BotError:
        log.exception("request_failed")
        return internal()


def internal() -> ApiError:
    """A bug."""
    return ApiError(500, "internal", "something went wrong here; the request id finds it in the log")


def told(error: ApiError, request_id: str) -> web.Response:
    """A problem as an answer."""
    body = error.problem(request_id).model_dump_json(exclude_none=True)
    return web.Response(
        text=body, status=error.status, content_type=MEDIA, charset="utf-8", headers=dict(error.headers)
    )


async def answer(
    parts: Parts, route: Route, request: web.Request, headers: dict[str, str]
) -> web.StreamResponse:
    """Do what a route says. Raises ApiError or BotError."""
    visitor = await gate.admit(parts, request, headers, reads=not route.open_to_credentials)
    principal, repository = await authorise(parts, route, request, visitor)
    query = query_of(request, route.query)
    raw = await json_of(request) if route.body is not None else None
    body = body_of(raw, route.body) if route.body is not None else None
    call = Call(
        parts, request, visitor.address, principal, path_values(request), query, body, headers, repository
    )
    key = idempotency_key(route, request)
    if key is None:
        return sent(route, await route.run(call))
    return await once(call, route, key, fingerprint(call, route, raw))


async def authorise(
    parts: Parts, route: Route, request: web.Request, visitor: gate.Visitor
) -> tuple[Principal | None, Repository | None]:
    """Who asks, and the repository they name, where they may do this to it. Raises ApiError."""
    principal = visitor.principal
    if route.scope is None:
        return principal, None
    if principal is None and route.anonymous:
        repository = await gate.public_repository(parts, path_values(request)["repository_id"])
        return Principal(repository.account_id, Scope.READ, Source.ANONYMOUS, repository.id), repository
    principal = gate.ensure_scope(principal, route.scope)
    values = path_values(request)
    if route.writes:
        gate.ensure_working(visitor)
    if not route.about_repository:
        if not route.own:
            await gate.ensure_account(parts, principal, route.scope)
        return principal, None
    role = route.role or ROLES[route.scope]
    look_up = gate.searchable if route.anonymous else gate.repository_for
    return principal, await look_up(parts, principal, values["repository_id"], role)


def sent(route: Route, reply: Reply | web.StreamResponse) -> web.StreamResponse:
    """A reply as an answer."""
    if isinstance(reply, web.StreamResponse):
        return reply
    status, content = reply.status or route.status, reply.content
    if content is None:
        return web.Response(status=status, headers=dict(reply.headers))
    raw = content if isinstance(content, bytes) else content.model_dump_json().encode()
    return web.Response(
        body=raw, status=status, content_type=reply.media, charset="utf-8", headers=dict(reply.headers)
    )


# --- idempotency


def idempotency_key(route: Route, request: web.Request) -> str | None:
    """The key under which a write is done once. Raises ApiError 422 for one that cannot be kept."""
    key = request.headers.get("Idempotency-Key")
    if key is None or not route.writes or not route.idempotent:
        return None
    if not 0 < len(key) <= LONGEST_KEY or not key.isascii() or not key.isprintable():
        raise ApiError(
            422, "invalid", f"an Idempotency-Key has 1 to {LONGEST_KEY} printable ASCII characters"
        )
    return key


def fingerprint(call: Call, route: Route, body: Any) -> bytes:
    """What a repetition has to have in common with the first request."""
    asked = [call.principal.source, call.principal.key_id, call.principal.user_id, route.name]
    given = json.dumps([*asked, dict(call.path), dict(call.request.query), body], sort_keys=True)
    return sha256(given.encode("utf-8", "surrogatepass")).digest()


async def once(call: Call, route: Route, key: str, digest: bytes) -> web.StreamResponse:
    """Do a write, or give again what its first doing gave. Raises ApiError 409 or 422."""
    store, account_id = call.parts.idempotency, call.account_id
    begun = await store.begin(account_id, key, digest)
    match begun:
        case Conflict():
            raise ApiError(422, "idempotency_mismatch", "this Idempotency-Key was used for another request")
        case InFlight():
            wait = {"Retry-After": str(begun.retry_after)}
            detail = "the first request with this Idempotency-Key is not done yet"
            raise ApiError(409, "in_flight", detail, wait)
        case Replay():
            again = {"Idempotency-Replayed": "true"}
            return web.Response(
                body=begun.body or None, status=begun.status, content_type="application/json", headers=again
            )
    try:
        response = sent(route, await route.run(call))
    except BaseException:
        await store.abandon(begun)  # it had no effect: the same key may try again
        raise
    raw = response.body if isinstance(response, web.Response) else None
    await store.finish(begun, response.status, raw if isinstance(raw, bytes) else b"")
    return response
