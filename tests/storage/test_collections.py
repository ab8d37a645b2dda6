import asyncio
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import chromadb
import httpx
import numpy as np
import pytest
from chromadb.errors import ChromaAuthError, InternalError, NotFoundError, RateLimitError

from bot.core.errors import CollectionBrokenError, SearchUnavailableError, SettingsError
from bot.core.names import collection_name
from bot.core.records import Repository, RepositoryState
from storage import chroma
from storage import collections as storage
from storage.chroma import CollectionsSettings
from storage.collections import open_collections, translate
from tests.chroma_server import free_port, start_server
from tests.files import take_away

MODEL = "model@1"
CREATED = 1_700_000_000


def repository(identity=7, account=9):
    name = collection_name(account, "Owner", "Repo.", identity)
    return Repository(
        identity, account, 5, "Owner", "Repo.", False, name, RepositoryState.ACTIVE, None, None, None, 0, 0, None, None, None
    )  # fmt: skip


INDEXED = replace(repository(), indexed_at=datetime(2026, 1, 1, tzinfo=UTC))


def unit_vectors(n, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(n, 384)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def records(vectors, first=1):
    return [(number, vector, CREATED + number) for number, vector in enumerate(vectors, first)]


@pytest.fixture
def embedded(tmp_path):
    collections = open_collections(CollectionsSettings(folder=tmp_path / "chroma"))
    yield collections
    collections.close()


@pytest.fixture(scope="module")
def server_url(tmp_path_factory):
    port = free_port()
    server = start_server(tmp_path_factory.mktemp("server"), port)
    yield f"http://127.0.0.1:{port}/"
    server.kill()
    server.wait()


@pytest.fixture
def served(server_url):
    collections = open_collections(CollectionsSettings(url=server_url))
    yield collections
    collections.close()


@pytest.fixture(params=["embedded", "served"])
async def index(request):
    collections = request.getfixturevalue(request.param)
    yield collections
    if request.param == "served":
        await collections.drop(repository())


async def test_finds_the_nearest_with_their_cosines(index):
    vectors = unit_vectors(500)
    await index.upsert(repository(), MODEL, records(vectors))
    right = 0
    for asked in unit_vectors(20, seed=1):
        exact = vectors @ asked
        found = await index.query(repository(), MODEL, asked, 10)
        for number, cosine in found:
            assert cosine == pytest.approx(exact[number - 1], abs=1e-5)
        assert [cosine for _, cosine in found] == sorted((cosine for _, cosine in found), reverse=True)
        right += len({number for number, _ in found} & set((np.argsort(-exact)[:10] + 1).tolist()))
    assert right >= 198


async def test_lives_through_writes_removals_reset_and_drop(index):
    vectors = unit_vectors(3)
    await index.upsert(repository(), MODEL, records(vectors))
    await index.upsert(repository(), MODEL, [(1, vectors[1], CREATED), (1, vectors[2], CREATED)])
    assert await index.count(repository()) == 3
    assert dict(await index.query(repository(), MODEL, vectors[2], 2)) == pytest.approx(
        {1: 1, 3: 1}, abs=1e-5
    )
    await index.remove(repository(), [1, 99])
    assert [number for number, _ in await index.query(repository(), MODEL, vectors[2], 9)] == [3, 2]
    await index.reset(repository(), "model@2")
    assert await index.query(repository(), "model@2", vectors[0], 5) == []
    await index.drop(repository())
    await index.drop(repository())
    await index.remove(repository(), [1])
    with pytest.raises(CollectionBrokenError):
        await index.query(repository(), MODEL, vectors[0], 5)
    with pytest.raises(CollectionBrokenError):
        await index.count(repository())
    await index.ping()


async def test_nothing_to_do_makes_no_collection(embedded):
    await embedded.upsert(repository(), MODEL, [])
    await embedded.remove(repository(), [])
    assert await embedded.query(repository(), MODEL, unit_vectors(1)[0], 0) == []
    with pytest.raises(CollectionBrokenError):
        await embedded.count(repository())


async def test_keeps_the_quotas_of_the_cloud(index, monkeypatch):
    sizes, results = [], []
    upsert, delete, query = (getattr(chromadb.Collection, name) for name in ("upsert", "delete", "query"))

    def spy(call, into, key, size):
        def wrapper(collection, **arguments):
            into.append(size(arguments[key]))
            return call(collection, **arguments)

        return wrapper

    monkeypatch.setattr(chromadb.Collection, "upsert", spy(upsert, sizes, "ids", len))
    monkeypatch.setattr(chromadb.Collection, "delete", spy(delete, sizes, "ids", len))
    monkeypatch.setattr(chromadb.Collection, "query", spy(query, results, "n_results", int))
    vectors = unit_vectors(601)
    await index.upsert(repository(), MODEL, records(vectors))
    assert len(await index.query(repository(), MODEL, vectors[0], 1_000)) == 300
    await index.remove(repository(), range(1, 302))
    assert await index.count(repository()) == 300
    assert (sizes, results) == ([300, 300, 1, 300, 1], [300])


async def test_makes_few_calls_at_a_time(embedded, monkeypatch):
    await embedded.upsert(repository(), MODEL, records(unit_vectors(5)))
    running, most, ask = 0, 0, storage.ask

    def slow(*arguments):
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.02)
        running -= 1
        return ask(*arguments)

    monkeypatch.setattr(storage, "ask", slow)
    asked = unit_vectors(1)[0]
    await asyncio.gather(*(embedded.query(repository(), MODEL, asked, 3) for _ in range(30)))
    assert 1 < most <= 10


