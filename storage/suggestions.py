"""What the bot said about issues, and what people did with it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from bot.core.access import StoredOutcome
from bot.core.records import Outcome, OutcomeKind, Suggestion
from bot.core.text import sanitise
from storage.database import Database
from storage.queries import load

SQL = load("suggestions")

BATCH = 200
"""Rows that are read at a time."""


class Suggestions:
    """Suggestions in PostgreSQL; see `bot.core.ports.Suggestions` for what each method promises.

    Nothing is written for a repository that is gone or another account's.
    """

    def __init__(self, database: Database) -> None:
        """Every method runs in a transaction that sees one account's rows."""
        self._database = database

    async def save(self, suggestion: Suggestion) -> None:
        """Insert, or replace the one of the same issue."""
        async with self._database.account(suggestion.account_id) as connection:
            await connection.execute(SQL["save"], *columns(suggestion))

    async def get(self, account_id: int, repository_id: int, number: int) -> Suggestion | None:
        """The suggestion of an issue."""
        async with self._database.account(account_id) as connection:
            row = await connection.fetchrow(SQL["get"], account_id, repository_id, number)
        return suggestion_of(row) if row else None

    async def forget(self, account_id: int, repository_id: int, number: int) -> list[int]:
        """Nothing about a deleted issue stays; returns the issues under which a comment of ours names it."""
        key = (account_id, repository_id)
        async with self._database.account(account_id) as connection:
            for query in ("lock_repository", "forget_own", "forget_effects", "forget_outcomes"):
                await connection.execute(SQL[query], *key, *(() if query == "lock_repository" else (number,)))
            mentions = [
                row["issue_number"] for row in await connection.fetch(SQL["forget_mentions"], *key, number)
            ]
            blank = await connection.fetch(SQL["forget_bodies"], *key, mentions)
        return sorted({row["issue_number"] for row in blank if row["github_id"] is not None})

    async def duplicate_of(self, account_id: int, repository_id: int, number: int) -> int | None:
        """The issue that this one was last confirmed to be a duplicate of, unless that was rejected since."""
        async with self._database.account(account_id) as connection:
            found: int | None = await connection.fetchval(
                SQL["duplicate_of"], account_id, repository_id, number
            )
        return found

    async def record(self, outcome: Outcome) -> None:
        """Add an outcome; the same one twice counts once, at its last time."""
        async with self._database.account(outcome.account_id) as connection:
            await connection.execute(SQL["record"], *outcome_columns(outcome))

    async def refused(self, account_id: int, repository_id: int, number: int) -> frozenset[int | None]:
        """Candidates that were rejected for an issue; None is in it where the whole suggestion was."""
        async with self._database.account(account_id) as connection:
            rows = await connection.fetch(SQL["refused"], account_id, repository_id, number)
        return frozenset(row["candidate"] for row in rows)

    async def stream(self, account_id: int, repository_id: int) -> AsyncIterator[list[Suggestion]]:
        """Every suggestion of a repository in batches, by issue."""
        last = 0
        while True:
            async with self._database.account(account_id) as connection:
                rows = await connection.fetch(SQL["stream"], account_id, repository_id, last, BATCH)
            if rows:
                yield [suggestion_of(row) for row in rows]
                last = rows[-1]["issue_number"]
            if len(rows) < BATCH:
                return

    async def outcomes(
        self, account_id: int, repository_id: int
    ) -> AsyncIterator[list[tuple[Outcome, datetime]]]:
        """Every outcome of a repository in batches, with its time, in the order of their first record."""
        last = 0
        while True:
            async with self._database.account(account_id) as connection:
                rows = await connection.fetch(SQL["outcomes"], account_id, repository_id, last, BATCH)
            if rows:
                yield [(outcome_of(row), row["recorded_at"]) for row in rows]
                last = rows[-1]["id"]
            if len(rows) < BATCH:
                return

    async def restore(self, account_id: int, suggestions: Sequence[Suggestion]) -> int:
        """Add suggestions where the issue has none; returns how many."""
        async with self._database.account(account_id) as connection:
            added = [
                await connection.fetchval(SQL["restore"], *columns(replace(item, account_id=account_id)))
                for item in suggestions
            ]
        return len(added) - added.count(None)

    async def restore_outcomes(self, account_id: int, outcomes: Sequence[tuple[Outcome, datetime]]) -> int:
        """Add outcomes that are not known, with their times; returns how many."""
        async with self._database.account(account_id) as connection:
            added = [
                await connection.fetchval(
                    SQL["restore_outcome"], *outcome_columns(replace(item, account_id=account_id)), at
                )
                for item, at in outcomes
            ]
        return len(added) - added.count(None)

    async def outcomes_since(
        self, account_id: int, repository_id: int, since_id: int, limit: int
    ) -> Sequence[StoredOutcome]:
        """Outcomes above an id, by id."""
        async with self._database.account(account_id) as connection:
            rows = await connection.fetch(SQL["outcomes"], account_id, repository_id, since_id, limit)
        return [StoredOutcome(row["id"], outcome_of(row), row["recorded_at"]) for row in rows]

    async def list(
        self, account_id: int, repository_id: int, before: tuple[datetime, int] | None, limit: int
    ) -> Sequence[Suggestion]:
        """Suggestions, latest first; from (`decided_at`, issue number) of the last that was seen on."""
        values = (account_id, repository_id, *(before or (None, None)), limit)
        async with self._database.account(account_id) as connection:
            return [suggestion_of(row) for row in await connection.fetch(SQL["list"], *values)]


def columns(suggestion: Suggestion) -> tuple[Any, ...]:
    """A suggestion as the queries take it."""
    return (
        suggestion.account_id,
        suggestion.repository_id,
        suggestion.issue_number,
        suggestion.spoken,
        sanitise(suggestion.reason),
        suggestion.threshold,
        suggestion.model,
        list(suggestion.likely),
        list(suggestion.also),
        suggestion.evidence,
        suggestion.content_hash,
        suggestion.decided_at,
        suggestion.degraded and sanitise(suggestion.degraded),
    )


def outcome_columns(outcome: Outcome) -> tuple[Any, ...]:
    """An outcome as the queries take it."""
    return (
        outcome.account_id,
        outcome.repository_id,
        outcome.issue_number,
        outcome.candidate,
        outcome.kind.value,
        outcome.actor_id,
        outcome.source,
    )


def outcome_of(row: Mapping[str, Any]) -> Outcome:
    """A row as a record, without its time."""
    values = {name: value for name, value in row.items() if name not in ("id", "recorded_at")}
    return Outcome(**{**values, "kind": OutcomeKind(row["kind"])})


def suggestion_of(row: Mapping[str, Any]) -> Suggestion:
    """A row as a record."""
    return Suggestion(**{**row, "likely": tuple(row["likely"]), "also": tuple(row["also"])})
