"""Slash commands: where in a comment they count, who may give them, what they ask for.

A comment is a stranger's Markdown. It is read as CommonMark, because what looks like the start of a line may be code, a
quote or the inside of a link; and within a budget, because the parser is slow on some texts that are made for that.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.ruler import RuleOptionsType
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from bot.core.errors import TellError
from bot.core.records import Role
from bot.core.repo_config import Config
from bot.core.text import MAX_TEXT, without_comments

MAX_CALLS = 3
"""Commands of one comment that are run."""

MAX_LINES = 1_000
"""Lines outside of code that are read of a comment: a hostile one takes 20 microseconds a line."""

MAX_INLINE = 8_000
"""Code points of those paragraphs that hold commands."""

MAX_RAW = 500
MAX_NAME = 40
MAX_NUMBER = 2**31 - 1
DEFAULT_LIMIT = 5
MAX_LIMIT = 10
"""How many matches `similar` shows unasked, and at most."""

PREFIXES = ("/dejaview", "/dv")
STATES = ("open", "closed", "all")
ACTIONS = ("status", "refresh")
MOST_DAYS = 365
DAYS = re.compile("([1-9][0-9]{0,2})d")
TRAILING = ".,;:!?)("
"""What people put behind a word; it is no part of a name or number."""

WRAPPER = re.compile(
    r"<(/?)(?:details|div|blockquote|table|ul|ol|section)(?![a-z0-9-])", re.ASCII | re.IGNORECASE
)
CODE_SPAN = re.compile("`[^`]*`")
DELIMITER_ROW = re.compile(r"[ \t]*[|:-][ \t|:-]*")
REPLY = re.compile("^(?:____+\nFrom:|-----Original Message|Reply to this email directly|-- $)", re.MULTILINE)
WROTE = re.compile("wrote:[ \t]*$", re.MULTILINE)
"""What stands above the thread in a reply by e-mail."""

DIGITS = "(?P<number>[1-9][0-9]{0,9})"
NAME = "(?P<repo>[A-Za-z0-9_-]{1,100}/[A-Za-z0-9._-]{1,100})"
NUMBER = re.compile(f"(?P<repo>)#?{DIGITS}")
NAMED = re.compile(f"{NAME}#{DIGITS}")
ADDRESS = re.compile(f"https://github\\.com/{NAME}/issues/{DIGITS}")

USAGE = {
    "help": "help",
    "similar": f"similar [1 to {MAX_LIMIT}] [state:open|closed|all]",
    "check": "check",
    "why": "why #N",
    "duplicate": "duplicate of #N",
    "not-duplicate": "not-duplicate [of #N]",
    "index": "index [status|refresh]",
    "pause": "pause [DAYSd]",
    "resume": "resume",
}
"""Every command by its name, and how it is written."""


@dataclass(frozen=True, slots=True)
class Call:
    """A command as it was written, not yet understood."""

    name: str  # lower case; "help" where only the prefix stands there
    args: tuple[str, ...]
    line: int  # of the comment, from 1
    raw: str  # the line with single spaces, cut


@dataclass(frozen=True, slots=True)
class Command:
    """A command that was understood."""

    name: str
    number: int | None = None  # of another issue of the same repository
    limit: int = DEFAULT_LIMIT
    state: str = "all"
    action: str = ""  # of `index`
    days: int | None = None  # of `pause`; None is until `resume`


class _TooLongError(Exception):
    """The budget of lines is used up."""


def find_calls(text: str, slug: str) -> list[Call]:
    """The commands of a comment, in order: those that start a line of a top-level paragraph.

    `slug` is the App's; `@slug` is a prefix as `/dejaview` and `/dv` are. Of an e-mail only what stands above the
    quoted thread counts. What lies behind `MAX_LINES` or `MAX_INLINE` is not read.
    """
    prefixes = frozenset({*PREFIXES, f"@{slug.lower()}"})
    read = above_reply(text[:MAX_TEXT].replace("\r\n", "\n").replace("\r", "\n"))
    if not any(prefix in read.lower() for prefix in prefixes):
        return []
    return [call_of(words, line) for words, line in command_lines(blocks(read), prefixes)]


def changed_calls(before: str, after: str, slug: str) -> list[Call]:
    """The commands of an edited comment that it did not have before."""
    known = {call.raw for call in find_calls(before, slug)}
    return [call for call in find_calls(after, slug) if call.raw not in known]


def above_reply(text: str) -> str:
    """What a person wrote above the thread, signature and footer that mail programs add."""
    ends = [match.start() for match in [REPLY.search(text)] if match]
    for match in WROTE.finditer(text):
        line = text.rfind("\n", 0, match.start()) + 1
        above = text.rfind("\n", 0, max(0, line - 1)) + 1
        # Mail programs break a long line in two.
        ends += [at for at in (above, line) if text.startswith("On ", at)]
    return text[: min(ends, default=len(text))]


def starts_call(line: str, prefixes: frozenset[str]) -> bool:
    """Whether a line's first word is one of ours. Look-alike letters are others: only ASCII is compared."""
    first = line.split(None, 1)[:1]
    return bool(first) and first[0].isascii() and first[0].rstrip(TRAILING).lower() in prefixes


