"""What 10,000 indexed issues cost: one new issue, the first one of a cold repository, a back-test, and the words in memory.

What is to run on one core is held to its processor's time, of the service and of PostgreSQL together: what passes on the
clock also depends on what else the machine does. Both are told.

PostgreSQL and Chroma are real, and hold what an index that grew over months leaves there, statistics too. Vectors lie as those of texts
do, but are invented, because embedding 10,000 issues takes minutes; the issues that ask are embedded.
"""

import asyncio
import contextlib
import gc
import json
import os
import random
import subprocess
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg

from bench.measure import Result, folder, median, model_dir, say
from bench.texts import issues, near_duplicate
from bench.vector_query import like_texts
from bot.core.backtest import asked_of, judge
from bot.core.hashing import content_hash
from bot.core.kept import Words, terms_in, words_of
from bot.core.lexical import PACKED, LexicalIndex
from bot.core.records import Account, Issue, Repository, RepositoryName
from bot.core.repo_config import Config
from bot.core.text import clean, sanitise
from bot.similarity.embedder import Embedder
from bot.similarity.histories import Histories
from bot.similarity.past import replayed
from bot.similarity.service import SimilarityService
from storage import embedded
from storage.accounts import Accounts
from storage.chroma import CollectionsSettings
from storage.collections import Collections, open_collections
from storage.database import Database
from storage.embedded import postmaster_pid
from storage.issues import Issues
from storage.migrate import migrate
from storage.whitenings import Whitenings

INDEXED = 10_000
START = datetime(2024, 1, 1, tzinfo=UTC)
BATCH = 500

MOST_RANKING = 60.0
"""Milliseconds for a new issue at the median, on one core."""

MOST_COLD = 300.0
"""Milliseconds until a repository of which nothing is in memory answers, at the median."""

MOST_BACKTEST = 300.0
"""Seconds."""

MOST_WORDS = 60.0
"""MB (10^6 bytes) of the lexical index."""

ONE_CORE = "one-core"


@dataclass(frozen=True, slots=True)
class Stored:
    """A repository whose issues, vectors and collection are stored."""

    data: Path
    database: Database
    repository: Repository
    known: Sequence[Issue]


class Work:
    """What the processors did for this process and for the database server of a folder, and what the clock showed."""

    def __init__(self, data: Path) -> None:
        """Begins now."""
        self._server = postmaster_pid(data / "postgres")
        self.clock: list[float] = []
        self.own: list[float] = []
        self._served = self._server_seconds()

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """One piece of work."""
        clock, own = time.perf_counter(), time.process_time()
        yield
        self.clock.append(time.perf_counter() - clock)
        self.own.append(time.process_time() - own)

    def processor_ms(self) -> float:
        """The median of the steps; of the server, whose time is told in hundredths of a second, the mean."""
        return 1000 * (median(self.own) + (self._server_seconds() - self._served) / len(self.own))

    def _server_seconds(self) -> float:
        stats = [stat(path) for path in Path("/proc").glob("[0-9]*/stat")]
        # After the name: state, parent, …; user and system time are the fields 14 and 15 of the whole line.
        ticks = sum(int(item[11]) + int(item[12]) for item in stats if item and int(item[1]) == self._server)
        return ticks / os.sysconf("SC_CLK_TCK")


def stat(path: Path) -> list[str]:
    """The fields behind the name of a process; none where it ended meanwhile."""
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace").rpartition(") ")[2].split()
    return []


def made(count: int) -> list[Issue]:
    """Issues of one repository, an hour apart, by five hundred people."""
    return [
        Issue(
            repository_id=7, number=number, github_id=number, title=sanitise(title), body=sanitise(body), state="open", state_reason=None,
            author=f"reporter-{number % 500}", author_id=number % 500 + 1, author_is_bot=False, labels=(), is_pull_request=False,
            locked=False, reactions=0, created_at=START + timedelta(hours=number), updated_at=START + timedelta(hours=number),
        )
        for number, (title, body) in enumerate(issues(count), 1)
    ]  # fmt: skip


def asking(known: Sequence[Issue], count: int) -> list[Issue]:
    """New issues that resemble known ones."""
    rng, found = random.Random(7), []
    for number in range(len(known) + 1, len(known) + 1 + count):
        original = rng.choice(known)
        title, body = near_duplicate(original.title, original.body, rng)
        created = START + timedelta(hours=number)
        found.append(
            replace(original, number=number, github_id=number, title=title, body=body, created_at=created)
        )
    return found


