"""Between the sockets and the application: what is no HTTP gets an answer that repeats nothing of it, and no traceback in the log."""

from http import HTTPStatus

import structlog
from aiohttp import web
from aiohttp.web_request import BaseRequest

from bot.web.server import GUARDS

log = structlog.get_logger()


class Connection(web.RequestHandler):
    """One connection. aiohttp would send back, and log, the line that it did not understand: it may hold a credential."""

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  # the parser's, which quotes the request
    ) -> web.StreamResponse:
        """The answer to what never reached a route. Raises ConnectionError where another one was begun already."""
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            log.info("request_not_understood", status=status, kind=type(exc).__name__)
        else:
            log.error("request_failed", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer was begun: another one cannot be sent")
        headers = {**GUARDS, "Server": "deja-view"}
        response = web.json_response({"error": HTTPStatus(status).phrase}, status=status, headers=headers)
        response.force_close()
        return response


class Server(web.Server):
    """Makes such connections."""

    def __call__(self) -> web.RequestHandler:
        """One for each socket."""
        return Connection(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Runs an application on such connections."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        # A compressed body is refused, not inflated: the signature of a delivery is over the bytes that were sent.
        return Server(
            made.request_handler,
            request_factory=made.request_factory,
            access_log=None,
            auto_decompress=False,
        )
