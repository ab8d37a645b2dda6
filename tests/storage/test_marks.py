import pytest

from bot.core.records import Account, RepositoryName
from storage.accounts import Accounts
from storage.backtests import Backtests
from storage.marks import Marks


@pytest.fixture
async def marks(database):
    await Accounts(database).install(
        Account(1, "octo", "User", ""), 10, [RepositoryName(7, "octo", "r", private=False)]
    )
    return Marks(database)


async def test_the_last_mark_holds(marks):
    await marks.save(1, 7, {5: 3, 6: 3})
    await marks.save(1, 7, {5: 4})
    assert await marks.all(1, 7) == {5: 4, 6: 3}


async def test_an_issue_is_no_duplicate_of_itself(marks):
    await marks.save(1, 7, {5: 5})
    assert await marks.all(1, 7) == {}


async def test_a_mark_is_removed(marks):
    await marks.save(1, 7, {5: 3, 6: 3})
    await marks.remove(1, 7, 5, 4)
    assert await marks.all(1, 7) == {5: 3, 6: 3}
    await marks.remove(1, 7, 5, 3)
    await marks.remove(1, 7, 6)
    assert await marks.all(1, 7) == {}


async def test_marks_go_with_their_repository(database, marks):
    await marks.save(1, 7, {5: 3})
    await Backtests(database).save(1, 7, "m", "comment", {})
    await Accounts(database).remove_repositories(1, [7])
    assert await marks.all(1, 7) == {}
    assert await Backtests(database).get(1, 7) is None


async def test_the_last_backtest_holds(database, marks):
    backtests = Backtests(database)
    assert await backtests.get(1, 7) is None
    await backtests.save(1, 7, "m", "comment", {"asked": 5})
    await backtests.save(1, 7, "n", "shadow", {"asked": 6})
    found = await backtests.get(1, 7)
    assert (found.model, found.verdict, found.report) == ("n", "shadow", {"asked": 6})
