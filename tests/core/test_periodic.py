from datetime import UTC, datetime

import pytest

from bot.core.periodic import PERIODIC, Periodic
from bot.core.records import Lane
from handlers.tasks import TASKS

DAY = 86_400


@pytest.mark.parametrize(
    ("hour", "moment", "seconds"),
    [
        (None, "2024-03-01T12:00:00", 300),
        (1, "2024-03-01T00:00:00", 3_600),
        (1, "2024-03-01T00:59:59", 1),
        (1, "2024-03-01T01:00:00", DAY),
        (1, "2024-03-01T01:00:01", DAY - 1),
        (1, "2024-02-29T23:00:00", 7_200),
    ],
)
def test_when_the_next_turn_is(hour, moment, seconds):
    now = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    assert Periodic("t", 300, hour=hour).wait(now) == seconds


def test_each_kind_stands_once_and_has_a_task():
    kinds = [item.kind for item in PERIODIC]
    assert len(kinds) == len(set(kinds))
    assert set(kinds) <= set(TASKS)


def test_missed_deliveries_are_looked_for_every_five_minutes_before_anything_else():
    (sweep,) = [item for item in PERIODIC if item.kind == "sweep_deliveries"]
    assert (sweep.every, sweep.lane) == (300, Lane.WEBHOOK)


def test_a_turn_waits_once_runs_once_and_does_not_back_off_into_the_next_day():
    job = Periodic("t", 300).job()
    assert job.serial == job.dedupe == "periodic:t"
    assert job.max_attempts == 3
