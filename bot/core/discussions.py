"""Which issues would rather be discussions: questions, wishes and proposals, by their wording and labels.

The weights are those that users of the parent project know. A body counts as its author's own sentences: code, quotes and
what templates ask are left out, and of its sentences only those that plainly ask or propose something.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from bot.core.records import Issue
from bot.core.text import MAX_TEXT, prose

HIGH, MEDIUM = 0.7, 0.5
"""Scores from which the confidence is high and medium."""

LABELS = {"high": "should-be-discussion", "medium": "discussion"}
"""The label that says so, by confidence."""

TITLE_CHARS, BODY_CHARS = 1_000, 6_000
"""How much of a title and of a body's prose is read."""

OPEN = 0.15
"""Added for an open issue: nobody moves a closed one."""

LABELLED = 0.5
"""Added for a label that already says so."""

KEYWORD, KEYWORDS = 0.1, 0.3
"""Added for each keyword, and for all of them together at the most."""

CRASHED = 0.15
"""Taken off where something broke."""

TELLING_LABELS = frozenset(
    {"question", "help wanted", "feature request", "feature", "enhancement", "idea", "proposal", "feedback", "rfc",
     "design", "brainstorming", "suggestion", "support"}
)  # fmt: skip
"""Labels of what is no bug, in lower case and without a prefix such as `type:`; those that we write say nothing new."""


def pattern(*alternatives: str) -> re.Pattern[str]:
    """One of these as whole words, in any case. `…` stands for up to 40 characters of one sentence."""
    return re.compile(
        rf"(?<!\w)(?:{'|'.join(alternatives)})(?!\w)".replace("…", r"[^.!?\n]{0,40}?"), re.IGNORECASE
    )


ASKS_FOR = r"(?:opinions?|thoughts|feedback|advice|input|guidance|suggestions|recommendations)"
THING = r"\b(?:feature|option|setting|support|ability|integration|shortcut|a way to)"

QUESTION_TITLE = re.compile(
    r"(?:\[[^\[\]]{0,30}\] ?)?(?:(?:question|help|how|what|why|who|which|where|any(?:one|body)|when (?:will|is|are|can|should))\b"
    r"|(?:is|are|can|could|should|would|will|does|do|did|has|have) (?:i|we|you|it|there|this|that|the|a|an|any|any(?:one|body)|some(?:one|body))\b)",
    re.IGNORECASE,
)
"""How a title begins that asks; "Can not …" and "Does not …" report."""

QUESTION = pattern(
    "how (?:do|can|could|should|would) (?:i|we|you|one)", r"(?:know|sure|wondering|understand|figure out|unclear) how to", r"how to[^.!?\n]{0,80}?\?", "is there (?:a|any|some) way", "is it possible", "what(?:'s| is) the (?:best|right|recommended) way",
    "best practices?", "does any(?:one|body) know", "has any(?:one|body) (?:tried|managed|done)", "(?:i have|i've got|just) a question", "i was wondering", "can (?:someone|somebody|anyone|anybody) explain",
)  # fmt: skip
FEATURE = pattern(
    "feature requests?", "(?:it )?would be (?:nice|great|good|helpful|useful|cool|awesome)", f"(?:i|we)(?:'d| would) (?:like|love)…{THING}", f"(?:please )?(?:add|implement|introduce|provide) (?:an? )?…{THING}",
    f"(?:i|we) (?:wish|want|need|miss) …{THING}", f"(?:can|could|should) (?:we|you|it) (?:please )?(?:add|have|support|implement)…{THING}", f"{THING} request", "enhancement", "request(?:ing)? (?:an? )?(?:feature|enhancement)",
)  # fmt: skip
PROPOSAL = pattern(
    "rfc", "proposals?", "(?:i|we)(?:'d| would)? (?:like to )?(?:propose|suggest)", "proposing", "design doc(?:ument)?", "request for comments?",
)  # fmt: skip
TALK = pattern(
    f"(?:open to|looking for|seeking|would love|appreciate|any) …{ASKS_FOR}", "brainstorm(?:ing)?", "(?:let's|let us|we should|want to|like to) discuss", "lessons learned",
    "share (?:your|our|some) experiences?", "what do (?:you|people|folks|others)(?: all)? think", "pros and cons", "trade-?offs",
)  # fmt: skip

QUESTION_MARKS = ("?", "？", "؟")  # noqa: RUF001  # full-width marks are meant

