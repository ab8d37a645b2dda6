"""Words of an issue as the lexical index counts them: stemmed, identifiers both whole and in parts."""

import re
from functools import lru_cache

import Stemmer

LONGEST = 40
"""Characters of the longest word that is counted: beyond it are hashes and encoded data."""

UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
"""Kana, Han and Hangul, where words are not spaced or carry their particles."""

WORD = re.compile(rf"([{UNSPACED}]+)|[^\W{UNSPACED}]+")
PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+")

STOP = frozenset(
    (
        "a", "an", "and", "are", "as", "at", "be", "been", "but", "by", "can", "could", "did", "do", "does", "for", "from", "had",
        "has", "have", "how", "i", "if", "in", "into", "is", "it", "its", "me", "my", "no", "not", "of", "on", "or", "our", "so",
        "some", "such", "than", "that", "the", "their", "them", "then", "there", "these", "they", "this", "those", "to", "was",
        "we", "were", "what", "when", "where", "which", "while", "who", "why", "will", "with", "would", "you", "your",
    )
)  # fmt: skip
"""English words that every report has: left out, they are a third of all postings and say nothing."""


_stemmer = Stemmer.Stemmer("english")


def tokens(text: str) -> list[str]:
    """The tokens of a text in order, repeats kept. Pure, and linear in the length of the text."""
    found: list[str] = []
    for match in WORD.finditer(text):
        run = match[1]
        found.extend(bigrams(run) if run else tokens_of(match[0]))
    return found


def bigrams(run: str) -> list[str]:
    """A run of unspaced script as overlapping pairs: the usual stand-in for words where nothing marks them."""
    return [run[at : at + 2] for at in range(max(1, len(run) - 1))]


@lru_cache(maxsize=32_768)
def tokens_of(word: str) -> tuple[str, ...]:
    """The tokens of one word: itself stemmed, and its parts where it is an identifier as `readLine` or `read_line`."""
    whole = word.strip("_").lower()
    if not whole or len(whole) > LONGEST or whole in STOP:
        return ()
    parts = PART.findall(word)
    if len(parts) < 2:
        return (_stemmer.stemWord(whole),)
    lower = (part.lower() for part in parts if len(part) > 1)
    return (whole, *(_stemmer.stemWord(part) for part in lower if part not in STOP))


def surfaces(text: str) -> dict[str, str]:
    """Each token of a text with the word that it first stood in, for people to read."""
    found: dict[str, str] = {}
    for match in WORD.finditer(text):
        run = match[1]
        for token in bigrams(run) if run else tokens_of(match[0]):
            found.setdefault(token, token if run else match[0])
    return found
