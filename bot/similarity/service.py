"""Finds earlier reports: embeds, asks the collection and the history, scores, and degrades where a part is missing."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import structlog

from bot.core.context import now
from bot.core.errors import BotError, CollectionBrokenError, ModelUnavailableError, SearchUnavailableError
from bot.core.evidence import shared_label, shared_prefix
from bot.core.hashing import content_hash
from bot.core.kept import words_of
from bot.core.lexical import bag_of
from bot.core.ports import Collections, Embedder, Issues, Past, Whitenings
from bot.core.records import Candidate, Explained, Issue, Pairs, Ranking, Repository, Vector
from bot.core.scoring import POOL, SCORER
from bot.core.signatures import shared_error, signatures
from bot.core.text import clean, left_out, lexical_body, sanitise
from bot.core.tokens import surfaces
from bot.similarity.histories import Histories
from bot.similarity.history import Entry, History, Scored
from bot.similarity.pairing import Pairing
from bot.similarity.past import replayed

log = structlog.get_logger()

MOST_LATER = 200
"""Newer issues among which the collection is still asked: beyond it most of what it returns could not be used."""

SAMPLED = 20
"""Of how many records one is asked for by its own vector: that a record is listed does not say that it is found."""

REACH = 300
"""Records asked for with each of them: a small collection is then known to give all that it lists."""

SAME = 1e-3
"""How far from 1 the cosine of a vector with itself may be."""

SECOND_LOOK = 10.0
"""Seconds until what differs is looked at again: a write that is under way is done by then."""

SHARED_TERMS = 6
"""Shared words shown as evidence."""

LEXICAL_ONLY = "-lexical"
"""Ends the model's name of a ranking without vectors: no threshold was calibrated for it."""

UNFILED = 2**62
"""The number of an issue that nobody has filed yet: above any that GitHub gives."""

OnBroken = Callable[[Repository], Awaitable[None]]