TITLE_PREFIX = re.compile(
    r"(?:\[\s*(?:rfc|proposal|idea|suggestion|enhancement|feature(?: request)?|question|discussion)\s*\]"
    r"|(?:rfc|proposal|idea|suggestion|enhancement|feature(?: request)?|question|discussion)(?:\([^()]{0,30}\))?\s*[:：])",  # noqa: RUF001  # full-width marks are meant
    re.IGNORECASE,
)
TITLE_WORD = pattern(
    "features?", "enhancements?", "suggestions?", "ideas?", "proposals?", "rfc", "discussions?"
)

KEYWORDS_OF = re.compile(
    r"\b(opinion|thoughts|feedback|advice|best practice|recommendation|strategy|philosophy|brainstorm|community|guidance|lessons|methodology|roadmap|trade-?off|use case)",
    re.IGNORECASE,
)
CRASH = pattern("crash(?:es|ed|ing)?", "exceptions?", "traceback", "stack ?trace", "seg(?:mentation )?fault", "panic(?:s|ked)?", "core dumped")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verdict:
    """How much an issue looks like a discussion, and why."""

    score: float  # 0 to 1, 3 decimals
    reasons: tuple[str, ...]  # our own words: nothing foreign is in them

    @property
    def confidence(self) -> str:
        """The score as a word."""
        return "high" if self.score >= HIGH else "medium" if self.score >= MEDIUM else "low"

    @property
    def label(self) -> str | None:
        """The label to put on; None where the score is low."""
        return LABELS.get(self.confidence)


def verdict(issue: Issue) -> Verdict:
    """Judge one issue."""
    title = " ".join(issue.title[:TITLE_CHARS].split())
    body = "\n".join(prose(issue.body, 0))[:BODY_CHARS]
    text = f"{title}\n{body}"
    keywords = {found.casefold() for found in KEYWORDS_OF.findall(text)}
    label = next((name for item in issue.labels if (name := bare(item)) in TELLING_LABELS), None)
    crashed = CRASH.search(title) or CRASH.search(issue.body[:MAX_TEXT])
    parts = (
        (0.4, asks(title) or bool(QUESTION.search(body)), "It asks a question"),
        (0.35, bool(FEATURE.search(text)), "It asks for a feature"),
        (0.45, bool(PROPOSAL.search(text)), "It makes a proposal"),
        (0.3, bool(TALK.search(text)), "It invites a discussion"),
        (LABELLED, label is not None, f"Its label is '{label}'"),
        (min(KEYWORDS, KEYWORD * len(keywords)), bool(keywords), "It uses words of a discussion"),
        (-CRASHED, bool(crashed), "It may report a bug: something crashes"),
        (0.2, bool(TITLE_WORD.search(title)), "Its title names something other than a bug"),
        (0.25, bool(TITLE_PREFIX.match(title)), "Its title begins as that of a discussion"),
        (OPEN, issue.state == "open", ""),
    )
    score = sum(weight for weight, holds, _ in parts if holds)
    reasons = tuple(reason for _, holds, reason in parts if holds and reason)
    return Verdict(round(min(max(score, 0.0), 1.0), 3), reasons)


def asks(title: str) -> bool:
    """Whether a title is a question."""
    return title.endswith(QUESTION_MARKS) or bool(QUESTION_TITLE.match(title))


def bare(label: str) -> str:
    """A label without its prefix and decoration: `type: Feature Request` is `feature request`."""
    return " ".join(re.sub(r"[^\w\s]|_", " ", re.split(r"[:/]", label)[-1]).casefold().split())


def suggestions(
    issues: Iterable[Issue], min_score: float, address: Callable[[Issue], str]
) -> list[dict[str, Any]]:
    """Those of these issues that reach the score, as the parent project's clients read them. Pull requests are left out."""
    judged = [(issue, verdict(issue)) for issue in issues if not issue.is_pull_request]
    return [
        {
            "number": issue.number,
            "title": issue.title,
            "url": address(issue),
            "score": found.score,
            "confidence": found.confidence,
            "reasons": list(found.reasons),
            "state": issue.state,
            "labels": list(issue.labels),
            "created_at": f"{issue.created_at:%Y-%m-%dT%H:%M:%SZ}",
        }
        for issue, found in judged
        if found.score >= min_score
    ]


def best(found: Iterable[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """The highest scores, older issues first among equals."""
    return sorted(found, key=lambda item: (-item["score"], item["number"]))[:most]
