"""What leaves in an export and comes back in an import: one JSON value a line, and a row of a parent's collection.

An export is a header, then for each repository its line, its issues, marks, suggestions and outcomes; no vectors, since they
belong to a model. What is read was written elsewhere: each function raises BadRowError for a row that is not as it should be.
"""

import json
import math
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from bot.core import payload
from bot.core.errors import BadRowError, DeadError, SettingsError
from bot.core.ports import Issues, Marks, Suggestions
from bot.core.records import Issue, Outcome, OutcomeKind, Repository, Suggestion
from bot.core.text import MAX_TEXT, UNSTORABLE

FORMAT, VERSION = "deja-view", 1

MAX_LINE = 1_048_576
"""Characters of a line: an issue whose title and body are as long as they may be, every character escaped, is shorter."""

MAX_DOCUMENT = MAX_TEXT * 2
"""Characters of a parent's document; it cuts bodies at `PARENTS_CUT`."""

PARENTS_CUT, CUT_MARK = 10_000, "... [truncated]"
BODY = "\n\nBody: "

ID = re.compile(
    r"([A-Za-z0-9_-]{1,100})/((?!\.{1,2}/)[A-Za-z0-9._-]{1,100})/(issues|discussions)/([1-9][0-9]{0,9})"
)
TYPES = {"issue": "issues", "pull_request": "issues", "discussion": "discussions"}
"""The parent's types, and what its ids call them."""

MOST_FLOAT = sys.float_info.max
OVERRIDES = (None, "shadow", "comment")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Settings:
    """What was chosen for a repository: by command, since its config is a file of its own."""

    override: str | None
    override_until: datetime | None


@dataclass(frozen=True, slots=True)
class Mark:
    """An issue that people marked as a duplicate."""

    number: int
    original: int


@dataclass(frozen=True, slots=True)
class Recorded:
    """An outcome with its time."""

    outcome: Outcome
    at: datetime


@dataclass(frozen=True, slots=True)
class ParentsDiscussion:
    """A discussion of a parent's collection: only issues are indexed here."""

    number: int


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of an export."""

    account: str
    at: datetime


Item = Issue | Suggestion | Recorded | Mark | Settings | ParentsDiscussion


@dataclass(frozen=True, slots=True)
class Row:
    """What one line or record says, and of which repository: by name, since ids of accounts and repositories are not its to say.

    The records in it have 0 for both ids until it is known where they go.
    """

    repository: str
    item: Item


class Kind(StrEnum):
    """What a line is about."""

    REPOSITORY = "repository"
    ISSUE = "issue"
    MARK = "mark"
    SUGGESTION = "suggestion"
    OUTCOME = "outcome"


# --- out


def header_line(account: str, at: datetime) -> str:
    """The first line."""
    return line({"format": FORMAT, "version": VERSION, "account": account, "exported_at": at.isoformat()})


def line_of(repository: str, item: Item) -> str:
    """One line, without its end."""
    match item:
        case Issue():
            return line({"kind": Kind.ISSUE, "repository": repository, **without_ids(asdict(item))})
        case Suggestion():
            return line({"kind": Kind.SUGGESTION, "repository": repository, **suggestion_fields(item)})
        case Recorded(outcome, at):
            values = without_ids(asdict(outcome))
            said = {"outcome": values.pop("kind"), **values, "recorded_at": at}
            return line({"kind": Kind.OUTCOME, "repository": repository, **said})
        case Mark():
            return line({"kind": Kind.MARK, "repository": repository, **asdict(item)})
        case Settings():
            return line({"kind": Kind.REPOSITORY, "repository": repository, **asdict(item)})
        case ParentsDiscussion():
            raise ValueError("discussions are not exported")


def suggestion_fields(item: Suggestion) -> dict[str, Any]:
    """A suggestion as JSON takes it, which knows no infinity."""
    values = without_ids(asdict(item))
    threshold = item.threshold if math.isfinite(item.threshold) else str(item.threshold)
    return values | {"content_hash": item.content_hash.hex(), "threshold": threshold}


def without_ids(values: dict[str, Any]) -> dict[str, Any]:
    """A record's fields but those that say whose it is."""
    return {name: value for name, value in values.items() if name not in ("account_id", "repository_id")}


