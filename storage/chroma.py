"""Where Chroma is: a server, Chroma Cloud, or files of our own, which may be taken away under a running process."""

import contextlib
import fcntl
import os
import resource
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import TextIOWrapper
from pathlib import Path
from typing import Protocol, cast
from urllib.parse import urlsplit

import chromadb
import httpx
import structlog
from chromadb.api.client import Client
from chromadb.config import DEFAULT_DATABASE, DEFAULT_TENANT, Settings
from chromadb.errors import ChromaError

from bot.core.errors import SearchUnavailableError, SettingsError

log = structlog.get_logger()

TIMEOUT = httpx.Timeout(30.0, connect=5.0)
"""Seconds for one request to a server. Chroma's own client waits for ever."""

OPEN_INDEXES = 1_000
"""Collections held in memory when embedded; each costs 2.75 MB, however small it is."""

MOST_FILES = 65_536
"""Files we ask to have open, where the system sets no limit or a larger one."""


@dataclass(frozen=True, slots=True)
class CollectionsSettings:
    """Where Chroma is: `url` names a server, else `api_key` means Chroma Cloud, else it is embedded in `folder`."""

    folder: Path | None = None
    url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    tenant: str | None = None
    database: str | None = None


class Place(Protocol):
    """A Chroma to call. Every method may be called on any thread."""

    def client(self) -> Client:
        """A client that can be used now. Raises SearchUnavailableError where there is none."""
        ...

    def left(self, client: Client) -> bool:
        """Whether that client is of no use any more: what it just said is not about Chroma's present state."""
        ...

    def mend(self, client: Client) -> None:
        """Through that client nothing could be made: open anew what can be opened anew."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


def open_place(settings: CollectionsSettings) -> Place:
    """A server need not be up yet. Raises SettingsError in one line."""
    if settings.url or settings.api_key:
        check_address(settings)
        return Remote(settings)
    if settings.folder is None:
        raise SettingsError("no place for the vector index: set CHROMA_URL, CHROMA_API_KEY or DATA_DIR")
    return Embedded(settings.folder)


class Remote:
    """A server or Chroma Cloud, connected to before the first use. It heals itself: a request needs no connection."""

    def __init__(self, settings: CollectionsSettings) -> None:
        self._settings = settings
        self._client: Client | None = None
        self._connecting = threading.Lock()

    def client(self) -> Client:
        """The one client, once the server answered."""
        with self._connecting:
            if self._client is None:
                self._client = connect(self._settings)
            return self._client

    def left(self, client: Client) -> bool:
        """Never."""
        return client is not self._client

    def mend(self, client: Client) -> None:
        """Nothing: what ails a server is its operator's to mend."""

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            disconnect(self._client)


class Embedded:
    """Files in a folder that this process alone uses, opened at once.

    Where the database is gone, or is another file than the one that was opened, what is open can still be read but never
    be written again (SQLite, code 1032). So it is opened anew before the next call; calls under way fail.
    """

    def __init__(self, folder: Path) -> None:
        """Raises SettingsError where another process uses the folder, or it cannot be opened."""
        self._folder = folder
        self._opening = threading.RLock()
        self._lock = lock_folder(folder)
        try:
            self._client: Client | None = open_embedded(folder)
        except BaseException:
            self._lock.close()
            raise
        self._opened = self._identity()

    def client(self) -> Client:
        """The client of the files that are there now."""
        with self._opening:
            if self._client is None or self._opened != self._identity():
                log.warning("chroma_lost", folder=str(self._folder), then="opened anew")
                self._open_anew()
            return cast("Client", self._client)

    def left(self, client: Client) -> bool:
        """Whether its files are gone, or it was closed because they were."""
        return client is not self._client or self._opened != self._identity()

    def mend(self, client: Client) -> None:
        """Open the files anew, unless somebody was faster; damaged ones are thrown away."""
        with self._opening:
            if client is self._client:
                self._open_anew()

    def close(self) -> None:
        """Close the files, then give the folder free."""
        if self._client is not None:
            disconnect(self._client)
        self._lock.close()

    def _open_anew(self) -> None:
        """Where it fails, the next call tries again."""
        old, self._client = self._client, None
        if old is not None:
            disconnect(old)
        try:
            self._lock_again()
            self._client = open_embedded(self._folder)
        except (SettingsError, OSError) as error:
            raise SearchUnavailableError(f"Chroma: {error}") from error
        self._opened = self._identity()

    def _lock_again(self) -> None:
        """A lock on a file that was deleted keeps nobody else out."""
        if identity(self._folder / "lock") != identity_of(os.fstat(self._lock.fileno())):
            held, self._lock = self._lock, lock_folder(self._folder)
            held.close()

    def _identity(self) -> tuple[int, int] | None:
        return identity(self._folder / "data" / "chroma.sqlite3")