def blocks(text: str) -> list[Token]:
    """The blocks of a Markdown text, as far as the budget of lines reaches."""
    tokens: list[Token] = []
    with suppress(_TooLongError):  # what was read so far is complete
        parser().block.parse(text, parser(), {"lines": 0}, tokens)
    return tokens


@cache
def parser() -> MarkdownIt:
    """CommonMark without the rules that neither decide where text starts a line nor are linear."""
    markdown = MarkdownIt("commonmark")
    interrupts: RuleOptionsType = {"alt": ["paragraph", "reference", "blockquote", "list"]}
    markdown.block.ruler.before("code", "budget", count_line, interrupts)
    markdown.inline.ruler.before("text", "line_start", note_line_start)
    markdown.inline.ruler.disable(["link", "image", "emphasis", "entity"])
    return markdown


def count_line(state: StateBlock, _start: int, _end: int, _silent: bool) -> bool:  # noqa: FBT001 — the parser's
    """A rule that matches nothing: it is tried at every line outside of code. Raises _TooLongError."""
    state.env["lines"] += 1
    if state.env["lines"] > MAX_LINES:
        raise _TooLongError
    return False


def note_line_start(state: StateInline, _silent: bool) -> bool:  # noqa: FBT001 — the parser's
    """A rule that matches nothing: it notes each start of a line that no code span or tag swallows."""
    if state.pos == 0 or state.src[state.pos - 1] == "\n":
        state.env["starts"].append(state.pos)
    return False


def command_lines(tokens: Sequence[Token], prefixes: frozenset[str]) -> Iterator[tuple[list[str], int]]:
    """The words of each line that is a command, with the number of the line from 1."""
    wrapped, room = 0, MAX_INLINE
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.type == "html_block":
            wrapped = still_wrapped(wrapped, without_comments(token.content))
        is_paragraph = before is not None and before.type == "paragraph_open" and before.level == 0
        if token.type != "inline" or not is_paragraph:
            continue
        lines = [line.strip() for line in token.content.split("\n")]
        text = "\n".join(lines)
        if not wrapped and not is_table(lines) and any(starts_call(line, prefixes) for line in lines):
            room -= len(text)
            if room < 0:
                return
            first = token.map[0] + 1 if token.map else 1
            for at in line_starts(text):
                line = text[at:].partition("\n")[0]
                if starts_call(line, prefixes) and not in_brackets(text, at):
                    yield line.split(), first + text.count("\n", 0, at)
        wrapped = still_wrapped(wrapped, CODE_SPAN.sub("", token.content))


def line_starts(text: str) -> list[int]:
    """Where in a paragraph lines start that are neither in a code span nor in a tag or HTML comment."""
    env: dict[str, Any] = {"starts": []}
    parser().inline.parse(text, parser(), env, [])
    return list(env["starts"])


def still_wrapped(depth: int, html: str) -> int:
    """How many elements of HTML are open behind this: what Markdown calls top-level may be inside of <details>."""
    for match in WRAPPER.finditer(html):
        depth = max(0, depth - 1) if match[1] else depth + 1
    return depth


def is_table(lines: Sequence[str]) -> bool:
    """Whether a paragraph of CommonMark is a table to GitHub."""
    return any(
        "-" in line and ("|" in line or ":" in line) and DELIMITER_ROW.fullmatch(line) for line in lines
    )


def in_brackets(text: str, at: int) -> bool:
    """Whether a place may be inside the text of a link."""
    return text.count("[", 0, at) > text.count("]", 0, at) and "]" in text[at:]


def call_of(words: Sequence[str], line: int) -> Call:
    """The call that a line's words make. Mentions and trailing punctuation are no part of it."""
    named = [word.rstrip(TRAILING) for word in words[1:] if not word.startswith("@")]
    kept = [word for word in named if word]
    name = kept[0].lower()[:MAX_NAME] if kept else "help"
    return Call(name, tuple(kept[1:]), line, " ".join(words)[:MAX_RAW])


