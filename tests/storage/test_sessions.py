import asyncio
import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bot.core.access import LoginState, SealedTokens, UserRecord
from bot.core.errors import MissingError
from storage.sessions import LoginStates, Sessions

LATER = datetime(2100, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
OLD, NEW = SealedTokens(b"a1", b"r1", LATER, LATER), SealedTokens(b"a2", b"r2", None, None)
ENDLESS = SealedTokens(b"a3", None, None, None)
IDS = itertools.count(1)


@pytest.fixture
def sessions(shared):
    return Sessions(shared)


@pytest.fixture
async def ann(sessions):
    """Somebody of the test's own who signed in."""
    user = UserRecord(next(IDS), "ann", OLD)
    await sessions.save_user(user)
    return user


def digest(name, user):
    return f"{name}{user.id}".encode().ljust(32, b".")


async def test_a_person_comes_back_as_they_were_and_signs_in_anew(sessions, ann):
    assert await sessions.user(ann.id) == ann
    assert b"a1" not in repr(ann).encode()
    renamed = UserRecord(ann.id, "anna", ENDLESS)
    await sessions.save_user(renamed)
    assert await sessions.user(ann.id) == renamed
    assert await sessions.user(404_404) is None


async def test_a_session_is_found_until_it_is_closed(sessions, ann):
    await sessions.open(digest("s", ann), ann.id, LATER)
    found = await sessions.find(digest("s", ann))
    assert (found.user, found.expires_at) == (ann, LATER)
    assert await sessions.find(digest("t", ann)) is None
    await sessions.close(digest("s", ann))
    assert await sessions.find(digest("s", ann)) is None


async def test_a_session_that_is_over_is_not_found(sessions, ann):
    await sessions.open(digest("s", ann), ann.id, datetime.now(UTC) - timedelta(seconds=1))
    assert await sessions.find(digest("s", ann)) is None


async def test_nobody_unknown_is_signed_in(sessions, ann):
    with pytest.raises(MissingError):
        await sessions.open(digest("s", ann), 404_404, LATER)


async def seen(database, key, at=None):
    async with database.system() as connection:
        if at is not None:
            await connection.execute("UPDATE sessions SET last_seen_at = $2 WHERE digest = $1", key, at)
        return await connection.fetchval("SELECT last_seen_at FROM sessions WHERE digest = $1", key)


async def test_that_a_session_was_seen_is_written_at_most_once_a_minute(sessions, shared, ann):
    key = digest("s", ann)
    await sessions.open(key, ann.id, LATER)
    first = await seen(shared, key)
    await sessions.find(key)
    assert await seen(shared, key) == first
    old = await seen(shared, key, first - timedelta(seconds=61))
    await sessions.find(key)
    assert await seen(shared, key) > old


async def test_of_many_who_would_renew_tokens_one_has_the_turn(sessions, ann):
    turns = await asyncio.gather(*(sessions.begin_refresh(ann.id, OLD) for _ in range(10)))
    assert sorted(turns) == [False] * 9 + [True]
    assert await sessions.end_refresh(ann.id, OLD, NEW)
    assert (await sessions.user(ann.id)).tokens == NEW
    assert not await sessions.begin_refresh(ann.id, OLD)
    assert await sessions.begin_refresh(ann.id, NEW)


async def test_a_turn_that_brought_nothing_is_free_again(sessions, ann):
    assert await sessions.begin_refresh(ann.id, OLD)
    assert await sessions.end_refresh(ann.id, OLD, None)
    assert await sessions.begin_refresh(ann.id, OLD)


async def test_a_turn_ends_by_itself_where_its_process_dies(sessions, shared, ann):
    assert await sessions.begin_refresh(ann.id, OLD)
    async with shared.system() as connection:
        await connection.execute(
            "UPDATE users SET refreshing_until = refreshing_until - interval '30 seconds' WHERE id = $1",
            ann.id,
        )
    assert await sessions.begin_refresh(ann.id, OLD)


async def test_a_later_sign_in_holds_against_tokens_that_were_renewed_meanwhile(sessions, ann):
    assert await sessions.begin_refresh(ann.id, OLD)
    await sessions.save_user(replace(ann, tokens=ENDLESS))
    assert not await sessions.end_refresh(ann.id, OLD, NEW)
    assert (await sessions.user(ann.id)).tokens == ENDLESS
    assert await sessions.begin_refresh(ann.id, ENDLESS)


async def test_tokens_are_exchanged_only_where_they_are_the_old_ones(sessions, ann):
    assert not await sessions.replace_tokens(ann.id, NEW, OLD)
    assert not await sessions.replace_tokens(ann.id, replace(OLD, refresh=b"other"), NEW)
    assert await sessions.replace_tokens(ann.id, OLD, ENDLESS)
    assert await sessions.replace_tokens(ann.id, ENDLESS, NEW)
    assert (await sessions.user(ann.id)).tokens == NEW


async def test_tokens_that_are_being_renewed_are_not_sealed_anew_and_the_new_ones_arrive(sessions, ann):
    assert await sessions.begin_refresh(ann.id, OLD)
    assert not await sessions.replace_tokens(ann.id, OLD, ENDLESS)
    assert await sessions.end_refresh(ann.id, OLD, NEW)


async def test_all_people_are_met_in_pages(sessions, ann):
    more = [UserRecord(next(IDS), f"u{n}", OLD) for n in range(4)]
    for user in more:
        await sessions.save_user(user)
    met, last = [], ann.id
    while page := await sessions.users_after(last, 3):
        assert len(page) <= 3
        met, last = met + page, page[-1].id
    assert met == more


async def test_a_sign_in_ends_once(shared, ann):
    states, state = LoginStates(shared), LoginState("verifier", "/next")
    await states.put(digest("l", ann), state)
    taken = await asyncio.gather(*(states.take(digest("l", ann)) for _ in range(5)))
    assert [item for item in taken if item is not None] == [state]
    assert "verifier" not in repr(state).replace("verifier=", "")


@pytest.mark.parametrize(("seconds", "in_time"), [(540, True), (600, False)])
async def test_a_sign_in_may_take_ten_minutes(shared, ann, seconds, in_time):
    states = LoginStates(shared)
    await states.put(digest("m", ann), LoginState("v", "/"))
    async with shared.system() as connection:
        await connection.execute(
            "UPDATE login_states SET expires_at = expires_at - $2::interval WHERE digest = $1",
            digest("m", ann),
            timedelta(seconds=seconds),
        )
    assert (await states.take(digest("m", ann)) is not None) is in_time
