from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bot.core.records import Account, Outcome, OutcomeKind, RepositoryName, Suggestion
from storage.accounts import Accounts
from storage.suggestions import Suggestions

AT = datetime(2024, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)
SUGGESTION = Suggestion(
    1, 7, 3, True, "very likely", 1.5, "m", (2, 1), (), {"2": {"score": 3.25, "a": [None]}}, b"h" * 32, AT
)
CONFIRMED, REJECTED = OutcomeKind.CONFIRMED, OutcomeKind.REJECTED


@pytest.fixture
async def suggestions(database):
    await Accounts(database).install(
        Account(1, "octo", "User", "free"), 10, [RepositoryName(7, "octo", "r", False)]
    )
    return Suggestions(database)


def outcome(candidate, kind, actor=5, number=3):
    return Outcome(1, 7, number, candidate, kind, actor, "command")


async def count(database):
    async with database.account(1) as connection:
        return await connection.fetchval("SELECT count(*) FROM outcomes")


async def test_a_suggestion_comes_back_as_it_was_and_is_replaced(suggestions):
    assert await suggestions.get(1, 7, 3) is None
    await suggestions.save(SUGGESTION)
    assert await suggestions.get(1, 7, 3) == SUGGESTION
    other = replace(
        SUGGESTION, spoken=False, likely=(), also=(9,), evidence={}, reason="too thin", degraded="no model"
    )
    await suggestions.save(other)
    assert await suggestions.get(1, 7, 3) == other
    await suggestions.save(SUGGESTION)
    assert (await suggestions.get(1, 7, 3)).degraded is None


async def test_a_repository_that_is_gone_takes_no_suggestion_and_no_outcome(suggestions, database):
    await suggestions.save(replace(SUGGESTION, repository_id=8))
    await suggestions.record(replace(outcome(2, CONFIRMED), repository_id=8))
    assert await suggestions.get(1, 8, 3) is None
    assert await count(database) == 0


@pytest.mark.parametrize("actor", [5, None])
@pytest.mark.parametrize("candidate", [2, None])
async def test_the_same_outcome_twice_counts_once(suggestions, database, candidate, actor):
    for _ in range(2):
        await suggestions.record(outcome(candidate, REJECTED, actor))
    assert await count(database) == 1
    await suggestions.record(outcome(candidate, REJECTED, 6))
    assert await count(database) == 2


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([], None),
        ([(2, CONFIRMED)], 2),
        ([(2, CONFIRMED), (4, CONFIRMED)], 4),
        ([(2, CONFIRMED), (4, CONFIRMED), (2, CONFIRMED)], 2),
        ([(2, REJECTED)], None),
        ([(2, CONFIRMED), (2, REJECTED)], None),
        ([(2, CONFIRMED), (None, REJECTED)], None),
        ([(2, CONFIRMED), (4, REJECTED)], 2),
        ([(2, CONFIRMED), (4, CONFIRMED), (4, REJECTED)], 2),
        ([(2, CONFIRMED), (2, REJECTED), (2, CONFIRMED)], 2),
        ([(None, CONFIRMED)], None),
    ],
)
async def test_an_issue_is_a_duplicate_of_what_was_confirmed_last(suggestions, history, expected):
    for candidate, kind in history:
        await suggestions.record(outcome(candidate, kind))
    assert await suggestions.duplicate_of(1, 7, 3) == expected
    assert await suggestions.duplicate_of(1, 7, 4) is None


async def test_what_was_refused_is_known_by_candidate_and_as_a_whole(suggestions):
    assert await suggestions.refused(1, 7, 3) == frozenset()
    for item in (
        outcome(2, REJECTED),
        outcome(2, REJECTED, 6),
        outcome(4, CONFIRMED),
        outcome(8, REJECTED, number=9),
    ):
        await suggestions.record(item)
    assert await suggestions.refused(1, 7, 3) == {2}
    await suggestions.record(outcome(None, REJECTED))
    assert await suggestions.refused(1, 7, 3) == {2, None}


async def test_suggestions_are_paged_from_the_latest_on(suggestions):
    at = [AT, AT, AT.replace(year=2023), AT.replace(year=2025)]
    for number, when in enumerate(at, 1):
        await suggestions.save(replace(SUGGESTION, issue_number=number, decided_at=when))
    seen, before = [], None
    while page := await suggestions.list(1, 7, before, 2):
        seen += [item.issue_number for item in page]
        before = (page[-1].decided_at, page[-1].issue_number)
    assert seen == [4, 2, 1, 3]
    assert (await suggestions.list(1, 7, None, 1))[0] == replace(SUGGESTION, issue_number=4, decided_at=at[3])
    assert await suggestions.list(1, 8, None, 9) == []


async def test_outcomes_are_paged_in_their_order(suggestions):
    made = [outcome(candidate, kind) for candidate in (2, 4) for kind in (CONFIRMED, REJECTED)]
    for item in made:
        await suggestions.record(item)
    first = await suggestions.outcomes_since(1, 7, 0, 3)
    rest = await suggestions.outcomes_since(1, 7, first[-1].id, 3)
    assert [item.outcome for item in (*first, *rest)] == made
    assert [item.recorded_at for item in first] == sorted(item.recorded_at for item in first)
    assert await suggestions.outcomes_since(1, 8, 0, 9) == []
