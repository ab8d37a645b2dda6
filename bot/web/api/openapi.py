"""The OpenAPI 3.1 document, made from the routes and from the very schemas that check their requests."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from bot.web.api.call import Route
from bot.web.api.problems import MEDIA, Problem

Names = Mapping[tuple[type[BaseModel], JsonSchemaMode], Any]
"""The reference to a model's schema, as it is read or as it is written."""

TEMPLATE = "#/components/schemas/{model}"

PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "repository_id": {"type": "integer", "minimum": 1, "maximum": 2**63 - 1},
    "number": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
    "key_id": {"type": "string", "pattern": "^[0-9A-Za-z]{1,32}$"},
}
MEANINGS = {
    "repository_id": "GitHub's numeric id of the repository.",
    "number": "The issue's number.",
    "key_id": "The public part of an API key.",
}

LIMITS = {
    "RateLimit-Policy": "Calls in a window of seconds (draft-ietf-httpapi-ratelimit-headers).",
    "RateLimit": "What is left, and the seconds until all of it is there again.",
    "X-RateLimit-Limit": "Calls a minute.",
    "X-RateLimit-Remaining": "Calls that are left.",
    "X-RateLimit-Reset": "Seconds until all of them are there again.",
    "X-Request-Id": "Name it when you ask for help.",
}

ALWAYS = (429, 500, 503)
WITH_CREDENTIAL = (401, 403)
WITH_BODY = (400, 408, 413, 415, 422)


def document(routes: Sequence[Route], *, version: str, server: str | None) -> dict[str, Any]:
    """The whole description, as JSON takes it."""
    names, definitions = schemas_of(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(f"/v1{route.path}", {})[route.method.lower()] = operation(route, names)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Deja View",
            "version": version,
            "summary": "Finds the earlier report of the problem somebody is reporting.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": server or "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(route.tag for route in routes)],
        "paths": paths,
        "components": {
            "schemas": definitions,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key (`djv_…`), or a token from `POST /v1/token`.",
                }
            },
        },
    }


def schemas_of(routes: Sequence[Route]) -> tuple[Names, dict[str, Any]]:
    """Every schema that is named, once for what is read and once for what is written."""
    read = {route.body for route in routes if route.body}
    written = {route.answer for route in routes if route.answer} | {Problem}
    wanted: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        *((model, "validation") for model in read),
        *((model, "serialization") for model in written),
    ]
    named, whole = models_json_schema(
        sorted(wanted, key=lambda item: (item[0].__name__, item[1])),
        ref_template=TEMPLATE,
    )
    return {(model, mode): named[model, mode] for model, mode in wanted}, whole.get("$defs", {})


def operation(route: Route, names: Names) -> dict[str, Any]:
    """One route."""
    found: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [route.tag],
        "parameters": [*path_parameters(route), *query_parameters(route), *header_parameters(route)],
        "responses": responses(route, names),
        "security": security(route),
    }
    if route.description:
        found["description"] = route.description
    if route.scope is not None:
        found["x-scope"] = route.scope.word
    if route.body is not None:
        schema = names[route.body, "validation"]
        needed = any(field.is_required() for field in route.body.model_fields.values())
        found["requestBody"] = {"required": needed, "content": {"application/json": {"schema": schema}}}
    return found


def security(route: Route) -> list[dict[str, list[str]]]:
    """With a credential, without one, or either."""
    if route.scope is None:
        return []
    return [{"bearer": []}, {}] if route.anonymous else [{"bearer": []}]


def path_parameters(route: Route) -> list[dict[str, Any]]:
    """What stands in braces."""
    return [
        {"name": name, "in": "path", "required": True, "schema": schema, "description": MEANINGS[name]}
        for name, schema in PARAMETERS.items()
        if f"{{{name}}}" in route.path
    ]


def query_parameters(route: Route) -> list[dict[str, Any]]:
    """The fields of the route's query."""
    schema = route.query.model_json_schema()
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "schema": {key: value for key, value in item.items() if key != "description"},
            **({"description": item["description"]} if "description" in item else {}),
        }
        for name, item in schema.get("properties", {}).items()
    ]


def header_parameters(route: Route) -> list[dict[str, Any]]:
    """What makes a write safe to repeat."""
    if not (route.writes and route.idempotent):
        return []
    schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"}
    text = "The same key with the same request does it once, and answers as the first time, for a day."
    return [
        {"name": "Idempotency-Key", "in": "header", "required": False, "schema": schema, "description": text}
    ]


def responses(route: Route, names: Names) -> dict[str, Any]:
    """What the route answers, and every status that it may refuse with."""
    done: dict[str, Any] = {"description": HTTPStatus(route.status).phrase, "headers": limit_headers()}
    if route.answer is not None:
        done["content"] = {"application/json": {"schema": names[route.answer, "serialization"]}}
    for media in route.media:
        if media != "application/json":
            done.setdefault("content", {})[media] = {"schema": {"type": "string"}}
    found = {str(route.status): done}
    content = {MEDIA: {"schema": names[Problem, "serialization"]}}
    for status in statuses(route):
        found[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "headers": limit_headers(),
            "content": content,
        }
    return found


def statuses(route: Route) -> list[int]:
    """The statuses of refusals."""
    found = {*ALWAYS, *route.statuses, 422}
    if route.scope is not None:
        found |= set(WITH_CREDENTIAL)
    if route.about_repository or "{" in route.path or route.scope is not None:
        found.add(404)
    if route.body is not None:
        found |= set(WITH_BODY)
    if route.writes:
        found |= {404, 409}
    return sorted(found)


def limit_headers() -> dict[str, Any]:
    """What every answer carries."""
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in LIMITS.items()}
