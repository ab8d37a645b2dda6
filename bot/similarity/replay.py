"""The repository's own past, asked again: what would the best score have been when each issue was new?"""

from collections.abc import Iterable

from bot.core.decision import COLD_THRESHOLD, WHITENED_THRESHOLD, budget_threshold
from bot.core.scoring import WHITENING_FROM
from bot.similarity.history import Entry, History

LATEST = 1_000
"""How many of the latest issues are asked again: enough for a quantile, and the repository as it is now."""

LEAST = 200
"""Issues of history below which a quantile says nothing."""


SHOWN = 3
"""Earlier issues that a comment would name."""

LOWEST = 3.0
"""z below which nothing is worth a comment, however much budget a repository without duplicates leaves."""


class Replay:
    """Feeds a repository's issues, oldest first, through the code that ranks new ones."""

    def __init__(self, issues: int) -> None:
        """`issues` is how many will be fed; the latest of them are asked."""
        self.top_scores: list[float] = []
        self.shown: list[
            tuple[int, tuple[tuple[int, float], ...]]
        ] = []  # number, then the best with their scores
        self._history = History()
        self._silent = max(WHITENING_FROM, issues - LATEST)  # scores before whitening are of another scale

    def feed(self, entries: Iterable[Entry]) -> None:
        """Ask each issue before it is added, so that it sees only older ones; the first ones are added only."""
        for entry in entries:
            if self._silent > 0:
                self._silent -= 1
            elif entry.asks:
                self._history.refit()
                best = self._history.search(entry, limit=SHOWN)
                self.top_scores.append(best[0].score if best else float("-inf"))
                self.shown.append((entry.number, tuple((item.number, item.score) for item in best)))
            self._history.put(entry)

    def careful(self) -> float | None:
        """The threshold where the history is too short to say anything; None where it is long enough."""
        if len(self._history) >= LEAST:
            return None
        return COLD_THRESHOLD if len(self._history) < WHITENING_FROM else WHITENED_THRESHOLD

    def threshold(self, budget: float) -> float:
        """The score that a share `budget` of the issues asked reaches, or the careful one where there are too few."""
        careful = self.careful()
        return max(LOWEST, budget_threshold(self.top_scores, budget)) if careful is None else careful
