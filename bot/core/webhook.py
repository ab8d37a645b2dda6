"""What makes a webhook request believable: its signature over the raw bytes, then its shape."""

import hmac
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol
from uuid import UUID

from bot.core.errors import BadDeliveryError

MAX_DEPTH = 100
"""Arrays and objects within each other; GitHub's payloads have fewer than ten."""

SIGNATURE = re.compile("sha256=([0-9a-f]{64})")
EVENT = re.compile("[a-z0-9_]{1,100}")
DELIVERY_ID = re.compile(
    "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE
)
STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class Headers(Protocol):
    """The headers of a request, names without regard to case; `multidict` has this."""

    def getall(self, key: str, default: list[str], /) -> list[str]:
        """Every value of one header, in order."""
        ...


@dataclass(frozen=True, slots=True)
class VerifiedEvent:
    """A webhook request that really came from GitHub and has the shape of an event."""

    event: str
    action: str | None
    delivery_id: UUID
    installation_id: int | None  # None where the event names none, or not as GitHub does
    repository_id: int | None
    payload: dict[str, Any]
    body: bytes


def verify(headers: Headers, body: bytes, secrets: Sequence[bytes]) -> VerifiedEvent:
    """The event of a request. Raises BadDeliveryError: 401 signature, 415 format, 400 anything else.

    The signature comes first, so that nobody without a secret makes us parse (docs: validating webhook deliveries).
    Any of `secrets` may have signed, so that one can be replaced without losing a delivery.
    """
    check_signature(headers, body, secrets)
    check_format(headers)
    event = only(headers, "X-GitHub-Event")
    if event is None or not EVENT.fullmatch(event):
        raise BadDeliveryError(400, "no event is named")
    delivery_id = only(headers, "X-GitHub-Delivery")
    if delivery_id is None or not DELIVERY_ID.fullmatch(delivery_id):
        raise BadDeliveryError(400, "the delivery has no UUID")
    payload = event_payload(body)
    action = payload.get("action")
    if action is not None and not isinstance(action, str):
        raise BadDeliveryError(400, "the action is not a string")
    ids = id_of(payload.get("installation")), id_of(payload.get("repository"))
    return VerifiedEvent(event, action, UUID(delivery_id), *ids, payload, body)


def check_signature(headers: Headers, body: bytes, secrets: Sequence[bytes]) -> None:
    """Raises BadDeliveryError 401 unless the one SHA-256 signature is that of the body with one of the secrets."""
    match = SIGNATURE.fullmatch(only(headers, "X-Hub-Signature-256") or "")
    if match is None:
        raise BadDeliveryError(401, "the request is not signed")
    given = match[1].encode()
    expected = [hmac.new(secret, body, "sha256").hexdigest().encode() for secret in secrets if secret]
    if not any([hmac.compare_digest(given, each) for each in expected]):  # noqa: C419 — every secret takes its time
        raise BadDeliveryError(401, "the signature is wrong")


def check_format(headers: Headers) -> None:
    """Raises BadDeliveryError 415 for anything but plain JSON in UTF-8, which is what the App is registered for."""
    if headers.getall("Content-Encoding", []):
        raise BadDeliveryError(415, "the body is encoded")
    kind, *parameters = (only(headers, "Content-Type") or "").lower().split(";")
    charsets = {part.strip().replace('"', "") for part in parameters}
    if kind.strip() != "application/json" or not charsets <= {"charset=utf-8", ""}:
        raise BadDeliveryError(415, "the body is not application/json in UTF-8")


def only(headers: Headers, name: str) -> str | None:
    """The value of a header that is there exactly once; None otherwise, since proxies differ in which one counts."""
    values = headers.getall(name, [])
    return values[0] if len(values) == 1 else None


def event_payload(body: bytes) -> dict[str, Any]:
    """The JSON object of a delivery. Of a key that comes twice the last one counts.

    Raises BadDeliveryError 400 for what is no JSON object, is no UTF-8, is nested deeper than `MAX_DEPTH`, or has a
    number that neither Python nor PostgreSQL takes (NaN, infinities, thousands of digits).
    """
    if is_deeper(body, MAX_DEPTH):
        raise BadDeliveryError(400, "the body is nested too deeply")
    try:
        payload = json.loads(body.decode(), parse_constant=refuse_number, parse_float=finite)
    except ValueError:
        raise BadDeliveryError(400, "the body is not JSON") from None
    if not isinstance(payload, dict):
        raise BadDeliveryError(400, "the body is not a JSON object")
    return payload


def is_deeper(body: bytes, limit: int) -> bool:
    """Whether arrays and objects are nested deeper than this, found without recursion and in linear time."""
    depth = 0
    for bracket in STRING.sub(b"", body).translate(None, NOT_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > limit:
            return True
    return False


def refuse_number(_text: str) -> NoReturn:
    """Raises ValueError: NaN and Infinity are no JSON, though Python reads them."""
    raise ValueError("not a number")


def finite(text: str) -> float:
    """A number with a fraction or exponent. Raises ValueError where it is too large for a float."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("too large")
    return value


def id_of(value: Any) -> int | None:
    """The `id` of an object of the payload, where it is one that GitHub gives (1 to 2**63 - 1)."""
    found = value.get("id") if isinstance(value, dict) else None
    return found if type(found) is int and 0 < found < 2**63 else None
