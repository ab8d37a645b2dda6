"""Histories as PostgreSQL keeps them: loaded by kept words, they are those that texts make."""

import asyncio
import gc
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from bot.core.hashing import content_hash
from bot.core.kept import LINE, Batch, Kept, lines_in, terms_in, words_of
from bot.core.lexical import PACKED
from bot.core.records import Account, Issue, RepositoryName
from bot.core.scoring import Whitening
from bot.similarity.histories import Held, Histories, keep
from bot.similarity.history import History
from storage.accounts import Accounts
from storage.issues import Issues
from storage.whitenings import Whitenings

START = datetime(2025, 1, 1, tzinfo=UTC)


def issue(number, title, body="", **changes):
    values = {
        "repository_id": 7, "number": number, "github_id": number, "title": title, "body": body, "state": "open", "state_reason": None,
        "author": None, "author_id": None, "author_is_bot": False, "labels": (), "is_pull_request": False, "locked": False, "reactions": 0,
        "created_at": START + timedelta(days=number, microseconds=123_457), "updated_at": START,
    }  # fmt: skip
    return Issue(**(values | changes))


def report(number):
    """One of many unlike issues: of people and ghosts, bots and placeholders, with code, repeats and a template's line."""
    words = " ".join(f"word{number * step % 97}" for step in (1, 2, 3, 5, 7)) * (1 + number % 4)
    body = f"{words}\n```\ntrace{number % 11}\n```\nI searched the existing issues.\nおなじ問題 {number}"
    kinds = (
        {},
        {"author_id": number % 9 + 1},
        {"author_id": 3, "author_is_bot": True},
        {"is_pull_request": True},
    )
    return issue(
        number,
        "bug" if number % 13 == 0 else f"Topic{number % 31} about word{number % 97}",
        body,
        **kinds[number % 4],
    )


def unit(seed):
    vector = np.random.default_rng(seed).normal(size=384).astype(np.float32)
    return vector / np.linalg.norm(vector)


@pytest.fixture
async def issues(database):
    return Issues(database)


@pytest.fixture
async def repository(database):
    name = RepositoryName(7, "octo", "r", private=False)
    (made,) = await Accounts(database).install(Account(1, "octo", "User", "enterprise"), 10, [name])
    return made


async def store(issues, *items, words=True):
    await issues.save(1, items)
    vectors = {
        item.number: (content_hash(item.title, item.body), unit(item.number), unit(-item.number % 99_991))
        for item in items
    }
    kept = {item.number: words_of(item) for item in items} if words else None
    await issues.set_vectors(1, 7, "m", vectors, kept)


async def read_by_text(issues):
    """The history that texts make, in one go."""
    history = History()
    async for batch in issues.stream(1, 7):
        keep(history, batch)
    history.refit()
    return history


def seen(history):
    """All that a history says of its issues, whatever ids its words have."""
    tokens = {term: key for key, term in history.lexical.vocabulary.items()}
    found = {}
    for number in history.numbers():
        entry = history.entry(number)
        title, text = (
            {tokens[term]: count for term, count in part.items()}
            for part in (entry.terms.title, entry.terms.text)
        )
        rest = (entry.created, entry.author, entry.asks, entry.digest, entry.lines.tolist())
        vectors = None if entry.title is None else (entry.title.tobytes(), entry.text.tobytes())
        found[number] = (title, text, rest, vectors)
    return found


def ranked(history, number):
    return {item.number: item.score for item in history.search(history.entry(number))}


async def loaded(issues, repository, whitenings=None):
    async with Histories(issues, whitenings).use(repository) as history:
        return history


async def test_kept_words_make_the_history_that_texts_make(issues, repository, monkeypatch):
    monkeypatch.setattr("storage.issues.KEPT", 70)  # several batches
    await store(issues, *map(report, range(1, 231)))
    history, expected = await loaded(issues, repository), await read_by_text(issues)
    assert seen(history) == seen(expected)
    assert history.boilerplate == expected.boilerplate != frozenset()
    for number in (230, 150, 40):
        assert ranked(history, number) == pytest.approx(ranked(expected, number))


