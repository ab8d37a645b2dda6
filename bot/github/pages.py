"""Listings, a page at a time."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from yarl import URL

from bot.core.pace import Kind
from bot.github.answers import part, unusable
from bot.github.client import Answer, Request

PER_PAGE = 100
"""Rows on a page, the most that GitHub gives."""

LAST_BY_NUMBER = 99
"""The last page that GitHub gives by its number alone: later ones of large listings need the cursor that the page
before them names, else 422 "Pagination with the page parameter is not supported for large datasets"."""


async def pages(
    send: Callable[[Request], Awaitable[Answer]],
    path: str,
    values: Mapping[str, str | int],
    *,
    first: int = 1,
    key: str | None = None,
) -> AsyncIterator[tuple[int, list[Any]]]:
    """Pages from `first` on, numbered from 1. `key` names the rows where they are wrapped in an object.

    The address of the next page only says whether there is one, and its cursor: where a request goes is never
    left to an answer.
    """
    page = min(first, LAST_BY_NUMBER)
    cursor: dict[str, str] = {}
    while True:
        request = Request(Kind.READ, "GET", path, {**values, "per_page": PER_PAGE, "page": page, **cursor})
        answer = await send(request)
        rows = answer.data if key is None else part(answer.data, key)
        if not isinstance(rows, list):
            raise unusable("no list")
        if page >= first:
            yield page, [row for row in rows if isinstance(row, dict)]
        if answer.next is None:
            return
        page, cursor = page + 1, cursor_of(answer.next)


def cursor_of(address: str) -> dict[str, str]:
    """The cursor in the address of a next page; empty where pages have numbers alone."""
    after = URL(address).query.get("after")
    return {"after": after} if after else {}
