from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from bot.core import errors
from bot.core.outcome import BACK_OFF, PATIENCE, Bury, Finish, GiveBack, settle
from bot.core.records import Job, Lane

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def job(attempt=1, age=timedelta(0), max_attempts=8):
    return Job(1, "delivery", Lane.WEBHOOK, 7, None, {}, None, {}, attempt, max_attempts, uuid4(), NOW - age)


LIMITED = errors.RateLimitedError("slow down", status=403, retry_after=90.0, resume_at=NOW, secondary=True)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, Finish()),
        (errors.SkipError("no command"), Finish("no command")),
        (errors.DeadError("bad number"), Bury("bad number")),
        (errors.RetryError("later", 7.0), GiveBack(7.0, "later", counts=True)),
        (errors.RetryError("pace", 7.0, counts=False), GiveBack(7.0, "pace", counts=False)),
        (
            errors.StorageUnavailableError("down"),
            GiveBack(30.0, "StorageUnavailableError: down", counts=False),
        ),
        (errors.SearchUnavailableError("down"), GiveBack(30.0, "SearchUnavailableError: down", counts=False)),
        (errors.ModelUnavailableError("down"), GiveBack(30.0, "ModelUnavailableError: down", counts=False)),
        (errors.CollectionBrokenError("torn"), GiveBack(BACK_OFF[0], "CollectionBrokenError: torn")),
        (LIMITED, GiveBack(90.0, "RateLimitedError: slow down", counts=False)),
        (errors.GitHubUnavailableError("502"), GiveBack(30.0, "GitHubUnavailableError: 502", counts=False)),
        (
            errors.GitHubUnavailableError("503", retry_after=90.0),
            GiveBack(90.0, "GitHubUnavailableError: 503", counts=False),
        ),
        (errors.NotFoundError("404"), GiveBack(2.0, "NotFoundError: 404")),
        (errors.GoneError("410"), Finish("GoneError: 410")),
        (errors.RefusedError("locked"), Finish("RefusedError: locked")),
        (errors.MovedError("301"), Finish("MovedError: 301")),
        (errors.SuspendedError("suspended"), Finish("parked: SuspendedError: suspended")),
        (errors.PermissionMissingError("no"), Finish("parked: PermissionMissingError: no")),
        (errors.CredentialsError("401"), GiveBack(30.0, "CredentialsError: 401", counts=False)),
        (errors.InvalidRequestError("422"), Bury("InvalidRequestError: 422")),
        (errors.ForeignHostError("evil"), Bury("ForeignHostError: evil")),
        (errors.BotError("odd"), Bury("BotError: odd")),
        (KeyError("bug"), GiveBack(BACK_OFF[0], "KeyError: 'bug'")),
    ],
)
def test_each_error_has_one_settlement(error, expected):
    assert settle(job(), error, NOW) == expected


def test_an_object_that_stays_missing_is_skipped_after_the_replicas_had_their_time():
    gaps = [settle(job(attempt=n), errors.NotFoundError("404"), NOW) for n in (1, 2, 3, 4)]
    assert [gap.after for gap in gaps[:3]] == [2.0, 5.0, 15.0]
    assert gaps[3] == Finish("NotFoundError: 404")


def test_a_bug_is_tried_by_the_table_and_then_buried():
    gaps = [settle(job(attempt=n), ValueError("x"), NOW) for n in range(1, 9)]
    assert [gap.after for gap in gaps[:7]] == list(BACK_OFF)
    assert gaps[7] == Bury("ValueError: x")
    assert sum(BACK_OFF) > 86_400


PARTS = [
    errors.StorageUnavailableError("down"),
    errors.SearchUnavailableError("down"),
    errors.ModelUnavailableError("down"),
    errors.GitHubUnavailableError("502"),
    errors.CredentialsError("401"),
]


@pytest.mark.parametrize("error", PARTS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("attempt", range(1, 9))
def test_a_part_that_was_down_is_tried_within_minutes_and_costs_no_attempt(error, attempt):
    for hours in (0, 1, 71):
        settlement = settle(job(attempt, timedelta(hours=hours)), error, NOW)
        assert isinstance(settlement, GiveBack)
        assert not settlement.counts
        assert 0 < settlement.after <= 300


def test_a_collection_that_stays_broken_is_tried_every_few_minutes_and_then_buried():
    gaps = [settle(job(attempt=n), errors.CollectionBrokenError("torn"), NOW) for n in range(1, 9)]
    assert [gap.after for gap in gaps[:7]] == [5.0, 30.0, 120.0, 300.0, 300.0, 300.0, 300.0]
    assert gaps[7] == Bury("CollectionBrokenError: torn")


def test_waiting_ends_when_the_job_is_older_than_what_github_would_redeliver():
    late = settle(job(age=PATIENCE + timedelta(seconds=1)), errors.GitHubUnavailableError("down"), NOW)
    assert isinstance(late, Bury)
    assert "3 days" in late.reason


def test_a_reason_stays_one_short_line():
    settlement = settle(job(), RuntimeError("x" * 10_000), NOW)
    assert len(settlement.reason) <= 300
