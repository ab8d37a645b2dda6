from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from bot.core.records import HookAttempt
from bot.core.sweep import KEPT, OVERLAP, SETTLING, Place, latest, place_from

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)


def attempt(id_=1, guid=1, *, answered=False, age=10):
    """A request of that many minutes ago."""
    return HookAttempt(id_, UUID(int=guid), "issues", "opened", 1, 2, answered, NOW - timedelta(minutes=age))


def test_of_each_delivery_the_latest_request_counts_and_any_that_was_answered():
    found = latest(
        [attempt(3), attempt(1, answered=True), attempt(2), attempt(4, 2), attempt(5, 3, answered=True)], NOW
    )
    assert [(item.id, item.answered) for item in found] == [(3, True), (4, False), (5, True)]


@pytest.mark.parametrize(("age", "known"), [(0.9, False), (1, True), (4_319, True), (4_320, False)])
def test_what_is_under_way_or_not_kept_any_longer_is_left_out(age, known):
    assert bool(latest([attempt(age=age)], NOW)) is known


def test_a_pass_ends_at_the_place_of_the_last_one_or_at_the_end_of_the_log():
    begun = Place(NOW - timedelta(hours=1))
    assert begun.passed([attempt()], None, NOW) == Place(NOW - SETTLING)
    assert begun.passed([attempt(), attempt(age=64)], "next", NOW) == Place(begun.until, NOW, "next")
    assert begun.passed([attempt(), attempt(age=66)], "next", NOW) == Place(NOW - SETTLING)
    assert begun.floor == begun.until - OVERLAP


def test_what_came_while_a_pass_was_under_way_is_left_to_the_next_one():
    first = Place(NOW - KEPT).passed([attempt()], "next", NOW)
    assert first.passed([], None, NOW + timedelta(minutes=5)) == Place(NOW - SETTLING)


@pytest.mark.parametrize("place", [Place(NOW), Place(NOW - timedelta(hours=1), NOW, "c")])
def test_a_place_is_kept_as_json(place):
    assert place_from(place.as_json(), NOW) == place


def test_no_place_is_further_back_than_githubs_log():
    assert place_from({}, NOW) == Place(NOW - KEPT)
    assert place_from(Place(NOW - timedelta(days=9)).as_json(), NOW) == Place(NOW - KEPT)
