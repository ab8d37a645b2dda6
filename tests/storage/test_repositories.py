from datetime import UTC, datetime

import pytest

from bot.core.records import Account, InstallationState, RepositoryName, RepositoryState
from storage.accounts import Accounts
from storage.repositories import Repositories


@pytest.fixture
async def repositories(database):
    names = [
        RepositoryName(n, "octo", name, private=False) for n, name in ((1, "b"), (2, "A"), (3, "c"), (4, "d"))
    ]
    await Accounts(database).install(Account(1, "octo", "User", "free"), 10, names)
    return Repositories(database)


async def test_a_list_is_by_name_whatever_the_case(repositories):
    assert [item.name for item in await repositories.list(1)] == ["A", "b", "c", "d"]
    assert await repositories.list(404) == []
    assert await repositories.get(1, 404) is None


async def test_a_rename_keeps_the_collection(repositories):
    before = await repositories.get(1, 1)
    await repositories.rename(1, RepositoryName(1, "new", "name", private=True))
    after = await repositories.get(1, 1)
    assert (after.owner, after.name, after.private, after.collection) == (
        "new",
        "name",
        True,
        before.collection,
    )


async def test_states_and_their_reasons(repositories):
    await repositories.set_state(1, 1, RepositoryState.INDEXING)
    assert (await repositories.get(1, 1)).state is RepositoryState.INDEXING
    await repositories.set_state(1, 1, RepositoryState.INACTIVE, "turned off")
    assert ((await repositories.get(1, 1)).state, (await repositories.get(1, 1)).reason) == (
        RepositoryState.INACTIVE,
        "turned off",
    )
    await repositories.set_state(1, 1, RepositoryState.PENDING)
    assert (await repositories.get(1, 1)).reason is None


@pytest.mark.parametrize(
    ("state", "reason"), [(RepositoryState.INACTIVE, None), (RepositoryState.ACTIVE, "why")]
)
async def test_a_reason_belongs_to_inactive(repositories, state, reason):
    with pytest.raises(ValueError, match="a reason belongs to"):
        await repositories.set_state(1, 1, state, reason)


@pytest.mark.parametrize("state", [RepositoryState.PENDING, RepositoryState.INDEXING, RepositoryState.ACTIVE])
async def test_nothing_but_room_lets_in_what_is_over_the_limit(repositories, state):
    before = await repositories.get(1, 4)
    assert before.state is RepositoryState.INACTIVE
    await repositories.set_state(1, 4, state)
    await repositories.indexed(1, 4, total=1)
    assert await repositories.get(1, 4) == before


async def test_an_index_that_ends_counts_what_is_stored(repositories):
    await repositories.indexed(1, 1, total=70)
    done = await repositories.get(1, 1)
    assert (done.state, done.issues_total, done.issues_indexed, done.issues_left_out) == (
        RepositoryState.ACTIVE,
        70,
        0,
        70,
    )
    assert done.indexed_at.tzinfo is not None


async def test_an_index_that_ends_late_does_not_turn_a_repository_on_again(repositories):
    await repositories.set_state(1, 1, RepositoryState.INACTIVE, "turned off")
    await repositories.indexed(1, 1, total=1)
    assert (await repositories.get(1, 1)).state is RepositoryState.INACTIVE


async def test_a_threshold_belongs_to_its_model(repositories):
    await repositories.calibrated(1, 1, 2.5, "m")
    found = await repositories.get(1, 1)
    assert (found.threshold, found.threshold_model) == (2.5, "m")


async def test_a_config_is_reported_once_and_again_when_another_came(repositories):
    assert [await repositories.config_reported(1, 1, sha) for sha in ("a", "a", "b", "a")] == [
        True,
        False,
        True,
        True,
    ]
    assert await repositories.config_reported(2, 1, "c") is False


async def test_active_are_those_that_are_indexed_and_whose_installation_works(repositories, database):
    for n in (1, 2):
        await repositories.indexed(1, n, total=1)
    accounts = Accounts(database)
    await accounts.install(
        Account(2, "cat", "User", "free"), 20, [RepositoryName(9, "cat", "x", private=True)]
    )
    await repositories.indexed(2, 9, total=1)
    assert [item.id for item in await repositories.active()] == [1, 2, 9]
    assert [item.id for item in await repositories.active("OCTO")] == [1, 2]
    await accounts.set_state(1, 10, InstallationState.SUSPENDED)
    assert [item.id for item in await repositories.active()] == [9]


async def test_what_is_known_up_to_a_time_stays_known(repositories):
    assert await repositories.synced_until(1, 1) is None
    late, early = datetime(2024, 3, 2, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)
    for until in (early, late, early):
        await repositories.synced(1, 1, until)
    assert await repositories.synced_until(1, 1) == late
    await repositories.synced(404, 1, datetime(2025, 1, 1, tzinfo=UTC))
    assert await repositories.synced_until(1, 1) == late
