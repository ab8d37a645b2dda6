"""Series: issues that one person opens from one skeleton, such as a release each month. They are not duplicates of each other."""

import re

from bot.core.records import Issue
from bot.core.text import lexical_body
from bot.core.tokens import tokens

LEAST_WORDS = 2
"""Words that a skeleton must keep: less is no skeleton."""

NEAR_IDENTICAL = 0.95
LEAST_TOKENS = 20
"""Share of their different words that two bodies have in common, and how many they must have, to be the same text."""

QUOTED = re.compile(r"`[^`]{1,200}`|\"[^\"]{1,200}\"|“[^”]{1,200}”|'[^' ]{1,200}'|\[[^\[\]]{1,60}\]")
EDGES = " \t.,;:!?()[]{}<>*#"
MASK = "…"


def skeleton(title: str) -> str:
    """A title with its numbers, versions, names and quotations masked, lower case."""
    words = QUOTED.sub(f" {MASK} ", title).split()
    return " ".join(MASK if is_name(word.strip(EDGES)) else word.strip(EDGES).lower() for word in words)


def is_name(word: str) -> bool:
    """Whether a word is a number, a version, a path, an identifier or an abbreviation; or nothing at all."""
    inner = word[1:]
    return not word or not word.isalpha() or any(char.isupper() for char in inner)


def same_series(one: Issue, other: Issue) -> bool:
    """Whether one person opened both from the same skeleton, and their texts are not near identical."""
    if one.author_id is None or one.author_id != other.author_id or one.title == other.title:
        return False
    shape = skeleton(one.title)
    kept = [word for word in shape.split() if word != MASK]
    return len(kept) >= LEAST_WORDS and shape == skeleton(other.title) and not near_identical(one, other)


def near_identical(one: Issue, other: Issue) -> bool:
    """Whether two bodies are the same report sent twice: most of their words are the same, and they have enough of them."""
    ours, theirs = (set(tokens(lexical_body(issue.body))) for issue in (one, other))
    return len(ours | theirs) >= LEAST_TOKENS and len(ours & theirs) >= NEAR_IDENTICAL * len(ours | theirs)
