"""What was deleted is looked for in the files themselves, by the text that was in it."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import asyncpg
import numpy as np
import pytest

from bot.core.errors import StorageUnavailableError
from bot.core.records import Account, Delivery, Issue, Lane, NewJob, RepositoryName, Suggestion
from storage import embedded
from storage.accounts import Accounts
from storage.chroma import CollectionsSettings
from storage.collections import open_collections
from storage.database import Database
from storage.effects import Effects
from storage.erasure import Erasure, erase_chroma
from storage.inbox import Inbox
from storage.issues import Issues
from storage.jobs import Jobs
from storage.migrate import migrate
from storage.repositories import Repositories
from storage.suggestions import Suggestions

AT = datetime(2024, 1, 1, tzinfo=UTC)
OCTO = Account(1, "octo", "User", "free")
CANARY = "canarybird"
"""Begins every text that has to go; "parrot" every one that stays."""


def issue(repository_id, number, word):
    # Long enough for a table of its own (TOAST).
    body = f"{word}-body " + " ".join(f"{word}{n * 7919}" for n in range(500))
    return Issue(repository_id, number, number, f"{word} {number}", body, "open", None, f"{word}ann", 5, False,
                 (f"{word}label",), False, False, 0, AT, AT)  # fmt: skip


async def deliver(database, event, action, number, word, repository_id=7):
    delivery = Delivery(uuid4(), event, action, 10, repository_id, f'{{"{word}": 1}}'.encode())
    serial = None if number is None else f"issue:{repository_id}:{number}"
    job = NewJob("delivery", Lane.WEBHOOK, serial=serial, delivery_id=delivery.id)
    await Inbox(database).accept(delivery, job)
    return delivery.id


async def finish_all(database):
    jobs = Jobs(database, account_cap=1_000)
    while claimed := await jobs.claim(uuid4(), limit=50):
        for job in claimed:
            await jobs.finish(job)


async def fill(database, repository_id, word):
    """A repository with all that is kept of one, under a word that can be looked for."""
    accounts, key = Accounts(database), (1, repository_id)
    name = RepositoryName(repository_id, f"{word}owner", f"{word}repo", private=True)
    await accounts.install(OCTO, 10, [])
    await accounts.add_repositories(1, 10, [name])
    await Issues(database).save(1, [issue(repository_id, n, word) for n in range(1, 40)])
    await Effects(database).intend(*key, 3, "suggestion", f"{word} comment")
    await Suggestions(database).save(
        Suggestion(*key, 3, True, f"{word} reason", 1.0, "m", (2,), (), {"2": {"shared_terms": [word]}}, b"h" * 32, AT)
    )  # fmt: skip
    for n in range(1, 40):
        await deliver(database, "issues", "opened", n, word, repository_id)
    await finish_all(database)


def found(folder, word):
    """The files that hold a word, as it is written."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and word.encode() in path.read_bytes()
    )


@pytest.fixture
async def own(tmp_path):
    """A server of our own with a database, as the embedded default has it."""
    server = embedded.start(tmp_path)
    try:
        await migrate(server.url)
        database = await Database.connect(server.url, size=3)
        try:
            yield server, database, Erasure(database, embedded.as_superuser(server.url), True, None)
        finally:
            await database.close()
    finally:
        server.stop()


@pytest.mark.parametrize("alone", [False, True], ids=["among others", "alone"])
async def test_nothing_of_a_removed_repository_is_left_in_any_file_of_postgresql(own, alone):
    server, database, erasure = own
    owner = await asyncpg.connect(server.address(embedded.DATABASE, "postgres"))
    # So that a long text can be found by its words: compressed ones look otherwise.
    await owner.execute("ALTER TABLE issues ALTER COLUMN body SET STORAGE EXTERNAL")
    await fill(database, 7, CANARY)
    if not alone:  # a table that is left empty keeps its samples when it is analysed
        await fill(database, 8, "parrot")
    await age(database)
    await owner.execute("ANALYZE")  # the planner samples the text
    await owner.execute("CHECKPOINT")
    await owner.close()
    assert found(server.folder, CANARY)
    await Accounts(database).remove_repositories(1, [7])
    await finish_all(database)
    assert found(server.folder, CANARY)  # deleting alone does not do it
    await erasure.forget()
    await erasure.erase()
    assert found(server.folder, CANARY) == []
    if alone:
        return
    assert found(server.folder, "parrot-body")
    assert len(await Issues(database).get(1, 8, [1, 2])) == 2
    # What is written from now on is in the log and in the tables as ever.
    await Issues(database).save(1, [replace(issue(8, 1, "parrot"), title="later")])
    assert (await Issues(database).get(1, 8, [1]))[1].issue.title == "later"


async def test_a_failed_statement_does_not_write_its_row_into_the_servers_log(own):
    server, database, _ = own
    # Where row-level security hides the row from the statement's detail, it is not in the log either; here it does not.
    statement = "INSERT INTO deliveries (id, event, body_sha256) VALUES (gen_random_uuid(), $1, '')"
    async with database.system() as connection:
        with pytest.raises(asyncpg.NotNullViolationError) as caught:
            await connection.execute(statement, CANARY)
        assert CANARY in caught.value.detail
    assert "null value in column" in (server.folder / "server.log").read_text(encoding="utf-8")
    assert found(server.folder, CANARY) == []


async def age(database):
    """Make every delivery old enough to be judged."""
    async with database.system() as connection:
        await connection.execute("UPDATE deliveries SET received_at = received_at - interval '5 minutes'")


async def bodies(database):
    async with database.system() as connection:
        return {row["id"] for row in await connection.fetch("SELECT id FROM deliveries WHERE body <> ''")}


