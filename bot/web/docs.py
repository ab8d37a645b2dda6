"""`/docs`: the API's description, shown by Swagger UI from files of our own."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from aiohttp import web

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Deja View API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
</head>
<body>
<div id="api"></div>
<noscript>This page needs JavaScript; <a href="/v1/openapi.json">the description itself</a> does not.</noscript>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""

START = """SwaggerUIBundle({
  url: "/v1/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  persistAuthorization: false,
  validatorUrl: null,
});
"""

FILES = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Swagger UI sets styles at run time, hence `unsafe-inline` for them; scripts come from our own files alone."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
DAY = {"Cache-Control": "public, max-age=86400"}


async def page(_request: web.Request) -> web.Response:
    """The page."""
    return web.Response(text=PAGE, content_type="text/html", charset="utf-8", headers=HEADERS)


async def start(_request: web.Request) -> web.Response:
    """The script that begins it: an own file, so that the page needs no inline script."""
    return web.Response(text=START, content_type="text/javascript", charset="utf-8", headers=HEADERS | DAY)


async def file(request: web.Request) -> web.Response:
    """One of Swagger UI's files."""
    name = request.match_info["name"]
    if name not in FILES:
        raise web.HTTPNotFound
    body = content(name)
    return web.Response(body=body, content_type=FILES[name], headers=HEADERS | DAY)


@cache
def content(name: str) -> bytes:
    """What the wheel of swagger-ui-py holds; the package itself is for other frameworks and is not imported."""
    spec = find_spec("swagger_ui")
    assert spec is not None
    assert spec.origin is not None
    return (Path(spec.origin).parent / "static" / name).read_bytes()


def routes() -> list[web.RouteDef]:
    """The page and its files."""
    return [
        web.get("/docs", page),
        web.get("/docs/start.js", start),
        web.get("/docs/{name}", file),
    ]
