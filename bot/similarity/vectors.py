"""The title and text vectors of one repository, and the whitening that is fitted to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from bot.core.records import Vector
from bot.core.scoring import SCORER, Matrix, Whitening, fit_size

DIMENSION = 384
CHUNK = 1_024
"""Rows whitened at a time: the temporary copy stays small beside the matrices."""

NAMING = 8
"""Numbers of each vector that name it: hardly any change of a vector leaves them all as they were."""

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
        self._title_lengths = np.zeros(
            0, np.float32
        )  # after whitening, before scaled to 1; 0 until it is asked for
        self._text_lengths = np.ones(0, np.float32)

    def put(self, row: int, title: Vector | None, text: Vector | None) -> None:
        """Set the vectors of a row; None where it has none."""
        if row >= len(self._known):
            self._grow(row + 1)
        self._known[row] = title is not None and text is not None
        self._titles[row] = 0 if title is None else title
        self._texts[row] = 0 if text is None else text
        self._measure(np.array([row]))

    def extend(self, rows: Sequence[int], titles: Matrix, texts: Matrix) -> None:
        """Set the vectors of many rows."""
        if (most := max(rows, default=-1)) >= len(self._known):
            self._grow(most + 1)
        self._known[rows], self._titles[rows], self._texts[rows] = True, titles, texts
        self._measure(np.array(rows, np.intp))

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
        rows = self._fitted_to(oldest_first)
        self.adopt(Whitening.fit(self._titles[rows].astype(np.float32), self._texts[rows]), oldest_first)

    def adopt(self, whitening: Whitening, oldest_first: Rows) -> None:
        """Apply the whitening that was fitted to these rows."""
        rows = self.known(oldest_first)
        self._fitted, self.whitening = fit_size(len(rows)), whitening
        for start in range(0, len(rows), CHUNK):
            self._measure(rows[start : start + CHUNK])

    def basis(self, oldest_first: Rows) -> bytes:
        """Names what the whitening is to be fitted to: another vector, or another one more, gives another name."""
        rows = self._fitted_to(oldest_first)
        digest = sha256(SCORER.encode())
        digest.update(self._titles[rows, :NAMING].tobytes())
        digest.update(self._texts[rows, :NAMING].tobytes())
        return digest.digest()

    def _fitted_to(self, oldest_first: Rows) -> Rows:
        rows = self.known(oldest_first)
        return rows[: fit_size(len(rows))]

    def texts(self, vector: Vector, size: int) -> Cosines:
        """Compare a text with the first `size` rows."""
        if self.whitening is None:
            return Cosines(self._texts[:size] @ vector, None)
        direction, offset = self._direction(self.whitening.text_mean, vector)
        found = self._texts[:size] @ np.column_stack([vector, direction])
        return Cosines(found[:, 0], (found[:, 1] - offset) / self._text_lengths[:size] * self._known[:size])

    def known(self, rows: Rows) -> Rows:
        """Those of these rows that have vectors."""
        return rows[self._known[rows]]

    def raw(self, rows: Rows) -> Matrix:
        """A copy of the texts' vectors of these rows."""
        return self._texts[rows]

    def titles(self, vector: Vector, rows: Rows) -> Cosines:
        """Compare a title with these rows."""
        titles = self._titles[rows].astype(np.float32)
        if self.whitening is None:
            return Cosines(titles @ vector, None)
        self._measure_titles(rows[self._title_lengths[rows] == 0], self.whitening)
        direction, offset = self._direction(self.whitening.title_mean, vector)
        whitened = (titles @ direction - offset) / self._title_lengths[rows] * self._known[rows]
        return Cosines(titles @ vector, whitened)

    def size(self) -> int:
        """Bytes held."""
        whitening = 0 if self.whitening is None else self.whitening.map.nbytes
        return self._titles.nbytes + self._texts.nbytes + 9 * len(self._known) + whitening

    def _direction(self, mean: Matrix, vector: Vector) -> tuple[Matrix, float]:
        """What to multiply raw rows with, and what to take off, to compare whitened ones without keeping them."""
        assert self.whitening is not None
        white = (vector - mean) @ self.whitening.map
        length = max(float(np.linalg.norm(white)), 1e-12)
        direction: Matrix = (self.whitening.map @ white / length).astype(np.float32)
        return direction, float(mean @ direction)

    def _measure(self, rows: Rows) -> None:
        self._title_lengths[rows] = 0
        if self.whitening is not None:
            texts = (self._texts[rows] - self.whitening.text_mean) @ self.whitening.map
            self._text_lengths[rows] = np.maximum(np.linalg.norm(texts, axis=1), 1e-12)

    def _measure_titles(self, rows: Rows, whitening: Whitening) -> None:
        # Only those of candidates are needed, and most issues never are one.
        if len(rows):
            titles = (self._titles[rows].astype(np.float32) - whitening.title_mean) @ whitening.map
            self._title_lengths[rows] = np.maximum(np.linalg.norm(titles, axis=1), 1e-12)

    def _grow(self, rows: int) -> None:
        # By little: room that is not used yet is the largest part of what a quiet repository costs.
        more = max(16, rows - len(self._known), len(self._known) // 8)
        self._titles = np.concatenate([self._titles, np.zeros((more, DIMENSION), np.float16)])
        self._texts = np.concatenate([self._texts, np.zeros((more, DIMENSION), np.float32)])
        self._known = np.concatenate([self._known, np.zeros(more, np.bool_)])
        self._title_lengths = np.concatenate([self._title_lengths, np.zeros(more, np.float32)])
        self._text_lengths = np.concatenate([self._text_lengths, np.ones(more, np.float32)])
