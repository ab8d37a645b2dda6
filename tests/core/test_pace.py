from datetime import UTC, datetime, timedelta

import pytest

from bot.core.errors import RateLimitedError
from bot.core.pace import (
    BUSY,
    Kind,
    Pause,
    WritePace,
    Writing,
    Written,
    next_pause,
    place_after,
    wait_before,
    wait_for_turn,
)

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
USUAL = WritePace()


def comments(*times):
    return [Written(at, Kind.COMMENT) for at in times]


@pytest.mark.parametrize(
    ("writes", "kind", "wait"),
    [
        ([], Kind.COMMENT, 0.0),
        (comments(99.0), Kind.COMMENT, 2.0),
        (comments(99.5), Kind.WRITE, 0.5),
        ([Written(99.5, Kind.WRITE)], Kind.COMMENT, 0.5),
        ([*comments(98.0), Written(99.9, Kind.WRITE)], Kind.COMMENT, 1.0),
        (comments(97.0), Kind.COMMENT, 0.0),
        (comments(*(41.0 + 3 * n for n in range(19))), Kind.COMMENT, 0.0),
        (comments(*(40.5 + 3 * n for n in range(20))), Kind.COMMENT, 0.5),
        ([Written(80.0 + n, Kind.WRITE) for n in range(20)], Kind.WRITE, 40.0),
    ],
)
def test_wait_before_a_write(writes, kind, wait):
    assert wait_before(USUAL, writes, kind, 100.0) == pytest.approx(wait)


@pytest.mark.parametrize(
    ("writing", "wait"),
    [
        (Writing(), 0.0),
        (Writing(held_until=101.0), BUSY),
        (Writing(held_until=100.0), 0.0),
        (Writing(comments(99.0), held_until=101.0), 2.0),
        (Writing(comments(99.0), held_until=99.5), 2.0),
    ],
)
def test_a_turn_waits_for_the_write_under_way_unless_its_process_died(writing, wait):
    assert wait_for_turn(USUAL, writing, Kind.COMMENT, 100.0) == pytest.approx(wait)


@pytest.mark.parametrize(
    ("place", "wait", "given"),
    [
        (None, 2.5, 102.5),
        (99.0, 2.5, 102.5),
        (101.0, 2.5, 104.0),
        (130.0, 2.5, 133.0),
        (None, BUSY, 101.0),
        (3_699.0, 2.5, 3_700.0),
    ],
)
def test_everybody_who_has_to_come_back_is_given_another_moment(place, wait, given):
    assert place_after(USUAL, Writing(place=place), wait, 100.0) == pytest.approx(given)


def test_places_keep_to_the_writes_of_a_minute():
    assert WritePace(per_minute=10).place_interval == 6.0
    assert WritePace(comment_interval=9.0).place_interval == 9.0


def secondary(seconds, at=NOW):
    return RateLimitedError(
        "x", status=403, retry_after=seconds, resume_at=at + timedelta(seconds=seconds), secondary=True
    )


def paused(length, ended, *, kind=True):
    return Pause(NOW - timedelta(seconds=ended), length, kind)


@pytest.mark.parametrize(
    ("previous", "length"),
    [
        (None, 60.0),
        (paused(60.0, 10), 120.0),
        (paused(240.0, 10), 480.0),
        (paused(3_000.0, 10), 3_600.0),
        (paused(60.0, 61), 60.0),
        (paused(600.0, 10, kind=False), 60.0),
    ],
)
def test_a_secondary_limit_that_comes_back_doubles_the_pause(previous, length):
    assert next_pause(previous, secondary(60.0), NOW) == Pause(NOW + timedelta(seconds=length), length, True)


def test_requests_that_were_under_way_together_do_not_double_it():
    first = next_pause(None, secondary(60.0), NOW)
    assert next_pause(first, secondary(60.0), NOW) == first


def test_a_pause_never_gets_shorter():
    long = Pause(NOW + timedelta(seconds=500), 500.0, True)
    assert next_pause(long, secondary(60.0), NOW) is long