def may(name: str, role: Role, config: Config, *, is_author: bool) -> bool:
    """Whether somebody may give a command; `is_author` says that the issue is theirs.

    A name that does not exist is "allowed" from triage on, so that a mistake is explained to those whom we serve, and
    everybody else gets a reaction only.
    """
    match name:
        case "help":
            return True
        case "similar":
            return role >= Role.TRIAGE or is_author or config.commands.allow.similar == "anyone"
        case "check" | "duplicate" | "not-duplicate":
            return role >= Role.TRIAGE or is_author
        case "pause" | "resume":
            return role >= Role.MAINTAIN
        case _:
            return role >= Role.TRIAGE


def parse(call: Call, full_name: str, issue_number: int) -> Command:
    """What a call asks for, in the repository `owner/name`, under the issue of this number.

    Raises TellError with the rule and the usage; nothing of what was written is repeated in it.
    """
    if call.name not in USAGE:
        raise TellError("There is no such command. `/dejaview help` lists those that exist.")
    match call.name:
        case "similar":
            return similar(call)
        case "index":
            return index(call)
        case "pause":
            return pause(call)
        case "why" | "duplicate" | "not-duplicate":
            return about_other(call, full_name, issue_number)
    if call.args:
        raise usage(call, "This command takes nothing after its name.")
    return Command(call.name)


def usage(call: Call, rule: str) -> TellError:
    """The error that says which rule was broken and how the command is written."""
    return TellError(f"{rule} Usage: `/dejaview {USAGE[call.name]}`")


def similar(call: Call) -> Command:
    """`similar [N] [state:…]`, in any order, each once."""
    limit: int | None = None
    state: str | None = None
    for word in call.args:
        key, colon, value = word.lower().partition(":")
        if word.isascii() and word.isdigit() and limit is None:
            limit = int(word) if len(word) <= len(str(MAX_LIMIT)) else 0
            if not 1 <= limit <= MAX_LIMIT:
                raise usage(call, f"The number of matches is 1 to {MAX_LIMIT}.")
        elif colon and key == "state" and value in STATES and state is None:
            state = value
        elif colon and key == "repo":
            raise usage(call, "Only this repository can be searched.")
        else:
            raise usage(call, "That is not understood.")
    return Command(call.name, limit=limit or DEFAULT_LIMIT, state=state or "all")


def index(call: Call) -> Command:
    """`index [status|refresh]`."""
    action = call.args[0].lower() if call.args else "status"
    if len(call.args) > 1 or action not in ACTIONS:
        raise usage(call, "That is not understood.")
    return Command(call.name, action=action)


def pause(call: Call) -> Command:
    """`pause [DAYSd]`: for so many days, or until `resume`."""
    if not call.args:
        return Command(call.name)
    match = DAYS.fullmatch(call.args[0].lower())
    if len(call.args) > 1 or match is None or int(match[1]) > MOST_DAYS:
        raise usage(call, f"How long is given in days, 1d to {MOST_DAYS}d.")
    return Command(call.name, days=int(match[1]))


def about_other(call: Call, full_name: str, issue_number: int) -> Command:
    """A command about another issue: `why #N`, `duplicate of #N`, `not-duplicate [of #N]`; "of" may be left out."""
    args = call.args
    if call.name != "why" and args and args[0].lower() == "of":
        args = args[1:]
        if not args:
            raise usage(call, "An issue has to be named.")
    if not args and call.name == "not-duplicate":
        return Command(call.name)
    if len(args) != 1:
        raise usage(call, "Exactly one issue has to be named.")
    number = reference(call, args[0], full_name)
    if number == issue_number:
        raise usage(call, "An issue cannot be compared with itself.")
    return Command(call.name, number=number)


def reference(call: Call, word: str, full_name: str) -> int:
    """The number in `#N`, `N`, `owner/name#N` or the address of an issue. Raises TellError, for other repositories too."""
    match = NUMBER.fullmatch(word) or NAMED.fullmatch(word) or ADDRESS.fullmatch(word)
    if match is None and "/" not in word:
        raise usage(call, "That is not the number of an issue.")
    if match is None or (match["repo"] or full_name).casefold() != full_name.casefold():
        raise usage(call, "Only an issue of this repository can be named.")
    number = int(match["number"])
    if number > MAX_NUMBER:
        raise usage(call, "There is no issue with that number.")
    return number