@contextlib.asynccontextmanager
async def opened(data: Path) -> AsyncIterator[tuple[Database, Repository]]:
    """The database in a folder, and its repository."""
    server = await asyncio.to_thread(embedded.start, data)
    try:
        await migrate(server.url)
        database = await Database.connect(server.url)
        try:
            account = Account(1, "octo", "Organization", "enterprise")
            name = RepositoryName(7, "octo", "hello", private=False)
            (repository,) = await Accounts(database, default_tier="enterprise").install(account, 3, [name])
            yield database, repository
        finally:
            await database.close()
    finally:
        await asyncio.to_thread(server.stop)


@contextlib.asynccontextmanager
async def stored(count: int, *, collection: bool) -> AsyncIterator[Stored]:
    """That many issues with their words, vectors, and where it is wanted their collection."""
    known, titles, texts = made(count), like_texts(count, seed=7), like_texts(count, seed=8)
    with folder() as data:
        embedder = await asyncio.to_thread(Embedder.load, model_dir())
        embedder.close()
        async with opened(data) as (database, repository):
            for start in range(0, count, BATCH):
                part = known[start : start + BATCH]
                await Issues(database).save(1, part)
                vectors = {
                    item.number: (
                        content_hash(item.title, item.body),
                        titles[item.number - 1],
                        texts[item.number - 1],
                    )
                    for item in part
                }
                words = {item.number: words_of(item) for item in part}
                await Issues(database).set_vectors(1, repository.id, "m", vectors, words)
            await analyze(data)
            if collection:
                say(f"  stored {count:,}; making the collection")
                await fill(data, repository, embedder.model, known, texts)
            yield Stored(data, database, repository, known)


async def analyze(data: Path) -> None:
    """Count the issues for the planner, as PostgreSQL does by itself within some minutes."""
    server = await asyncio.to_thread(embedded.start, data)
    connection = await asyncpg.connect(server.url)
    try:
        await connection.execute("ANALYZE issues")
    finally:
        await connection.close()


async def fill(
    data: Path, repository: Repository, model: str, known: Sequence[Issue], texts: Sequence[object]
) -> None:
    """Put the texts' vectors into the collection."""
    collections = await asyncio.to_thread(open_collections, chroma(data))
    try:
        records = [(item.number, vector, 0) for item, vector in zip(known, texts, strict=True)]
        await collections.upsert(repository, model, records)  # type: ignore[arg-type]  # rows of a matrix
    finally:
        await asyncio.to_thread(collections.close)


def chroma(data: Path) -> CollectionsSettings:
    """Chroma in that folder."""
    return CollectionsSettings(data / "chroma", None, None, None, None)


@contextlib.asynccontextmanager
async def serving(data: Path, database: Database, embedder: Embedder) -> AsyncIterator[SimilarityService]:
    """The service as a process that has just started has it, but for the model, which is loaded."""
    collections = await asyncio.to_thread(open_collections, chroma(data))
    try:
        async with finding(collections, database, embedder) as service:
            yield service
    finally:
        await asyncio.to_thread(collections.close)


@contextlib.asynccontextmanager
async def finding(
    collections: Collections, database: Database, embedder: Embedder
) -> AsyncIterator[SimilarityService]:
    """The service on these collections."""

    async def on_broken(repository: Repository) -> None:
        raise AssertionError(f"{repository.collection} is broken")

    whitenings = Whitenings(database)
    service = SimilarityService(
        Issues(database), embedder, collections, on_broken=on_broken, whitenings=whitenings
    )
    try:
        yield service
    finally:
        await service.close()


async def run_new(*, quick: bool) -> Result:
    """A new issue after the other, in a process that has one core for itself, its database and its vector index."""
    count, asked = (100, 3) if quick else (INDEXED, 200)
    async with stored(count, collection=True) as scene:
        data = scene.data
        await scene.database.close()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.similarity", ONE_CORE, str(data), str(count), str(asked),
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MODEL_DIR": str(model_dir())},
            stdout=subprocess.PIPE,
        )  # fmt: skip
        out, _ = await process.communicate()
    found = json.loads(out)
    says = (
        f"{count:,} issues, one core: {found['p50']:.0f} ms of processor time a new issue (p50; the clock {found['clock']:.0f} ms), "
        f"of which encoding {found['encode']:.0f} ms; an indexed issue {found['index']:.0f} ms, of which {found['insert']:.2f} ms into the history"
    )
    limit = f"at most {MOST_RANKING:.0f} ms"
    return Result("new-issue", says, found["p50"], limit, found["p50"] <= MOST_RANKING, found)


