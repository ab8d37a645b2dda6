"""The sandbox over HTTP: errors in GitHub's words, every call recorded, faults where they were switched on."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import web

from bot.sandbox import oauth, user
from bot.sandbox.access import APP_KEY, DeniedError, GoneError, MovedError
from bot.sandbox.faults import Fault, Handler, play
from bot.sandbox.github import GitHub
from bot.sandbox.graphql import graphql
from bot.sandbox.rest import InvalidError, routes
from bot.sandbox.state import NoSuchError
from bot.sandbox.tokens import RefusedTokenError

REMEMBERED = 100_000
"""Calls that are remembered."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request that was answered; `began` and `at`, its end, are in monotonic seconds."""

    method: str
    path: str
    status: int
    at: float
    authorization: str = field(repr=False)
    began: float = 0.0


@dataclass(slots=True)
class Sandbox:
    """A GitHub, how it misbehaves, and what was asked of it."""

    github: GitHub = field(default_factory=GitHub)
    faults: list[Fault] = field(default_factory=list)
    calls: deque[Call] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    unknown: list[str] = field(
        default_factory=list
    )  # calls that the sandbox does not have: a test wants none

    def writes(self) -> list[Call]:
        """Calls that were to change something, tokens and queries aside."""
        reading = ("/graphql", "/access_tokens", "/access_token")
        return [call for call in self.calls if call.method != "GET" and not call.path.endswith(reading)]

    def application(self) -> web.Application:
        """The routes."""
        application = web.Application(middlewares=[self._serve], client_max_size=2 * 1024 * 1024)
        application[APP_KEY] = self.github
        for table in (routes, user.routes, oauth.routes):
            application.add_routes(table)
        application.router.add_post("/graphql", graphql)
        return application

    @web.middleware
    async def _serve(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        status, began = 0, time.monotonic()
        try:
            fault = next((item for item in self.faults if item.takes(request)), None)
            response = await (
                play(fault, request, self._answered(handler)) if fault else self._answer(request, handler)
            )
            status = response.status
        finally:
            authorization = request.headers.get("Authorization", "")
            ended = time.monotonic()
            self.calls.append(Call(request.method, request.path, status, ended, authorization, began))
        response.headers.setdefault("X-RateLimit-Limit", "5000")
        response.headers.setdefault("X-RateLimit-Remaining", "4771")
        response.headers.setdefault("X-RateLimit-Reset", str(int(time.time()) + 3600))
        return response

    def _answered(self, handler: Handler) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            return await self._answer(request, handler)

        return answer

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except RefusedTokenError as error:
            return problem(401, str(error))
        except DeniedError as error:
            return problem(error.status, str(error))
        except NoSuchError:
            return problem(404, "Not Found")
        except GoneError as error:
            return problem(410, str(error))
        except InvalidError as error:
            return problem(422, str(error))
        except MovedError as error:
            return web.json_response(
                {"message": "Moved Permanently", "url": error.location},
                status=error.status,
                headers={"Location": error.location},
            )
        except web.HTTPException as error:
            self.unknown.append(f"{request.method} {request.path_qs}: {error.reason}")
            return problem(
                501, f"sandbox: {request.method} {request.path_qs} is not played here ({error.reason})"
            )


def problem(status: int, message: str) -> web.Response:
    """An error as GitHub words it."""
    return web.json_response(
        {"message": message, "documentation_url": "https://docs.github.com/rest"}, status=status
    )


@contextlib.asynccontextmanager
async def serve(sandbox: Sandbox, port: int = 0) -> AsyncIterator[str]:
    """Serve on 127.0.0.1 and send webhooks; gives the address of the API."""
    runner = web.AppRunner(sandbox.application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    host, bound = runner.addresses[0][:2]
    sandbox.github.url = f"http://{host}:{bound}"
    sender = asyncio.create_task(sandbox.github.hooks.run())
    try:
        yield sandbox.github.url
    finally:
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)
        await runner.cleanup()