def line(value: Mapping[str, Any]) -> str:
    """JSON in one line; moments as ISO 8601."""
    return json.dumps(
        value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=datetime.isoformat
    )


async def exported(
    repository: Repository, issues: Issues, marks: Marks, suggestions: Suggestions
) -> AsyncIterator[str]:
    """The lines of one repository, without a header. An issue that changes meanwhile comes again, and the last one holds."""
    key, name = (repository.account_id, repository.id), repository.full_name
    yield line_of(name, Settings(repository.override, repository.override_until))
    async for batch in issues.stream(*key):
        for stored in batch:
            yield line_of(name, stored.issue)
    for number, original in sorted((await marks.all(*key)).items()):
        yield line_of(name, Mark(number, original))
    async for said in suggestions.stream(*key):
        for suggestion in said:
            yield line_of(name, suggestion)
    async for done in suggestions.outcomes(*key):
        for outcome, at in done:
            yield line_of(name, Recorded(outcome, at))


# --- in


def parsed(text: str) -> Any:
    """The JSON value of a line. Raises BadRowError."""
    try:
        return json.loads(text, parse_constant=refuse)
    except ValueError as error:
        # Python's own message quotes nothing of the text.
        why = getattr(error, "msg", "a number too long").removesuffix(" at")
        raise BadRowError(f"it is not JSON: {why}") from None
    except RecursionError:
        raise BadRowError("it is nested too deeply") from None


def refuse(name: str) -> Any:
    """NaN and infinity, which Python's parser would take."""
    raise BadRowError(f"{name} is not JSON")


def header_in(value: Any) -> Header | None:
    """The header that a line is; None where it is something else.

    Raises BadRowError where it names no version, SettingsError for a later one: what follows may mean something else.
    """
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        return None
    version = value.get("version")
    if type(version) is not int or version < 1:
        raise BadRowError("its header names no version")
    if version > VERSION:
        raise SettingsError(
            f"the export has version {version}, this release reads {VERSION}: upgrade it first"
        )
    return Header(
        told(payload.text, value.get("account"), "account"),
        told(payload.moment, value.get("exported_at"), "exported_at"),
    )


def row_of(value: Any) -> Row:
    """A line of an export, or a record of a parent's collection as `{"id", "metadata", "document"}`. Raises BadRowError."""
    if not isinstance(value, dict):
        raise BadRowError("it is not a JSON object")
    if "kind" in value:
        return line_row(value)
    if "id" in value and "metadata" in value:
        return parents_row(value["id"], value["metadata"], value.get("document"))
    raise BadRowError("it is neither a line of an export nor a record of a collection")


def told(read: Callable[..., T], *arguments: Any) -> T:
    """What one of `bot.core.payload`'s functions reads, its refusal being one of the row."""
    try:
        return read(*arguments)
    except DeadError as error:
        raise BadRowError(error.reason) from None


def line_row(value: Mapping[str, Any]) -> Row:
    """A line of an export."""
    readers: Mapping[Any, Callable[[Mapping[str, Any]], Item]] = {
        Kind.REPOSITORY: settings_in,
        Kind.ISSUE: issue_in,
        Kind.MARK: mark_in,
        Kind.SUGGESTION: suggestion_in,
        Kind.OUTCOME: outcome_in,
    }
    kind = value["kind"]
    if not isinstance(kind, str) or kind not in readers:
        raise BadRowError(f"its kind is none of {', '.join(readers)}")
    return Row(full_name(value.get("repository")), readers[kind](value))


def full_name(value: Any) -> str:
    """`owner/name`, and nothing that could be a path."""
    owner, slash, name = value.partition("/") if isinstance(value, str) else ("", "", "")
    if not (slash and payload.OWNER.fullmatch(owner) and payload.REPOSITORY.fullmatch(name)):
        raise BadRowError("its repository is not named as owner/name")
    return f"{owner}/{name}"


