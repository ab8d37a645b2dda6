import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from bot.core.errors import RateLimitedError
from bot.github import pace as module
from bot.github.pace import Kind, Pace, Pause, WritePace, Written, next_pause, wait_before

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
USUAL = WritePace()


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def pace(clock):
    return Pace(USUAL, clock, clock.sleep)


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


async def test_an_hour_of_writing_stays_within_every_limit(pace, clock):
    """Whoever writes as fast as he is let: never two comments within 3 s, 20 writes a minute, 300 an hour."""
    times = []
    while clock.now < 1_000.0 + 7_500.0:
        try:
            async with pace.slot(7, Kind.COMMENT):
                times.append(clock.now)
        except RateLimitedError as error:
            await clock.sleep(error.retry_after)
    assert len(times) > 600
    assert all(later - earlier >= 3.0 - 1e-6 for earlier, later in pairwise(times))
    for window, most in ((60.0, 20), (3_600.0, 300)):
        ends = zip(times, times[most:], strict=False)
        assert all(later - earlier >= window - 1e-6 for earlier, later in ends)


async def test_a_long_wait_is_the_queue_s(pace, clock):
    async with pace.slot(7, Kind.COMMENT):
        pass
    with pytest.raises(RateLimitedError) as raised:
        async with pace.slot(7, Kind.COMMENT):
            pytest.fail("went on")
    assert raised.value.retry_after == pytest.approx(3.0)
    assert not raised.value.secondary


async def test_a_short_wait_is_waited_for(pace, clock):
    async with pace.slot(7, Kind.COMMENT):
        pass
    async with pace.slot(7, Kind.WRITE):
        assert clock.now == pytest.approx(1_001.0)


async def test_installations_do_not_wait_for_each_other(pace, clock):
    for installation in range(50):
        async with pace.slot(installation, Kind.COMMENT):
            pass
    assert clock.now == 1_000.0


async def test_reads_pass(pace, clock):
    async with pace.slot(7, Kind.COMMENT), pace.slot(7, Kind.READ):
        pass
    assert clock.now == 1_000.0


async def test_one_write_at_a_time():
    pace, busy, most = Pace(WritePace(0.0, 1_000, 1_000)), 0, 0

    async def write():
        nonlocal busy, most
        async with pace.slot(7, Kind.WRITE):
            busy += 1
            most = max(most, busy)
            await asyncio.sleep(0.001)
            busy -= 1

    await asyncio.gather(*(write() for _ in range(20)))
    assert most == 1


async def test_a_write_that_never_ends_does_not_hold_the_others_for_long():
    pace = Pace(WritePace(3.0, 20, 300, patience=0.01))
    async with pace.slot(7, Kind.WRITE):
        with pytest.raises(RateLimitedError) as raised:
            async with pace.slot(7, Kind.COMMENT):
                pytest.fail("went on")
    assert raised.value.retry_after == 3.0


async def test_a_failed_write_counts(pace, clock):
    with pytest.raises(ValueError, match="no"):
        async with pace.slot(7, Kind.COMMENT):
            raise ValueError("no")
    with pytest.raises(RateLimitedError):
        async with pace.slot(7, Kind.COMMENT):
            pass


async def test_idle_installations_are_forgotten(pace, clock, monkeypatch):
    monkeypatch.setattr(module, "IDLE_LANES", 3)
    for installation in range(3):
        async with pace.slot(installation, Kind.WRITE):
            pass
    await clock.sleep(1_800)
    async with pace.slot(0, Kind.WRITE):
        pass
    await clock.sleep(1_801)
    async with pace.slot(9, Kind.WRITE):
        pass
    assert set(pace._lanes) == {0, 9}


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
