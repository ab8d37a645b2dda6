"""The repository's own config, `.github/deja-view.yml`: its keys, its defaults, and what is wrong with a file.

The file is a stranger's. It is read from the parser's events, so that nothing of YAML but mappings, lists and scalars
exists here: no aliases, no tags, no objects, and no words that turn into booleans, dates or base-60 numbers.
"""

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from yaml import events

MAX_BYTES = 64 * 1024
MAX_DEPTH = 20
MAX_EVENTS = 5_000
"""Bounds of a file; the longest sensible one has some hundred events."""

MAX_PROBLEMS = 10
"""Problems that are told of one file, each in less than 200 code points."""

INTEGER = re.compile("-?(?:0|[1-9][0-9]{0,17})")
NUMBER = re.compile(r"-?(?:(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?|\.[0-9]{1,17})(?:[eE][-+]?[0-9]{1,2})?")
STRANGE = re.compile("[^A-Za-z0-9_]")

Label = Annotated[str, StringConstraints(max_length=50, pattern=r"^[^\x00-\x1f\x7f]*$")]
Login = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_\[\]-]*$")]
Labels = Annotated[tuple[Label, ...], Field(max_length=100)]
Logins = Annotated[tuple[Login, ...], Field(max_length=100)]

LABELS = "a list of at most 100 labels, each of at most 50 characters"


class Part(BaseModel):
    """A mapping of the file: unknown keys and values of another type are refused, nothing is converted."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def without_nulls(cls, value: Any) -> Any:
        """A known key without a value, as when all below it is commented out, keeps its default."""
        if not isinstance(value, dict):
            return value
        return {key: item for key, item in value.items() if item is not None or key not in cls.model_fields}


class Include(Part):
    """What is indexed, and so can be named as an earlier report."""

    closed: bool = Field(default=True, description="true or false")
    pull_requests: bool = Field(default=False, description="true or false")


class Gate(Part):
    """Which new issues get no suggestion."""

    min_chars: int = Field(default=0, ge=0, le=10_000, description="a whole number from 0 to 10000")
    labels_none: Labels = Field(default=(), description=LABELS)


class Ignore(Part):
    """Which issues are left out on both sides: they get no suggestion and are never named in one."""

    authors: Logins = Field(default=(), description="a list of at most 100 logins, without the at sign")
    labels: Labels = Field(default=(), description=LABELS)


class LabelNames(Part):
    """What issues are labelled with; empty for no label."""

    possible: Label = Field(default="", description="a label of at most 50 characters, empty for none")
    duplicate: Label = Field(
        default="duplicate", description="a label of at most 50 characters, empty for none"
    )


class Allow(Part):
    """Who may give a command whose results everybody sees."""

    similar: Literal["triage", "anyone"] = Field(default="triage", description="triage or anyone")


class Commands(Part):
    """Slash commands."""

    allow: Allow = Field(default=Allow(), description="a mapping")


class Config(Part):
    """All keys of the file; docs/configuration.md tells their meaning. A description completes "must be …"."""

    mode: Literal["auto", "comment", "shadow", "off"] = Field(
        default="auto", description="auto, comment, shadow or off"
    )
    budget: float = Field(default=0.1, gt=0, le=0.5, description="a number above 0 and at most 0.5")
    precision_target: float = Field(default=0.2, ge=0, le=1, description="a number from 0 to 1")
    max_results: int = Field(default=3, ge=1, le=3, description="1, 2 or 3")
    include: Include = Field(default=Include(), description="a mapping")
    gate: Gate = Field(default=Gate(), description="a mapping")
    ignore: Ignore = Field(default=Ignore(), description="a mapping")
    labels: LabelNames = Field(default=LabelNames(), description="a mapping")
    commands: Commands = Field(default=Commands(), description="a mapping")


DEFAULT = Config()
"""In force where there is no file, or an invalid one."""


def settled(config: Config, verdict: str | None, wish: str | None = None) -> Config:
    """The config with its mode decided.

    `off` in the file stands. A `wish` for "shadow", given by command, stands above every other mode; one for "comment" above the
    back-test's `verdict` alone. `auto` does what is left: what the back-test allows, or comment before there is one.
    """
    mode: str = config.mode
    if wish == "shadow" and mode != "off":
        mode = "shadow"
    elif mode == "auto":
        mode = wish or verdict or "comment"
    return config.model_copy(update={"mode": mode})


@dataclass(frozen=True, slots=True)
class ConfigOk:
    """The file's config."""

    config: Config


@dataclass(frozen=True, slots=True)
class ConfigInvalid:
    """What is wrong with the file, one sentence each; no character in them came from the file but letters and digits."""

    problems: list[str]


@dataclass(frozen=True, slots=True)
class ConfigAbsent:
    """There is no file, or nothing in it."""


ConfigOutcome = ConfigOk | ConfigInvalid | ConfigAbsent


class _UnreadableError(Exception):
    """The file is not the YAML that we read; the message is a problem."""


def parse(content: bytes) -> ConfigOutcome:
    """Read a file. Never raises; takes at most some hundred milliseconds, whatever the file holds."""
    try:
        value = read(content)
        return ConfigAbsent() if value is None else ConfigOk(Config.model_validate(value))
    except _UnreadableError as error:
        return ConfigInvalid([str(error)])
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        return ConfigInvalid(sentences([(item["loc"], item["type"]) for item in found]))


