"""What GitHub's answers mean: every failure becomes one typed error that says whether to ask again, and when."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from bot.core.errors import (
    CredentialsError,
    GitHubError,
    GitHubUnavailableError,
    GoneError,
    InvalidRequestError,
    MovedError,
    NotFoundError,
    PermissionMissingError,
    RateLimitedError,
    RefusedError,
    SuspendedError,
)

Headers = Mapping[str, str]
"""Response headers, their names in lower case or looked up without regard to case."""

SUCCESS = frozenset({200, 201, 202, 204})
"""The statuses that the documented endpoints we call answer with when they did what was asked."""

SECONDARY_PAUSE = 60.0
"""Least seconds to stay silent after a secondary limit: docs.github.com, "rate limits for the REST API"."""

SECONDARY_WORDS = ("secondary rate limit", "abuse detection", "submitted too quickly")
"""How GitHub words secondary limits, today's first."""

LONGEST_PAUSE = 86_400.0
"""A pause never exceeds a day, whatever a header claims: real resets are within the hour."""

MESSAGE_LENGTH = 200
"""Characters kept of GitHub's own message."""

SECRET = re.compile(r"gh[a-z]_\w+|eyJ[\w.-]+|v1\.[0-9a-f]{40}")
"""Installation tokens, old and new, and JSON web tokens."""


class UnsupportedQueryError(InvalidRequestError):
    """This server's GraphQL schema lacks what the query names: an older Enterprise Server."""


def classify(status: int, headers: Headers, body: bytes, now: datetime) -> GitHubError | None:
    """The error that a REST answer stands for, None for a success."""
    if status in SUCCESS:
        return None
    message = f"{status} {message_of(body)}".rstrip()
    said = message.lower() + documentation_of(body)
    limit = rate_limit(status, headers, said, now)
    if limit is not None:
        return limited(message, status, limit[0], now, secondary=limit[1])
    if status == 503 and (after := seconds(headers.get("retry-after"), now)):
        return GitHubUnavailableError(message, status=status, retry_after=after)
    return error_class(status, said)(message, status=status)


def error_class(status: int, said: str) -> type[GitHubError]:
    """The error of a status that is no limit; `said` is GitHub's message in lower case."""
    for known, words, found in ERRORS:
        if status == known and words in said:
            return found
    if 300 <= status < 400:
        return MovedError
    return InvalidRequestError if 400 <= status < 500 else GitHubUnavailableError


ERRORS: Sequence[tuple[int, str, type[GitHubError]]] = (
    (401, "", CredentialsError),
    (403, "suspended", SuspendedError),
    (403, "not accessible by integration", PermissionMissingError),
    (403, "", RefusedError),
    (404, "", NotFoundError),
    (408, "", GitHubUnavailableError),
    (410, "", GoneError),
    # Both answer the request for a token: what it asks for was not granted, or is not the installation's.
    (422, "permissions requested are not granted", PermissionMissingError),
    (422, "not accessible to the parent installation", NotFoundError),
    (451, "", RefusedError),
)
"""Errors by status and by what GitHub's message has to hold; the first that fits counts."""


def rate_limit(status: int, headers: Headers, said: str, now: datetime) -> tuple[float, bool] | None:
    """Seconds to wait and whether the limit is a secondary one; None where the answer is about no limit.

    docs.github.com, "rate limits for the REST API": wait as `retry-after` says, else until `x-ratelimit-reset`
    where nothing remains, else a minute. Secondary limits come as 403, 429 or, in the past, 422.
    """
    after = seconds(headers.get("retry-after"), now)
    secondary = any(words in said for words in SECONDARY_WORDS)
    if status in (403, 429) and headers.get("x-ratelimit-remaining") == "0" and not secondary:
        return max(1.0, after or until_reset(headers, now) or SECONDARY_PAUSE), False
    if status == 403 and "rate limit exceeded" in said and not secondary:
        return max(1.0, after or SECONDARY_PAUSE), False
    if status == 429 or (status == 403 and after is not None) or (status in (403, 422) and secondary):
        return max(SECONDARY_PAUSE, after or 0.0), True
    return None


