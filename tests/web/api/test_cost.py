"""What stands before an answer, counted in transactions: each is three waits for the database."""

import pytest

from storage.database import HASTY
from tests.web.api.conftest import MINE, MY_REPOSITORY


@pytest.fixture
def begun(world, monkeypatch):
    """What transactions were begun with."""
    found, begin = [], world.database._transaction

    def counted(scope):
        found.append(scope)
        return begin(scope)

    monkeypatch.setattr(world.database, "_transaction", counted)
    return found


async def test_a_call_takes_three_transactions_whoever_makes_it(world, begun):
    key, path = await world.key(MINE), f"/v1/repositories/{MY_REPOSITORY}"
    await world.get(path, key)  # the key's first use is noted
    for credential in (key, world.token(MINE)):
        begun.clear()
        assert (await world.get(path, credential)).status == 200
        assert len(begun) == 3  # who it is, the window, the repository


async def test_no_call_waits_for_the_disk(world, begun):
    key = await world.key(MINE)
    begun.clear()
    assert (await world.get(f"/v1/repositories/{MY_REPOSITORY}", key)).status == 200
    _find, used, take, _get = begun
    assert used.endswith(HASTY)
    assert take.endswith(HASTY)