class SimilarityService:
    """Implements `ports.Similarity`. One collection and one history a repository; nothing crosses between them."""

    def __init__(
        self,
        issues: Issues,
        embedder: Embedder,
        collections: Collections,
        *,
        on_broken: OnBroken,
        whitenings: Whitenings | None = None,
    ) -> None:
        """`on_broken` asks for a rebuild of a repository's collection; it must bear being called often."""
        self._issues = issues
        self._embedder = embedder
        self._collections = collections
        self._on_broken = on_broken
        self._histories = Histories(issues, whitenings)
        self._pairing = asyncio.Lock()
        self._opening = set[asyncio.Task[object]]()

    async def close(self) -> None:
        """Give up what was begun besides the questions."""
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)

    @property
    def model(self) -> str:
        """Embedding model and scorer: a threshold belongs to both."""
        return f"{self._embedder.model}+{SCORER}"

    async def index(self, repository: Repository, numbers: Sequence[int], *, urgent: bool = False) -> int:
        """Embed these stored issues and put them into the collection; returns how many were embedded."""
        stored = await self._issues.get(repository.account_id, repository.id, numbers)
        issues = [stored[number].issue for number in sorted(stored)]
        if not issues:
            return 0
        async with self._histories.use(repository) as history:  # knows every stored issue, embedded or not
            learned = history.boilerplate
        texts = [issue.title for issue in issues] + [
            clean(issue.title, issue.body, learned) for issue in issues
        ]
        vectors = await self._embed(texts, urgent=urgent)
        pairs = list(zip(issues, vectors[: len(issues)], vectors[len(issues) :], strict=True))
        await self._issues.set_vectors(
            repository.account_id,
            repository.id,
            self.model,
            {
                issue.number: (content_hash(issue.title, issue.body), title, text)
                for issue, title, text in pairs
            },
            await asyncio.to_thread(lambda: {issue.number: words_of(issue) for issue in issues}),
        )
        await self._put(repository, [(issue, text) for issue, _, text in pairs])
        return len(issues)

    async def forget(self, repository: Repository, numbers: Sequence[int]) -> None:
        """Take issues out of the collection and of the history."""
        await self._histories.discard(repository, numbers)
        try:
            await self._collections.remove(repository, numbers)
        except (CollectionBrokenError, SearchUnavailableError) as error:
            await self._report(repository, error)

    async def rank(self, repository: Repository, issue: Issue, *, limit: int = 10) -> Ranking:
        """Earlier issues by score, each as PostgreSQL has it now. Degrades as `Ranking.degraded` says.

        The first question about a repository is answered from memory, where its vectors have just been read into: that is
        exact, and sooner than Chroma reads them too. The collection is asked afterwards, so that it is open by the next one.
        """
        cold = not self._histories.knows(repository)
        async with self._histories.use(repository) as history:
            return await self._ranked(repository, history, issue, limit, cold=cold)

    async def search(self, repository: Repository, title: str, body: str, *, limit: int = 10) -> Ranking:
        """As `rank`, for an issue that nobody has filed yet: every stored one is earlier. Nothing is stored."""
        cold = not self._histories.knows(repository)
        async with self._histories.use(repository) as history:
            issue = unfiled(repository, title, body, max(now().timestamp(), history.latest()))
            return await self._ranked(repository, history, issue, limit, cold=cold)

    async def near(
        self, repository: Repository, issue: Issue, k: int, floor: float
    ) -> list[tuple[int, float]]:
        """Issues, newer ones too, by the cosine of their texts with this one's: (number, cosine), best first.

        A cosine is 1 minus Chroma's cosine distance, as the parent project has it, so that its users' thresholds keep their
        meaning. The parent embedded other text with the same kind of model: `Title:`, `Type:`, `State:`, `Labels:` and
        `Body:` lines; here it is the title and the cleaned body. Raises ModelUnavailableError where the issue has no vector
        yet and none can be made.
        """
        async with self._histories.use(repository) as history:
            asked, lost = await self._asked(history, issue)
            if asked.text is None:
                raise ModelUnavailableError(lost or "the issue has no vector")
            found = await self._around(repository, history, asked.text, k + 1)
        return [(other, cosine) for other, cosine in found if other != issue.number and cosine >= floor][:k]

    async def pairs(self, repository: Repository, floor: float) -> Pairs:
        """Every two issues whose texts have at least that cosine; compared in memory, block by block, in a thread.

        One repository at a time.
        """
        async with self._pairing:  # each holds a copy of all vectors and keeps a processor busy
            async with self._histories.use(repository) as history:
                numbers, texts = await asyncio.to_thread(history.texts)
            pairing = Pairing(numbers, texts, floor)
            while await asyncio.to_thread(pairing.step):
                pass  # somebody else's turn between two blocks
            return await asyncio.to_thread(pairing.result)

    async def compare(self, repository: Repository, issue: Issue, other: int) -> Explained | None:
        """The score of one pair, for `why`; None where the other is not an earlier indexed issue."""
        async with self._histories.use(repository) as history:
            asked, lost = await self._asked(history, issue)
            found = await asyncio.to_thread(history.compare, asked, other)
            candidates = await self._candidates(repository, issue, history, [found] if found else [])
            searched, learned = len(history) - (issue.number in history), history.boilerplate
        if not candidates:
            return None
        ranking = Ranking(tuple(candidates), searched, self._named(lost), lost)
        return Explained(ranking, await asyncio.to_thread(left_out, issue.body, learned))

    async def past(self, repository: Repository) -> Past:
        """What would have been found for each of the repository's latest issues when it was new."""
        return await replayed(self._histories, repository)

    async def rebuild(self, repository: Repository) -> int:
        """Make the collection anew from PostgreSQL; returns how many records it has."""
        await self._collections.reset(repository, self._embedder.model)
        records = 0
        async for batch in self._issues.stream(repository.account_id, repository.id):
            embedded = [(item.issue, item.text_vector) for item in batch if item.text_vector is not None]
            await self._upsert(repository, embedded)
            records += len(embedded)
        return records

    async def verify(self, repository: Repository) -> str | None:
        """Look twice, as what is under way now differs for a moment; a difference that stays is reported as a fault."""
        try:
            drift = await self._drift(repository)
            if drift:
                await asyncio.sleep(SECOND_LOOK)
                drift &= await self._drift(repository)
        except CollectionBrokenError as error:
            await self._report(repository, error)
            return str(error)
        if not drift:
            return None
        await self._on_broken(repository)
        return f"{len(drift)} records differ from PostgreSQL"

    async def _drift(self, repository: Repository) -> set[int]:
        """Numbers that only one of both has, and those of a sample whose vector the collection does not find."""
        held = await self._collections.numbers(repository)
        stored, lost = set[int](), set[int]()
        async for batch in self._issues.stream(repository.account_id, repository.id):
            embedded = {item.issue.number: item.text_vector for item in batch if item.text_vector is not None}
            stored.update(embedded)
            for number in sorted(embedded.keys() & held)[::SAMPLED]:
                found = await self._collections.query(
                    repository, self._embedder.model, embedded[number], REACH
                )
                if not found or found[0][1] < 1 - SAME:
                    lost.add(number)
        return (stored ^ held) | lost

    async def drop(self, repository: Repository) -> None:
        """Delete the collection and forget every cached word of the repository."""
        self._histories.forget(repository)
        await self._collections.drop(repository)

    async def let_go(self) -> None:
        """Drop from memory what another process purged or deleted. Call it now and then."""
        if gone := await self._histories.let_go():
            log.info("let_go", repository_ids=gone)

    def _named(self, lost: str | None) -> str:
        """The model of a ranking, from which vectors may have been lost."""
        return f"{self.model}{LEXICAL_ONLY}" if lost else self.model

    async def _asked(self, history: History, issue: Issue) -> tuple[Entry, str | None]:
        """The new issue as an entry with its vectors; or without them, and what was missing, in words."""
        asked = await asyncio.to_thread(ask, history, issue)
        if asked.text is not None:
            return asked, None
        try:
            title, text = await self._embed(
                [issue.title, clean(issue.title, issue.body, history.boilerplate)], urgent=True
            )
        except ModelUnavailableError as error:
            log.warning("embedder_failed", error=str(error))
            return asked, "embedding model unavailable"  # words can still be compared
        return replace(asked, title=title, text=text), None

    async def _embed(self, texts: Sequence[str], *, urgent: bool = False) -> npt.NDArray[np.float32]:
        """Vectors of texts. Raises ModelUnavailableError, whatever ails the model: it says nothing about the texts."""
        try:
            return await self._embedder.embed(texts, urgent)
        except Exception as error:
            raise ModelUnavailableError(f"the embedding model failed: {type(error).__name__}") from error

    async def _ranked(
        self, repository: Repository, history: History, issue: Issue, limit: int, *, cold: bool
    ) -> Ranking:
        asked, lost = await self._asked(history, issue)
        later = history.later(asked)
        numbers, missing = (None, None) if cold else await self._nearest(repository, asked, later)
        found = await asyncio.to_thread(history.search, asked, numbers, limit)
        candidates = await self._candidates(repository, issue, history, found)
        searched = len(history) - (issue.number in history)
        if cold:
            opening = asyncio.create_task(self._open(repository, asked, later))
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)
        return Ranking(tuple(candidates), searched, self._named(lost), lost or missing)

    async def _open(self, repository: Repository, asked: Entry, later: int) -> None:
        """Ask the collection for the sake of the next question, which is told what is wrong with it."""
        with suppress(BotError):
            await self._nearest(repository, asked, later)

    async def _around(
        self, repository: Repository, history: History, text: Vector, k: int
    ) -> list[tuple[int, float]]:
        """The k nearest texts of stored issues from the collection; from memory where it lacks some."""
        found: list[tuple[int, float]] = []
        try:
            found = await self._collections.query(repository, self._embedder.model, text, k)
        except (CollectionBrokenError, SearchUnavailableError) as error:
            await self._report(repository, error)
        known = [(number, cosine) for number, cosine in found if number in history]
        enough = len(known) >= min(k, len(history))
        return known if enough else await asyncio.to_thread(history.around, text, k)

    async def _nearest(
        self, repository: Repository, asked: Entry, later: int
    ) -> tuple[list[int] | None, str | None]:
        """Numbers from the collection, or None to have the vectors in memory compared, with the fault if it is one.

        `later` issues may be returned that cannot be used.
        """
        if asked.text is None or later > MOST_LATER:
            return None, None
        try:
            found = await self._collections.query(repository, self._embedder.model, asked.text, POOL + later)
        except (CollectionBrokenError, SearchUnavailableError) as error:
            await self._report(repository, error)
            return None, "Chroma unavailable"
        return [number for number, _ in found], None

    async def _candidates(
        self, repository: Repository, issue: Issue, history: History, found: Sequence[Scored]
    ) -> list[Candidate]:
        """What was found with the issues as they are now; one that was deleted meanwhile is left out."""
        numbers = [item.number for item in found]
        stored = await self._issues.get(repository.account_id, repository.id, numbers)
        issues = {number: item.issue for number, item in stored.items()}
        return await asyncio.to_thread(with_evidence, history, issue, found, issues)

    async def _put(self, repository: Repository, embedded: Sequence[tuple[Issue, Vector]]) -> None:
        try:
            await self._upsert(repository, embedded)
        except (CollectionBrokenError, SearchUnavailableError) as error:
            await self._report(repository, error)

    async def _upsert(self, repository: Repository, embedded: Sequence[tuple[Issue, Vector]]) -> None:
        records = [(issue.number, text, int(issue.created_at.timestamp())) for issue, text in embedded]
        await self._collections.upsert(repository, self._embedder.model, records)

    async def _report(self, repository: Repository, error: Exception) -> None:
        """Have the collection rebuilt: whatever it missed meanwhile is in PostgreSQL."""
        log.warning("collection_failed", repository_id=repository.id, error=str(error))
        await self._on_broken(repository)


