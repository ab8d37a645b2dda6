import asyncio
import time
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from bot.core.errors import CollectionBrokenError, ModelUnavailableError, SearchUnavailableError
from bot.core.finding import Finder
from bot.similarity.pairing import BLOCK, Pairing
from tests.similarity.test_service import NEW, World, issue, numbers, repository, unit

CRASH = ("Crash when opening settings on Wayland", "wl_display_dispatch: Broken pipe in openSettings")


@pytest.fixture
async def world():
    made = World()
    await made.save(
        *(issue(n, f"Topic{n} about widget{n}", f"Body{n} with gadget{n}") for n in range(1, 121)),
        issue(121, *CRASH),
        issue(122, "Printing is slow", "The spooler takes a minute"),
    )
    return made


# --- search


async def test_a_search_by_text_is_what_the_same_issue_would_get(world):
    found = await world.service.search(repository(), NEW.title, NEW.body)
    filed = await world.rank(replace(NEW, number=10**6, created_at=NEW.created_at + timedelta(days=5_000)))
    assert numbers(found)[0] == numbers(filed)[0] == 121
    assert found.candidates[0].shared_terms == filed.candidates[0].shared_terms
    assert (found.history, found.model, found.degraded) == (122, world.service.model, None)


async def test_a_search_stores_nothing(world):
    rows, records = dict(world.issues.rows), dict(world.collections.records)
    await world.service.search(repository(), NEW.title, NEW.body)
    async with world.service._histories.use(repository()) as history:
        assert len(history) == 122
    assert world.issues.rows.keys() == rows.keys()
    assert world.collections.records.keys() == records.keys()
    assert world.issues.revision == 244


async def test_an_issue_of_which_the_clock_says_that_it_is_not_yet_opened_is_earlier_too(world):
    await world.save(issue(300, *CRASH, created_at=NEW.created_at + timedelta(days=40_000)))
    assert 300 in numbers(await world.service.search(repository(), NEW.title, NEW.body))


async def test_a_search_degrades_as_a_ranking_does(world):
    world.collections.fault = SearchUnavailableError("no answer")
    found = await world.service.search(repository(), NEW.title, NEW.body)
    assert (numbers(found)[0], found.degraded) == (121, "Chroma unavailable")
    world.embedder.broken = True
    found = await world.service.search(repository(), NEW.title, NEW.body)
    assert (numbers(found)[0], found.degraded) == (121, "embedding model unavailable")


@pytest.mark.parametrize("text", ["", "\x00", "\ud800", "字" * 300, "a" * 70_000])
async def test_hostile_texts_are_searched_without_a_fault(world, text):
    found = await world.service.search(repository(), text, text)
    assert not any("\x00" in read or "\ud800" in read for read in world.embedder.texts)
    assert all(np.isfinite(item.score) for item in found.candidates)


# --- the finder


class Marked:
    def __init__(self, marks):
        self.marks = marks

    async def all(self, account_id, repository_id):
        return self.marks


class NoBacktests:
    async def get(self, account_id, repository_id):
        return None


async def test_originals_stand_for_their_duplicates_in_a_search_too(world):
    await world.save(issue(130, "The original", "says it in other words"))
    finder = Finder(world.service, world.issues, Marked({121: 130}), NoBacktests())
    found = await finder.by_text(repository(), NEW.title, NEW.body)
    assert (found.candidates[0].number, found.candidates[0].via) == (130, 121)
    earlier = await finder.earlier(repository(), replace(NEW, number=125))
    assert earlier.candidates[0].number == 121, "its original is newer than the issue that asks"


# --- cosines


async def cosines(world, number, k, floor):
    """The issues that are near a stored one."""
    return await world.service.near(repository(), world.issues.rows[number].issue, k, floor)


@pytest.mark.parametrize("fault", [None, CollectionBrokenError("gone"), SearchUnavailableError("no answer")])
async def test_cosines_are_those_of_the_texts_with_newer_issues_too(world, fault):
    await world.save(issue(123, "Crash when opening settings", CRASH[1]))
    world.collections.fault = fault
    found = await cosines(world, 121, 200, -1.0)
    vectors = {number: row.text_vector for number, row in world.issues.rows.items()}
    assert dict(found) == pytest.approx(
        {number: float(vectors[121] @ vector) for number, vector in vectors.items() if number != 121},
        abs=1e-5,
    )
    assert found[0][0] == 123
    assert [cosine for _, cosine in found] == sorted((cosine for _, cosine in found), reverse=True)
    assert world.reported == ([] if fault is None else [1])


async def test_cosines_are_bounded_by_number_and_floor(world):
    every = await cosines(world, 121, 200, -1.0)
    assert await cosines(world, 121, 5, -1.0) == every[:5]
    floor = every[2][1]
    assert await cosines(world, 121, 50, floor) == every[:3]


