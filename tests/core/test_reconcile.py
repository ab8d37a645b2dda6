from datetime import UTC, datetime, timedelta

from bot.core.reconcile import NIGHT, since, turn_in_the_night

NOW = datetime(2024, 3, 1, tzinfo=UTC)


def test_changes_are_listed_from_a_little_before_what_is_known():
    assert since(None, {}) is None
    assert since(NOW, {}) == NOW - timedelta(minutes=5)


def test_a_later_attempt_goes_on_where_an_earlier_one_got_to():
    assert since(NOW - timedelta(days=9), {"began": "x", "since": NOW.isoformat()}) == NOW


def test_repositories_are_spread_over_the_night():
    turns = [turn_in_the_night(900_000_000 + n) for n in range(1_000)]
    assert min(turns) >= 0
    assert max(turns) < NIGHT
    hours = [sum(n * 3_600 <= turn < (n + 1) * 3_600 for turn in turns) for n in range(5)]
    assert min(hours) > 150
