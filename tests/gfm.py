"""What GitHub would make of a comment: a small judge over its Markdown, stricter than GitHub where that is easier."""

import re
from dataclasses import dataclass
from html.parser import HTMLParser

from markdown_it import MarkdownIt
from markdown_it.token import Token

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])

OWN_HTML = re.compile(
    r"<details><summary>[^<>&]*</summary>|</details>|</?sub>|<!-- deja-view:v1 [a-z0-9:._,= -]* -->"
)
"""The tags that the templates write themselves."""

REFERENCE = re.compile(r"#(\d+)|\bGH-(\d+)", re.IGNORECASE)
ACTIVE = {
    "mention": re.compile(r"[@＠]\w"),
    "reference elsewhere": re.compile(r"\w/[\w.-]+#\d"),
    "address": re.compile(r"\w://|www\.\w", re.IGNORECASE),
    "commit": re.compile(r"(?<![0-9a-z#])[0-9a-f]{7,40}(?![0-9a-z])", re.IGNORECASE),
    "closing keyword": re.compile(
        r"\b(?:close[sd]?|fix(?:es|ed)?|resolve[sd]?):?\s+(?:#\d|GH-\d|\w+/[\w.-]+#\d|https?://)",
        re.IGNORECASE,
    ),
    "duplicate": re.compile(r"\bduplicate of:?\s+(?:#\d|GH-\d|https?://)", re.IGNORECASE),
    "emoji name": re.compile(r":[\w+-]*[a-z][\w+-]*:", re.IGNORECASE),
    "turned text": re.compile("[\u200e\u200f\u202a-\u202e\u2066\u2067]"),
    "control character": re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]"),
}
"""What would do something in rendered text."""

UNESCAPED_DOLLAR = re.compile(r"(?<!\\)(?:\\\\)*\$")


@dataclass(frozen=True)
class Judged:
    """A rendered comment, taken apart."""

    skeleton: tuple[str, ...]  # its elements in order, without any text
    shown: str  # its text outside of code, a line a block
    references: frozenset[int]  # issue numbers that GitHub would link back from
    links: tuple[str, ...]
    images: tuple[str, ...]
    foreign_html: tuple[str, ...]
    active: tuple[str, ...]  # what else would do something


def judge(markdown: str) -> Judged:
    """Render and look."""
    tokens = MARKDOWN.parse(markdown)
    flat = [child for token in tokens for child in (token, *(token.children or ()))]
    blocks = [text_of(token.children or []) for token in tokens if token.type == "inline"]
    free = [text_of(token.children or [], links=False) for token in tokens if token.type == "inline"]
    found = [
        f"{kind}: {match[0]!r}"
        for text in blocks
        for kind, rule in ACTIVE.items()
        for match in rule.finditer(text)
    ]
    source = "".join(token.content for token in tokens if token.type == "inline")
    return Judged(
        skeleton=tuple(
            f"{token.type}{token.tag}"
            for token in flat
            if token.type not in ("text", "text_special", "html_inline", "html_block")
        )
        + tuple(re.sub(r"sign=\w+", "", token.content) for token in flat if token.type.startswith("html_")),
        shown="\n".join(blocks),
        references=frozenset(
            int(match[1] or match[2]) for text in free for match in REFERENCE.finditer(text)
        ),
        links=tuple(str(token.attrs["href"]) for token in flat if token.type == "link_open"),
        images=tuple(str(token.attrs["src"]) for token in flat if token.type == "image"),
        foreign_html=tuple(
            rest
            for token in flat
            if token.type.startswith("html_") and (rest := OWN_HTML.sub("", token.content).strip())
        ),
        active=(*found, *UNESCAPED_DOLLAR.findall(re.sub(r"(?<!\\)`[^`]*`", "", source))),
    )


def text_of(tokens: list[Token], *, links: bool = True) -> str:
    """The visible text of a block; code counts as a blank, and so do links where they are left out."""
    parts, inside = [], False
    for token in tokens:
        inside = token.type == "link_open" or (inside and token.type != "link_close")
        if token.type in ("text", "text_special") and (links or not inside):
            parts.append(token.content)
        elif token.type in ("code_inline", "softbreak", "hardbreak", "link_open"):
            parts.append(" ")
    return "".join(parts)


class Page(HTMLParser):
    """Rendered HTML, as GitHub's filters look at it: elements, and the text in which they find mentions and references."""

    SKIPPED = ("code", "pre", "a")  # where GitHub looks for nothing
    VOID = ("br", "hr", "img", "input")

    def __init__(self, markdown: str) -> None:
        """Render and take apart."""
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.comments: list[str] = []
        self.declarations: list[str] = []
        self._texts: list[str] = [""]
        self._open: list[str] = []
        self.feed(MARKDOWN.render(markdown))
        self.close()

    @property
    def text(self) -> str:
        """What is shown outside of code and links, a line a block."""
        return "\n".join(text for text in self._texts if text.strip())

    @property
    def active(self) -> list[str]:
        """What of that would do something."""
        return [
            f"{kind}: {found[0]!r}" for kind, rule in ACTIVE.items() for found in rule.finditer(self.text)
        ]

    @property
    def references(self) -> set[int]:
        """Numbers of issues that would be told."""
        return {int(match[1] or match[2]) for match in REFERENCE.finditer(self.text)}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element; a block begins a line."""
        self.elements.append((tag, tuple(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)
        if tag in self.SKIPPED:
            self._texts[-1] += " "
        elif tag not in ("strong", "em", "sub", "del"):
            self._texts.append("")

    def handle_endtag(self, tag: str) -> None:
        """Its end."""
        self.elements.append((f"/{tag}", ()))
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        """Text."""
        if not set(self.SKIPPED) & set(self._open):
            self._texts[-1] += data

    def handle_comment(self, data: str) -> None:
        """What nobody sees."""
        self.comments.append(data)

    def handle_decl(self, decl: str) -> None:
        """`<!DOCTYPE>` and its like."""
        self.declarations.append(decl)

    def unknown_decl(self, data: str) -> None:
        """`<![CDATA[`."""
        self.declarations.append(data)

    def handle_pi(self, data: str) -> None:
        """`<?`."""
        self.declarations.append(data)
