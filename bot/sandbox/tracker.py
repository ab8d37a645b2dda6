"""A tracker to play in the sandbox: the excerpt that comes with the project, or anybody's own export."""

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

from bot.core.errors import SettingsError

HISTORY_SHARE = 0.85
"""Of an export that does not say so itself: the share that is history; the rest is opened one by one."""

MOST_OPENED = 150
"""Issues opened at the most, so that a demo ends in a minute."""

PACKAGED_CONFIG = b"# One issue in five may get a comment: this tracker has many duplicates.\nbudget: 0.2\n"
"""The excerpt leaves most issues of its last years out, so fewer of the opened ones look like their neighbours (docs/demo.md)."""

MOST_BYTES = 512 * 1024 * 1024
"""Bytes read of an export, unpacked: a small archive may hold a very large file."""


@dataclass(frozen=True, slots=True)
class Report:
    """One issue of a tracker. `group` is the same for duplicates of each other; None where nobody marked it."""

    key: str  # its id in the export
    title: str
    body: str
    author: str
    created_at: datetime
    state: str
    group: str | None
    judged: bool  # whether the demo counts it: labelled a duplicate, or labelled as none

    def same_as(self, other: "Report") -> bool:
        """Whether the labels say that both report the same problem."""
        mine = {self.key, self.group} if self.group else {self.key}
        theirs = {other.key, other.group} if other.group else {other.key}
        return not mine.isdisjoint(theirs)


@dataclass(frozen=True, slots=True)
class Tracker:
    """History, and what is opened afterwards; both oldest first."""

    name: str
    history: tuple[Report, ...]
    opened: tuple[Report, ...]
    config: bytes | None = None  # the repository's .github/deja-view.yml


def packaged() -> Tracker:
    """The excerpt of the Apache Hadoop tracker (see data/NOTICE.md)."""
    with (
        resources.files("bot.sandbox").joinpath("data/hadoop.jsonl.gz").open("rb") as raw,
        gzip.open(raw, "rt", encoding="utf-8") as file,
    ):
        rows = [json.loads(line) for line in file]
    history = tuple(report(row, n) for n, row in enumerate(rows) if row["part"] == "history")
    opened = tuple(report(row, n) for n, row in enumerate(rows) if row["part"] != "history")
    return Tracker("apache/hadoop", history, opened, PACKAGED_CONFIG)


def load(path: Path) -> Tracker:
    """An export: one JSON object a line, or one JSON array; gzip too. Raises SettingsError with the line at fault."""
    reports = sorted(
        (report(row, n) for n, row in enumerate(rows_of(path), 1)), key=lambda item: item.created_at
    )
    if len(reports) < 2:
        raise SettingsError(f"{path}: at least two issues are needed, found {len(reports)}")
    cut = max(int(len(reports) * HISTORY_SHARE), len(reports) - MOST_OPENED, 1)
    cut = min(cut, len(reports) - 1)
    return Tracker(f"your/{path.stem.split('.')[0]}", tuple(reports[:cut]), tuple(reports[cut:]))


def rows_of(path: Path) -> Iterator[Mapping[str, Any]]:
    """The objects of an export."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from None
    if len(data) > MOST_BYTES:
        raise SettingsError(f"{path}: larger than {MOST_BYTES // 1024 // 1024} MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8 at byte {error.start}") from None
    return parsed(path, text)


def parsed(path: Path, text: str) -> Iterator[Mapping[str, Any]]:
    """Rows of an array, or of lines."""
    numbered: Iterable[tuple[int, str]] = (
        (n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip()
    )
    if text.lstrip().startswith("["):
        numbered = [(1, text)]
    for n, line in numbered:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            raise SettingsError(f"{path}: line {n} is not JSON") from None
        for row in value if isinstance(value, list) else [value]:
            if not isinstance(row, dict):
                raise SettingsError(f"{path}: line {n} is not an object")
            yield row


def report(row: Mapping[str, Any], n: int) -> Report:
    """One row as a report; names of `gh issue list --json` are understood. Raises SettingsError."""
    title = row.get("title")
    if not isinstance(title, str):
        raise SettingsError(f"issue {n}: it has no title")
    author = row.get("author") or row.get("user")
    if isinstance(author, dict):
        author = author.get("login")
    group = row.get("dup_group", row.get("duplicate_of"))
    part = row.get("part")
    key = row.get("id", row.get("number", n))
    return Report(
        key=str(key),
        title=title,
        body=str(row.get("body") or ""),
        # Somebody for each: one name for all would make everything a series by one author.
        author=str(author or f"reporter-{n}")[:39],
        created_at=moment(row.get("created_at") or row.get("createdAt"), n),
        state="closed" if str(row.get("state", "open")).lower() == "closed" else "open",
        group=None if group is None else str(group),
        judged=part in ("duplicate", "other") if part else "dup_group" in row or "duplicate_of" in row,
    )


def moment(value: Any, n: int) -> datetime:
    """When a row was created. Raises SettingsError."""
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        raise SettingsError(f"issue {n}: created_at is not a date such as 2024-01-31T12:00:00Z") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