@pytest.fixture
def erasure(database, database_url):
    return Erasure(database, database_url, False, None)


async def test_raw_events_of_strangers_are_emptied_and_no_others(database, erasure):
    await Accounts(database).install(OCTO, 10, [RepositoryName(7, "octo", "r", private=True)])
    kept = await deliver(database, "issues", "opened", 1, "a")
    stranger = await deliver(database, "issues", "opened", 1, "a", repository_id=9)
    unseen = Delivery(uuid4(), "issues", "opened", 11, 7, b"{}")
    await Inbox(database).accept(unseen, NewJob("delivery", Lane.WEBHOOK, delivery_id=unseen.id))
    await finish_all(database)
    await erasure.forget()
    assert await bodies(database) == {
        kept,
        stranger,
        unseen.id,
    }  # they may have overtaken what makes them known
    await age(database)
    waiting = await deliver(database, "issues", "opened", 2, "a", repository_id=9)
    await age(database)
    await erasure.forget()
    assert await bodies(database) == {kept, waiting}


async def test_what_lists_repositories_is_emptied_once_it_is_done(database, erasure):
    await Accounts(database).install(OCTO, 10, [RepositoryName(7, "octo", "r", private=True)])
    for event in ("installation", "installation_repositories", "installation_target", "repository"):
        await deliver(database, event, "added", None, "a", repository_id=None)
    await finish_all(database)
    waiting = await deliver(database, "installation_repositories", "added", None, "a", repository_id=None)
    await erasure.forget()
    assert await bodies(database) == {waiting}


@pytest.mark.parametrize("action", ["deleted", "transferred", "closed"])
async def test_raw_events_of_an_issue_go_with_it(database, erasure, action):
    await Accounts(database).install(OCTO, 10, [RepositoryName(7, "octo", "r", private=True)])
    events = [("issues", "opened"), ("issue_comment", "created"), ("issues", action), ("issues", "edited")]
    mine = {await deliver(database, event, done, 5, "a") for event, done in events}
    other = await deliver(database, "issues", "opened", 6, "a")
    await finish_all(database)
    await erasure.forget()
    assert await bodies(database) == ({other} | mine if action == "closed" else {other})


async def test_jobs_that_name_collections_go(database, erasure):
    await Accounts(database).install(OCTO, 10, [RepositoryName(7, "octo", "r", private=True)])
    await Accounts(database).remove_repositories(1, [7])
    await erasure.forget()
    async with database.system() as connection:
        assert await connection.fetchval("SELECT count(*) FROM jobs") == 1
        await finish_all(database)
        await erasure.forget()
        assert await connection.fetchval("SELECT count(*) FROM jobs") == 0


async def test_a_server_of_others_is_left_its_log_and_gets_its_room_back(database, erasure):
    await Accounts(database).install(OCTO, 10, [RepositoryName(7, "octo", "r", private=True)])
    await Issues(database).save(1, [issue(7, n, CANARY) for n in range(1, 100)])
    await Accounts(database).remove_repositories(1, [7])
    size = "SELECT pg_relation_size('issues')"
    async with database.system() as connection:
        before = await connection.fetchval(size)
    await erasure.erase()
    async with database.system() as connection:
        assert await connection.fetchval(size) < before


async def test_a_table_that_is_in_use_for_long_is_tried_again_later(own, monkeypatch):
    server, database, erasure = own
    monkeypatch.setattr("storage.erasure.LOCK_TIMEOUT", "50ms")
    async with database.system() as connection:
        await connection.execute("SELECT count(*) FROM deliveries")
        with pytest.raises(StorageUnavailableError, match="could not be rewritten"):
            await erasure.erase()
    await erasure.erase()
    server.stop()
    with pytest.raises(StorageUnavailableError, match="does not answer"):
        await erasure.erase()


async def test_nothing_of_a_dropped_collection_is_left_in_chromas_files(tmp_path, database):
    await Accounts(database).install(
        OCTO, 10, [RepositoryName(7, "octo", CANARY, False), RepositoryName(8, "octo", "parrot", False)]
    )
    gone, kept = [await Repositories(database).get(1, n) for n in (7, 8)]
    folder = tmp_path / "chroma"
    index = open_collections(CollectionsSettings(folder=folder))
    try:
        # All different, and none as far from all others as from each: an approximate index finds its way among such alone.
        vectors = np.random.default_rng(7).normal(size=(1_100, 384)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        for repository in (gone, kept):
            # More than Chroma keeps in its log, so that it writes folders of vectors.
            records = [(n + 1, vectors[n], 0) for n in range(1_100)]
            await index.upsert(repository, "m", records)
        assert found(folder, CANARY)
        assert len(segments(folder)) == 2
        await index.drop(gone)
        assert found(folder, CANARY)
        erase_chroma(folder)
        assert found(folder, CANARY) == []
        assert len(segments(folder)) == 1
        assert await index.count(kept) == 1_100
        assert (await index.query(kept, "m", vectors[3], 3))[0] == (4, pytest.approx(1.0))
        await index.upsert(gone, "m", [(1, vectors[0], 0)])
        assert await index.query(gone, "m", vectors[0], 1) == [(1, pytest.approx(1.0))]
    finally:
        index.close()


def segments(folder):
    return [path for path in (folder / "data").iterdir() if path.is_dir()]


def test_chromas_database_may_be_missing_or_busy(tmp_path, monkeypatch):
    erase_chroma(tmp_path)
    (tmp_path / "data").mkdir()
    with closing(sqlite3.connect(tmp_path / "data" / "chroma.sqlite3", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE segments (id TEXT)")
        connection.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr("storage.erasure.BUSY", 0.05)
        with pytest.raises(StorageUnavailableError, match="could not be rewritten"):
            erase_chroma(tmp_path)
