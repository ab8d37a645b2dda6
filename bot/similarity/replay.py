"""The repository's own past, asked again: what would the best score have been when each issue was new?"""

from collections.abc import Iterable

from bot.core.decision import COLD_THRESHOLD, WHITENED_THRESHOLD, budget_threshold
from bot.core.scoring import WHITENING_FROM
from bot.similarity.history import Entry, History

LATEST = 1_000
"""How many of the latest issues are asked again: enough for a quantile, and the repository as it is now."""

LEAST = 200
"""Issues of history below which a quantile says nothing."""


LOWEST = 3.0
"""z below which nothing is worth a comment, however much budget a repository without duplicates leaves."""


class Replay:
    """Feeds a repository's issues, oldest first, through the code that ranks new ones."""

    def __init__(self, issues: int) -> None:
        """`issues` is how many will be fed; the latest of them are asked."""
        self.top_scores: list[float] = []
        self._history = History()
        self._silent = max(WHITENING_FROM, issues - LATEST)  # scores before whitening are of another scale

    def feed(self, entries: Iterable[Entry]) -> None:
        """Ask each issue before it is added, so that it sees only older ones; the first ones are added only."""
        for entry in entries:
            if self._silent > 0:
                self._silent -= 1
            elif entry.asks:
                self._history.refit()
                best = self._history.search(entry, limit=1)
                self.top_scores.append(best[0].score if best else float("-inf"))
            self._history.put(entry)

    def threshold(self, budget: float) -> float:
        """The score that a share `budget` of the issues asked reaches, or the careful one where there are too few."""
        if len(self._history) < LEAST:
            return COLD_THRESHOLD if len(self._history) < WHITENING_FROM else WHITENED_THRESHOLD
        return max(LOWEST, budget_threshold(self.top_scores, budget))