def unfiled(repository: Repository, title: str, body: str, created: float) -> Issue:
    """What an issue with this text would be if somebody filed it at that time, in seconds since 1970."""
    at = datetime.fromtimestamp(created, UTC)
    return Issue(
        repository_id=repository.id,
        number=UNFILED,
        github_id=0,
        title=sanitise(title),
        body=sanitise(body),
        state="open",
        state_reason=None,
        author=None,
        author_id=None,
        author_is_bot=False,
        labels=(),
        is_pull_request=False,
        locked=False,
        reactions=0,
        created_at=at,
        updated_at=at,
    )


def ask(history: History, issue: Issue) -> Entry:
    """A new issue as an entry that only asks, with the vectors it is kept with if its text is still the same."""
    bag, digest = bag_of(issue.title, issue.body), content_hash(issue.title, issue.body)
    kept = history.vectors_of(issue.number, digest)
    title, text = kept or (None, None)
    created, terms = issue.created_at.timestamp(), history.lexical.look_up(bag)
    return Entry(issue.number, created, issue.author_id or 0, True, digest, terms, title, text)


def with_evidence(
    history: History, issue: Issue, found: Sequence[Scored], issues: Mapping[int, Issue]
) -> list[Candidate]:
    """What was found as candidates, each with what a person can check."""
    bag, words = bag_of(issue.title, issue.body), surfaces(f"{issue.title}\n{lexical_body(issue.body)}")
    errors = signatures(text_of(issue))
    return [
        Candidate(
            item.number,
            item.score,
            item.features,
            other,
            shared_terms(history.shared(bag, item.number), words),
            shared_error=shared_error(errors, signatures(text_of(other))) if errors else None,
            shared_label=shared_label(issue.labels, other.labels),
            shared_prefix=shared_prefix(issue.title, other.title),
        )
        for item in found
        if (other := issues.get(item.number)) is not None
    ]


def text_of(issue: Issue) -> str:
    """An issue as its author wrote it: errors stand in titles too."""
    return f"{issue.title}\n{issue.body}"


def shared_terms(tokens: Sequence[str], words: Mapping[str, str]) -> tuple[str, ...]:
    """The first few shared tokens as words people know from the text, each word once."""
    found = {words[token].casefold(): words[token] for token in tokens if len(words.get(token, "")) > 1}
    return tuple(found.values())[:SHARED_TERMS]