def identity(path: Path) -> tuple[int, int] | None:
    """Which file that is, whatever it is called; None where there is none. As long as it is open no other one gets it."""
    try:
        return identity_of(path.stat())
    except OSError:
        return None


def identity_of(status: os.stat_result) -> tuple[int, int]:
    """Device and inode."""
    return status.st_dev, status.st_ino


def check_address(settings: CollectionsSettings) -> None:
    """Raise SettingsError where the server's address cannot be one."""
    if settings.url is None:
        return
    try:
        parts = urlsplit(settings.url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise SettingsError("CHROMA_URL is not an address like http://chroma:8000")


def connect(settings: CollectionsSettings) -> Client:
    """A client of a server or of Chroma Cloud, which has answered. Raises SearchUnavailableError."""
    tenant, database = settings.tenant, settings.database
    try:
        if settings.url is None:
            client: object = chromadb.CloudClient(tenant, database, settings.api_key, settings=quiet())
        else:
            # Chroma's client asks for the tenant before its time-out can be set: a server that hangs is found out here.
            httpx.get(f"{settings.url.rstrip('/')}/api/v2/heartbeat", timeout=TIMEOUT).raise_for_status()
            headers = {"x-chroma-token": settings.api_key} if settings.api_key else None
            client = chromadb.HttpClient(
                settings.url,
                headers=headers,
                settings=quiet(),
                tenant=tenant or DEFAULT_TENANT,
                database=database or DEFAULT_DATABASE,
            )
    except (ValueError, ChromaError, httpx.HTTPError) as error:
        raise SearchUnavailableError(f"Chroma cannot be reached: {str(error)[:300]}") from error
    connected = cast("Client", client)
    connected._server._session.timeout = TIMEOUT  # type: ignore[attr-defined]  # noqa: SLF001 — no setting does it
    return connected


def disconnect(client: Client) -> None:
    """Close a client, and the connections of its two parts, which Chroma leaves open."""
    parts = (client._server, client._admin_client._server)  # type: ignore[attr-defined]  # noqa: SLF001 — no method does it
    client.close()
    for part in parts:
        session = getattr(part, "_session", None)
        if session is not None:
            session.close()


def open_embedded(folder: Path) -> Client:
    """Chroma in this process. A damaged database is thrown away, to be made anew from PostgreSQL."""
    data = folder / "data"
    if not is_sound(data / "chroma.sqlite3"):
        log.warning("chroma_damaged", folder=str(data), then="removed; every collection is rebuilt")
        shutil.rmtree(data)
    try:
        with indexes_limited():
            return cast("Client", chromadb.PersistentClient(data, quiet()))
    except Exception as error:
        raise SettingsError(
            f"the vector index in {folder} cannot be opened ({str(error)[:200]}): remove that folder, it is rebuilt"
        ) from error


def lock_folder(folder: Path) -> TextIOWrapper:
    """Hold the folder for this process: two that share it silently lose each other's vectors. Raises SettingsError."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise SettingsError(f"the vector index cannot be kept in {folder}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise SettingsError(
            f"another process uses the vector index in {folder}: stop it, or run a Chroma server and set CHROMA_URL"
        ) from error
    return lock


def is_sound(database: Path) -> bool:
    """Whether SQLite can read the whole file; a missing one is fine."""
    if not database.exists():
        return True
    try:
        with contextlib.closing(sqlite3.connect(database)) as connection:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.OperationalError:
        return True  # locked or not ours to read: Chroma says so when it opens it
    except sqlite3.DatabaseError:
        return False


@contextlib.contextmanager
def indexes_limited() -> Iterator[None]:
    """Let Chroma see how many files its indexes may use, then raise the limit for everything else as well.

    It reads the limit once and keeps a fifth as many indexes open, each with up to five files: by itself it would
    leave none for sockets.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    set_file_limit(min(most // 2, OPEN_INDEXES * 5))
    try:
        yield
    finally:
        set_file_limit(most)


def set_file_limit(files: int) -> None:
    """Set how many files this process may have open, as far as the system allows it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))


def quiet() -> Settings:
    """Settings that neither report home nor come from a file of the folder we happen to run in."""
    return Settings(_env_file=None, anonymized_telemetry=False)  # type: ignore[call-arg]  # pydantic's own
