"""What arrives with a request: its path, query and body, each bounded and checked before anything is done with it."""

import asyncio
import json
import re
from datetime import MAXYEAR, datetime
from typing import Any, TypeVar

from aiohttp import ClientError, web
from pydantic import BaseModel, ConfigDict, ValidationError

from bot.core.webhook import finite, is_deeper, refuse_number
from bot.web.api.problems import ApiError, invalid, not_found

MAX_BODY = 1024 * 1024
"""Bytes of one body."""

MAX_DEPTH = 32
"""Arrays and objects within each other; no schema has more than five."""

READ_TIMEOUT = 10.0
"""Seconds to receive a body."""

M = TypeVar("M", bound=BaseModel)

PATH = {
    "repository_id": (re.compile("[1-9][0-9]{0,18}"), 2**63 - 1),
    "number": (re.compile("[1-9][0-9]{0,9}"), 2**31 - 1),
}
"""Numbers in paths: how they are written, and the largest that there can be."""

NAMES = {"key_id": re.compile("[0-9A-Za-z]{1,32}")}
"""Words in paths."""


class Schema(BaseModel):
    """What programs send: nothing unknown is let through, and nothing is turned into another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Query(BaseModel):
    """What stands after the question mark: text, of which numbers are made."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoQuery(Query):
    """Nothing."""


def path_values(request: web.Request) -> dict[str, Any]:
    """What the path names. Raises ApiError 404 for what can be nobody's name."""
    return {name: path_value(name, text) for name, text in request.match_info.items()}


def path_value(name: str, text: str) -> int | str:
    """One name of a path: a number within its bounds, or a word."""
    if name in NAMES:
        if not NAMES[name].fullmatch(text):
            raise not_found()
        return text
    pattern, most = PATH[name]
    if not pattern.fullmatch(text) or int(text) > most:
        raise not_found()
    return int(text)


def query_of(request: web.Request, schema: type[M]) -> M:
    """The query. Raises ApiError 422, also where a name stands twice."""
    if len(request.query) != len(set(request.query)):
        raise ApiError(422, "invalid", "a name stands twice in the query")
    try:
        return schema.model_validate(dict(request.query))
    except ValidationError as error:
        raise invalid("query", error) from None


async def json_of(request: web.Request) -> Any:
    """The JSON value of a body; where there is none, an object without anything. Raises ApiError 400, 408, 413 or 415."""
    if not request.can_read_body:
        return {}
    check_format(request)
    try:
        async with asyncio.timeout(READ_TIMEOUT):
            raw = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise ApiError(413, "too_large", "the body is larger than 1 MiB") from None
    except TimeoutError:
        raise ApiError(408, "timeout", "the body did not arrive in time") from None
    except (ConnectionError, ClientError):
        raise ApiError(400, "malformed", "the body broke off") from None
    return json_from(raw)


def check_format(request: web.Request) -> None:
    """Raises ApiError 413 or 415 for anything but plain JSON in UTF-8 that is not too long."""
    if "Content-Encoding" in request.headers:
        raise ApiError(415, "unsupported_media", "an encoded body is not read")
    if request.content_type != "application/json" or (request.charset or "utf-8").lower() != "utf-8":
        raise ApiError(415, "unsupported_media", "the body has to be application/json in UTF-8")
    if (request.content_length or 0) > MAX_BODY:
        raise ApiError(413, "too_large", "the body is larger than 1 MiB")


def json_from(raw: bytes) -> Any:
    """A JSON value. Raises ApiError 400 for what is none, nested too deeply, or has a key twice."""
    try:
        if is_deeper(raw, MAX_DEPTH):
            raise ApiError(400, "malformed", "the body is nested too deeply")
        return json.loads(
            raw.decode(), parse_constant=refuse_number, parse_float=number, object_pairs_hook=once
        )
    except (ValueError, RecursionError):
        raise ApiError(400, "malformed", "the body is not JSON") from None


def number(text: str) -> float:
    """A number with a fraction or exponent; 1.0 is the integer 1, as JSON Schema has it. Raises ValueError where it is too large."""
    value = finite(text)
    return int(value) if value.is_integer() else value


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object. Raises ValueError where a key stands twice: readers differ in which one counts."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def lies_ahead(moment: datetime, now: datetime) -> bool:
    """Whether a moment has a time zone, is to come, and is one in UTC too: behind the last year there is none."""
    return moment.tzinfo is not None and moment.year < MAXYEAR and moment > now


def body_of(value: Any, schema: type[M]) -> M:
    """A body as its schema has it. Raises ApiError 400 or 422."""
    try:
        # Validated as JSON, so that dates may be strings and tuples arrays, and nothing else is converted.
        return schema.model_validate_json(json.dumps(value))
    except ValidationError as error:
        if (
            error.errors()[0]["type"] == "json_invalid"
        ):  # half a character (a lone surrogate), which UTF-8 cannot write
            raise ApiError(400, "malformed", "the body is not JSON") from None
        raise invalid("body", error) from None
