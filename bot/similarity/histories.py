"""The histories of the repositories that were asked about lately, loaded from PostgreSQL and kept current."""

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

from bot.core.boilerplate import keys_of
from bot.core.hashing import content_hash
from bot.core.kept import Batch, asks_of
from bot.core.lexical import bag_of
from bot.core.ports import Issues, Whitenings
from bot.core.records import Issue, Repository, StoredIssue, Vector
from bot.similarity.history import Entry, History

CAPACITY = 256 * 1024 * 1024
"""Bytes that all histories may hold together: some 60,000 issues."""

CHUNK = 100
"""Issues read into a history at a time; between chunks the interpreter is free for others."""


@dataclass(slots=True)
class Held:
    """One repository's history with how current it is."""

    account_id: int
    history: History = field(default_factory=History)
    revision: int = 0
    bytes: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Histories:
    """A cache by repository id, least recently used out first. PostgreSQL stays the truth: losing one costs time only."""

    def __init__(
        self, issues: Issues, whitenings: Whitenings | None = None, capacity: int = CAPACITY
    ) -> None:
        """Without `whitenings` each process fits its own."""
        self._issues = issues
        self._whitenings = whitenings
        self._capacity = capacity
        self._held: OrderedDict[int, Held] = OrderedDict()

    @asynccontextmanager
    async def use(self, repository: Repository) -> AsyncIterator[History]:
        """The repository's history as PostgreSQL has it now, for this task alone until the block ends."""
        held = self._held.setdefault(repository.id, Held(repository.account_id))
        self._held.move_to_end(repository.id)
        async with held.lock:
            await self._update(repository, held)
            self._shed(repository.id)
            yield held.history

    async def discard(self, repository: Repository, numbers: Sequence[int]) -> None:
        """Take issues out of a history that is in memory."""
        if (held := self._held.get(repository.id)) is not None:
            async with held.lock:
                held.history.remove(numbers)

    def forget(self, repository: Repository) -> None:
        """Drop a repository's history; it is loaded again when it is asked for."""
        self._held.pop(repository.id, None)

    async def let_go(self) -> list[int]:
        """Drop what another process purged, and what holds issues that it deleted; returns of which repositories."""
        revisions = defaultdict[int, dict[int, int]](dict)
        for repository_id, held in self._held.items():
            if not held.lock.locked():
                revisions[held.account_id][repository_id] = held.revision
        gone = []
        for account_id, known in revisions.items():
            for repository_id, number in await self._issues.outdated(account_id, known):
                there = self._held.get(repository_id)
                # Whoever uses it meanwhile brings it up to date, or asks of what is purged once more.
                if there is None or there.lock.locked():
                    continue
                if number is None or number in there.history:
                    del self._held[repository_id]
                    gone.append(repository_id)
        return gone

    def knows(self, repository: Repository) -> bool:
        """Whether the repository's history is in memory, or being loaded."""
        return repository.id in self._held

    def held(self) -> list[int]:
        """Ids of the repositories in memory, least recently used first."""
        return list(self._held)

    def bytes(self) -> int:
        """An estimate of the memory of all of them together."""
        return sum(held.bytes for held in self._held.values())

    async def _update(self, repository: Repository, held: Held) -> None:
        """Bring in what changed since the last look, then take out what left."""
        since, latest, seen = held.revision, held.revision, set[int]()
        stored = self._issues.read(repository.account_id, repository.id, after_revision=since)
        async with aclosing(ahead(stored)) as batches:
            async for batch in batches:
                if batch.kept is not None:
                    await asyncio.to_thread(held.history.extend, batch.kept)
                    seen.update(batch.kept.numbers)
                others = list(batch.others.values())
                for start in range(0, len(others), CHUNK):
                    await asyncio.to_thread(keep, held.history, others[start : start + CHUNK])
                seen.update(batch.others)
                latest = batch.revision
        gone = set(await self._issues.removed_since(repository.account_id, repository.id, since))
        if back := gone & seen:  # left to make room and came back: the later of the two holds
            gone -= (await self._issues.get(repository.account_id, repository.id, sorted(back))).keys()
        held.history.remove(gone)
        held.revision = latest  # only now: an update that broke off is made again from its start
        if seen or gone:
            await self._refit(repository, held.history)
        if seen or gone or not held.bytes:
            held.bytes = held.history.size()

    async def _refit(self, repository: Repository, history: History) -> None:
        """Fit to what there is now, unless that was done before."""
        basis = await asyncio.to_thread(history.basis) if self._whitenings else None
        if self._whitenings is None or basis is None:
            await asyncio.to_thread(history.refit)
            return
        fitted = await self._whitenings.get(repository.account_id, repository.id, basis)
        await asyncio.to_thread(history.refit, fitted)
        if fitted is None and (made := history.vectors.whitening) is not None:
            await self._whitenings.save(repository.account_id, repository.id, basis, made)

    def _shed(self, using: int) -> None:
        """Let the least recently used go until the rest fits; the one in use stays."""
        for repository_id in [key for key in self._held if key != using]:
            if self.bytes() <= self._capacity:
                return
            if not self._held[repository_id].lock.locked():
                del self._held[repository_id]


async def ahead(batches: AsyncIterator[Batch]) -> AsyncGenerator[Batch, None]:
    """The same batches, the next one being read while one is used."""
    following = asyncio.ensure_future(anext(batches, None))
    try:
        while (batch := await following) is not None:
            following = asyncio.ensure_future(anext(batches, None))
            yield batch
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


def keep(history: History, batch: Sequence[StoredIssue]) -> None:
    """Put stored issues into a history."""
    for stored in batch:
        history.put(entry_of(history, stored.issue, stored.title_vector, stored.text_vector))


def entry_of(history: History, issue: Issue, title: Vector | None, text: Vector | None) -> Entry:
    """An issue as an entry to keep; its new words become the history's."""
    terms = history.lexical.learn(bag_of(issue.title, issue.body))
    created, digest = issue.created_at.timestamp(), content_hash(issue.title, issue.body)
    return Entry(
        issue.number,
        created,
        issue.author_id or 0,
        asks_of(issue),
        digest,
        terms,
        title,
        text,
        keys_of(issue.body),
    )
