"""Fault switches: what goes wrong with the next calls of a kind."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Fault:
    """Calls whose method and path match go wrong, after `skip` of them, `times` times.

    With `accepted` the call takes effect first and only its answer is replaced; with `hang_up` there is none.
    """

    method: str
    path: str  # regular expression, searched in the path
    times: int = 1
    skip: int = 0
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = '{"message": "Server Error"}'
    accepted: bool = False
    hang_up: bool = False
    delay: float = 0.0  # seconds before the answer
    passes: bool = False  # only the delay; the answer is the real one

    def takes(self, request: web.Request) -> bool:
        """Whether this call goes wrong; counts it."""
        if self.times <= 0 or request.method != self.method or not re.search(self.path, request.path):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.times -= 1
        return True


async def play(fault: Fault, request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer as the fault says."""
    answer = await handler(request) if fault.accepted or fault.passes else None
    await asyncio.sleep(fault.delay)
    if fault.passes and answer is not None:
        return answer
    if fault.hang_up:
        if request.transport is not None:
            request.transport.abort()
        raise web.HTTPInternalServerError
    headers = {"Content-Type": "application/json; charset=utf-8"} | dict(fault.headers)
    return web.Response(status=fault.status, body=fault.body.encode(), headers=headers)


def truncated(body: str = '{"id": 1, "bod') -> Fault:
    """A 200 whose body breaks off."""
    return Fault("GET", "", status=200, body=body)
