"""Reads a self-hosted parent's Chroma collection, a page at a time. Nothing of it is changed, and no vector is read."""

import contextlib
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import chromadb
import httpx
from chromadb.api.client import Client
from chromadb.api.models.Collection import Collection
from chromadb.errors import ChromaError, NotFoundError

from bot.core.errors import SearchUnavailableError, SettingsError
from storage.chroma import CollectionsSettings, check_address, connect, disconnect, quiet

COLLECTION = "github_issues"
"""What the parent calls its one collection."""

PAGE = 300
"""Records a read: Chroma Cloud gives no more."""

DATABASE = "chroma.sqlite3"

Record = dict[str, Any]


def records(settings: CollectionsSettings) -> Iterator[list[Record]]:
    """Every record as `{"id", "metadata", "document"}`, in pages. Raises SettingsError in one line.

    It blocks: it belongs on a thread of its own.
    """
    with contextlib.ExitStack() as stack:
        try:
            client = stack.enter_context(
                remote(settings) if settings.folder is None else copied(settings.folder)
            )
            collection = client.get_collection(COLLECTION, embedding_function=None)
            yield from pages(collection)
        except NotFoundError:
            raise SettingsError(
                f"there is no collection {COLLECTION}: is that the parent's folder, server or database?"
            ) from None
        except (ChromaError, httpx.HTTPError, SearchUnavailableError, sqlite3.Error, ValueError) as error:
            raise SettingsError(f"the collection cannot be read: {str(error)[:300]}") from None


def pages(collection: Collection) -> Iterator[list[Record]]:
    """A collection's records in Chroma's order."""
    offset = 0
    while True:
        found = collection.get(limit=PAGE, offset=offset, include=["metadatas", "documents"])
        ids, metadatas, documents = found["ids"], found["metadatas"], found["documents"]
        if ids:
            yield [
                {
                    "id": name,
                    "metadata": metadatas[n] if metadatas else None,
                    "document": documents[n] if documents else None,
                }
                for n, name in enumerate(ids)
            ]
        offset += len(ids)
        if len(ids) < PAGE:
            return


@contextlib.contextmanager
def remote(settings: CollectionsSettings) -> Iterator[Client]:
    """A Chroma server or Chroma Cloud."""
    try:
        check_address(settings)
    except SettingsError as error:  # it names the setting of our own server
        raise SettingsError(str(error).replace("CHROMA_URL", "--chroma-url")) from None
    client = connect(settings)
    try:
        yield client
    finally:
        disconnect(client)


@contextlib.contextmanager
def copied(folder: Path) -> Iterator[Client]:
    """A copy of the folder's database, since opening it may bring it up to date, and its owner may still be running.

    Texts are all in that file; the vectors, which nobody needs here, are in others.
    """
    source = database_in(folder)
    with tempfile.TemporaryDirectory(prefix="deja-view-import-") as place:
        with (
            contextlib.closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as original,
            contextlib.closing(sqlite3.connect(Path(place) / DATABASE)) as copy,
        ):
            original.backup(copy)
        client = cast("Client", chromadb.PersistentClient(place, quiet()))
        try:
            yield client
        finally:
            client.close()


def database_in(folder: Path) -> Path:
    """The database of a PersistentClient's folder. Raises SettingsError where it is missing or leaves the folder by a link."""
    root = folder.resolve()
    found = (root / DATABASE).resolve()
    if found.parent != root:
        raise SettingsError(
            f"{folder / DATABASE} is a link that leaves the folder: name the folder it leads to"
        )
    if not found.is_file():
        raise SettingsError(
            f"{folder} holds no {DATABASE}: name the folder that the parent's PersistentClient was given"
        )
    return found