def limited(message: str, status: int, wait: float, now: datetime, *, secondary: bool) -> RateLimitedError:
    """The error of a limit that ends in `wait` seconds."""
    return RateLimitedError(
        message, status=status, retry_after=wait, resume_at=now + timedelta(seconds=wait), secondary=secondary
    )


def classify_graphql(headers: Headers, body: bytes, now: datetime) -> GitHubError | None:
    """The error in a GraphQL answer, which comes with status 200; None where it carries none.

    Execution errors have a `type`, errors of the schema only `extensions.code`, and time-outs neither.
    """
    answer = json_object(body)
    if answer is None:
        return GitHubUnavailableError("200 not a GraphQL answer", status=200)
    errors = answer.get("errors")
    if not errors:
        return None
    first = errors[0] if isinstance(errors, list) and isinstance(errors[0], dict) else {}
    message = f"200 {clean(str(first.get('message', 'GraphQL error')))}"
    kind, said = str(first.get("type", "")), message.lower()
    if kind == "RATE_LIMITED" or "rate limit" in said:
        secondary = "secondary" in said
        wait = until_reset(headers, now) or SECONDARY_PAUSE
        return limited(
            message, 200, max(SECONDARY_PAUSE, wait) if secondary else wait, now, secondary=secondary
        )
    return graphql_class(kind, said, first.get("extensions"))(message, status=200)


def graphql_class(kind: str, said: str, extensions: Any) -> type[GitHubError]:
    """The error of one entry of a GraphQL answer's `errors`."""
    if "not accessible by integration" in said or kind == "INSUFFICIENT_SCOPES":
        return PermissionMissingError
    if kind in GRAPHQL_CLASSES:
        return GRAPHQL_CLASSES[kind]
    if not kind and isinstance(extensions, dict) and "code" in extensions:
        return UnsupportedQueryError
    return GitHubUnavailableError


GRAPHQL_CLASSES: Mapping[str, type[GitHubError]] = {
    "NOT_FOUND": NotFoundError,
    "FORBIDDEN": RefusedError,
    "UNPROCESSABLE": InvalidRequestError,
    "BAD_USER_INPUT": InvalidRequestError,
}


def message_of(body: bytes) -> str:
    """GitHub's message and the details beside it, cut and without secrets; empty where there is none."""
    answer = json_object(body) or {}
    said = [str(answer["message"])] if isinstance(answer.get("message"), str) else []
    errors = answer.get("errors")
    for detail in errors if isinstance(errors, list) else [errors]:
        if isinstance(detail, dict):
            said.append(" ".join(str(detail[key]) for key in ("field", "code", "message") if key in detail))
        elif isinstance(detail, str):
            said.append(detail)
    return clean(": ".join(said))


def documentation_of(body: bytes) -> str:
    """The page that GitHub names for an error: it tells secondary limits apart where the message does not."""
    page = str((json_object(body) or {}).get("documentation_url", "")).lower()
    return " secondary rate limit" if "secondary-rate-limit" in page or "abuse-rate-limit" in page else ""


def clean(text: str) -> str:
    """One short line without secrets."""
    return SECRET.sub("***", " ".join(text.split()))[:MESSAGE_LENGTH]


def json_object(body: bytes) -> dict[str, Any] | None:
    """The JSON object in a body, None for anything else: proxies answer in HTML, whatever the label says."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def until_reset(headers: Headers, now: datetime) -> float | None:
    """Seconds until the hourly limit starts anew, by GitHub's own clock where it tells the time."""
    try:
        reset = datetime.fromtimestamp(float(headers["x-ratelimit-reset"]), UTC)
    except (KeyError, ValueError, OverflowError, OSError):
        return None
    served = http_date(headers.get("date"))
    return min(LONGEST_PAUSE, max(1.0, (reset - (served or now)).total_seconds()))


def seconds(value: str | None, now: datetime) -> float | None:
    """A `retry-after` header in seconds; it may be a number or a date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return min(LONGEST_PAUSE, float(value))
    date = http_date(value)
    return None if date is None else min(LONGEST_PAUSE, max(0.0, (date - now).total_seconds()))


def http_date(value: str | None) -> datetime | None:
    """A date as HTTP writes it."""
    try:
        date = parsedate_to_datetime(value or "")
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