@pytest.mark.parametrize(
    "vector",
    [
        np.zeros(384, np.float32),
        np.full(384, np.nan, np.float32),
        np.full(384, np.inf, np.float32),
        unit_vectors(1)[0] * np.float32(1.01),
        unit_vectors(1)[0, :383],
        unit_vectors(1),
    ],
)
async def test_refuses_what_is_not_a_unit_vector(embedded, vector):
    with pytest.raises(ValueError, match="unit vector"):
        await embedded.upsert(repository(), MODEL, [(1, unit_vectors(1)[0], 0), (2, vector, 0)])
    with pytest.raises(ValueError, match="unit vector"):
        await embedded.query(repository(), MODEL, vector, 5)
    with pytest.raises(CollectionBrokenError):
        await embedded.count(repository())


@pytest.mark.parametrize(
    ("other", "model", "named"),
    [
        (repository(), "model@2", "model"),
        (replace(repository(), account_id=8), MODEL, "account_id"),
        (replace(repository(), id=8), MODEL, "repository_id"),
    ],
)
async def test_never_searches_another_collection(index, other, model, named):
    vectors = unit_vectors(1)
    await index.upsert(repository(), MODEL, records(vectors))
    with pytest.raises(CollectionBrokenError, match=named):
        await index.query(other, model, vectors[0], 5)
    with pytest.raises(CollectionBrokenError, match=named):
        await index.upsert(other, model, records(vectors))
    if model == MODEL:
        with pytest.raises(CollectionBrokenError, match=named):
            await index.remove(other, [1])
        with pytest.raises(CollectionBrokenError, match=named):
            await index.count(other)
    assert await index.count(repository()) == 1


@pytest.mark.parametrize(
    "metadata", [None, {"model": MODEL, "dimension": 3, "account_id": 9, "repository_id": 7}]
)
async def test_a_collection_of_somebody_else_is_broken_until_reset(index, metadata):
    index._place.client().create_collection(
        repository().collection, metadata=metadata, embedding_function=None
    )
    vectors = unit_vectors(1)
    with pytest.raises(CollectionBrokenError, match="dimension"):
        await index.query(repository(), MODEL, vectors[0], 5)
    await index.reset(repository(), MODEL)
    await index.upsert(repository(), MODEL, records(vectors))
    assert await index.query(repository(), MODEL, vectors[0], 5) == [(1, pytest.approx(1, abs=1e-5))]


async def test_distances_that_are_not_finite_are_broken(embedded, monkeypatch):
    await embedded.upsert(repository(), MODEL, records(unit_vectors(1)))
    for distance in (float("nan"), float("inf"), None):
        answer = {"ids": [["1"]], "distances": [[distance]]}
        monkeypatch.setattr(chromadb.Collection, "query", lambda self, answer=answer, **_: answer)
        with pytest.raises(CollectionBrokenError, match="finite"):
            await embedded.query(repository(), MODEL, unit_vectors(1)[0], 1)


def segments(folder):
    return [path for path in (folder / "data").iterdir() if path.is_dir()]


