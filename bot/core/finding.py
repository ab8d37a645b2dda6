"""From a ranking to what people are told: its chances, and originals instead of their marked duplicates.

The commands, the comment and the API all go through here, so that the same text gets the same answer everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bot.core.calibration import with_chances
from bot.core.duplicates import chain, redirected
from bot.core.ports import Backtests, Issues, Marks, Similarity
from bot.core.records import Candidate, Issue, Ranking, Repository

OVERFETCH = 5
"""How many more candidates are ranked for each one shown, so that a filter by state still fills the list."""


@dataclass(frozen=True, slots=True)
class Finder:
    """Finds earlier reports and says how likely each is; it reads and never writes."""

    similarity: Similarity
    issues: Issues
    marks: Marks
    backtests: Backtests

    async def earlier(self, repository: Repository, issue: Issue, *, limit: int = 10) -> Ranking:
        """Earlier issues for one that is stored, best first."""
        ranking = await self.similarity.rank(repository, issue, limit=limit)
        return await self.told(repository, ranking, issue.number)

    async def by_text(self, repository: Repository, title: str, body: str, *, limit: int = 10) -> Ranking:
        """Stored issues for one that nobody has filed yet, best first."""
        ranking = await self.similarity.search(repository, title, body, limit=limit)
        return await self.told(repository, ranking, None)

    async def told(self, repository: Repository, ranking: Ranking, before: int | None) -> Ranking:
        """The ranking with chances and originals, for issue `before`, or for one that nobody has filed yet."""
        rated = await self.rated(repository, ranking)
        return replace(rated, candidates=await self.originals(repository, before, rated.candidates))

    async def rated(self, repository: Repository, ranking: Ranking) -> Ranking:
        """The ranking with the chance of each candidate, where the repository's last back-test can tell it."""
        last = await self.backtests.get(repository.account_id, repository.id)
        return with_chances(ranking, last.model, last.report) if last else ranking

    async def originals(
        self, repository: Repository, before: int | None, candidates: Sequence[Candidate]
    ) -> tuple[Candidate, ...]:
        """The candidates with every marked duplicate replaced by the issue that stands for all."""
        marks = await self.marks.all(repository.account_id, repository.id)
        if not marks:
            return tuple(candidates)
        known = {item.number: item.issue for item in candidates}
        leads = {number for item in candidates for number in chain(marks, item.number)} - known.keys()
        stored = await self.issues.get(repository.account_id, repository.id, sorted(leads))
        known |= {number: item.issue for number, item in stored.items()}
        return redirected(candidates, marks, known, before)