async def test_texts_are_read_only_where_no_words_are_kept(issues, repository, monkeypatch):
    await store(issues, *map(report, range(1, 41)))
    await store(issues, *map(report, range(41, 46)), words=False)
    await issues.save(1, [report(46)])  # not embedded
    read = []
    monkeypatch.setattr(
        "bot.similarity.histories.keep", lambda history, batch: read.extend(batch) or keep(history, batch)
    )
    history = await loaded(issues, repository)
    assert sorted(stored.issue.number for stored in read) == list(range(41, 47))
    assert seen(history) == seen(await read_by_text(issues))


async def test_words_of_another_scorer_are_not_used(issues, repository, database, monkeypatch):
    await store(issues, *map(report, range(1, 4)))
    async with database.account(1) as connection:
        await connection.execute("UPDATE issues SET scorer = 'older', terms = '' WHERE number = 2")
    history = await loaded(issues, repository)
    assert seen(history) == seen(await read_by_text(issues))


async def test_words_leave_with_their_text(issues, repository, database):
    await store(issues, *map(report, range(1, 4)))
    await issues.save(
        1, [replace(report(2), body="Nothing secret any more", updated_at=START + timedelta(days=1))]
    )
    await issues.delete(1, 7, [3], START)
    async with database.account(1) as connection:
        rows = await connection.fetch(
            "SELECT number FROM issues WHERE terms IS NOT NULL OR lines IS NOT NULL"
        )
    assert [row["number"] for row in rows] == [1]
    history = await loaded(issues, repository)
    assert history.numbers() == [1, 2]
    assert seen(history) == seen(await read_by_text(issues))


async def test_words_of_a_text_that_changed_meanwhile_are_not_kept(issues, repository):
    await issues.save(1, [report(1)])
    other = replace(report(1), body="Another text")
    digest = content_hash(other.title, other.body)
    await issues.set_vectors(1, 7, "m", {1: (digest, unit(1), unit(2))}, {1: words_of(other)})
    assert seen(await loaded(issues, repository)) == seen(await read_by_text(issues))


async def test_changes_are_followed_by_kept_words(issues, repository):
    histories = Histories(issues)
    await store(issues, *map(report, range(1, 150)))
    async with histories.use(repository):
        pass
    await store(issues, *map(report, range(150, 160)))
    edited = replace(report(5), title="Now about teapots", updated_at=START + timedelta(days=1))
    await store(issues, edited)
    await issues.delete(1, 7, [9, 10], START)
    async with histories.use(repository) as history:
        assert seen(history) == seen(await read_by_text(issues))


async def test_a_whitening_is_fitted_once(issues, repository, database, monkeypatch):
    await store(issues, *map(report, range(1, 121)))
    whitenings = Whitenings(database)
    first = await loaded(issues, repository, whitenings)
    fitted = []
    monkeypatch.setattr(Whitening, "fit", lambda *parts: fitted.append(parts) or first.vectors.whitening)
    again = await loaded(issues, repository, whitenings)
    assert fitted == []
    assert ranked(again, 120) == ranked(first, 120)
    await issues.save(1, [replace(report(5), body="Other", updated_at=START + timedelta(days=1))])
    edited = replace(report(5), body="Other", updated_at=START + timedelta(days=1))
    vectors = {5: (content_hash(edited.title, edited.body), unit(1_000), unit(2_000))}
    await issues.set_vectors(1, 7, "m", vectors)
    await loaded(issues, repository, whitenings)
    assert len(fitted) == 1, "it was fitted to another vector"


async def test_a_reader_that_stops_leaves_no_task(issues, repository, monkeypatch):
    monkeypatch.setattr("storage.issues.KEPT", 10)
    await store(issues, *map(report, range(1, 41)))

    def fails(*_):
        raise ValueError("no room")

    monkeypatch.setattr(History, "extend", fails)
    with pytest.raises(ValueError, match="no room"):
        await loaded(issues, repository)
    assert asyncio.all_tasks() == {asyncio.current_task()}