def read(content: bytes) -> Any:
    """The value of the one document, None where there is none. Raises _UnreadableError."""
    if len(content) > MAX_BYTES:
        raise _UnreadableError(f"the file is larger than {MAX_BYTES // 1024} KiB")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise _UnreadableError("the file is not UTF-8") from None
    if text.startswith("\ufeff"):
        raise _UnreadableError("the file starts with a byte order mark; save it as UTF-8 without one")
    try:
        # All events first: a second document must not be left out in silence.
        return value_of(iter(list(checked(text))))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise _UnreadableError(
            f"{where}this is not valid YAML (a tab, a missing quote, a missing space?)"
        ) from None
    except yaml.YAMLError:
        raise _UnreadableError("the file has a character that YAML does not allow") from None


def checked(text: str) -> Iterator[Any]:
    """The events of the only document, without those of the document itself. Raises _UnreadableError, YAMLError.

    Depth is checked while events arrive: the parser keeps its own stack, but whoever builds the value recurses.
    """
    depth = documents = 0
    parsed: Iterator[Any] = yaml.parse(text, Loader=yaml.SafeLoader)
    for count, event in enumerate(parsed):
        depth += isinstance(event, events.CollectionStartEvent) - isinstance(event, events.CollectionEndEvent)
        documents += isinstance(event, events.DocumentStartEvent)
        if (rule := broken_rule(event, depth, documents, count)) is not None:
            raise _UnreadableError(f"line {event.start_mark.line + 1}: {rule}")
        if isinstance(event, events.ScalarEvent | events.CollectionStartEvent | events.CollectionEndEvent):
            yield event


def broken_rule(event: Any, depth: int, documents: int, count: int) -> str | None:
    """Which rule of ours an event breaks."""
    if getattr(event, "anchor", None) is not None:
        return "anchors and aliases are not allowed"
    if getattr(event, "tag", None) is not None:
        return "tags are not allowed"
    if documents > 1:
        return "there is more than one document"
    if depth > MAX_DEPTH:
        return f"the file is nested deeper than {MAX_DEPTH} levels"
    return f"the file has more than {MAX_EVENTS} parts" if count > MAX_EVENTS else None


def value_of(rest: Iterator[Any]) -> Any:
    """The next value: a dict, a tuple or a scalar; None where nothing is left."""
    event = next(rest, None)
    if isinstance(event, events.MappingStartEvent):
        return mapping(rest)
    if isinstance(event, events.SequenceStartEvent):
        return tuple(items(rest))
    if isinstance(event, events.CollectionEndEvent):
        return _END
    return None if event is None else scalar(event)


_END = object()


def items(rest: Iterator[Any]) -> Iterator[Any]:
    """The values up to the end of a list."""
    while (value := value_of(rest)) is not _END:
        yield value


def mapping(rest: Iterator[Any]) -> dict[str, Any]:
    """The keys and values up to the end of a mapping. Raises _UnreadableError for a key that comes twice."""
    found: dict[str, Any] = {}
    for key in rest:
        if isinstance(key, events.MappingEndEvent):
            break
        line = key.start_mark.line + 1
        if not isinstance(key, events.ScalarEvent):
            raise _UnreadableError(f"line {line}: a key must be a word")
        if key.value in found:
            raise _UnreadableError(f"line {line}: the key {inert(key.value)} is there twice")
        found[key.value] = value_of(rest)
    return found


def scalar(event: Any) -> str | int | float | bool | None:
    """What a scalar means: `true`, `false`, null and decimal numbers are themselves, everything else is text."""
    text: str = event.value
    if not event.implicit[0]:  # quoted
        return text
    if text in ("", "~", "null"):
        return None
    if text in ("true", "false"):
        return text == "true"
    if INTEGER.fullmatch(text):
        return int(text)
    return float(text) if NUMBER.fullmatch(text) else text


def sentences(found: Sequence[tuple[tuple[str | int, ...], str]]) -> list[str]:
    """What is wrong at each place (path and pydantic's error type), at most `MAX_PROBLEMS` sentences."""
    told = [problem(*each) for each in found[:MAX_PROBLEMS]]
    if len(found) > MAX_PROBLEMS:
        told[-1] = f"and {len(found) - MAX_PROBLEMS + 1} more problems"
    return list(dict.fromkeys(told))


def problem(path: tuple[str | int, ...], kind: str) -> str:
    """One sentence about one place of the file: its key, the rule, and what may have been meant."""
    part: Any = Config
    known: list[str] = []
    for step in path:
        fields = part.model_fields if isinstance(part, type) and issubclass(part, Part) else {}
        if step not in fields:
            break
        known.append(str(step))
        rule, part = fields[str(step)].description, fields[str(step)].annotation
    if kind == "extra_forbidden":
        return unknown(part, [*known, inert(str(path[-1]))], str(path[-1]))
    return f"{'.'.join(known)} must be {rule}" if known else "the file must be a mapping of keys to values"


def unknown(part: Any, path: list[str], key: str) -> str:
    """The sentence about a key that does not exist."""
    near = difflib.get_close_matches(key[:40].lower().replace("-", "_"), list(part.model_fields), 1)
    meant = f"; did you mean {near[0]}?" if near else f"; known here: {', '.join(part.model_fields)}"
    return f"the key {'.'.join(path)} does not exist{meant}"


def inert(key: str) -> str:
    """A key of the file as it may be shown: nothing in it means anything in Markdown, and it is short."""
    return STRANGE.sub("?", key)[:40] or "(empty)"
