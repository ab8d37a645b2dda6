"""The whitening of each repository, as it was last fitted: statistics of vectors, without any text."""

import numpy as np

from bot.core.scoring import Whitening
from storage.database import Database
from storage.queries import load

SQL = load("whitenings")

DIMENSION = 384


class Whitenings:
    """The last whitening of each repository in PostgreSQL; see `bot.core.ports.Whitenings`."""

    def __init__(self, database: Database) -> None:
        """Every method runs in a transaction that sees one account's rows."""
        self._database = database

    async def save(self, account_id: int, repository_id: int, basis: bytes, whitening: Whitening) -> None:
        """Keep a whitening as the last one."""
        async with self._database.account(account_id) as connection:
            await connection.execute(SQL["save"], account_id, repository_id, basis, bytes_of(whitening))

    async def get(self, account_id: int, repository_id: int, basis: bytes) -> Whitening | None:
        """The last whitening, where it was fitted to this basis."""
        async with self._database.account(account_id) as connection:
            data = await connection.fetchval(SQL["get"], account_id, repository_id, basis)
        return None if data is None else whitening_of(data)


def bytes_of(whitening: Whitening) -> bytes:
    """Both means, then the map by row, as little-endian float32."""
    parts = (whitening.title_mean, whitening.text_mean, whitening.map)
    return b"".join(np.asarray(part, "<f4").tobytes() for part in parts)


def whitening_of(data: bytes) -> Whitening:
    """The reverse of `bytes_of`."""
    rows = np.frombuffer(data, "<f4").astype(np.float32, copy=False).reshape(-1, DIMENSION)
    return Whitening(rows[0], rows[1], rows[2:])
