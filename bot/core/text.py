"""What of an issue's text is evidence: sanitising, cleaning, and the texts that say too little.

Everything here runs over strangers' text, so every pattern is linear: no two quantifiers can share a character.
"""

import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from itertools import islice

from bot.core.boilerplate import NOTHING, key_of
from bot.core.records import LeftOut

MAX_TEXT = 65_536
"""Code points of a title or body that are looked at: GitHub's own limit for a body."""

LEXICAL_CHARS = 4_000
DENSE_CHARS = 6_000
DENSE_CODE_LINES = 15
LEXICAL_CODE_LINES = 40
"""How much is read of a text and of each code block: traces and snippets tell reports apart, dumps drown them."""

PROSE, CODE = "prose", "code"
MORE_CODE = f"lines of code after the {DENSE_CODE_LINES}th of a block"
RECURRING = "lines of this repository's template"
"""What `told_apart` calls lines, beside what `boilerplate` says of them; the last two are left out as well."""

MIN_LETTERS = 12
MIN_TITLE_LETTERS = 3

UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
IMAGE = re.compile(r"!\[[^\[\]]*\]\([^()\s]*\)?|<img [^<>]*>", re.IGNORECASE)
URL = re.compile(r"https?://[^\s<>()\[\]\"'`]+", re.IGNORECASE)
TAG = re.compile(
    r"</?(?:details|summary|br|p|b|i|em|kbd|sub|sup|pre|code|div|h[1-6])(?: [^<>]*)?/?>", re.IGNORECASE
)
CHECK_BOX = re.compile(r"[-*+] \[[ xX]\]")
HEADING = re.compile(r"#{1,6}(?: |$)")
MENTION = re.compile(r"#(\d{1,9})(?![\w-])(?!\s+0x)")
ADDRESS = re.compile(r"/(?:issues|pull|discussions)/(\d{1,9})(?!\d)")

FILLER = frozenset({"no response", "n/a", "na", "none", "no", "nothing", "-", "not applicable", "tbd", "..."})
"""What issue forms and their users leave in a field that was not filled in."""

TEMPLATE_HEADINGS = (
    "actual", "additional context", "additional info", "checklist", "code of conduct", "current behavio", "describe",
    "description", "environment", "expected", "experience", "feature request", "how to reproduce", "info", "is your feature",
    "is there an existing", "issue type", "logs", "minimal repro", "motivation", "observed", "operating system", "os",
    "other", "platform", "possible solution", "preflight", "prerequisites", "problem", "proposal", "relevant log",
    "repro", "screenshot", "severity", "solution", "step", "suggest", "summary", "system info", "to reproduce",
    "version", "what did you", "what do you", "what happened", "what is the", "what version", "what were you",
    "which version", "your environment", "for bugs", "for new",
)  # fmt: skip
"""How headings of issue templates begin, lower case."""

PLACEHOLDER_TITLES = frozenset(
    {"bug", "bug report", "feature request", "feature", "issue", "problem", "help", "question", "test", "testing", "title",
     "untitled", "no title", "new issue", "error", "crash", "enhancement", "asdf", "hello", "todo"}
)  # fmt: skip


def sanitise(text: str | None) -> str:
    """Text that PostgreSQL, JSON and the tokeniser all take: no NUL, no lone surrogate, at most `MAX_TEXT` long."""
    return UNSTORABLE.sub("\ufffd", (text or "")[:MAX_TEXT])


def clean(title: str, body: str, learned: AbstractSet[int] = NOTHING) -> str:
    """What the embedder reads of an issue: its title, then its body without what templates and tools put there.

    `learned` are the keys of this repository's own recurring lines (`bot.core.boilerplate`), as they are known by now.
    """
    return "\n".join([title.strip(), *prose(body, DENSE_CODE_LINES, learned)])[:DENSE_CHARS]


def lexical_body(body: str) -> str:
    """What the lexical index reads of a body; more code than `clean`, since rare identifiers are what it lives on."""
    return "\n".join(prose(body, LEXICAL_CODE_LINES))[:LEXICAL_CHARS]


def prose(body: str, code_lines: int, learned: AbstractSet[int] = NOTHING) -> Iterator[str]:
    """The lines of a body that its author wrote, and the first lines of each code block, without the recurring ones
    of `learned`, which code may keep.
    """
    for text, kind in told_apart(body, code_lines, learned):
        if kind == PROSE:
            yield TAG.sub(" ", URL.sub(" ", IMAGE.sub(" ", text)))
        elif kind == CODE:
            yield text


