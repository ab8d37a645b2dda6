"""The vector index in Chroma: embedded, on a server, or in Chroma Cloud, by one set of rules.

Chroma holds numbers, vectors and creation times, never text, and is never the truth: what breaks here is made anew
from PostgreSQL. Chroma Cloud's quotas (docs.trychroma.com/cloud/quotas-limits) hold in all three modes, so that what
passes embedded passes there: 300 records a write, 300 results a query, 10 reads and 10 writes at a time per collection.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import chromadb
import httpx
import numpy as np
from chromadb.api.client import Client
from chromadb.errors import (
    ChromaError,
    InternalError,
    InvalidArgumentError,
    InvalidDimensionException,
    NotFoundError,
)

from bot.core.errors import BotError, CollectionBrokenError, SearchUnavailableError
from bot.core.records import Repository, Vector
from storage.chroma import CollectionsSettings, Place, open_place

DIMENSION = 384
TOLERANCE = 1e-3
"""How far from 1 the length of a vector may be."""

BATCH = 300
"""Records a write and results a query, Chroma Cloud's quota."""

THREADS = 8
"""Calls at a time: below Chroma Cloud's 10 reads and 10 writes a collection, even if all go to one."""

CONFIGURATION: Any = {"hnsw": {"space": "cosine"}}
"""Chroma's own default is l2. Nothing else is set: Chroma Cloud keeps another kind of index."""

EVICTED = "Nothing found on disk"
"""Chroma 1.5.9 closes the least used indexes, and then cannot open one again that it never wrote to disk."""

OVERLOADED = (
    "unable to open database", "too many open files", "no space left", "disk is full", "disk i/o error", "readonly database",
    "database is locked", "pool timed out",
)  # fmt: skip
"""What an InternalError says where the machine is at fault: making the collection anew would fail as well."""

BROKEN = (NotFoundError, InternalError, InvalidDimensionException, InvalidArgumentError)
"""What Chroma raises about one collection; every other error of Chroma is about the service."""

T = TypeVar("T")


def open_collections(settings: CollectionsSettings) -> "Collections":
    """Open the index. A server need not be up yet. Raises SettingsError in one line."""
    return Collections(open_place(settings))


class Collections:
    """Implements `ports.Collections`. Every call is made on one of a few threads, as Chroma's clients block."""

    def __init__(self, place: Place) -> None:
        """`place` is closed with the index."""
        self._place = place
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="chroma")

    async def upsert(
        self, repository: Repository, model: str, records: Sequence[tuple[int, Vector, int]]
    ) -> None:
        """Put in or replace (number, unit vector, creation in seconds since 1970); the last one of a number counts.

        Makes the collection where there is none. Raises ValueError where a vector is not a unit vector of float32.
        """
        latest = {number: (vector, created) for number, vector, created in records}
        for vector, _ in latest.values():
            check_vector(vector)
        if latest:
            await self._run(lambda client: upsert(client, repository, model, latest))

    async def remove(self, repository: Repository, numbers: Sequence[int]) -> None:
        """Take records out; unknown numbers and a missing collection are fine."""
        if numbers:
            await self._run(lambda client: remove(client, repository, numbers))

    async def query(
        self, repository: Repository, model: str, vector: Vector, k: int
    ) -> list[tuple[int, float]]:
        """The k nearest records, 300 at most, as (number, cosine), nearest first.

        Raises ValueError where the vector is not a unit vector, CollectionBrokenError also where records are lost.
        """
        check_vector(vector)
        if k <= 0:
            return []
        return await self._run(lambda client: query(client, repository, model, vector, min(k, BATCH)))

    async def reset(self, repository: Repository, model: str) -> None:
        """Make the collection anew and empty."""
        await self._make(lambda client: reset(client, repository, model))

    async def drop(self, repository: Repository) -> None:
        """Delete the collection; fine where there is none."""
        await self._make(lambda client: delete(client, repository))

    async def numbers(self, repository: Repository) -> frozenset[int]:
        """Numbers of all records; the vector of one may be lost all the same."""
        return await self._run(lambda client: numbers(find(client, repository)))

    async def count(self, repository: Repository) -> int:
        """How many records the collection says it has; vectors may be lost all the same."""
        return await self._run(lambda client: find(client, repository).count())

    async def ping(self) -> None:
        """Raise SearchUnavailableError where Chroma does not answer."""
        await self._make(lambda client: client.heartbeat())

    def close(self) -> None:
        """Wait for the calls that run, then let go of Chroma and of its folder."""
        self._threads.shutdown(cancel_futures=True)
        self._place.close()

    async def _make(self, call: Callable[[Client], object]) -> None:
        """Run a call that needs no whole collection: if it fails, making the collection anew would not help."""
        await self._run(call, makes=True)

    async def _run(self, call: Callable[[Client], T], *, makes: bool = False) -> T:
        guarded = partial(self._guarded, call, makes=makes)
        return await asyncio.get_running_loop().run_in_executor(self._threads, guarded)

    def _guarded(self, call: Callable[[Client], T], *, makes: bool) -> T:
        client = self._place.client()
        try:
            return call(client)
        except BaseException as error:
            if self._place.left(client):
                raise SearchUnavailableError("Chroma: its files were taken away meanwhile") from error
            known = translate(error)
            if known is None:
                raise
            if makes and isinstance(known, CollectionBrokenError):
                # Not a collection is damaged, then, but the database.
                self._place.mend(client)
                raise SearchUnavailableError(str(known)) from error
            raise known from error


