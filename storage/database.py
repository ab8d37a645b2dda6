"""Connections to PostgreSQL: one transaction at a time, always under a role that row-level security binds."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import asyncpg

from bot.core.errors import StorageUnavailableError

COMMAND_TIMEOUT = 30.0
ACQUIRE_TIMEOUT = 10.0
IDLE_LIFETIME = 180.0
"""Seconds; proxies in front of managed databases close connections that idle for longer."""

HASTY = "; SET LOCAL synchronous_commit = off"
"""What lets a transaction end before it is on disk."""

UNAVAILABLE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,  # class 08
    asyncpg.InsufficientResourcesError,  # class 53: disk, memory, connections
    asyncpg.OperatorInterventionError,  # class 57: stopping, starting, crashed, cancelled
    asyncpg.PostgresSystemError,  # class 58: input and output
    asyncpg.ReadOnlySQLTransactionError,  # 25006: a standby, until the new primary is found
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the server said between two statements that it ends the connection
)
"""What says that the server cannot be used now, rather than that a statement was wrong."""

type_of_connection = asyncpg.pool.PoolConnectionProxy


class Database:
    """A pool of connections. Use `account` for one account's rows, `system` for the queue and look-ups across accounts."""

    def __init__(self, pool: Any) -> None:
        """Use `connect`."""
        self._pool = pool

    @classmethod
    async def connect(cls, url: str, *, size: int = 10) -> Self:
        """Open a pool. Raises StorageUnavailableError where the server does not answer."""
        try:
            pool = await asyncpg.create_pool(
                url,
                min_size=1,
                max_size=size,
                command_timeout=COMMAND_TIMEOUT,
                max_inactive_connection_lifetime=IDLE_LIFETIME,
                server_settings={"application_name": "deja-view"},
                init=set_up,
                reset=nothing_to_reset,
            )
        except UNAVAILABLE as error:
            raise StorageUnavailableError(f"PostgreSQL does not answer: {type(error).__name__}") from error
        return cls(pool)

    async def close(self) -> None:
        """Close every connection, those in use after a moment too."""
        try:
            await asyncio.wait_for(self._pool.close(), 5.0)
        except TimeoutError:
            self._pool.terminate()

    def account(self, account_id: int, *, durable: bool = True) -> Any:
        """A transaction that sees one account's rows and can write no other's.

        One that need not be `durable` does not wait for the disk: a crash of the server may lose it.
        """
        scope = f"SET LOCAL ROLE deja_view_app; SET LOCAL app.account = '{int(account_id)}'"
        return self._transaction(scope if durable else scope + HASTY)

    def system(self, *, durable: bool = True) -> Any:
        """A transaction across accounts: for the queue, the inbox, and finding out whose an event is."""
        return self._transaction("SET LOCAL ROLE deja_view_system" + ("" if durable else HASTY))

    @asynccontextmanager
    async def _transaction(self, scope: str) -> AsyncIterator[Any]:
        try:
            async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as connection:
                try:
                    # In one message: each further one would be a wait for the server, in every transaction.
                    await connection.execute(f"BEGIN; {scope}")
                    yield connection
                    await connection.execute("COMMIT")
                except BaseException:
                    await roll_back(connection)
                    raise
        except UNAVAILABLE as error:
            raise StorageUnavailableError(f"PostgreSQL does not answer: {type(error).__name__}") from error

    async def ping(self) -> None:
        """Raises StorageUnavailableError where no statement can be run."""
        async with self.system() as connection:
            await connection.fetchval("SELECT 1")


async def roll_back(connection: Any) -> None:
    """Leave nothing of a transaction; a connection that was lost meanwhile, or is being lost, is given up."""
    if connection.is_closed():
        return
    try:
        await connection.execute("ROLLBACK")
    except (asyncpg.PostgresError, *UNAVAILABLE):
        connection.terminate()


async def nothing_to_reset(_connection: Any) -> None:
    """A connection that is given back keeps nothing of its transaction: what was set there was LOCAL."""


async def set_up(connection: Any) -> None:
    """JSON goes in and comes out as Python values."""
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
