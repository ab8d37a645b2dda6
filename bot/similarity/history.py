"""What is kept in memory of one repository's issues to rank against: words, vectors, dates and authors."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bot.core.boilerplate import NOTHING, Keys, learn
from bot.core.kept import Kept
from bot.core.lexical import RARE, Bag, LexicalIndex, Matches, Terms
from bot.core.records import Features, Vector
from bot.core.scoring import POOL, Whitening, fit_size, lexical_strength, score
from bot.similarity.vectors import Cosines, Rows, Vectors

SECONDS_A_DAY = 86_400.0
OVERHEAD = 300
"""Bytes of bookkeeping an issue, beside its words and vectors."""

EMPTY = 5_000
"""Bytes of a history without issues."""

COMMON_SHARE = 20
"""A word that more than one issue in so many has is no evidence."""

NO_LINES: Keys = np.zeros(0, np.uint32)

COLUMNS = np.dtype([("number", np.int64), ("created", np.float64), ("author", np.int64), ("asks", np.bool_)])


@dataclass(frozen=True, slots=True)
class Entry:
    """One issue as the history sees it, whether it is to be kept or to be compared."""

    number: int
    created: float  # seconds since 1970
    author: int  # GitHub's user id, 0 for a ghost
    asks: bool  # whether the bot would ever comment on it: no bot's issue, no placeholder
    digest: bytes  # of the text that the vectors were made from
    terms: Terms
    title: Vector | None  # None where there is no vector
    text: Vector | None
    lines: Keys = field(
        default_factory=lambda: NO_LINES
    )  # of its body, to learn what this repository's templates bring


@dataclass(frozen=True, slots=True)
class Scored:
    """An earlier issue with its score."""

    number: int
    score: float
    features: Features


@dataclass(frozen=True, slots=True)
class Comparison:
    """One issue against all rows."""

    asked: Entry
    earlier: npt.NDArray[np.bool_]  # rows that the issue may be compared with
    words: Matches
    best_words: Rows  # by BM25, best first
    texts: Cosines | None


class History:
    """The issues of one repository. Plain computation: no clock, no I/O, no thread of its own."""

    def __init__(self, lexical: LexicalIndex | None = None) -> None:
        self.lexical = lexical or LexicalIndex()
        self.vectors = Vectors()
        self._row: dict[int, int] = {}
        self._free: list[int] = []
        self._digests: dict[int, bytes] = {}
        self._lines: dict[int, Keys] = {}
        self._learned_from = 0
        self.boilerplate = NOTHING
        self._columns = np.zeros(64, COLUMNS)

    def __len__(self) -> int:
        return len(self._row)

    def __contains__(self, number: object) -> bool:
        return number in self._row

    def put(self, entry: Entry) -> None:
        """Keep an issue, or replace it. Call `refit` when a batch is done."""
        row = self._place(entry.number)
        self._columns[row] = (entry.number, entry.created, entry.author, entry.asks)
        self._digests[row] = entry.digest
        self._lines[row] = entry.lines
        self.lexical.put(row, entry.terms)
        self.vectors.put(row, entry.title, entry.text)

    def extend(self, kept: Kept) -> None:
        """Keep many issues, or replace them. Call `refit` when all are there."""
        self.remove(number for number in kept.numbers if number in self._row)
        rows = [self._place(number) for number in kept.numbers]
        for name, values in zip(
            COLUMNS.names or (), (kept.numbers, kept.created, kept.authors, kept.asks), strict=True
        ):
            self._columns[name][rows] = values
        self._digests.update(zip(rows, kept.digests, strict=True))
        lines = np.split(kept.lines, np.cumsum(kept.line_counts)[:-1])
        self._lines.update(zip(rows, lines, strict=True))
        self.lexical.extend(rows, kept.terms, kept.term_counts)
        self.vectors.extend(rows, kept.titles, kept.texts)

    def _place(self, number: int) -> int:
        """The row of an issue, a new one where it has none."""
        row = self._row.get(number)
        if row is None:
            row = self._row[number] = self._free.pop() if self._free else len(self._row)
        if row >= len(self._columns):
            self._columns = np.concatenate([self._columns, np.zeros(len(self._columns), COLUMNS)])
        return row

    def remove(self, numbers: Iterable[int]) -> None:
        """Drop issues; unknown numbers are fine."""
        for number in numbers:
            row = self._row.pop(number, None)
            if row is not None:
                self.lexical.remove(row)
                self.vectors.put(row, None, None)
                self._columns[row]["number"] = 0
                del self._digests[row], self._lines[row]
                self._free.append(row)

    def basis(self) -> bytes | None:
        """Names what the whitening is to be fitted to; None where it has not been outgrown."""
        return self.vectors.basis(self._oldest_first()) if self.vectors.outgrown else None

    def refit(self, fitted: Whitening | None = None) -> None:
        """Fit the whitening and learn the boilerplate anew where the history has outgrown them.

        `fitted` is a whitening that was fitted to the same issues before (`basis`).
        """
        if (size := fit_size(len(self))) not in (0, self._learned_from):
            self._learned_from = size
            rows = [self._row[number] for number in self.numbers()[:size]]
            authors = self._columns["author"][rows].tolist()
            self.boilerplate = learn([self._lines[row] for row in rows], authors)
        if self.vectors.outgrown and fitted is not None:
            self.vectors.adopt(fitted, self._oldest_first())
        elif self.vectors.outgrown:
            self.vectors.refit(self._oldest_first())

    def numbers(self) -> list[int]:
        """All numbers, oldest first."""
        return sorted(self._row)

    def entries(self, numbers: Iterable[int]) -> list[Entry]:
        """Those of these issues that are still kept, as they were put."""
        return [self.entry(number) for number in numbers if number in self._row]

    def entry(self, number: int) -> Entry:
        """An issue as it was put. Raises KeyError where it is not there."""
        row = self._row[number]
        _, created, author, asks = self._columns[row].item()
        title, text = self.vectors.get(row) or (None, None)
        return Entry(
            number,
            created,
            author,
            asks,
            self._digests[row],
            self.lexical.terms(row),
            title,
            text,
            self._lines[row],
        )

    def vectors_of(self, number: int, digest: bytes) -> tuple[Vector, Vector] | None:
        """The title's and the text's vector of an issue, where they were made from the text with this digest."""
        row = self._row.get(number)
        return self.vectors.get(row) if row is not None and self._digests[row] == digest else None

    def shared(self, bag: Bag, number: int) -> list[str]:
        """Tokens that a bag shares with an issue and that at most one issue in twenty has, rarest first."""
        return (
            self.lexical.shared(bag, self._row[number], max(RARE, len(self) // COMMON_SHARE))
            if number in self
            else []
        )

    def search(self, asked: Entry, dense: Iterable[int] | None = None, limit: int = POOL) -> list[Scored]:
        """Earlier issues, best first.

        `dense` are the numbers of the nearest texts where an index found them; None has every vector compared here.
        """
        compared = self._compare(asked)
        pool = set(compared.best_words[:POOL].tolist())
        if compared.texts is not None:
            raw, whitened = compared.texts.raw, compared.texts.whitened
            pool.update(top(raw, compared.earlier, POOL) if dense is None else self._rows(dense))
            pool.update(() if whitened is None else top(whitened, compared.earlier, POOL))
        rows = np.array([row for row in pool if compared.earlier[row]], np.intp)
        return sorted(self._scored(compared, rows), key=lambda item: (-item.score, -item.number))[:limit]

    def compare(self, asked: Entry, other: int) -> Scored | None:
        """The score of one pair; None where the other is not an earlier issue of this history."""
        compared = self._compare(asked)
        row = self._row.get(other)
        if row is None or not compared.earlier[row]:
            return None
        return self._scored(compared, np.array([row]))[0]

    def nearest(self, asked: Entry, count: int) -> list[int]:
        """Numbers of the earlier issues whose texts are nearest, best first: what a vector index is to find."""
        compared = self._compare(asked)
        if compared.texts is None:
            return []
        found = top(compared.texts.raw, compared.earlier, count)
        return [int(self._columns["number"][row]) for row in found]

    def around(self, text: Vector, count: int) -> list[tuple[int, float]]:
        """The nearest texts of all issues, newer ones too, as (number, cosine), best first."""
        rows = self.vectors.known(self._oldest_first())
        cosines = self.vectors.raw(rows) @ text
        best = top(cosines, np.ones(len(rows), np.bool_), count)
        numbers = self._columns["number"][rows[best]]
        return list(zip(numbers.tolist(), cosines[best].tolist(), strict=True))

    def texts(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Numbers, lowest first, and a copy of their texts' vectors; issues without a vector are left out."""
        rows = self.vectors.known(self._oldest_first())
        return self._columns["number"][rows], self.vectors.raw(rows)

    def latest(self) -> float:
        """When the newest issue was created, in seconds since 1970; 0 where there is none."""
        return float(self._columns["created"][list(self._row.values())].max(initial=0.0))

    def later(self, asked: Entry) -> int:
        """How many issues are not earlier than this one: a vector index may bring all of them first."""
        return len(self) - int(self._earlier(asked).sum())

    def size(self) -> int:
        """An estimate of the bytes held."""
        lines = sum(item.nbytes for item in self._lines.values())
        return self.lexical.size() + self.vectors.size() + lines + OVERHEAD * len(self) + EMPTY

    def _oldest_first(self) -> Rows:
        return np.array([self._row[number] for number in self.numbers()], np.intp)

    def _rows(self, numbers: Iterable[int]) -> list[int]:
        return [self._row[number] for number in numbers if number in self._row]

    def _earlier(self, asked: Entry) -> npt.NDArray[np.bool_]:
        size = len(self._row) + len(self._free)
        number, created = self._columns["number"][:size], self._columns["created"][:size]
        earlier: npt.NDArray[np.bool_] = (number > 0) & (number < asked.number) & (created <= asked.created)
        return earlier

    def _compare(self, asked: Entry) -> Comparison:
        earlier = self._earlier(asked)
        words = self.lexical.match(asked.terms, len(earlier), without=self._row.get(asked.number))
        best = top(words.text, earlier & (words.text > 0), POOL + 1)
        texts = None if asked.text is None else self.vectors.texts(asked.text, len(earlier))
        return Comparison(asked, earlier, words, best, texts)

    def _scored(self, compared: Comparison, rows: Rows) -> list[Scored]:
        """Score these rows."""
        asked, words, columns = compared.asked, compared.words, self._columns[rows]
        titles, texts = self._cosines(compared, rows)
        covered = self.lexical.covered(words.text[rows], rows, without=self._row.get(asked.number))
        table = zip(
            titles.raw.tolist(),
            texts.raw.tolist(),
            words.title[rows].tolist(),
            lexical_strength(words.text[rows], words.text[compared.best_words], covered).tolist(),
            ((asked.created - columns["created"]) / SECONDS_A_DAY).tolist(),
            ((columns["author"] == asked.author) & (asked.author != 0)).tolist(),
            [None] * len(rows) if titles.whitened is None else titles.whitened.tolist(),
            [None] * len(rows) if texts.whitened is None else texts.whitened.tolist(),
            np.log1p(words.rare[rows]).tolist(),
            strict=True,
        )
        features = [Features(*values) for values in table]
        numbers = columns["number"].tolist()
        return [Scored(number, score(item), item) for number, item in zip(numbers, features, strict=True)]

    def _cosines(self, compared: Comparison, rows: Rows) -> tuple[Cosines, Cosines]:
        """How near these rows are by title and by text; zeros where the issue that asks has no vectors."""
        asked, texts = compared.asked, compared.texts
        if asked.title is None or texts is None:
            nothing = Cosines(np.zeros(len(rows), np.float32), None)
            return nothing, nothing
        whitened = None if texts.whitened is None else texts.whitened[rows]
        return self.vectors.titles(asked.title, rows), Cosines(texts.raw[rows], whitened)


def top(values: npt.NDArray[np.floating], allowed: npt.NDArray[np.bool_], count: int) -> Rows:
    """The rows with the greatest values among the allowed ones, best first."""
    rows = np.flatnonzero(allowed)
    found = values[rows]
    if len(rows) > count:
        cut = np.argpartition(-found, count)[:count]
        rows, found = rows[cut], found[cut]
    return rows[np.argsort(-found, kind="stable")]