def batch(count):
    """Issues as they are kept, without a database."""
    reports = [report(number) for number in range(1, count + 1)]
    words = [words_of(item) for item in reports]
    vectors = np.stack([unit(number) for number in range(count)])
    kept = Kept(
        numbers=[item.number for item in reports],
        created=[item.created_at.timestamp() for item in reports],
        authors=[item.author_id or 0 for item in reports],
        asks=[not item.thin for item in words],
        digests=[content_hash(item.title, item.body) for item in reports],
        terms=terms_in(b"".join(item.terms for item in words)),
        term_counts=[len(item.terms) // PACKED.itemsize for item in words],
        lines=lines_in(b"".join(item.lines for item in words)),
        line_counts=[len(item.lines) // LINE.itemsize for item in words],
        titles=vectors,
        texts=vectors[::-1],
    )
    return Batch(kept, {}, count)


class Sized:
    """`ports.Issues` of many repositories, each of as many issues as it is told."""

    def __init__(self, sizes):
        self.sizes, self.batches = sizes, {size: batch(size) for size in set(sizes.values()) - {0}}

    async def read(self, account_id, repository_id, *, after_revision=0):
        if after_revision == 0 and self.sizes[repository_id]:
            yield self.batches[self.sizes[repository_id]]

    async def removed_since(self, account_id, repository_id, after_revision):
        return []


async def visit(histories, repository, identities):
    for identity in identities:
        async with histories.use(replace(repository, id=identity)):
            pass


def size_of(count):
    history = History()
    history.extend(batch(count).kept)
    history.refit()
    return history.size()


async def test_memory_is_bounded_by_size_and_the_least_used_goes_first(repository):
    large, small = size_of(400), size_of(20)
    sizes = dict.fromkeys(range(1, 41), 20) | {100: 400, 101: 400}
    histories = Histories(Sized(sizes), capacity=large + 10 * small)
    await visit(histories, repository, [100, *range(1, 11)])
    assert histories.held() == [100, *range(1, 11)], "the room is full"
    await visit(histories, repository, [100, 11])
    assert histories.held() == [*range(2, 11), 100, 11], "one small one makes room for another"
    await visit(histories, repository, [101])
    assert histories.held() == [11, 101], "a large one for all that were used before it, but the last"
    await visit(histories, repository, range(1, 41))
    assert histories.held()[-1] == 40
    assert histories.bytes() <= large + 10 * small


async def test_quiet_repositories_without_issues_are_counted_too(repository):
    histories = Histories(Sized(dict.fromkeys(range(1, 201), 0)), capacity=50 * History().size())
    await visit(histories, repository, range(1, 201))
    assert histories.held() == list(range(151, 201))


@pytest.mark.parametrize("count", [0, 1, 30, 100, 1_000])
def test_the_estimate_of_a_history_is_near_what_it_takes(count):
    size_of(100)  # what is made once by the first one
    kept = batch(count).kept if count else None
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    held = Held(1)
    if kept:
        held.history.extend(kept)
        held.history.refit()
    took = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert took / 1.5 < held.history.size() < took * 1.5


async def test_what_another_process_purged_or_deleted_leaves_memory(issues, repository, database):
    name = RepositoryName(8, "octo", "s", private=False)
    (other,) = await Accounts(database).add_repositories(1, 10, [name])
    await store(issues, report(1), report(2))
    histories = Histories(issues)
    for item in (repository, other):
        async with histories.use(item):
            pass
    assert await histories.let_go() == []
    await issues.delete(1, 7, [2], START)
    async with histories.use(other):
        assert await histories.let_go() == [7]
    assert histories.held() == [8]
    async with histories.use(repository) as history:
        assert history.numbers() == [1]
    assert await histories.let_go() == []
    await Accounts(database).remove_repositories(1, [8])
    assert await histories.let_go() == [8]


async def test_what_is_in_use_stays_until_it_is_not(issues, repository, database):
    await store(issues, report(1))
    histories = Histories(issues)
    async with histories.use(repository):
        await Accounts(database).remove_repositories(1, [7])
        assert await histories.let_go() == []
    assert await histories.let_go() == [7]
