"""Outward writes: what we mean to write, are writing, and wrote."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from bot.core.errors import LeaseLostError, SkipError
from bot.core.records import Effect, EffectState
from bot.core.text import sanitise
from storage.database import Database
from storage.queries import load

SQL = load("effects")

FROM: Mapping[EffectState, frozenset[EffectState]] = MappingProxyType(
    {
        EffectState.INTENT: frozenset({EffectState.SENDING}),
        # From SENDING too: an edit may be repeated. From DONE: a comment that exists is edited.
        EffectState.SENDING: frozenset({EffectState.INTENT, EffectState.SENDING, EffectState.DONE}),
        EffectState.DONE: frozenset({EffectState.SENDING}),
        EffectState.CANCELLED: frozenset({EffectState.INTENT, EffectState.SENDING, EffectState.DONE}),
    }
)
"""The states from which each state may be reached."""


class Effects:
    """Effects in PostgreSQL; see `bot.core.ports.Effects` for what each method promises.

    Each move states the version it starts from: LeaseLostError where somebody else moved the effect since, and
    ValueError for a move that `FROM` does not know.
    """

    def __init__(self, database: Database) -> None:
        """Every method runs in a transaction that sees one account's rows."""
        self._database = database

    async def intend(self, account_id: int, repository_id: int, number: int, key: str, body: str) -> Effect:
        """The effect of that key: a new INTENT, or the one there is. Raises SkipError where the repository is gone."""
        async with self._database.account(account_id) as connection:
            await connection.execute(SQL["intend"], account_id, repository_id, number, key, sanitise(body))
            row = await connection.fetchrow(SQL["get"], account_id, repository_id, number, key)
        if row is None:
            raise SkipError("the repository was removed")
        return effect_of(row)

    async def get(self, account_id: int, repository_id: int, number: int, key: str) -> Effect | None:
        """The effect of that key."""
        async with self._database.account(account_id) as connection:
            row = await connection.fetchrow(SQL["get"], account_id, repository_id, number, key)
        return effect_of(row) if row else None

    async def sending(self, effect: Effect, body: str) -> Effect:
        """Mark it SENDING with the body that will be sent."""
        return await self._move(effect, EffectState.SENDING, sanitise(body), effect.github_id)

    async def done(self, effect: Effect, github_id: int | None) -> Effect:
        """Mark it DONE, with the id that GitHub gave."""
        return await self._move(effect, EffectState.DONE, effect.body, github_id)

    async def reset(self, effect: Effect) -> Effect:
        """Back to INTENT: GitHub certainly did not take it."""
        return await self._move(effect, EffectState.INTENT, effect.body, effect.github_id)

    async def cancel(self, effect: Effect) -> Effect:
        """It shall not be written."""
        return await self._move(effect, EffectState.CANCELLED, effect.body, effect.github_id)

    async def spoken_today(self, account_id: int, repository_id: int, number: int) -> int:
        """How many comments of ours an issue got in the last 24 hours; an edit is none."""
        async with self._database.account(account_id) as connection:
            return int(await connection.fetchval(SQL["spoken_today"], account_id, repository_id, number))

    async def silent_for(self, account_id: int, repository_id: int, number: int) -> float | None:
        """Seconds since our last comment on an issue; an edit is none."""
        async with self._database.account(account_id) as connection:
            found: float | None = await connection.fetchval(
                SQL["silent_for"], account_id, repository_id, number
            )
        return found

    async def _move(self, effect: Effect, to: EffectState, body: str, github_id: int | None) -> Effect:
        if effect.state not in FROM[to]:
            raise ValueError(f"an effect does not go from {effect.state.value} to {to.value}")
        values = (
            effect.account_id,
            effect.id,
            effect.state.value,
            effect.updated_at,
            to.value,
            body,
            github_id,
        )
        async with self._database.account(effect.account_id) as connection:
            row = await connection.fetchrow(SQL["move"], *values)
        if row is None:
            raise LeaseLostError(f"somebody else moved effect {effect.id}")
        return effect_of(row)


def effect_of(row: Mapping[str, Any]) -> Effect:
    """A row as a record."""
    return Effect(**{**row, "state": EffectState(row["state"])})
