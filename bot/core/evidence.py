"""What two issues share that a person can check at a glance. It explains a score and never changes one."""

import re
from collections.abc import Iterator, Sequence

GENERIC = frozenset(
    {"bug", "bugs", "bug report", "crash", "critical", "defect", "discussion", "doc", "docs", "documentation", "easy", "enhancement",
     "error", "feat", "feature", "feature request", "feedback", "fix", "good first issue", "help", "help wanted", "high", "idea",
     "improvement", "info", "invalid", "issue", "low", "major", "medium", "minor", "needs info", "needs triage", "new", "note", "open",
     "performance", "problem", "proposal", "question", "regression", "request", "rfc", "stale", "suggestion", "support", "task",
     "todo", "triage", "unconfirmed", "untriaged", "update", "urgent", "warning", "wip", "wontfix", "chore", "ci", "test", "tests",
     "refactor", "perf", "style", "build", "confirmed", "verified", "reproduced", "accepted", "backlog", "blocked", "in progress"}
)  # fmt: skip
"""Labels and title prefixes that say what kind of issue it is, not what it is about."""

KINDS = frozenset(
    {"kind", "type", "status", "state", "priority", "prio", "severity", "resolution", "needs", "effort", "size", "difficulty",
     "triage", "stage", "impact", "lifecycle", "c", "p", "s"}
)  # fmt: skip
"""What stands before the colon or slash of labels that name no part: `type: bug`, `priority/high`, and `C-bug`."""

LABEL = re.compile(r"(?:(\w{1,40}) ?[:/] ?|([a-z])-)?(.+)")
RANK = re.compile(r"(?:p|s|sev)? ?\d+")
BREAKS = re.compile(r"[\W_]+")

BRACKETED = re.compile(r"\s*\[([^\[\]]{1,40})\]")
SCOPED = re.compile(r"\s*\w{1,20}\(([^()\s]{1,40})\)!?:\s")
LED = re.compile(r"\s*([\w@.+/-]{1,40}):\s")
"""How titles begin that name a component: `[ui] …`, `fix(ui): …`, `ui: …`, `net/http: …`."""

EXCEPTION = re.compile(r"(?:error|exception|warning|panic(?:ked)?)$")
VERSION = re.compile(r"[vV]?\d[\w.-]*")


def shared_label(ours: Sequence[str], theirs: Sequence[str]) -> str | None:
    """The first of our labels that the other has too and that says what an issue is about."""
    known = {label.casefold() for label in theirs}
    return next((label for label in ours if label.casefold() in known and not is_generic(label)), None)


def is_generic(label: str) -> bool:
    """Whether a label tells the kind, state or weight of an issue, or that it is a duplicate."""
    match = LABEL.fullmatch(label.casefold().strip())
    if match is None or "dup" in match[0] or (match[1] or match[2]) in KINDS:
        return True
    said = words(match[3])
    return not says_something(said) or RANK.fullmatch(said) is not None


def shared_prefix(one: str, other: str) -> str | None:
    """The first component that both titles begin with, as the first title writes it."""
    known = {prefix.casefold() for prefix in prefixes(other)}
    return next((prefix for prefix in prefixes(one) if prefix.casefold() in known), None)


def prefixes(title: str) -> Iterator[str]:
    """The components that a title begins with: all that stand in brackets, then one before a colon."""
    at = 0
    while match := BRACKETED.match(title, at):
        at = match.end()
        if says_where(match[1]):
            yield match[1].strip()
    if (match := SCOPED.match(title, at) or LED.match(title, at)) and says_where(match[1]):
        yield match[1]


def says_where(prefix: str) -> bool:
    """Whether a prefix names a part, not the kind of issue, an exception or a version."""
    said = words(prefix.casefold())
    return says_something(said) and not EXCEPTION.search(said) and not VERSION.fullmatch(prefix.strip())


def words(text: str) -> str:
    """Words alone, one space between them: no emoji, no dashes."""
    return BREAKS.sub(" ", text).strip()


def says_something(said: str) -> bool:
    """Whether these words are more than a number or the usual ones."""
    return said not in GENERIC and any(char.isalpha() for char in said)
