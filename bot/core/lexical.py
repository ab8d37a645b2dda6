"""An incremental BM25 index in memory, small enough to keep for every busy repository.

Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), with the idf that never
turns negative. Statistics always describe the issues that are in the index at that moment.
"""

import math
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from bot.core.text import LEXICAL_CHARS, lexical_body
from bot.core.tokens import tokens

K1 = 1.5
B = 0.75
K3 = 8.0
"""The usual constants; K3 dampens words that the query repeats, which is worth 3 to 6 points of recall on long reports."""

TITLE_WEIGHT = 3
RARE = 8
"""In how many issues a token may occur to count as rare."""

TF_BITS = 8
TF_MAX = (1 << TF_BITS) - 1
"""A posting is one 32-bit word: the row (or term) above, the count, capped at 255, in the low byte."""

EMPTY = array("I")

PACKED = np.dtype([("key", "<u8"), ("text", "u1"), ("title", "u1")])
"""A term of an issue as it is kept: its key, and its counts, capped at 255, in the whole text and in the title."""

Scores = npt.NDArray[np.float64]
Packed = npt.NDArray[np.void]
Ints = npt.NDArray[np.intp]
Counts = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Bag:
    """The tokens of an issue with their counts: of its title, and of title (three times) with body."""

    title: Mapping[str, int]
    text: Mapping[str, int]


def bag_of(title: str, body: str) -> Bag:
    """The bag of an issue."""
    heading = Counter(tokens(title[:LEXICAL_CHARS]))
    text = Counter(tokens(lexical_body(body)))
    for token, count in heading.items():
        text[token] += TITLE_WEIGHT * count
    return Bag(heading, text)


@lru_cache(maxsize=16_384)
def key_of(token: str) -> int:
    """A token as 64 bits, the same in every process: half the memory of the word, and nothing to read."""
    return int.from_bytes(blake2b(token.encode("utf-8", "replace"), digest_size=8).digest(), "little")


def packed_of(bag: Bag) -> Packed:
    """The terms of a bag in the form in which they are kept."""
    counts = {token: (bag.text.get(token, 0), bag.title.get(token, 0)) for token in {**bag.text, **bag.title}}
    rows = [(key_of(token), min(text, TF_MAX), min(title, TF_MAX)) for token, (text, title) in counts.items()]
    return np.array(rows, PACKED)


@dataclass(frozen=True, slots=True)
class Terms:
    """A bag by the term ids of one index; ids below 0 are words that the index has never seen."""

    title: Mapping[int, int]
    text: Mapping[int, int]


def query_weight(count: int) -> float:
    """What a word that stands so often in the query counts."""
    return count * (K3 + 1) / (count + K3)


def idf(issues: int, containing: int) -> float:
    """`ln(1 + (N - df + .5) / (df + .5))`, always above 0."""
    return math.log1p((issues - containing + 0.5) / (containing + 0.5))


