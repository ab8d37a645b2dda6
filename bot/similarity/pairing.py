"""Every text of a repository compared with every other one: blocks of one matrix product, bounded in time and memory."""

import numpy as np
import numpy.typing as npt

from bot.core.records import Pairs

BLOCK = 512
"""Texts compared with all at a time: 20 MB of cosines at 10,000 issues."""

MOST_PAIRS = 100_000
"""Pairs that are kept. A floor that more of them reach tells nothing, so the nearest ones stay."""

PAIR = np.dtype([("older", np.int64), ("newer", np.int64), ("cosine", np.float32)])


class Pairing:
    """The pairs that are near, found block by block. No clock, no thread of its own."""

    def __init__(
        self,
        numbers: npt.NDArray[np.int64],
        texts: npt.NDArray[np.float32],
        floor: float,
        most: int = MOST_PAIRS,
    ) -> None:
        """`numbers` rise; `texts` are their unit vectors, row by row."""
        self._numbers, self._texts, self._most = numbers, texts, most
        self._floor = floor
        self._start = 0
        self._found = np.zeros(0, PAIR)

    def step(self) -> bool:
        """Compare the next block with itself and all that follows; False where there was none left."""
        if self._start >= len(self._numbers):
            return False
        start, end = self._start, min(self._start + BLOCK, len(self._numbers))
        self._start = end
        cosines = self._texts[start:end] @ self._texts[start:].T
        rows, columns = np.nonzero(cosines >= self._floor_of(cosines))
        upper = columns > rows  # both count from `start`: each pair once, and none with itself
        rows, columns = rows[upper], columns[upper]
        block = np.zeros(len(rows), PAIR)
        block["older"], block["newer"] = self._numbers[start + rows], self._numbers[start + columns]
        block["cosine"] = np.minimum(cosines[rows, columns], 1.0)
        self._keep(np.concatenate([self._found, block]))
        return True

    def _floor_of(self, cosines: npt.NDArray[np.float32]) -> float:
        """The floor for a block: where too many reach ours, one that still leaves more pairs than are kept.

        Of a block's cosines those of a text with itself are no pairs, and half of the others may be told twice.
        """
        enough = 2 * (self._most + BLOCK)
        if np.count_nonzero(cosines >= self._floor) <= enough:
            return self._floor
        return float(np.partition(cosines, -enough, axis=None)[-enough])

    def _keep(self, found: npt.NDArray[np.void]) -> None:
        """Keep the nearest. Where they are too many the floor rises above the nearest that has to go, ties and all."""
        if len(found) > self._most:
            limit = np.partition(found["cosine"], -self._most - 1)[-self._most - 1]
            found = found[found["cosine"] > limit]
            self._floor = float(np.nextafter(limit, np.float32(2)))
        self._found = found

    def result(self) -> Pairs:
        """The pairs so far, the nearest first."""
        order = np.lexsort((self._found["newer"], self._found["older"], -self._found["cosine"]))
        near = tuple((older, newer, cosine) for older, newer, cosine in self._found[order].tolist())
        return Pairs(near, self._floor, len(self._numbers))
