"""Foreign text made harmless: printed inside our comments it pings nobody, links nowhere and breaks no layout.

GitHub finds mentions, references, addresses and commit ids in the rendered text, so a backslash does not stop it; an
invisible word joiner inside them does.
"""

import re
import unicodedata

from bot.core.redaction import without_secrets

JOINER = "\u2060"
"""WORD JOINER: invisible, no line break, and no part of any name that GitHub would link."""

ISOLATE, END_ISOLATE = "\u2068", "\u2069"
"""FIRST STRONG ISOLATE and its end: text from right to left stays inside them (Unicode Annex 9)."""

READ = 4
"""How many times the limit is looked at: what is dropped or folded must not cost time without bound."""

SPECIAL = re.compile(r"[\\`*_{}\[\]()#!|~$]")
"""What Markdown, and GitHub's mathematics, read as more than itself inside a line."""
OPENING = re.compile(r"^(\d*)([-+=.])")
"""What may begin a list or a rule where it begins a line."""

COMMIT = re.compile(r"[0-9a-fA-F]{4}(?=[0-9a-fA-F]{3})")
"""Where hexadecimal digits are broken, so that no seven stand together: GitHub links commits by seven to forty."""

BREAKABLE = re.compile(r"(?<=[@＠#])|(?<=[gG][hH]-)|(?<=[wW]{3})(?=\.)|(?<=:)(?=/)|(?<=:)(?=[\w+-]+:)")  # noqa: RUF001
"""Where mentions, references, addresses and names of emoji are broken."""

MODIFIERS = "\u200d\ufe0e\ufe0f\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"
"""Zero width joiner, variation selectors and skin tones: they change the emoji before them."""

NOTHING = "(no title)"


def inert(text: str, limit: int = 80) -> str:
    """One line of at most `limit` characters as Markdown that shows exactly this text and does nothing else."""
    shown = cut(one_line(without_secrets(text[: READ * limit])), limit)
    if not shown:
        return NOTHING
    broken = BREAKABLE.sub(JOINER, COMMIT.sub(rf"\g<0>{JOINER}", shown))
    escaped = OPENING.sub(r"\1\\\2", SPECIAL.sub(r"\\\g<0>", broken))
    escaped = escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"{ISOLATE}{escaped}{END_ISOLATE}" if runs_right_to_left(shown) else escaped


def one_line(text: str) -> str:
    """The text without what cannot be seen, every run of white space as one space."""
    return " ".join("".join(map(visible_or_space, text)).split())


def visible_or_space(char: str) -> str:
    """A character as it may be shown. Format characters go: among them are those that turn the reading direction."""
    category = unicodedata.category(char)
    if category == "Cf":
        return char if char == "\u200d" else ""
    if category in ("Cc", "Zl", "Zp"):
        return " "
    return "\ufffd" if category in ("Cs", "Co", "Cn") else char


def cut(text: str, limit: int) -> str:
    """At most `limit` characters, with an ellipsis for the rest; no accent or joined emoji is torn apart."""
    if len(text) <= limit:
        return text
    end = limit - 1
    while end and is_joined(text, end):
        end -= 1
    return text[:end].rstrip() + "…"


def is_joined(text: str, at: int) -> bool:
    """Whether the character there belongs to the one before it: an accent, a variant, a skin tone, a joined emoji."""
    char = text[at]
    return unicodedata.combining(char) > 0 or char in MODIFIERS or text[at - 1] == "\u200d"


def runs_right_to_left(text: str) -> bool:
    """Whether any character of the text is written from right to left."""
    return any(unicodedata.bidirectional(char) in ("R", "AL", "RLE", "RLO") for char in text)


def code(text: str, limit: int = 60) -> str:
    """Foreign text as a code span, in which GitHub links nothing; backticks become apostrophes."""
    shown = cut(one_line(without_secrets(text[: READ * limit])), limit).replace("`", "'")
    return f"`{shown}`" if shown else "` `"