class Postings:
    """One BM25 index over bags of term ids; rows are small integers that the caller gives."""

    def __init__(self) -> None:
        self._by_term: list[array[int] | None] = []
        self._by_row: dict[int, array[int]] = {}
        self._lengths = np.zeros(64, np.float32)
        self._total = 0

    def __len__(self) -> int:
        return len(self._by_row)

    def add(self, row: int, counts: Mapping[int, int]) -> None:
        """Index a row that is not in yet."""
        document = array("I", [term << TF_BITS | min(count, TF_MAX) for term, count in counts.items()])
        for entry in document:
            self._posting(entry >> TF_BITS).append(row << TF_BITS | entry & TF_MAX)
        if row >= len(self._lengths):
            self._lengths = np.concatenate(
                [self._lengths, np.zeros(max(row, len(self._lengths)), np.float32)]
            )
        self._by_row[row] = document
        self._lengths[row] = sum(entry & TF_MAX for entry in document)
        self._total += int(self._lengths[row])

    def extend(self, rows: Sequence[int], at: Ints, terms: Counts, counts: Counts, by_term: Ints) -> None:
        """Index many rows that are not in yet.

        Posting by posting: which of `rows` it is of (ascending), its term, and its count, which may be 0. `by_term` orders
        the postings so that those of one term stand together.
        """
        there = counts > 0
        bounds = np.searchsorted(at[there], np.arange(len(rows) + 1)).tolist()
        documents = cut(((terms << TF_BITS) | counts)[there], bounds)
        self._by_row.update(
            (row, array("I", document)) for row, document in zip(rows, documents, strict=True)
        )
        if (most := max(rows, default=-1)) >= len(self._lengths):
            more = np.zeros(max(most + 1 - len(self._lengths), len(self._lengths)), np.float32)
            self._lengths = np.concatenate([self._lengths, more])
        lengths = np.bincount(at, counts, len(rows))
        self._lengths[rows] = lengths
        self._total += int(lengths.sum())
        order = by_term[there[by_term]]
        found, starts = first_of_each(terms[order])
        postings = cut((np.asarray(rows, np.uint32)[at] << TF_BITS | counts)[order], [*starts, len(order)])
        for term, posting in zip(found, postings, strict=True):
            self._posting(term).frombytes(posting)

    def remove(self, row: int) -> None:
        """Take a row out; nothing happens where it is not in."""
        for entry in self._by_row.pop(row, ()):
            self._posting(entry >> TF_BITS).remove(row << TF_BITS | entry & TF_MAX)
        if row < len(self._lengths):
            self._total -= int(self._lengths[row])
            self._lengths[row] = 0

    def counts(self, row: int | None) -> dict[int, int]:
        """What a row was added with; empty where it is not in."""
        document = self._by_row.get(row) if row is not None else None
        return {entry >> TF_BITS: entry & TF_MAX for entry in document or ()}

    def document(self, row: int) -> npt.NDArray[np.uint32]:
        """The packed terms of a row; valid until the next change."""
        return np.frombuffer(self._by_row.get(row, EMPTY), np.uint32)

    def containing(self, term: int) -> int:
        """In how many rows a term occurs."""
        posting = self._by_term[term] if 0 <= term < len(self._by_term) else None
        return len(posting) if posting else 0

    def _posting(self, term: int) -> "array[int]":
        if term >= len(self._by_term):
            self._by_term.extend([None] * (term + 1 - len(self._by_term)))
        posting = self._by_term[term]
        if posting is None:
            posting = self._by_term[term] = array("I")
        return posting

    def view(self, without: int | None) -> "View":
        """The statistics as they are without one row: the issue that asks must not count itself."""
        own = self.counts(without)
        issues = len(self) - bool(own)
        return View(self, issues, (self._total - sum(own.values())) / max(issues, 1) or 1.0, own.keys())

    def occurrences(self, term: int) -> npt.NDArray[np.uint32]:
        """The packed postings of a term that occurs; valid until the next change."""
        return np.frombuffer(self._posting(term), np.uint32)

    def size(self) -> int:
        """An estimate of the bytes held: each entry is kept by row and by term."""
        return 200 * len(self._by_row) + 9 * sum(map(len, self._by_row.values())) + 8 * len(self._by_term)

    def lengths(self, rows: int) -> npt.NDArray[np.float32]:
        """Tokens a row, for the first `rows` rows."""
        return self._lengths[:rows]


def cut(words: npt.NDArray[np.integer], bounds: Sequence[int]) -> Iterator[bytes]:
    """The 32-bit words between each bound and the next, as bytes."""
    raw = words.astype(np.uint32, copy=False).tobytes()
    return (raw[4 * start : 4 * end] for start, end in pairwise(bounds))


def first_of_each(values: npt.NDArray[np.unsignedinteger]) -> tuple[list[int], list[int]]:
    """The different values of an array in which equal ones stand together, and where each begins."""
    starts = np.flatnonzero(np.r_[values[:1] == values[:1], values[1:] != values[:-1]])
    return values[starts].tolist(), starts.tolist()


@dataclass(frozen=True, slots=True)
class View:
    """An index as one query sees it."""

    postings: Postings
    issues: int
    average: float  # tokens a row
    own: AbstractSet[int]  # terms that occur in one row more than this view may see

    def containing(self, term: int) -> int:
        """In how many of the rows of this view a term occurs."""
        return self.postings.containing(term) - (term in self.own)

    def idf(self, term: int) -> float:
        """How rare a term is in this view."""
        return idf(self.issues, self.containing(term))

    def scores(self, query: Mapping[int, int], rows: int) -> Scores:
        """BM25 by row, 0 where nothing is shared. Negative ids in the query are words that no row has."""
        seen = [(term, count) for term, count in query.items() if self.containing(term) > 0]
        if not seen:
            return np.zeros(rows)
        found = [self.postings.occurrences(term) for term, _ in seen]
        gains = np.array([query_weight(count) * self.idf(term) * (K1 + 1) for term, count in seen])
        packed = np.concatenate(found)
        at, count = packed >> TF_BITS, (packed & TF_MAX).astype(np.float32)
        norm = K1 * (1 - B + B * self.postings.lengths(int(at.max()) + 1) / self.average)
        values = np.repeat(gains, [len(item) for item in found]) * count / (count + norm[at])
        return np.bincount(at, values, rows)[:rows].astype(np.float64, copy=False)

    def self_score(self, query: Mapping[int, int]) -> float:
        """What the query would score against itself."""
        norm = K1 * (1 - B + B * sum(query.values()) / self.average)
        return sum(
            query_weight(count) * self.idf(term) * (K1 + 1) * count / (count + norm)
            for term, count in query.items()
        )

    def self_scores(self, rows: npt.NDArray[np.intp]) -> Scores:
        """What each of these rows would score if it asked and were compared with itself."""
        documents = [self.postings.document(row) for row in rows.tolist()]
        packed = np.concatenate([np.zeros(0, np.uint32), *documents])
        terms, at = np.unique(packed >> TF_BITS, return_inverse=True)
        containing = np.array([self.containing(term) for term in terms.tolist()], np.float64)
        weights = np.log1p((self.issues - containing + 0.5) / (containing + 0.5))
        owner = np.repeat(np.arange(len(rows)), [len(item) for item in documents])
        count = (packed & TF_MAX).astype(np.float64)
        norm = K1 * (1 - B + B * np.bincount(owner, count, len(rows)) / self.average)[owner]
        values = count * (K3 + 1) / (count + K3) * weights[at] * (K1 + 1) * count / (count + norm)
        return np.bincount(owner, values, len(rows)).astype(np.float64, copy=False)

    def rare(self, query: Mapping[int, int], rows: int) -> Scores:
        """By row, the sum of the idf of the tokens it shares that occur in at most `RARE` issues."""
        seen = [term for term in query if 0 < self.containing(term) <= RARE]
        if not seen:
            return np.zeros(rows)
        found = [self.postings.occurrences(term) >> TF_BITS for term in seen]
        gains = np.repeat([self.idf(term) for term in seen], [len(item) for item in found])
        return np.bincount(np.concatenate(found), gains, rows)[:rows].astype(np.float64, copy=False)


