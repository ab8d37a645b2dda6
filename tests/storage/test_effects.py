import asyncio
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest

from bot.core.errors import LeaseLostError, SkipError
from bot.core.records import Account, EffectState, RepositoryName
from storage.accounts import Accounts
from storage.effects import Effects

INTENT, SENDING, DONE, CANCELLED = (
    EffectState.INTENT,
    EffectState.SENDING,
    EffectState.DONE,
    EffectState.CANCELLED,
)


@pytest.fixture
async def effects(database):
    await Accounts(database).install(
        Account(1, "octo", "User", "free"), 10, [RepositoryName(7, "octo", "r", False)]
    )
    return Effects(database)


def moves(effects):
    return {
        SENDING: lambda effect: effects.sending(effect, "new"),
        DONE: lambda effect: effects.done(effect, 99),
        INTENT: effects.reset,
        CANCELLED: effects.cancel,
    }


PATHS = {INTENT: [], SENDING: [SENDING], DONE: [SENDING, DONE], CANCELLED: [CANCELLED]}
ALLOWED = {
    (INTENT, SENDING), (INTENT, CANCELLED), (SENDING, SENDING), (SENDING, DONE), (SENDING, INTENT),
    (SENDING, CANCELLED), (DONE, SENDING), (DONE, CANCELLED),
}  # fmt: skip


async def brought_to(effects, state):
    effect = await effects.intend(1, 7, 3, "suggestion", "old")
    for step in PATHS[state]:
        effect = await moves(effects)[step](effect)
    return effect


@pytest.mark.parametrize("to", list(EffectState))
@pytest.mark.parametrize("start", list(EffectState))
async def test_only_moves_that_are_known_are_made(effects, start, to):
    effect = await brought_to(effects, start)
    if (start, to) in ALLOWED:
        moved = await moves(effects)[to](effect)
        assert moved.state is to
        assert moved.updated_at > effect.updated_at
        assert await effects.get(1, 7, 3, "suggestion") == moved
    else:
        with pytest.raises(ValueError, match="an effect does not go from"):
            await moves(effects)[to](effect)
        assert await effects.get(1, 7, 3, "suggestion") == effect


async def test_an_intent_is_made_once_and_then_found_as_it_is(effects):
    first = await effects.intend(1, 7, 3, "suggestion", "body")
    assert (first.state, first.body, first.github_id) == (INTENT, "body", None)
    sent = await effects.sending(first, "what was sent")
    assert await effects.intend(1, 7, 3, "suggestion", "other") == sent
    assert (await effects.intend(1, 7, 3, "reply:1", "other")).id != first.id
    assert await effects.get(1, 7, 4, "suggestion") is None


async def test_ten_at_once_make_one_intent(effects):
    found = await asyncio.gather(*(effects.intend(1, 7, 0, "config:a", str(n)) for n in range(10)))
    assert len({effect.id for effect in found}) == 1


async def test_a_repository_that_is_gone_takes_no_intent(effects):
    with pytest.raises(SkipError, match="the repository was removed"):
        await effects.intend(1, 8, 3, "suggestion", "body")


@pytest.mark.parametrize("second", [SENDING, CANCELLED])
async def test_of_two_that_saw_the_same_one_moves_it(effects, second):
    seen = await effects.intend(1, 7, 3, "suggestion", "body")
    winner = await effects.sending(seen, "first")
    with pytest.raises(LeaseLostError):
        await moves(effects)[second](seen)
    assert await effects.get(1, 7, 3, "suggestion") == winner


async def test_the_version_counts_and_not_the_state_alone(effects):
    seen = await brought_to(effects, SENDING)
    again = await effects.sending(await effects.reset(seen), "second")
    with pytest.raises(LeaseLostError):
        await effects.done(seen, 5)
    assert await effects.get(1, 7, 3, "suggestion") == again


async def test_ten_that_race_to_send_leave_one(effects):
    seen = await effects.intend(1, 7, 3, "suggestion", "body")
    results = await asyncio.gather(
        *(effects.sending(seen, str(n)) for n in range(10)), return_exceptions=True
    )
    assert sum(not isinstance(result, BaseException) for result in results) == 1
    assert sum(isinstance(result, LeaseLostError) for result in results) == 9


async def test_an_edit_keeps_the_comments_id_and_body(effects):
    done = await brought_to(effects, DONE)
    assert (done.github_id, done.body) == (99, "new")
    editing = await effects.sending(done, "edited")
    assert (editing.github_id, editing.body) == (99, "edited")


async def first_done(database_url, by):
    owner = await asyncpg.connect(database_url)
    await owner.execute("SET ROLE deja_view_app")
    await owner.execute("SET app.account = '1'")
    await owner.execute("UPDATE effects SET first_done_at = first_done_at - $1::interval", by)
    await owner.close()


async def test_a_days_comments_are_counted_by_when_they_were_first_there(effects, database_url):
    for n in range(3):
        intent = await effects.intend(1, 7, 3, f"reply:{n}", "body")
        if n < 2:
            await effects.done(await effects.sending(intent, "body"), n + 1)
    command = await effects.intend(1, 7, 3, "command:1", "body")
    await effects.done(await effects.sending(command, "body"), None)  # no comment
    assert await effects.spoken_today(1, 7, 3) == 2
    assert await effects.spoken_today(1, 7, 4) == 0
    await first_done(database_url, timedelta(hours=23, minutes=59))
    assert await effects.spoken_today(1, 7, 3) == 2
    await first_done(database_url, timedelta(minutes=2))
    old = await effects.get(1, 7, 3, "reply:0")
    await effects.done(await effects.sending(old, "edited"), old.github_id)
    assert await effects.spoken_today(1, 7, 3) == 0
    await effects.cancel(await effects.get(1, 7, 3, "reply:0"))


async def test_a_foreign_effect_is_not_moved(effects):
    effect = await effects.intend(1, 7, 3, "suggestion", "body")
    with pytest.raises(LeaseLostError):
        await effects.sending(replace(effect, account_id=2), "x")
    assert await effects.get(1, 7, 3, "suggestion") == effect
