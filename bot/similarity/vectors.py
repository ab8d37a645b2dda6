"""The title and text vectors of one repository, and the whitening that is fitted to them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bot.core.records import Vector
from bot.core.scoring import Matrix, Whitening, fit_size

DIMENSION = 384
CHUNK = 1_024
"""Rows whitened at a time: the temporary copy stays small beside the matrices."""

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Cosines:
    """How near each row is to one text: raw and whitened cosines by row, NaN nowhere."""

    raw: Matrix
    whitened: Matrix | None  # None before the first fit


class Vectors:
    """Two matrices by row. Titles are held in half precision: they are only compared with a few candidates."""

    def __init__(self) -> None:
        self.whitening: Whitening | None = None
        self._fitted = 0
        self._titles = np.zeros((0, DIMENSION), np.float16)
        self._texts = np.zeros((0, DIMENSION), np.float32)
        self._known = np.zeros(0, np.bool_)
        self._title_lengths = np.ones(0, np.float32)  # after whitening, before they are scaled to 1
        self._text_lengths = np.ones(0, np.float32)

    def put(self, row: int, title: Vector | None, text: Vector | None) -> None:
        """Set the vectors of a row; None where it has none."""
        if row >= len(self._known):
            self._grow(max(64, row + 1, len(self._known) * 3 // 2))
        self._known[row] = title is not None and text is not None
        self._titles[row] = 0 if title is None else title
        self._texts[row] = 0 if text is None else text
        self._measure(np.array([row]))

    def get(self, row: int) -> tuple[Vector, Vector] | None:
        """The title's and the text's vector of a row."""
        if not self._known[row]:
            return None
        return self._titles[row].astype(np.float32), self._texts[row].copy()

    @property
    def outgrown(self) -> bool:
        """Whether the whitening is to be fitted anew."""
        return fit_size(int(self._known.sum())) not in (0, self._fitted)

    def refit(self, oldest_first: Rows) -> None:
        """Fit the whitening to the oldest rows, as many as `fit_size` says, and apply it to all."""
        rows = oldest_first[self._known[oldest_first]]
        self._fitted = size = fit_size(len(rows))
        self.whitening = Whitening.fit(self._titles[rows[:size]].astype(np.float32), self._texts[rows[:size]])
        for start in range(0, len(rows), CHUNK):
            self._measure(rows[start : start + CHUNK])

    def texts(self, vector: Vector, size: int) -> Cosines:
        """Compare a text with the first `size` rows."""
        if self.whitening is None:
            return Cosines(self._texts[:size] @ vector, None)
        direction, offset = self._direction(self.whitening.text_mean, vector)
        found = self._texts[:size] @ np.column_stack([vector, direction])
        return Cosines(found[:, 0], (found[:, 1] - offset) / self._text_lengths[:size] * self._known[:size])

    def titles(self, vector: Vector, rows: Rows) -> Cosines:
        """Compare a title with these rows."""
        titles = self._titles[rows].astype(np.float32)
        if self.whitening is None:
            return Cosines(titles @ vector, None)
        direction, offset = self._direction(self.whitening.title_mean, vector)
        whitened = (titles @ direction - offset) / self._title_lengths[rows] * self._known[rows]
        return Cosines(titles @ vector, whitened)

    def size(self) -> int:
        """Bytes held."""
        return self._titles.nbytes + self._texts.nbytes + 9 * len(self._known)

    def _direction(self, mean: Matrix, vector: Vector) -> tuple[Matrix, float]:
        """What to multiply raw rows with, and what to take off, to compare whitened ones without keeping them."""
        assert self.whitening is not None
        white = (vector - mean) @ self.whitening.map
        length = max(float(np.linalg.norm(white)), 1e-12)
        direction: Matrix = (self.whitening.map @ white / length).astype(np.float32)
        return direction, float(mean @ direction)

    def _measure(self, rows: Rows) -> None:
        if self.whitening is None:
            return
        mapping = self.whitening.map
        titles = (self._titles[rows].astype(np.float32) - self.whitening.title_mean) @ mapping
        texts = (self._texts[rows] - self.whitening.text_mean) @ mapping
        self._title_lengths[rows] = np.maximum(np.linalg.norm(titles, axis=1), 1e-12)
        self._text_lengths[rows] = np.maximum(np.linalg.norm(texts, axis=1), 1e-12)

    def _grow(self, rows: int) -> None:
        more = rows - len(self._known)
        self._titles = np.concatenate([self._titles, np.zeros((more, DIMENSION), np.float16)])
        self._texts = np.concatenate([self._texts, np.zeros((more, DIMENSION), np.float32)])
        self._known = np.concatenate([self._known, np.zeros(more, np.bool_)])
        self._title_lengths = np.concatenate([self._title_lengths, np.ones(more, np.float32)])
        self._text_lengths = np.concatenate([self._text_lengths, np.ones(more, np.float32)])