@dataclass(frozen=True, slots=True)
class Matches:
    """How much of a query each row shares, by row."""

    text: Scores  # BM25 of title and body
    title: Scores  # BM25 of title against title, over the query's score against itself
    rare: Scores  # sum of the idf of shared rare tokens


class LexicalIndex:
    """The two BM25 indexes of a repository, titles and whole texts, over one vocabulary."""

    def __init__(self, vocabulary: dict[int, int] | None = None) -> None:
        """`vocabulary` maps the keys of tokens to ids; an index over the same texts may share it."""
        self.vocabulary = {} if vocabulary is None else vocabulary
        self._title = Postings()
        self._text = Postings()

    def __len__(self) -> int:
        return len(self._text)

    def learn(self, bag: Bag) -> Terms:
        """The terms of an issue that is to be indexed; new words get ids."""
        known = self.vocabulary
        return Terms(
            {known.setdefault(key_of(token), len(known)): count for token, count in bag.title.items()},
            {known.setdefault(key_of(token), len(known)): count for token, count in bag.text.items()},
        )

    def look_up(self, bag: Bag) -> Terms:
        """The terms of an issue that only asks."""
        return Terms(self._known(bag.title), self._known(bag.text))

    def _known(self, counts: Mapping[str, int]) -> dict[int, int]:
        return {
            self.vocabulary.get(key_of(token), -at): count
            for at, (token, count) in enumerate(counts.items(), 1)
        }

    def put(self, row: int, terms: Terms) -> None:
        """Add a row, or replace it."""
        self.remove(row)
        self._title.add(row, terms.title)
        self._text.add(row, terms.text)

    def extend(self, rows: Sequence[int], terms: Packed, sizes: Sequence[int]) -> None:
        """Add rows that are not in yet: the packed terms of all of them, and how many each has."""
        by_term = np.argsort(terms["key"])
        keys, starts = first_of_each(terms["key"][by_term])
        known, ids = self.vocabulary, np.empty(len(terms), np.uint32)
        ids[by_term] = np.repeat(
            np.array([known.setdefault(key, len(known)) for key in keys], np.uint32),
            np.diff([*starts, len(terms)]),
        )
        at = np.repeat(np.arange(len(rows)), sizes)
        self._title.extend(rows, at, ids, terms["title"].astype(np.uint32), by_term)
        self._text.extend(rows, at, ids, terms["text"].astype(np.uint32), by_term)

    def remove(self, row: int) -> None:
        """Take a row out; nothing happens where it is not in."""
        self._title.remove(row)
        self._text.remove(row)

    def terms(self, row: int) -> Terms:
        """What a row was put with."""
        return Terms(self._title.counts(row), self._text.counts(row))

    def match(self, terms: Terms, rows: int, *, without: int | None = None) -> Matches:
        """Compare with all rows below `rows`, as if the row `without` had never been indexed."""
        titles, texts = self._title.view(without), self._text.view(without)
        best = titles.self_score(terms.title)
        return Matches(
            text=texts.scores(terms.text, rows),
            title=titles.scores(terms.title, rows) / max(best, 1e-9),
            rare=texts.rare(terms.text, rows),
        )

    def covered(self, scores: Scores, rows: npt.NDArray[np.intp], *, without: int | None = None) -> Scores:
        """Which share of each row's own score these BM25 scores of a text are, at most 1: how much of it the query says too."""
        best = self._text.view(without).self_scores(rows)
        covered: Scores = np.clip(scores / np.maximum(best, 1e-9), 0.0, 1.0)
        return covered

    def shared(self, bag: Bag, row: int, most: int) -> list[str]:
        """The tokens a bag shares with a row and that at most `most` rows have, rarest first."""
        theirs = self._text.counts(row)
        known = ((token, self.vocabulary.get(key_of(token), -1)) for token in bag.text)
        found = [(self._text.containing(term), token) for token, term in known if term in theirs]
        return [token for containing, token in sorted(found) if containing <= most]

    def size(self) -> int:
        """An estimate of the bytes that the index holds."""
        return 250 * len(self.vocabulary) + self._title.size() + self._text.size()