def issue_in(value: Mapping[str, Any]) -> Issue:
    """An issue of an export."""
    labels = value.get("labels")
    if not isinstance(labels, list) or not all(isinstance(item, str) for item in labels):
        raise BadRowError("labels is not a list of names")
    return Issue(
        repository_id=0,
        number=number_in(value),
        github_id=amount(value, "github_id", payload.MAX_ID),
        title=content(value.get("title"), "title"),
        body=content(value.get("body"), "body"),
        state=one_of(value, "state", payload.STATES),
        state_reason=payload.word(value.get("state_reason")),
        author=payload.word(value.get("author")),
        author_id=optional(value, "author_id", identity),
        author_is_bot=truth(value, "author_is_bot"),
        labels=told(payload.labels, labels),
        is_pull_request=truth(value, "is_pull_request"),
        locked=truth(value, "locked"),
        reactions=amount(value, "reactions", payload.MAX_NUMBER),
        created_at=moment(value, "created_at"),
        updated_at=moment(value, "updated_at"),
        closed_at=optional(value, "closed_at", moment),
    )


def suggestion_in(value: Mapping[str, Any]) -> Suggestion:
    """A suggestion of an export."""
    return Suggestion(
        account_id=0,
        repository_id=0,
        issue_number=number_in(value, "issue_number"),
        spoken=truth(value, "spoken"),
        reason=content(value.get("reason"), "reason"),
        threshold=threshold_in(value.get("threshold")),
        model=content(value.get("model"), "model"),
        likely=numbers_in(value, "likely"),
        also=numbers_in(value, "also"),
        evidence=evidence_in(value.get("evidence")),
        content_hash=hash_in(value.get("content_hash")),
        decided_at=moment(value, "decided_at"),
        degraded=optional(value, "degraded", lambda given, name: content(given.get(name), name)),
    )


def outcome_in(value: Mapping[str, Any]) -> Recorded:
    """An outcome of an export."""
    outcome = Outcome(
        account_id=0,
        repository_id=0,
        issue_number=number_in(value, "issue_number"),
        candidate=optional(value, "candidate", number_in),
        kind=OutcomeKind(one_of(value, "outcome", tuple(OutcomeKind))),
        actor_id=optional(value, "actor_id", identity),
        source=content(value.get("source"), "source"),
    )
    return Recorded(outcome, moment(value, "recorded_at"))


def mark_in(value: Mapping[str, Any]) -> Mark:
    """A mark of an export."""
    mark = Mark(number_in(value), number_in(value, "original"))
    if mark.number == mark.original:
        raise BadRowError("an issue is not its own original")
    return mark


def settings_in(value: Mapping[str, Any]) -> Settings:
    """A repository's settings of an export."""
    override = value.get("override")
    if override not in OVERRIDES:
        raise BadRowError("override is neither shadow nor comment")
    until = optional(value, "override_until", moment)
    if until is not None and override != "shadow":
        raise BadRowError("only the override shadow ends by itself")
    return Settings(override, until)


def number_in(value: Mapping[str, Any], name: str = "number") -> int:
    """The number of an issue."""
    return told(payload.whole, value.get(name), name, payload.MAX_NUMBER)


def identity(value: Mapping[str, Any], name: str) -> int:
    """One of GitHub's ids."""
    return told(payload.whole, value.get(name), name, payload.MAX_ID)


def amount(value: Mapping[str, Any], name: str, most: int) -> int:
    """As `payload.whole`, from 0 on."""
    return (
        0
        if type(value.get(name)) is int and value[name] == 0
        else told(payload.whole, value.get(name), name, most)
    )


def optional(value: Mapping[str, Any], name: str, read: Callable[[Mapping[str, Any], str], T]) -> T | None:
    """What may be null."""
    return None if value.get(name) is None else read(value, name)


def moment(value: Mapping[str, Any], name: str) -> datetime:
    """A date with time and zone."""
    return told(payload.moment, value.get(name), name)


def truth(value: Mapping[str, Any], name: str) -> bool:
    """True or false, and nothing that would pass for it."""
    given = value.get(name)
    if not isinstance(given, bool):
        raise BadRowError(f"{name} is neither true nor false")
    return given


def one_of(value: Mapping[str, Any], name: str, allowed: Iterable[str]) -> str:
    """One of a few words."""
    given = value.get(name)
    if not isinstance(given, str) or given not in allowed:
        raise BadRowError(f"{name} is none of {', '.join(allowed)}")
    return given


