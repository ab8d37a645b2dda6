import asyncio
from datetime import timedelta

import asyncpg
import pytest

from bot.core.access import Conflict, InFlight, New, Replay
from storage.idempotency import Idempotency

SAME, OTHER = b"f" * 32, b"o" * 32


@pytest.fixture
def requests(shared):
    return Idempotency(shared)


@pytest.fixture
def key(request):
    """A key of the test's own."""
    return request.node.name[-255:]


async def shift(database, key, seconds):
    """Let a request have been begun so long ago; returns it as it was begun."""
    async with database.account(1) as connection:
        begun = await connection.fetchval(
            "UPDATE idempotency_keys SET created_at = created_at - $2::interval WHERE key = $1 RETURNING created_at",
            key,
            timedelta(seconds=seconds),
        )
    return New(1, key, begun)


async def test_a_request_has_its_effect_once_and_then_gives_the_same_answer(requests, key):
    begun = await requests.begin(1, key, SAME)
    assert isinstance(begun, New)
    assert isinstance(await requests.begin(1, key, SAME), InFlight)
    await requests.finish(begun, 201, b"body")
    for _ in range(2):
        assert await requests.begin(1, key, SAME) == Replay(201, b"body")


async def test_of_many_at_once_one_begins(requests, key):
    found = await asyncio.gather(*(requests.begin(1, key, SAME) for _ in range(20)))
    assert sum(isinstance(item, New) for item in found) == 1
    assert sum(isinstance(item, InFlight) for item in found) == 19


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("age", [0, 120])
async def test_another_request_under_the_same_key_is_a_conflict(requests, shared, key, finished, age):
    begun = await requests.begin(1, key, SAME)
    if finished:
        await requests.finish(begun, 200, b"")
    await shift(shared, key, age)
    assert await requests.begin(1, key, OTHER) == Conflict()


async def test_what_had_no_effect_may_be_made_again(requests, key):
    await requests.abandon(await requests.begin(1, key, SAME))
    assert isinstance(await requests.begin(1, key, OTHER), New)


async def test_what_was_answered_cannot_be_abandoned(requests, key):
    begun = await requests.begin(1, key, SAME)
    await requests.finish(begun, 200, b"a")
    await requests.abandon(begun)
    await requests.finish(begun, 500, b"b")
    assert await requests.begin(1, key, SAME) == Replay(200, b"a")


async def test_who_never_ends_is_taken_over_and_changes_nothing_more(requests, shared, key):
    await requests.begin(1, key, SAME)
    await shift(shared, key, 30)
    waiting = await requests.begin(1, key, SAME)
    assert isinstance(waiting, InFlight)
    assert 1 <= waiting.retry_after <= 30
    late = await shift(shared, key, 31)
    begun = await requests.begin(1, key, SAME)
    assert isinstance(begun, New)
    await requests.finish(late, 200, b"late")
    await requests.abandon(late)
    assert isinstance(await requests.begin(1, key, SAME), InFlight)
    await requests.finish(begun, 200, b"own")
    assert await requests.begin(1, key, SAME) == Replay(200, b"own")


async def test_an_answer_is_kept_for_a_day(requests, shared, key):
    await requests.finish(await requests.begin(1, key, SAME), 200, b"")
    await shift(shared, key, 24 * 3_600 - 60)
    assert await requests.begin(1, key, OTHER) == Conflict()
    await shift(shared, key, 61)
    assert isinstance(await requests.begin(1, key, OTHER), New)


@pytest.mark.parametrize("length", [0, 256])
async def test_a_key_that_is_empty_or_too_long_is_refused(requests, length):
    with pytest.raises(asyncpg.CheckViolationError):
        await requests.begin(1, "k" * length, SAME)
