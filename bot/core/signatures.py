"""Error signatures of a text: type, message without what varies, and top frames, in time linear in the text's length.

They are evidence that people can check. They do not rank (docs/experiments.md).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bot.core.text import MAX_TEXT

LONGEST_LINE = 400
"""Characters of a line that are looked at: it bounds what any pattern can cost."""

MOST = 8
"""Signatures of one text."""

FRAMES = 3
"""Top frames that belong to a signature."""

LEAST_LETTERS = 8
"""Letters of a message below which it says nothing by itself."""

TYPED = re.compile(
    r"(?:Caused by: |Unhandled exception\. |Uncaught |Exception in thread \"[^\"]{0,80}\" )?"
    r"((?:\w{1,60}\.){0,12}[A-Z]\w{0,60}(?:Error|Exception|Failure|Fault|Warning))(?::\s?(.*))?$"
)
PLAIN = re.compile(
    r"(error|fatal error|fatal|panic|internal compiler error|panicked)(?:\[(\w{1,12})\])?: (.+)$",
    re.IGNORECASE,
)
PANICKED = re.compile(
    r"thread '[^']{0,80}' (?:\(\d{1,9}\) )?panicked at (?:'(.+)', |)(\S+?)(?::\d{1,9}){0,2}:?$"
)
PYTHON_FRAME = re.compile(r"File \"([^\"]{1,300})\", line \d{1,9}, in (\S+)")
FRAME = re.compile(r"at (?:async )?(?:new )?([\w$.<>/|`~-]{2,200})")
NUMBERED_FRAME = re.compile(r"\d{1,4}:\s+(?:0x[0-9a-f]{1,16} - )?([\w<>:$.]{3,200})")
GO_FRAME = re.compile(r"([\w./-]{1,150}\.[\w.*()]{1,80})\([^()]{0,150}\)$")

VARIES = re.compile(r"0x[0-9a-fA-F]+|\b[0-9a-f]{12,}\b|\d+")
PATH = re.compile(r"(?:[A-Za-z]:)?(?:[\w.@~-]*[/\\])+")
SPACES = re.compile(r"\s+")

GENERIC = (
    "aborting due to",
    "could not compile",
    "build failed",
    "command failed",
    "unknown error",
    "process completed with",
)
"""How messages begin that say only that something else failed."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One error. Two are equal where type, message and frames are."""

    kind: str  # the exception's type without its package; "error" or "panic" where it has none
    message: str  # numbers as `#`, paths without their folders; may be empty
    frames: tuple[str, ...]  # top first, without packages' versions, line numbers and addresses

    @property
    def words(self) -> str:
        """The error as people would write it."""
        return f"{self.kind}: {self.message}" if self.message else self.kind


def signatures(text: str) -> tuple[Signature, ...]:
    """The first few different errors of a text, in their order."""
    found: dict[Signature, None] = {}
    for signature in walk(text[:MAX_TEXT]):
        found[signature] = None
        if len(found) == MOST:
            break
    return tuple(found)


def walk(text: str) -> Iterator[Signature]:
    """Each error with the frames before it (Python prints them so) or else behind it."""
    before: list[str] = []
    pending: tuple[str, str] | None = None
    behind: list[str] = []
    for raw in text.splitlines():
        line = raw.strip()[:LONGEST_LINE]
        if not line:
            continue
        if (frame := frame_of(line)) is not None:
            (behind if pending else before).append(frame)
        elif (error := error_of(line)) is not None:
            if pending:
                yield Signature(*pending, tuple(behind[:FRAMES]))
            if before:
                yield Signature(*error, tuple(before[: -FRAMES - 1 : -1]))
                pending = None
            else:
                pending = error
            before, behind = [], []
    if pending:
        yield Signature(*pending, tuple(behind[:FRAMES]))


def error_of(line: str) -> tuple[str, str] | None:
    """Type and message of a line that tells of an error."""
    if match := TYPED.match(line):
        return match[1].rpartition(".")[2], normal(match[2] or "")
    if match := PANICKED.match(line):
        return "panic", normal(match[1] or f"at {match[2]}")
    if (match := PLAIN.match(line)) and not normal(match[3]).lower().startswith(GENERIC):
        return (match[2] or match[1]).lower(), normal(match[3])
    return None


def frame_of(line: str) -> str | None:
    """The function of a stack frame; None where the line is none."""
    if line.startswith("File ") and (match := PYTHON_FRAME.match(line)):
        return f"{PATH.sub('', match[1])}:{match[2]}"
    if line.startswith("at ") and (match := FRAME.match(line)):
        return match[1]
    if line[:1].isdigit() and (match := NUMBERED_FRAME.match(line)):
        return match[1]
    if line.endswith(")") and not line.startswith("error") and (match := GO_FRAME.match(line)):
        return match[1]
    return None


def normal(message: str) -> str:
    """A message without what differs from run to run."""
    return SPACES.sub(" ", VARIES.sub("#", PATH.sub("", message))).strip()


def shared_error(ours: Iterable[Signature], theirs: Iterable[Signature]) -> str | None:
    """The first error that stands in both, in words; None where there is none.

    The same type and a telling message will do; without one, two frames must be the same as well.
    """
    known = list(theirs)
    return next((item.words for item in ours if any(same(item, other) for other in known)), None)


def same(one: Signature, other: Signature) -> bool:
    """Whether two errors are the same as far as texts can tell."""
    if one.kind != other.kind or one.message != other.message:
        return False
    letters = sum(char.isalpha() for char in one.message)
    return letters >= LEAST_LETTERS or (len(one.frames) > 1 and one.frames[:2] == other.frames[:2])