def numbers_in(value: Mapping[str, Any], name: str) -> tuple[int, ...]:
    """Numbers of issues."""
    given = value.get(name)
    if not isinstance(given, list):
        raise BadRowError(f"{name} is not a list")
    return tuple(told(payload.whole, item, name, payload.MAX_NUMBER) for item in given)


def threshold_in(value: Any) -> float:
    """A score; infinities stand as words."""
    if value in ("inf", "-inf", "nan"):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > MOST_FLOAT:
        raise BadRowError("threshold is not a number that is a score")
    return float(value)


def evidence_in(value: Any) -> dict[str, Any]:
    """What was found, as PostgreSQL can keep it."""
    if not isinstance(value, dict):
        raise BadRowError("evidence is not an object")
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:
        raise BadRowError("evidence holds a number that is too large") from None
    if "\\u0000" in text or UNSTORABLE.search(text):
        raise BadRowError("evidence holds a character that cannot be kept")
    return value


def hash_in(value: Any) -> bytes:
    """32 bytes in hexadecimal digits."""
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
        raise BadRowError("content_hash is not 64 hexadecimal digits")
    return bytes.fromhex(value)


def content(value: Any, name: str) -> str:
    """Text that fits as it is: nothing is cut in silence."""
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise BadRowError(f"{name} has more than {MAX_TEXT} characters")
    if isinstance(value, str) and "\x00" in value:
        raise BadRowError(f"{name} holds a NUL character")
    return told(payload.text, value, name)


# --- the parent's records


def parents_row(name: Any, metadata: Any, document: Any) -> Row:
    """A record of a parent's collection. Raises BadRowError."""
    match = ID.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        raise BadRowError("its id is not owner/repo/issues/N")
    if not isinstance(metadata, dict):
        raise BadRowError("it has no metadata")
    owner, repo, listed, number = match.groups()
    kind = one_of(metadata, "type", TYPES)
    named = (str(metadata.get(key)).casefold() for key in ("owner", "repo", "number"))
    if tuple(named) != (owner.casefold(), repo.casefold(), number) or TYPES[kind] != listed:
        raise BadRowError("its id and its metadata name different issues")
    repository = full_name(f"{owner}/{repo}")
    if kind == "discussion":
        return Row(repository, ParentsDiscussion(int(number)))
    return Row(repository, parents_issue(metadata, body_in(document)))


def parents_issue(metadata: Mapping[str, Any], body: str) -> Issue:
    """An issue as far as the parent keeps it: neither its author nor GitHub's id."""
    labels = metadata.get("labels", "")
    if not isinstance(labels, str):
        raise BadRowError("labels is not text")
    return Issue(
        repository_id=0,
        number=told(payload.whole, int(metadata["number"]), "number", payload.MAX_NUMBER),
        github_id=0,
        title=content(metadata.get("title"), "title"),
        body=body,
        state=one_of(metadata, "state", payload.STATES),
        state_reason=None,
        author=None,
        author_id=None,
        author_is_bot=False,
        labels=told(payload.labels, [label.strip() for label in labels.split(",") if label.strip()]),
        is_pull_request=metadata["type"] == "pull_request",
        locked=False,
        reactions=0,
        created_at=moment(metadata, "created_at"),
        updated_at=moment(metadata, "updated_at"),
    )


def body_in(document: Any) -> str:
    """The body of a parent's document; empty where it has none. Its mark of a cut is not the author's text."""
    if document is None:
        return ""
    if not isinstance(document, str) or len(document) > MAX_DOCUMENT:
        raise BadRowError("its document is not text of a usable length")
    _, _, body = document.partition(BODY)
    if body.endswith(CUT_MARK) and len(body) == PARENTS_CUT + len(CUT_MARK):
        body = body.removesuffix(CUT_MARK)
    return content(body, "body")


def belonging(item: Item, repository: Repository) -> Item:
    """The item with the ids of where it goes."""
    match item:
        case Issue():
            return replace(item, repository_id=repository.id)
        case Suggestion():
            return replace(item, account_id=repository.account_id, repository_id=repository.id)
        case Recorded(outcome, at):
            return Recorded(
                replace(outcome, account_id=repository.account_id, repository_id=repository.id), at
            )
        case _:
            return item
