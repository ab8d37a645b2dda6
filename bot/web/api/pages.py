"""Lists a page at a time: where the next one begins is told in a cursor that only we can make."""

import base64
import hmac
import json
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from bot.web.api.problems import ApiError
from bot.web.api.reading import Query

T = TypeVar("T")

MAC = 16
"""Bytes of a cursor that prove it ours: 128 bits."""


class Out(BaseModel):
    """What the API answers: these fields and no others, whatever a record has."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Page(Out, Generic[T]):
    """A part of a list."""

    items: list[T]
    next: str | None = Field(description="Give it as `cursor` for what follows; null at the end.")


class Paging(Query):
    """Which part of a list."""

    limit: int = Field(50, ge=1, le=100, description="Items at the most.")
    cursor: str | None = Field(None, max_length=500, description="From `next` of the page before.")


class Cursors:
    """Makes and reads cursors. One is good for the list and the account that it was made for."""

    def __init__(self, key: bytes) -> None:
        """`key` is used for nothing else."""
        self._key = key

    def seal(self, purpose: str, position: Sequence[Any]) -> str:
        """A cursor at a position; `purpose` names the list and whose it is."""
        raw = json.dumps(list(position), default=written).encode()
        return base64.urlsafe_b64encode(self._mac(purpose, raw) + raw).decode().rstrip("=")

    def open(self, purpose: str, cursor: str | None) -> list[Any] | None:
        """The position of a cursor, None for the beginning. Raises ApiError 400 for one that was not made for this list."""
        if cursor is None:
            return None
        try:
            whole = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        except ValueError:
            raise bad_cursor() from None
        mac, raw = whole[:MAC], whole[MAC:]
        if not hmac.compare_digest(mac, self._mac(purpose, raw)):
            raise bad_cursor()
        found: list[Any] = json.loads(raw)
        return found

    def _mac(self, purpose: str, raw: bytes) -> bytes:
        return hmac.new(self._key, purpose.encode() + b"\0" + raw, sha256).digest()[:MAC]


def bad_cursor() -> ApiError:
    """A cursor of somebody else, of another list, or none of ours."""
    return ApiError(400, "invalid_cursor", "the cursor was not made for this list: begin without one")


def written(value: Any) -> str:
    """A moment as a cursor has it."""
    assert isinstance(value, datetime)
    return value.isoformat()