@pytest.mark.parametrize("damage", ["directory", "pickle", "torn"])
async def test_a_lost_or_torn_segment_is_broken_until_reset(tmp_path, damage):
    settings = CollectionsSettings(folder=tmp_path / "chroma")
    vectors = unit_vectors(1_250)
    first = open_collections(settings)
    await first.upsert(repository(), MODEL, records(vectors))
    first.close()
    (segment,) = segments(settings.folder)
    for file in sorted(segment.iterdir()):
        if damage == "directory" or (damage == "pickle" and file.suffix == ".pickle"):
            file.unlink()
        elif damage == "torn" and file.suffix == ".pickle":
            os.truncate(file, file.stat().st_size // 2)
    if damage == "directory":
        segment.rmdir()
    second = open_collections(settings)
    with pytest.raises(CollectionBrokenError):
        await second.query(repository(), MODEL, vectors[0], 300)
    await second.reset(repository(), MODEL)
    await second.upsert(repository(), MODEL, records(vectors[:400]))
    assert len(await second.query(repository(), MODEL, vectors[0], 300)) == 300
    second.close()


@pytest.mark.parametrize("content", [b"", b"garbage" * 2_000, None])
async def test_a_damaged_database_is_thrown_away_at_the_next_start(tmp_path, content):
    settings = CollectionsSettings(folder=tmp_path / "chroma")
    database = settings.folder / "data" / "chroma.sqlite3"
    first = open_collections(settings)
    await first.upsert(repository(), MODEL, records(unit_vectors(10)))
    first.close()
    if content is None:
        os.truncate(database, database.stat().st_size // 3)
    else:
        database.write_bytes(content)
    second = open_collections(settings)
    with pytest.raises(CollectionBrokenError):
        await second.query(repository(), MODEL, unit_vectors(1)[0], 5)
    await second.upsert(repository(), MODEL, records(unit_vectors(10)))
    assert len(await second.query(repository(), MODEL, unit_vectors(1)[0], 5)) == 5
    second.close()


async def test_a_database_that_tears_while_it_is_open(tmp_path):
    collections = open_collections(CollectionsSettings(folder=tmp_path / "chroma"))
    await collections.upsert(repository(), MODEL, records(unit_vectors(10)))
    database = tmp_path / "chroma" / "data" / "chroma.sqlite3"
    os.truncate(database, database.stat().st_size // 3)
    with pytest.raises(CollectionBrokenError):
        await collections.query(repository(), MODEL, unit_vectors(1)[0], 5)
    with pytest.raises(SearchUnavailableError):
        await collections.reset(repository(), MODEL)
    await makes_anew(collections, unit_vectors(10))
    collections.close()


async def makes_anew(collections, vectors):
    """What the job that rebuilds does, and that it helps."""
    await collections.reset(repository(), MODEL)
    await collections.upsert(repository(), MODEL, records(vectors))
    assert len(await collections.query(repository(), MODEL, vectors[0], 300)) == len(vectors)


def replace_database(folder):
    """Put another database there, as a backup that is restored would be."""
    other = folder.parent / "other"
    shutil.copytree(folder / "data", other)
    shutil.rmtree(folder / "data")
    other.rename(folder / "data")


@pytest.mark.parametrize("fault", [take_away, replace_database])
async def test_files_that_are_taken_away_are_opened_anew(tmp_path, embedded, fault):
    vectors = unit_vectors(20)
    await embedded.upsert(repository(), MODEL, records(vectors))
    fault(tmp_path / "chroma")
    await makes_anew(embedded, vectors)
    data = tmp_path / "chroma" / "data"
    with sqlite3.connect(f"file:{data / 'chroma.sqlite3'}?mode=ro", uri=True) as connection:
        assert connection.execute("SELECT count(*) FROM collections").fetchone() == (1,)
    again = take_lock(tmp_path / "chroma")
    assert again.startswith("SettingsError another process uses")


async def test_files_that_are_gone_are_missed_by_reads_too(tmp_path, embedded):
    await embedded.upsert(repository(), MODEL, records(unit_vectors(20)))
    take_away(tmp_path / "chroma")
    with pytest.raises(CollectionBrokenError):
        await embedded.query(repository(), MODEL, unit_vectors(1)[0], 5)


async def test_what_was_indexed_once_is_not_begun_anew_by_one_issue(index):
    vectors = unit_vectors(2)
    with pytest.raises(CollectionBrokenError):
        await index.upsert(INDEXED, MODEL, records(vectors))
    await index.reset(INDEXED, MODEL)
    await index.upsert(INDEXED, MODEL, records(vectors))
    assert await index.count(INDEXED) == 2


async def test_calls_under_way_fail_by_type_while_the_files_are_opened_anew(tmp_path, embedded):
    vectors = unit_vectors(50)
    await embedded.upsert(repository(), MODEL, records(vectors))
    ended, stop = [], asyncio.Event()

    async def load(n):
        while not stop.is_set():
            try:
                if n % 2:
                    await embedded.query(repository(), MODEL, vectors[n], 5)
                else:
                    await embedded.upsert(INDEXED, MODEL, records(vectors[:5]))
            except (CollectionBrokenError, SearchUnavailableError) as error:
                ended.append(type(error))

    callers = [asyncio.create_task(load(n)) for n in range(6)]
    for _ in range(5):
        before = len(ended)
        take_away(tmp_path / "chroma")
        async with asyncio.timeout(60):
            while len(ended) < before + 6:
                await asyncio.sleep(0.01)
            while True:
                try:
                    await makes_anew(embedded, vectors)
                    break
                except (CollectionBrokenError, SearchUnavailableError):
                    await asyncio.sleep(0.01)
    stop.set()
    await asyncio.gather(*callers)


async def test_a_call_that_is_under_way_says_that_its_files_went(tmp_path, embedded, monkeypatch):
    await embedded.upsert(repository(), MODEL, records(unit_vectors(5)))
    ask, asking, gone = storage.ask, threading.Event(), threading.Event()

    def slow(*arguments):
        asking.set()
        assert gone.wait(60)
        return ask(*arguments)

    monkeypatch.setattr(storage, "ask", slow)
    under_way = asyncio.create_task(embedded.query(repository(), MODEL, unit_vectors(1)[0], 5))
    assert await asyncio.to_thread(asking.wait, 60)
    take_away(tmp_path / "chroma")
    await embedded.reset(repository(), MODEL)
    gone.set()
    with pytest.raises(SearchUnavailableError, match="taken away"):
        await under_way


async def test_a_folder_that_somebody_else_took_meanwhile_is_left_to_him(tmp_path, embedded):
    await embedded.upsert(repository(), MODEL, records(unit_vectors(5)))
    take_away(tmp_path / "chroma")
    other = open_collections(CollectionsSettings(folder=tmp_path / "chroma"))
    for _ in range(2):
        with pytest.raises(SearchUnavailableError, match="another process uses"):
            await embedded.reset(repository(), MODEL)
    other.close()
    await makes_anew(embedded, unit_vectors(5))


EVICTIONS = """
import asyncio, sys
from pathlib import Path
import resource
from dataclasses import replace
sys.path[:0] = [{here!r}]
from test_collections import MODEL, open_collections, records, repository, unit_vectors, CollectionsSettings

async def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (50, {hard}))
    collections = open_collections(CollectionsSettings(folder=Path({folder!r})))
    print("limit", resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    vectors = unit_vectors(5)
    for identity in range(40):
        await collections.upsert(repository(identity), MODEL, records(vectors))
    for identity in [*range(40), *range(40)]:
        assert len(await collections.query(repository(identity), MODEL, vectors[0], 5)) == 5
    print("found")
    collections.close()

asyncio.run(main())
"""


def test_indexes_that_chroma_closed_are_woken(tmp_path):
    script = EVICTIONS.format(here=str(Path(__file__).parent), folder=str(tmp_path / "chroma"), hard=200)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["limit", "200", "found"], done.stderr


def test_chroma_leaves_files_for_the_rest(embedded):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == min(hard, chroma.MOST_FILES)
    indexes = embedded._place.client()._server.hnsw_cache_size
    assert indexes == min(soft // 2 // 5, chroma.OPEN_INDEXES)


def take_lock(folder):
    """What a second process says that opens the index there."""
    code = (
        "import sys; from pathlib import Path\n"
        "from storage.chroma import CollectionsSettings\n"
        "from storage.collections import open_collections\n"
        "try: open_collections(CollectionsSettings(folder=Path(sys.argv[1])))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    command = [sys.executable, "-c", code, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_a_second_process_is_refused(tmp_path, embedded):
    said = take_lock(tmp_path / "chroma")
    assert said.startswith("SettingsError another process uses")
    assert said.count("\n") == 1
    embedded.close()
    assert take_lock(tmp_path / "chroma") == ""


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (CollectionsSettings(), "CHROMA_URL"),
        (CollectionsSettings(url="chroma:8000"), "CHROMA_URL"),
        (CollectionsSettings(url="ftp://chroma"), "CHROMA_URL"),
        (CollectionsSettings(url="http://"), "CHROMA_URL"),
        (CollectionsSettings(url="http://chroma:port"), "CHROMA_URL"),
        (CollectionsSettings(folder=Path("/dev/null/chroma")), "/dev/null/chroma"),
    ],
)
def test_settings_that_cannot_work_stop_the_start(settings, named):
    with pytest.raises(SettingsError, match=named) as refused:
        open_collections(settings)
    assert "\n" not in str(refused.value)


def test_settings_do_not_show_their_key():
    assert "secret" not in repr(CollectionsSettings(api_key="secret"))


async def test_no_text_reaches_the_disk(tmp_path):
    canary = "canary-7f3a"
    collections = open_collections(CollectionsSettings(folder=tmp_path / "chroma"))
    known = replace(repository(), name=canary, reason=canary)
    await collections.upsert(known, MODEL, records(unit_vectors(1_200)))
    stored = (
        collections._place.client()
        .get_collection(known.collection, embedding_function=None)
        .get(include=["documents", "metadatas", "uris"])
    )
    assert set(stored["documents"]) == {None}
    assert {tuple(metadata) for metadata in stored["metadatas"]} == {("created",)}
    collections.close()
    files = [path for path in (tmp_path / "chroma").rglob("*") if path.is_file()]
    assert len(files) > 4
    assert not [path for path in files if canary.encode() in path.read_bytes()]


async def test_a_server_that_dies_is_unavailable_and_comes_back(tmp_path):
    port, vectors = free_port(), unit_vectors(20)
    server = start_server(tmp_path, port)
    collections = open_collections(CollectionsSettings(url=f"http://127.0.0.1:{port}"))
    try:
        await collections.upsert(repository(), MODEL, records(vectors))
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
        for call in (
            collections.query(repository(), MODEL, vectors[0], 5),
            collections.upsert(repository(), MODEL, records(vectors)),
            collections.remove(repository(), [1]),
            collections.reset(repository(), MODEL),
            collections.drop(repository()),
            collections.count(repository()),
            collections.ping(),
        ):
            with pytest.raises(SearchUnavailableError):
                await call
        server = start_server(tmp_path, port)
        await collections.ping()
        assert len(await collections.query(repository(), MODEL, vectors[0], 50)) == 20
    finally:
        server.kill()
        server.wait()
        collections.close()


async def test_a_server_may_be_down_at_the_start(tmp_path):
    port = free_port()
    collections = open_collections(CollectionsSettings(url=f"http://127.0.0.1:{port}"))
    with pytest.raises(SearchUnavailableError):
        await collections.ping()
    server = start_server(tmp_path, port)
    await collections.ping()
    collections.close()
    server.kill()
    server.wait()


async def respond(reader, writer):
    """An answer of something that is no Chroma."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 9\r\nConnection: close\r\n\r\n<html>bad")
    await writer.drain()
    writer.close()


async def hang(reader, writer):
    """No answer at all."""
    await reader.read()
    writer.close()


@pytest.mark.parametrize("answer", [respond, hang])
async def test_a_server_that_is_none_is_unavailable(monkeypatch, answer):
    monkeypatch.setattr(chroma, "TIMEOUT", httpx.Timeout(0.3))
    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    collections = open_collections(
        CollectionsSettings(url=f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}")
    )
    with pytest.raises(SearchUnavailableError):
        await collections.query(repository(), MODEL, unit_vectors(1)[0], 5)
    collections.close()
    listener.close()
    await listener.wait_closed()


async def test_a_proxy_that_refuses_is_asked_once():
    asked = []

    async def answer(reader, writer):
        asked.append(1)
        await respond(reader, writer)

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    collections = open_collections(
        CollectionsSettings(url=f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}")
    )
    with pytest.raises(SearchUnavailableError, match="502"):
        await collections.ping()
    collections.close()
    listener.close()
    await listener.wait_closed()
    assert asked == [1]


async def test_a_file_of_the_working_folder_decides_nothing(served, tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("CHROMA_SERVER_HOST=elsewhere\n")
    monkeypatch.chdir(tmp_path)
    await served.ping()


async def test_requests_to_a_server_have_a_time_out(served):
    await served.ping()
    assert served._place.client()._server._session.timeout == chroma.TIMEOUT


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NotFoundError("x"), CollectionBrokenError),
        (InternalError("Error finding id"), CollectionBrokenError),
        (
            InternalError("error returned from database: (code: 14) unable to open database file"),
            SearchUnavailableError,
        ),
        (InternalError("Too many open files (os error 24)"), SearchUnavailableError),
        (InternalError("(code: 13) database or disk is full"), SearchUnavailableError),
        (RateLimitError("slow down"), SearchUnavailableError),
        (ChromaAuthError(), SearchUnavailableError),
        (httpx.ReadTimeout("x"), SearchUnavailableError),
        (Exception("<html>502"), SearchUnavailableError),
        (type("PanicException", (BaseException,), {})("range end index"), CollectionBrokenError),
    ],
)
def test_errors_of_chroma_say_what_to_do(error, expected):
    assert type(translate(error)) is expected


@pytest.mark.parametrize("error", [TypeError("x"), ValueError("x"), KeyError("x")])
def test_a_bug_stays_a_bug(error):
    assert translate(error) is None