async def test_an_issue_that_the_collection_lacks_is_found_in_memory(world):
    await world.save(issue(123, "Crash when opening settings", CRASH[1]))
    del world.collections.records[123]
    assert (await cosines(world, 121, 200, -1.0))[0][0] == 123


async def test_what_only_the_collection_still_has_is_not_told(world):
    await world.save(issue(123, "Crash when opening settings", CRASH[1]))
    world.issues.delete(123)
    found = await cosines(world, 121, 3, -1.0)
    assert len(found) == 3
    assert 123 not in dict(found)


async def test_an_issue_without_a_vector_is_embedded(world):
    world.issues.save(NEW)
    assert (await cosines(world, 200, 1, 0.0))[0][0] == 121
    world.issues.save(issue(201, "Another one", "not embedded yet"))
    world.embedder.broken = True
    with pytest.raises(ModelUnavailableError):
        await cosines(world, 201, 1, 0.0)


async def test_an_issue_that_is_not_stored_is_compared_and_not_kept(world):
    assert (await world.service.near(repository(), issue(999, *CRASH), 1, 0.0)) == [
        (121, pytest.approx(1.0, abs=1e-5))
    ]
    assert 999 not in world.issues.rows


# --- pairs


def random_units(count):
    made = np.random.default_rng(5).normal(size=(count, 384)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def test_every_pair_is_found_once_across_blocks():
    texts, ids = random_units(2 * BLOCK + 76), np.arange(1, 2 * BLOCK + 77) * 3
    texts[1_000] = texts[10]
    texts[700] = unit(texts[20] + 0.1 * texts[21])
    pairing = Pairing(ids, texts, 0.15)
    while pairing.step():
        pass
    found = pairing.result()
    cosines = np.triu(texts @ texts.T, 1)
    expected = {(int(ids[i]), int(ids[j])) for i, j in zip(*np.nonzero(cosines >= 0.15), strict=True)}
    assert {(older, newer) for older, newer, _ in found.near} == expected
    assert len(found.near) == len(expected) > 500
    assert [(older, newer) for older, newer, _ in found.near[:2]] == [(33, 3003), (63, 2103)]
    assert found.near[0][2] == pytest.approx(1.0)
    assert (found.floor, found.issues) == (0.15, len(ids))


@pytest.mark.parametrize("most", [0, 1, 50, 499])
def test_too_many_pairs_raise_the_floor(most):
    texts, ids = random_units(BLOCK + 100), np.arange(1, BLOCK + 101)
    every = Pairing(ids, texts, 0.1)
    few = Pairing(ids, texts, 0.1, most=most)
    while every.step() | few.step():
        pass
    everything, kept = every.result(), few.result()
    assert kept.near == everything.near[:most]
    assert len(everything.near) > 499
    assert all(cosine >= kept.floor for _, _, cosine in kept.near)
    assert all(cosine < kept.floor for _, _, cosine in everything.near[most:])


def test_of_pairs_that_are_alike_none_is_left_out_alone():
    texts = np.repeat(random_units(1), 40, axis=0)
    pairing = Pairing(np.arange(1, 41), texts, 0.5, most=100)
    while pairing.step():
        pass
    found = pairing.result()
    assert found.near == ()
    assert found.floor > 1.0


@pytest.mark.parametrize("count", [0, 1])
async def test_few_issues_have_no_pairs(count):
    world = World()
    await world.save(*[issue(1, *CRASH)][:count])
    found = await world.service.pairs(repository(), 0.0)
    assert (found.near, found.issues) == ((), count)


async def test_pairs_of_a_repository_leave_out_issues_without_vectors(world):
    await world.save(issue(123, CRASH[0], CRASH[1]))
    world.issues.save(issue(124, *CRASH))
    found = await world.service.pairs(repository(), 0.9)
    assert [(older, newer) for older, newer, _ in found.near] == [(121, 123)]
    assert found.issues == 123


async def test_others_are_ranked_while_pairs_are_compared(world, monkeypatch):
    held, step = [], Pairing.step

    def watched(self):
        held.append(world.service._histories._held[1].lock.locked())
        return step(self)

    monkeypatch.setattr(Pairing, "step", watched)
    await world.service.pairs(repository(), 0.5)
    assert held == [False, False]


async def test_one_repository_at_a_time_is_compared_as_a_whole(world, monkeypatch):
    at_once, most, step = 0, 0, Pairing.step

    def counted(self):
        nonlocal at_once, most
        if not self._start:
            at_once, most = at_once + 1, max(most, at_once + 1)
            time.sleep(0.1)  # in a thread: time for the others to come in
        more = step(self)
        at_once -= not more
        return more

    monkeypatch.setattr(Pairing, "step", counted)
    found = await asyncio.gather(*(world.service.pairs(repository(), 0.5) for _ in range(4)))
    assert most == 1
    assert len({item.near for item in found}) == 1
