"""People who signed in, their sealed tokens, and the browsers they are signed in with."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import asyncpg

from bot.core.access import LoginState, SealedTokens, Session, UserRecord
from bot.core.errors import MissingError
from bot.core.text import sanitise
from storage.database import Database
from storage.queries import load

SQL, STATES = load("sessions"), load("login_states")


class Sessions:
    """People and sessions in PostgreSQL; see `bot.core.ports.Sessions` for what each method promises."""

    def __init__(self, database: Database) -> None:
        """Every method runs as the system: a person belongs to no account."""
        self._database = database

    async def save_user(self, user: UserRecord) -> None:
        """Who signed in just now, with their tokens in place of older ones."""
        await self._write(SQL["save_user"], user.id, sanitise(user.login), *columns(user.tokens))

    async def user(self, user_id: int) -> UserRecord | None:
        """The person; None where they never signed in or were forgotten."""
        async with self._database.system() as connection:
            row = await connection.fetchrow(SQL["user"], user_id)
        return user_of(row) if row else None

    async def begin_refresh(self, user_id: int, old: SealedTokens) -> bool:
        """Take the turn to have the tokens renewed, for half a minute."""
        return await self._exchange("begin_refresh", user_id, old.access, old.refresh)

    async def end_refresh(self, user_id: int, old: SealedTokens, new: SealedTokens | None) -> bool:
        """End that turn, with new tokens or without; False where the tokens are not the old ones any more."""
        if new is None:
            await self._write(SQL["leave_refresh"], user_id, old.access, old.refresh)
            return True
        return await self._exchange("end_refresh", user_id, old.access, old.refresh, *columns(new))

    async def replace_tokens(self, user_id: int, old: SealedTokens, new: SealedTokens) -> bool:
        """The same tokens in another form; False where they are others by now, or are being renewed."""
        return await self._exchange("replace_tokens", user_id, old.access, old.refresh, *columns(new))

    async def users_after(self, user_id: int, limit: int) -> list[UserRecord]:
        """People with a greater id, by id."""
        async with self._database.system() as connection:
            return [user_of(row) for row in await connection.fetch(SQL["users_after"], user_id, limit)]

    async def open(self, digest: bytes, user_id: int, expires_at: datetime) -> None:
        """Sign a person in. Raises MissingError where they were not saved."""
        try:
            await self._write(SQL["open"], digest, user_id, expires_at)
        except asyncpg.ForeignKeyViolationError:
            raise MissingError("Nobody with that id signed in.") from None

    async def find(self, digest: bytes) -> Session | None:
        """The session with its person; None where it was closed or is over."""
        async with self._database.system() as connection:
            row = await connection.fetchrow(SQL["find"], digest)
        return Session(user_of(row), row["created_at"], row["expires_at"]) if row else None

    async def close(self, digest: bytes) -> None:
        """Sign out here."""
        await self._write(SQL["close"], digest)

    async def _write(self, query: str, *values: Any) -> None:
        async with self._database.system() as connection:
            await connection.execute(query, *values)

    async def _exchange(self, query: str, *values: Any) -> bool:
        async with self._database.system() as connection:
            return await connection.fetchval(SQL[query], *values) is not None


class LoginStates:
    """Sign-ins that were begun, in PostgreSQL; see `bot.core.ports.LoginStates` for what each method promises."""

    def __init__(self, database: Database) -> None:
        """Every method runs as the system: nobody is known yet."""
        self._database = database

    async def put(self, digest: bytes, state: LoginState) -> None:
        """Keep it for ten minutes."""
        async with self._database.system() as connection:
            await connection.execute(STATES["put"], digest, state.verifier, state.next)

    async def take(self, digest: bytes) -> LoginState | None:
        """Take it, once."""
        async with self._database.system() as connection:
            row = await connection.fetchrow(STATES["take"], digest)
        return LoginState(**row) if row else None


def columns(tokens: SealedTokens) -> tuple[Any, ...]:
    """Tokens in the order of the queries' parameters."""
    return tokens.access, tokens.refresh, tokens.access_ends, tokens.refresh_ends


def user_of(row: Mapping[str, Any]) -> UserRecord:
    """A row as a record."""
    tokens = SealedTokens(
        row["access_token"], row["refresh_token"], row["access_expires_at"], row["refresh_expires_at"]
    )
    return UserRecord(row["id"], row["login"], tokens)
