"""SQL as source: named queries from `storage/sql/*.sql`, each with a sentence above it."""

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType

NAME = re.compile(r"^-- name: ([a-z_]+)[ \t]*$", re.MULTILINE)


@cache
def load(table: str) -> Mapping[str, str]:
    """The queries of one file by name. Raises ValueError where a name stands twice or a query is empty."""
    text = resources.files("storage.sql").joinpath(f"{table}.sql").read_text(encoding="utf-8")
    return MappingProxyType(parse(text))


def parse(text: str) -> dict[str, str]:
    """Split a file at its `-- name:` lines."""
    parts = NAME.split(text)[1:]
    queries: dict[str, str] = {}
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        if name in queries:
            raise ValueError(f"two queries are named {name}")
        if not any(line.strip() and not line.lstrip().startswith("--") for line in body.splitlines()):
            raise ValueError(f"query {name} is empty")
        queries[name] = body.strip()
    return queries
