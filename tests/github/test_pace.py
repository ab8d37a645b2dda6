import asyncio
from itertools import pairwise

import pytest

from bot.core.errors import GitHubUnavailableError, RateLimitedError, StorageUnavailableError
from bot.core.pace import Kind, WritePace
from bot.github import pace as module
from bot.github.pace import MemoryTurns, Pace

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
    return Pace(USUAL, None, clock, clock.sleep)


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
    assert set(pace._turns._turns) == {0, 9}
    assert set(pace._locks) == {9}


async def test_of_those_that_come_back_none_comes_in_vain(pace, clock):
    """Ten that were told to come back, each at the moment it was told: all are let in at once."""
    async with pace.slot(7, Kind.COMMENT):
        pass
    told = []
    for _ in range(10):
        with pytest.raises(RateLimitedError) as raised:
            async with pace.slot(7, Kind.COMMENT):
                pytest.fail("went on")
        told.append(clock.now + raised.value.retry_after)
    assert all(later - earlier >= 3.0 - 1e-6 for earlier, later in pairwise(told))
    for moment in told:
        clock.now = moment + 0.01
        async with pace.slot(7, Kind.COMMENT):
            assert clock.now == moment + 0.01


class Unsteady(MemoryTurns):
    """A keeper of turns that can be out of reach, or give a turn to somebody else."""

    def __init__(self):
        super().__init__()
        self.away, self.renewals, self.lost = False, 0, False

    async def renew(self, installation_id, holder, lease):
        self.renewals += 1
        if self.away:
            raise StorageUnavailableError("away")
        return not self.lost and await super().renew(installation_id, holder, lease)

    async def end(self, installation_id, holder):
        if self.away:
            raise StorageUnavailableError("away")
        await super().end(installation_id, holder)


BRIEF = WritePace(0.0, 1_000, 1_000, lease=0.3)


async def test_a_write_that_takes_longer_than_its_lease_keeps_its_turn():
    turns = Unsteady()
    async with Pace(BRIEF, turns).slot(7, Kind.WRITE):
        held = turns._turns[7].held_until
        while turns.renewals < 5:
            await asyncio.sleep(0.01)
    assert held < turns._turns[7].writes[-1].at


@pytest.mark.parametrize("fault", ["away", "lost"])
async def test_a_write_whose_turn_is_lost_is_broken_off_and_may_have_been_made(fault):
    turns = Unsteady()
    setattr(turns, fault, True)
    with pytest.raises(GitHubUnavailableError, match="turn to write was lost") as raised:
        async with Pace(BRIEF, turns).slot(7, Kind.WRITE):
            await asyncio.Event().wait()
    assert raised.value.sent


async def test_what_was_written_stays_written_where_the_turn_cannot_be_given_back():
    turns = Unsteady()
    async with Pace(BRIEF, turns).slot(7, Kind.WRITE):
        turns.away = True


async def test_the_time_out_of_a_write_is_its_own():
    with pytest.raises(TimeoutError, match="mine"):
        async with Pace(BRIEF).slot(7, Kind.WRITE):
            raise TimeoutError("mine")


async def test_a_turn_that_came_when_nobody_waited_any_more_is_given_back():
    class Slow(MemoryTurns):
        async def take(self, *given):
            taken = await super().take(*given)
            await asyncio.sleep(60)
            return taken

    turns = Slow()
    pace = Pace(BRIEF, turns)

    async def write():
        async with pace.slot(7, Kind.WRITE):
            pytest.fail("went on")

    task = asyncio.create_task(write())
    while 7 not in turns._turns:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert turns._turns[7].holder is None
