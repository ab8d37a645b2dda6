"""Resident memory of the whole service with one repository of 10,000 issues, after 50 suggestions; PostgreSQL aside.

The issues and their vectors are put straight into PostgreSQL, because embedding them takes minutes. The service then
lists them all on GitHub, makes the collection, replays the past and answers, as it does after an update of the model.
"""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from bench.measure import Result, model_dir, until
from bench.service import World, address, free_port, indexed, serves, start, stop, world
from bench.texts import near_duplicate
from bench.vector_query import like_texts
from bot.core.hashing import content_hash
from bot.core.indexing import index_job
from bot.core.records import Account, Issue, RepositoryName
from bot.core.scoring import SCORER
from bot.core.text import clean, sanitise
from bot.sandbox.state import Issue as SandboxIssue
from bot.sandbox.state import Repository as SandboxRepository
from bot.similarity.embedder import Embedder
from storage import embedded
from storage.accounts import Accounts
from storage.database import Database
from storage.issues import Issues
from storage.jobs import Jobs
from storage.migrate import migrate
from storage.suggestions import Suggestions

MOST = 500.0
"""MB (10^6 bytes)."""

BATCH = 500
"""Issues stored at a time."""


def resident(pid: int) -> dict[str, float]:
    """MB of a process: its resident set, and its share of it where pages are shared (PSS)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    return {"rss": kilobytes(status, "VmRSS") * 1.024e-3, "pss": kilobytes(rollup, "Pss") * 1.024e-3}


def kilobytes(text: str, name: str) -> int:
    """One line of those files."""
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name}:"))


async def store(scene: World, real: int) -> None:
    """Put every issue into the database as an index that grew over months leaves them.

    The first `real` issues get their own vectors, the others vectors that lie as those of texts do.
    """
    known = [issue_of(scene.repository, item) for item in scene.repository.issues.values()]
    installation = scene.github.install(scene.app, scene.repository.owner, [scene.repository])
    server = await asyncio.to_thread(embedded.start, scene.data / "data")
    try:
        await migrate(server.url)
        database = await Database.connect(server.url)
        owner = scene.repository.owner
        names = [RepositoryName(scene.repository.id, owner.login, scene.repository.name, private=False)]
        accounts = Accounts(database, default_tier="enterprise")
        (repository,) = await accounts.install(
            Account(owner.id, owner.login, owner.kind, "enterprise"), installation.id, names
        )
        titles, texts, model = await vectors_of(known, real)
        for start in range(0, len(known), BATCH):
            part = known[start : start + BATCH]
            await Issues(database).save(owner.id, part)
            vectors = {
                item.number: (content_hash(item.title, item.body), titles[n], texts[n])
                for n, item in enumerate(part, start)
            }
            await Issues(database).set_vectors(owner.id, scene.repository.id, model, vectors)
        await Jobs(database).enqueue(index_job(repository, fresh=True))
        await database.close()
    finally:
        await asyncio.to_thread(server.stop)


async def vectors_of(known: Sequence[Issue], real: int) -> tuple[np.ndarray, np.ndarray, str]:
    """Vectors of titles and of texts, and the name of what made them."""
    titles, texts = like_texts(len(known), seed=7), like_texts(len(known), seed=8)
    embedder = await asyncio.to_thread(Embedder.load, model_dir())
    try:
        some = known[:real]
        titles[:real] = await embedder.embed([item.title for item in some])
        texts[:real] = await embedder.embed([clean(item.title, item.body) for item in some])
        return titles, texts, f"{embedder.model}+{SCORER}"
    finally:
        embedder.close()


def issue_of(repository: SandboxRepository, item: SandboxIssue) -> Issue:
    """An issue of the sandbox as the service will read it."""
    author = item.author
    return Issue(
        repository_id=repository.id, number=item.number, github_id=item.id, title=sanitise(item.title),
        body=sanitise(item.body or ""), state=item.state, state_reason=item.state_reason,
        author=author.login if author else None, author_id=author.id if author else None, author_is_bot=False,
        labels=(), is_pull_request=False, locked=False, reactions=0, created_at=item.created_at,
        updated_at=item.updated_at,
    )  # fmt: skip


async def run(*, quick: bool) -> Result:
    """Store, have the service list and load everything anew, ask, look."""
    size, asked = (60, 2) if quick else (10_000, 50)
    rng, port = random.Random(7), free_port()
    async with world(size) as scene:
        await store(scene, asked)
        process = await start(scene, port, paced=False)
        try:
            await until(partial(serves, port), 60.0)
            database = await Database.connect(address(scene.data / "data" / "postgres"))
            await indexed(scene, database)
            indexed_at = resident(process.pid)
            decided = await suggestions(scene, database, rng, asked)
            found = resident(process.pid)
            await database.close()
        finally:
            code = await stop(process)
    says = (
        f"{size:,} issues, {decided} of {asked} asked decided: {found['rss']:.0f} MB resident (PSS {found['pss']:.0f} MB; "
        f"{indexed_at['rss']:.0f} MB when indexed)"
    )
    good = found["rss"] <= MOST and decided == asked and code == 0
    return Result("memory", says, found["rss"], f"at most {MOST:.0f} MB", good, found | {"decided": decided})


async def suggestions(scene: World, database: Database, rng: random.Random, wanted: int) -> int:
    """Open near-duplicates one after the other; returns how many were decided."""
    known, decided = list(scene.repository.issues.values())[:wanted], 0
    store, key = Suggestions(database), (scene.repository.owner.id, scene.repository.id)
    for original in known:
        title, body = near_duplicate(original.title, original.body or "", rng)
        issue = scene.github.open_issue(scene.repository, "ann", title, body)
        with contextlib.suppress(TimeoutError):
            await until(partial(store.get, *key, issue.number), 30.0, every=0.02)
            decided += 1
    return decided
