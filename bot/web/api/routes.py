"""All routes under /v1, and how they are served."""

import json
from importlib.metadata import version
from typing import Any

from aiohttp import web

from bot.web.api import account, duplicates, issues, keys, repositories, suggestions, token
from bot.web.api.call import Parts, Route
from bot.web.api.openapi import document
from bot.web.api.pipeline import bare, handler_of

ROUTES: tuple[Route, ...] = (
    *token.ROUTES,
    *repositories.ROUTES,
    *issues.ROUTES,
    *suggestions.ROUTES,
    *duplicates.ROUTES,
    *account.ROUTES,
    *keys.ROUTES,
)

PREFIX = "/v1"


def described(server: str | None) -> dict[str, Any]:
    """The OpenAPI document of all routes."""
    return document(ROUTES, version=version("deja-view"), server=server)


def serve(parts: Parts) -> list[web.RouteDef]:
    """The API's routes."""
    found = [
        web.route(route.method, PREFIX + route.path, handler_of(parts, route), allow_head=False)
        if route.method == "GET"
        else web.route(route.method, PREFIX + route.path, handler_of(parts, route))
        for route in ROUTES
    ]
    text = json.dumps(described(parts.public_url)).encode()
    found.append(web.get(f"{PREFIX}/openapi.json", bare(parts, text), allow_head=False))
    return found
