import json
import random

import pytest

from bench import chaos
from bot.sandbox.hooks import Attempt


@pytest.mark.parametrize(
    ("acknowledged", "comments", "lost", "doubled", "good"),
    [
        ({5, 6}, {1: 0, 5: 1, 6: 1}, (), (), True),
        ({5, 6}, {5: 1}, (6,), (), False),
        ({5, 6}, {5: 1, 6: 0}, (6,), (), False),
        ({5, 6}, {5: 1, 6: 2}, (), (6,), False),
        ({5}, {5: 1, 9: 2}, (), (9,), False),  # it counts even where nobody promised anything
        ({5}, {5: 1, 9: 1}, (), (), True),  # stored, but the answer was lost
        (set(), {}, (), (), False),
    ],
)
def test_the_checker_finds_what_is_lost_and_doubled(acknowledged, comments, lost, doubled, good):
    verdict = chaos.check(acknowledged, comments)
    assert (verdict.lost, verdict.doubled, verdict.good) == (lost, doubled, good)


def attempt(guid, status, number=7, event="issues"):
    body = json.dumps({"issue": {"number": number}}).encode()
    return Attempt(
        1, guid, event, "opened", body, {}, None, redelivery=False, delivered_at=None, status=status
    )


@pytest.mark.parametrize(
    ("statuses", "again"),
    [(["OK"], False), (["failed"], True), (["failed", "OK"], False), (["failed", "pending"], False)],
)
def test_only_what_nobody_acknowledged_is_delivered_again(statuses, again):
    assert chaos.unacknowledged(attempt("a", status) for status in statuses) == ({"a"} if again else set())


def test_what_counts_as_acknowledged():
    attempts = [
        attempt("a", "OK", 11),
        attempt("b", "Invalid HTTP Response: 503", 12),
        attempt("c", "OK", 3),
        attempt("d", "OK", 13, event="issue_comment"),
    ]
    assert chaos.issues_acknowledged(attempts, after=10) == {11}


def test_the_same_seed_kills_at_the_same_moments():
    first, again = (chaos.moments(random.Random(3), 50, 4, 1) for _ in range(2))
    assert first == again
    killed = [what for kinds in first.values() for what in kinds]
    assert sorted(killed) == ["database", *["service"] * 4]
    assert all(1 <= n < 50 for n in first)


async def test_nothing_is_lost_where_the_service_is_not_killed():
    verdict, trouble = await chaos.run(seed=1, deliveries=3, history=40, services=0, databases=0)
    assert verdict.good
    assert verdict.acknowledged == 3
    assert (trouble.services_killed, trouble.databases_killed) == (0, 0)
