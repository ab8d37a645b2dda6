"""Whether a collection holds what PostgreSQL holds: both are real here."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from bot.core.errors import SearchUnavailableError
from bot.core.hashing import content_hash
from bot.core.records import Account, Issue, RepositoryName
from bot.similarity import service as module
from bot.similarity.service import SimilarityService
from storage.accounts import Accounts
from storage.chroma import CollectionsSettings
from storage.collections import open_collections
from storage.issues import Issues
from storage.repositories import Repositories

T0 = datetime(2024, 1, 1, tzinfo=UTC)


class Model:
    """No text is embedded here."""

    model = "m"


def issue(number):
    return Issue(
        7, number, 1000 + number, f"t{number}", "b", "open", None, "ann", 5, False, (), False, False, 0, T0, T0, None
    )  # fmt: skip


def unit_vectors(n, seed):
    vectors = np.random.default_rng(seed).normal(size=(n, 384)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class World:
    """A repository of 450 issues, indexed; what is reported as broken is in `reported`."""

    def __init__(self, issues, collections, repository):
        self.issues, self.collections, self.repository, self.reported = issues, collections, repository, []
        self.vectors = dict(enumerate(unit_vectors(450, 0), 1))

        async def on_broken(repository):
            self.reported.append(repository.id)

        self.service = SimilarityService(issues, Model(), collections, on_broken=on_broken)

    async def index(self):
        items = [issue(number) for number in self.vectors]
        await self.issues.save(1, items)
        found = {n: (content_hash(f"t{n}", "b"), vector, vector) for n, vector in self.vectors.items()}
        await self.issues.set_vectors(1, 7, "m", found)
        await self.service.rebuild(self.repository)

    async def put(self, number, vector):
        await self.collections.upsert(self.repository, "m", [(number, vector, 0)])


@pytest.fixture
async def world(database, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SECOND_LOOK", 0.0)
    await Accounts(database).install(
        Account(1, "octo", "User", "free"), 10, [RepositoryName(7, "octo", "r", private=False)]
    )
    collections = open_collections(CollectionsSettings(folder=tmp_path / "chroma"))
    made = World(Issues(database), collections, await Repositories(database).get(1, 7))
    await made.index()
    yield made
    collections.close()


async def test_a_whole_collection_is_whole_and_left_alone(world):
    assert await world.service.verify(world.repository) is None
    await world.issues.save(1, [issue(500)])  # without vectors yet: not in the collection either
    assert await world.service.verify(world.repository) is None
    assert world.reported == []


async def lacks_a_record(world):
    await world.collections.remove(world.repository, [333])


async def holds_one_too_many(world):
    await world.put(9_999, unit_vectors(1, 5)[0])


async def counts_right_but_holds_another(world):
    await lacks_a_record(world)
    await holds_one_too_many(world)


async def holds_vectors_of_earlier_texts(world):
    later = [(number, vector, 0) for number, vector in enumerate(unit_vectors(450, 1), 1)]
    await world.collections.upsert(world.repository, "m", later)


@pytest.mark.parametrize(
    ("fault", "differ"),
    [(lacks_a_record, 1), (holds_one_too_many, 1), (counts_right_but_holds_another, 2), (holds_vectors_of_earlier_texts, 23)],
)  # fmt: skip
async def test_what_was_lost_without_an_error_is_found_and_mended(world, fault, differ):
    await fault(world)
    assert await world.service.verify(world.repository) == f"{differ} records differ from PostgreSQL"
    assert world.reported == [7]
    await world.service.rebuild(world.repository)
    assert await world.service.verify(world.repository) is None


async def test_records_that_are_listed_and_not_found_are_missed(world, monkeypatch):
    query = world.collections.query

    async def forgetful(repository, model, vector, k):
        return [
            (number, cosine) for number, cosine in await query(repository, model, vector, k) if cosine < 0.9
        ]

    monkeypatch.setattr(world.collections, "query", forgetful)
    assert await world.service.verify(world.repository) == "23 records differ from PostgreSQL"


async def test_a_collection_that_is_gone_or_of_another_model_is_reported(world):
    await world.collections.reset(world.repository, "another")
    assert await world.service.verify(world.repository)
    await world.collections.drop(world.repository)
    assert await world.service.verify(world.repository)
    assert world.reported == [7, 7]


async def test_a_write_that_is_under_way_is_no_difference(world, monkeypatch):
    await lacks_a_record(world)
    numbers = world.collections.numbers

    async def then_written(repository):
        held = await numbers(repository)
        await world.put(333, world.vectors[333])
        return held

    monkeypatch.setattr(world.collections, "numbers", then_written)
    assert await world.service.verify(world.repository) is None
    assert world.reported == []


async def test_an_index_that_does_not_answer_is_no_difference(world):
    fault = SearchUnavailableError("no answer")

    async def unavailable(repository):
        raise fault

    world.collections.numbers = unavailable
    with pytest.raises(SearchUnavailableError):
        await world.service.verify(replace(world.repository))
    assert world.reported == []