def upsert(
    client: Client, repository: Repository, model: str, records: dict[int, tuple[Vector, int]]
) -> None:
    """Write records, 300 at a time."""
    try:
        collection = find(client, repository, model)
    except NotFoundError:
        if repository.indexed_at is not None:
            raise  # it had one: a new one would hold these records alone, and look whole
        collection = create(client, repository, model)
    for numbers in batches(list(records)):
        collection.upsert(
            ids=[str(number) for number in numbers],
            embeddings=np.stack([records[number][0] for number in numbers]),
            metadatas=[{"created": records[number][1]} for number in numbers],
        )


def remove(client: Client, repository: Repository, numbers: Sequence[int]) -> None:
    """Delete records, 300 at a time."""
    with contextlib.suppress(NotFoundError):
        collection = find(client, repository)
        for batch in batches(list(numbers)):
            collection.delete(ids=[str(number) for number in batch])


def query(
    client: Client, repository: Repository, model: str, vector: Vector, k: int
) -> list[tuple[int, float]]:
    """Ask, and find out whether an answer that is short hides records without vectors."""
    collection = find(client, repository, model)
    found = nearest(collection, vector, k)
    if len(found) < k:
        # Counted before it is asked again, so that a record that is written meanwhile is not taken for lost.
        expected = min(k, collection.count())
        found = found if len(found) >= expected else nearest(collection, vector, k)
        if len(found) < expected:
            raise CollectionBrokenError(f"{repository.collection} returns {len(found)} of {expected} records")
    return found


def nearest(collection: chromadb.Collection, vector: Vector, k: int) -> list[tuple[int, float]]:
    """One query; an index that Chroma closed without having written it is woken by a write of what is there."""
    try:
        found = ask(collection, vector, k)
    except InternalError as error:
        if EVICTED not in str(error):
            raise
        some = collection.get(limit=1, include=["metadatas"])
        collection.update(ids=some["ids"], metadatas=some["metadatas"])
        found = ask(collection, vector, k)
    if any(not np.isfinite(cosine) for _, cosine in found):
        raise CollectionBrokenError(f"{collection.name} holds a vector that is not finite")
    return found


def ask(collection: chromadb.Collection, vector: Vector, k: int) -> list[tuple[int, float]]:
    """Numbers and cosines as Chroma has them, nearest first."""
    answer = collection.query(query_embeddings=vector[np.newaxis], n_results=k, include=["distances"])
    distances = answer["distances"] or [[]]
    # A distance that is not finite arrives as None from a server.
    return [
        (int(number), float("nan") if distance is None else 1.0 - float(distance))
        for number, distance in zip(answer["ids"][0], distances[0], strict=True)
    ]


def numbers(collection: chromadb.Collection) -> frozenset[int]:
    """All numbers, 300 at a time."""
    found: set[int] = set()
    start = 0
    while ids := collection.get(limit=BATCH, offset=start, include=[])["ids"]:
        found.update(int(number) for number in ids)
        start += len(ids)
    return frozenset(found)


def find(client: Client, repository: Repository, model: str | None = None) -> chromadb.Collection:
    """The collection of a repository, made for it and for that model (None: any). Raises NotFoundError."""
    collection = client.get_collection(repository.collection, embedding_function=None)
    check_owner(collection, repository, model)
    return collection


def create(client: Client, repository: Repository, model: str) -> chromadb.Collection:
    """The collection of a repository, empty unless another process was faster."""
    metadata = describe(repository, model)
    collection = client.get_or_create_collection(
        repository.collection, metadata=metadata, embedding_function=None, configuration=CONFIGURATION
    )
    check_owner(collection, repository, model)
    return collection


def delete(client: Client, repository: Repository) -> None:
    """Delete the collection if there is one."""
    with contextlib.suppress(NotFoundError):
        client.delete_collection(repository.collection)


def reset(client: Client, repository: Repository, model: str) -> None:
    """Delete and create."""
    delete(client, repository)
    create(client, repository, model)


def describe(repository: Repository, model: str) -> dict[str, str | int]:
    """What a collection says about itself."""
    return {
        "model": model,
        "dimension": DIMENSION,
        "account_id": repository.account_id,
        "repository_id": repository.id,
    }


def check_owner(collection: chromadb.Collection, repository: Repository, model: str | None) -> None:
    """Raise CollectionBrokenError where a collection says that it is not ours, or of another model."""
    said = dict(collection.metadata or {})
    expected = describe(repository, said.get("model", "") if model is None else model)
    wrong = [key for key, value in expected.items() if said.get(key) != value]
    if wrong:
        raise CollectionBrokenError(f"{repository.collection} is of another {', '.join(wrong)}")


def check_vector(vector: Vector) -> None:
    """Raise ValueError where it is not a unit vector of our dimension."""
    if vector.shape != (DIMENSION,) or not abs(float(np.linalg.norm(vector)) - 1) <= TOLERANCE:
        raise ValueError(f"not a unit vector of {DIMENSION} finite numbers")


def batches(items: list[T]) -> Iterator[list[T]]:
    """Lists of at most 300."""
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))


def translate(error: BaseException) -> BotError | None:
    """What a failed call means for whoever asked; None for a bug, which is raised as it is."""
    if isinstance(error, BotError):
        return error
    text = str(error) or type(error).__name__
    reason = f"Chroma: {text[:300]}"
    # The first name is a panic of Chroma's Rust part on a damaged file, the second an HTTP error that is not
    # Chroma's: a proxy in front of it. Neither has a class of its own.
    if isinstance(error, BROKEN) or type(error).__name__ == "PanicException":
        overloaded = any(part in text.lower() for part in OVERLOADED)
        return SearchUnavailableError(reason) if overloaded else CollectionBrokenError(reason)
    if isinstance(error, (ChromaError, httpx.HTTPError)) or type(error) is Exception:
        return SearchUnavailableError(reason)
    return None