async def one_core(data: Path, count: int, asked: int) -> dict[str, float]:
    """Milliseconds of each step."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    known = made(count)
    embedder = await asyncio.to_thread(Embedder.load, model_dir())
    try:
        async with opened(data) as (database, repository), serving(data, database, embedder) as service:
            new = asking(known, asked + 1)
            await service.rank(repository, new[0])
            ranking = Work(data)
            for issue in new[1:]:
                with ranking.step():
                    await service.rank(repository, issue)
            found = {"p50": ranking.processor_ms(), "clock": 1000 * median(ranking.clock)}
            encoding = Work(data)
            for issue in new[1:]:
                with encoding.step():
                    await embedder.embed([issue.title, clean(issue.title, issue.body)], urgent=True)
            await Issues(database).save(1, new)
            indexing = Work(data)
            with indexing.step():
                await service.index(repository, [issue.number for issue in new])
            histories = Histories(Issues(database), Whitenings(database))
            async with histories.use(repository):
                await Issues(database).save(1, [replace(issue, reactions=1) for issue in new])
            inserting = Work(data)
            with inserting.step():
                async with histories.use(repository):
                    pass
            each = {
                "index": indexing.processor_ms() / len(new),
                "insert": inserting.processor_ms() / len(new),
            }
            return found | {"encode": 1000 * median(encoding.own)} | each
    finally:
        embedder.close()


async def run_cold(*, quick: bool) -> Result:
    """The first question after a start, again and again, and a second one that finds everything in memory."""
    count, starts = (100, 2) if quick else (INDEXED, 9)
    async with stored(count, collection=True) as scene:
        embedder = await asyncio.to_thread(Embedder.load, model_dir())
        try:
            fitting, *new = asking(scene.known, starts + 1)
            async with serving(scene.data, scene.database, embedder) as service:
                await service.rank(scene.repository, fitting)  # as the index does when it is made
            first, again, history = Work(scene.data), [], []
            for issue in new:
                async with serving(scene.data, scene.database, embedder) as service:
                    with first.step():
                        await service.rank(scene.repository, issue)
            p50, processor = 1000 * median(first.clock), first.processor_ms()
            for issue in new:
                started = time.perf_counter()
                async with Histories(Issues(scene.database), Whitenings(scene.database)).use(
                    scene.repository
                ):
                    history.append(time.perf_counter() - started)
                async with serving(scene.data, scene.database, embedder) as service:
                    await service.rank(scene.repository, fitting)
                    started = time.perf_counter()
                    await service.rank(scene.repository, issue)
                    again.append(time.perf_counter() - started)
        finally:
            embedder.close()
    says = (
        f"{count:,} issues: first answer p50 {p50:.0f} ms, of which the history {1000 * median(history):.0f} ms; the next one "
        f"{1000 * median(again):.0f} ms; {processor:.0f} ms of processor time on all cores"
    )
    details = {
        "p50": p50,
        "processor": processor,
        "history": 1000 * median(history),
        "again": 1000 * median(again),
    }
    return Result("cold-start", says, p50, f"p50 at most {MOST_COLD:.0f} ms", p50 <= MOST_COLD, details)


async def run_backtest(*, quick: bool) -> Result:
    """From PostgreSQL to the verdict."""
    count = 250 if quick else INDEXED
    async with stored(count, collection=False) as scene:
        started = time.perf_counter()
        past = await replayed(Histories(Issues(scene.database), Whitenings(scene.database)), scene.repository)
        report = judge(asked_of(past.shown, {}), past.lowest, past.careful, Config())
        took = time.perf_counter() - started
    says = (
        f"{count:,} issues: {took:.1f} s, {len(past.shown):,} of them asked again; verdict {report.verdict}"
    )
    limit = f"at most {MOST_BACKTEST:.0f} s"
    return Result("back-test", says, took, limit, took <= MOST_BACKTEST, {"asked": len(past.shown)})


async def run_words(*, quick: bool) -> Result:
    """What the two BM25 indexes of a repository take, and what the service thinks that they take."""
    count = 200 if quick else INDEXED
    words = [words_of(issue) for issue in made(count)]
    took, index = await asyncio.to_thread(indexed_words, words)
    estimate = index.size() / 1e6
    says = f"{count:,} issues, {len(index.vocabulary):,} different words: {took:.1f} MB (estimate {estimate:.1f} MB)"
    details = {"mb": took, "estimate": estimate}
    return Result("words-in-memory", says, took, f"at most {MOST_WORDS:.0f} MB", took <= MOST_WORDS, details)


def indexed_words(words: Sequence[Words]) -> tuple[float, LexicalIndex]:
    """MB that Python and numpy allocated for it."""
    terms = terms_in(b"".join(item.terms for item in words))
    gc.collect()
    tracemalloc.start()
    try:
        before, index = tracemalloc.get_traced_memory()[0], LexicalIndex()
        index.extend(range(len(words)), terms, [len(item.terms) // PACKED.itemsize for item in words])
        gc.collect()
        return (tracemalloc.get_traced_memory()[0] - before) / 1e6, index
    finally:
        tracemalloc.stop()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(one_core(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))))