def told_apart(body: str, code_lines: int, learned: AbstractSet[int]) -> Iterator[tuple[str, str]]:
    """Each line of a body outside its HTML comments, and whether it is prose, code, or a kind that is left out."""
    fence, room = "", 0
    for line in without_comments(body[:MAX_TEXT]).splitlines():
        text = line.strip()
        mark = text[:3]
        if mark in ("```", "~~~") and fence in ("", mark):
            fence, room = ("", 0) if fence else (mark, code_lines)
        elif fence:
            room -= 1
            if text:
                yield text, CODE if room >= 0 else MORE_CODE
        elif text:
            recurs = learned and key_of(text) in learned
            yield text, boilerplate(text) or (RECURRING if recurs else PROSE)


def left_out(body: str, learned: AbstractSet[int] = NOTHING) -> tuple[LeftOut, ...]:
    """What `clean` takes out of a body: HTML comments, then lines, images and links in their order."""
    read = body[:MAX_TEXT]
    found = [LeftOut("HTML comments", read[start + 4 : end - 3]) for start, end in comments_in(read)]
    for text, kind in told_apart(read, DENSE_CODE_LINES, learned):
        if kind == PROSE:
            found += [LeftOut("images", match[0]) for match in IMAGE.finditer(text)]
            found += [LeftOut("links", match[0]) for match in URL.finditer(IMAGE.sub(" ", text))]
        elif kind != CODE:
            found.append(LeftOut(kind, text))
    return tuple(found)


def without_comments(text: str) -> str:
    """The text without HTML comments; one that is never closed is text."""
    parts, at = [], 0
    for start, end in comments_in(text):
        parts.append(text[at:start])
        at = end
    return "".join([*parts, text[at:]])


def comments_in(text: str) -> Iterator[tuple[int, int]]:
    """Where HTML comments begin and end; one that is never closed is none."""
    at = 0
    while (start := text.find("<!--", at)) >= 0 and (end := text.find("-->", start + 4)) >= 0:
        at = end + 3
        yield start, at


def boilerplate(line: str) -> str | None:
    """What a line outside code is where it says nothing about this issue, in the plural; None where it says something."""
    if line[0] == ">":
        return "quoted lines"
    if CHECK_BOX.match(line):
        return "check boxes"
    bare = line.strip("#*_: \t").lower()
    if bare in FILLER or not bare:
        return "empty answers and rules"
    is_title = HEADING.match(line) or (line.startswith("**") and line.rstrip(": ").endswith("**"))
    return "template headings" if is_title and bare.startswith(TEMPLATE_HEADINGS) else None


def too_thin(title: str, body: str) -> str | None:
    """Why a text says too little to be compared with others, in words; None where it says enough."""
    subject = plain(title)
    if letters(subject) < MIN_TITLE_LETTERS:
        return "the title has too few letters"
    if subject in PLACEHOLDER_TITLES:
        return "the title is a placeholder"
    if letters(title) + letters("".join(prose(body, DENSE_CODE_LINES))) < MIN_LETTERS:
        return "the text has too few letters"
    return None


def letters(text: str) -> int:
    """How many letters and digits a text has; a character of a script without spaces counts as a short word."""
    return sum(4 if is_ideographic(char) else 1 for char in islice(text, MAX_TEXT) if char.isalnum())


def is_ideographic(char: str) -> bool:
    """Whether a character is Han, kana or Hangul, where one or two of them make a word."""
    return (
        "\u3040" <= char <= "\u30ff"
        or "\u3400" <= char <= "\u9fff"
        or "\uac00" <= char <= "\ud7af"
        or char >= "\U00020000"
    )


def plain(title: str) -> str:
    """A title without its bracketed prefixes and punctuation, lower case."""
    rest = title.strip()
    while rest.startswith("[") and (end := rest.find("]")) > 0:
        rest = rest[end + 1 :].strip()
    return rest.strip(" \t:.!?-_*#").lower()


def linked_numbers(text: str, full_name: str) -> set[int]:
    """Numbers of issues of this repository (`owner/name`) that the author already points at, code blocks left out."""
    own, read = full_name.casefold(), outside_code(text[:MAX_TEXT]).casefold()
    mentions = {int(match[1]) for match in MENTION.finditer(read) if is_own(read, match.start(), own)}
    return mentions | {
        int(match[1]) for match in ADDRESS.finditer(read) if read.endswith(f"/{own}", 0, match.start())
    }


def is_own(text: str, at: int, own: str) -> bool:
    """Whether the `#` at this place stands alone, or right behind this repository's name."""
    if own and text.endswith(own, 0, at):
        at -= len(own)
    return at == 0 or not (text[at - 1].isalnum() or text[at - 1] in "/.-_&#")


def outside_code(text: str) -> str:
    """The text without fenced blocks: `#3` in a stack trace is a frame, not an issue."""
    kept, fence = [], ""
    for line in text.splitlines():
        mark = line.strip()[:3]
        if mark in ("```", "~~~") and fence in ("", mark):
            fence = "" if fence else mark
        elif not fence:
            kept.append(line)
    return "\n".join(kept)
