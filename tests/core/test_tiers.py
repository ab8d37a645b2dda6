"""What a tier has room for, and what is told about the rest."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from bot.core.records import Repository, RepositoryState, Tier
from bot.core.tiers import NOTICE, kept_until, over_limit, room

AT = datetime(2026, 11, 25, 23, 30, tzinfo=UTC)
LATER, OVER = AT + NOTICE - timedelta(seconds=1), AT + NOTICE


def tier(shrunk_at=None, *, repositories=3):
    return Tier("free", repositories, 100, 10, shrunk_at)


def repository(frozen_at, surplus_since):
    return Repository(
        1, 2, 3, "o", "r", False, "c", RepositoryState.ACTIVE, None, None, 900, 0, 0, None, None, None,
        frozen_at=frozen_at, surplus_since=surplus_since,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("shrunk_at", "held", "now", "expected"),
    [
        (None, 0, AT, 100),
        (None, 100, AT, 100),
        (None, 150, AT, 100),  # no downgrade: the limit holds at once
        (AT, 0, AT, 100),
        (AT, 99, LATER, 100),
        (AT, 100, LATER, 100),
        (AT, 101, AT, 101),
        (AT, 10_000, LATER, 10_000),
        (AT, 101, OVER, 100),
        (AT, 10_000, OVER + timedelta(days=400), 100),
    ],
)
def test_a_downgrade_takes_no_issue_while_its_notice_runs_and_adds_none(shrunk_at, held, now, expected):
    assert room(tier(shrunk_at), held, now) == expected


@pytest.mark.parametrize(
    ("frozen_at", "surplus_since", "now", "expected"),
    [
        (None, None, AT, None),
        (AT, None, AT, OVER),
        (AT, None, OVER + timedelta(hours=6), OVER),  # it is there until the day's turn has purged it
        (AT, AT - timedelta(days=9), AT, OVER),
        (None, AT, LATER, OVER),
        (None, AT, OVER, None),
    ],
)
def test_until_when_something_is_kept_that_has_no_room(frozen_at, surplus_since, now, expected):
    assert kept_until(repository(frozen_at, surplus_since), now) == expected


@pytest.mark.parametrize(
    ("repositories", "frozen_at", "expected"),
    [
        (1, None, "The Free plan indexes 1 repository; remove one here or upgrade."),
        (3, None, "The Free plan indexes 3 repositories; remove one here or upgrade."),
        (
            3,
            AT,
            "The Free plan indexes 3 repositories; remove one here or upgrade. Its index is kept until 25 December 2026.",
        ),
        (
            3,
            datetime(2026, 1, 31, 1, 0, tzinfo=timezone(timedelta(hours=2))),
            "The Free plan indexes 3 repositories; remove one here or upgrade. Its index is kept until 1 March 2026.",
        ),
    ],
)
def test_the_reason_says_what_to_do_and_until_when(repositories, frozen_at, expected):
    assert over_limit(tier(repositories=repositories), frozen_at) == expected
