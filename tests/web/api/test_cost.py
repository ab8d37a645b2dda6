"""What stands before an answer, counted in transactions: each is three waits for the database."""

import pytest

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
    assert (await world.get(path, key)).status == 200  # the key's first use is noted
    for credential in (key, world.token(MINE)):
        begun.clear()
        assert (await world.get(path, credential)).status == 200
        assert len(begun) == 3  # who it is, the window, the repository
