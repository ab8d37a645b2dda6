"""Accounts that share one database: as many as are wanted, each with three repositories, and some of them with credentials."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import asyncpg

from bot.core.api_keys import digest, mint
from bot.core.principal import Principal, Scope, Source
from bot.web.tokens import TokenIssuer
from storage import embedded

FIRST = 1_000_000
"""The least id of an account here: below it is room for a bench's own."""

ACCOUNTS = """
INSERT INTO accounts (id, login, kind, tier) SELECT id, 'account-' || id, 'Organization', $2 FROM unnest($1::bigint[]) AS id
"""
"""The accounts ($1) and their tier."""

REST = (
    "INSERT INTO installations (id, account_id, state) SELECT id, id, 'active' FROM unnest($1::bigint[]) AS id",
    """INSERT INTO repositories (id, account_id, installation_id, owner, name, private, collection, state, indexed_at)
    SELECT id * 10 + n, id, id, 'account-' || id, 'repository-' || n, n = 1, 'repo_' || id || '_' || n, 'active', now()
    FROM unnest($1::bigint[]) AS id, generate_series(1, 3) AS n""",
    """INSERT INTO api_keys (account_id, id, name, digest, scope)
    SELECT id, left(encode(sha256(convert_to(id || '.' || n, 'UTF8')), 'hex'), 12), 'unused', sha256(convert_to(id || '', 'UTF8')), 'read'
    FROM unnest($1::bigint[]) AS id, generate_series(1, 2) AS n""",
    """INSERT INTO usage (account_id, day, metric, amount)
    SELECT id, (now() AT TIME ZONE 'UTC')::date - n, 'api_calls', 5
    FROM unnest($1::bigint[]) AS id, generate_series(1, 30) AS n""",
    """INSERT INTO call_windows (key, calls, allowed, seen_at)
    SELECT 'account:' || id, ARRAY[now()], true, now() FROM unnest($1::bigint[]) AS id""",
)
"""What hangs on an account that calls now and then: three repositories, two keys that nobody uses, a month of usage, a window."""

WINDOW = """
INSERT INTO call_windows (key, calls, allowed, seen_at)
SELECT 'account:' || id, coalesce((SELECT array_agg(clock_timestamp() - n * interval '1 ms' ORDER BY n DESC)
                                   FROM generate_series(1, $2::integer) AS n), '{}'), true, clock_timestamp()
FROM unnest($1::bigint[]) AS id
ON CONFLICT (key) DO UPDATE SET calls = excluded.calls, allowed = true, seen_at = excluded.seen_at
"""
"""So many calls ($2) just now."""

CREDENTIALS = """
INSERT INTO api_keys (account_id, id, name, digest, scope)
SELECT account_id, id, 'bench', digest, 'read' FROM unnest($1::bigint[], $2::text[], $3::bytea[]) AS k (account_id, id, digest)
"""


@dataclass(frozen=True, slots=True)
class Asker:
    """An account with both kinds of credential for it, and the repository that it asks about."""

    account_id: int
    repository_id: int
    key: str
    token: str


class Tenants:
    """Whoever is written here is written past row-level security, as no service does."""

    def __init__(self, url: str) -> None:
        """`url` is the service's database."""
        self._url = embedded.as_superuser(url)

    async def run(self, *statements: tuple[str, *tuple[object, ...]]) -> None:
        """Run each with its values, all in one transaction."""
        connection = await asyncpg.connect(self._url)
        try:
            async with connection.transaction():
                for sql, *values in statements:
                    await connection.execute(sql, *values)
        finally:
            await connection.close()

    async def add(self, ids: Sequence[int], tier: str) -> None:
        """Accounts with everything that hangs on one that calls now and then."""
        await self.run((ACCOUNTS, ids, tier), *((sql, ids) for sql in REST))

    async def analyze(self) -> None:
        """Have the planner know of them, as PostgreSQL sees to within some minutes."""
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute("VACUUM ANALYZE")
        finally:
            await connection.close()

    async def called(self, ids: Sequence[int], times: int) -> None:
        """Have each of them called so often within the last seconds."""
        await self.run((WINDOW, ids, times))

    async def copy(self, name: str) -> str:
        """Another database of that name with the same rows; its address. Nobody may be connected with this one."""
        connection = await asyncpg.connect(self._url.replace("/deja_view?", "/postgres?"))
        try:
            await connection.execute(f"CREATE DATABASE {name} TEMPLATE deja_view OWNER {embedded.ROLE}")
        finally:
            await connection.close()
        return self._url.replace("//postgres@", f"//{embedded.ROLE}@").replace("/deja_view?", f"/{name}?")

    async def credentials(
        self, ids: Sequence[int], issuer: TokenIssuer, repository_id: int | None = None
    ) -> list[Asker]:
        """A key and a token for each of these accounts, and their first repository unless another one is named."""
        keys = [mint() for _ in ids]
        digests = [digest(key.secret) for key in keys]
        await self.run((CREDENTIALS, ids, [key.id for key in keys], digests))
        return [
            Asker(
                account_id=number,
                repository_id=repository_id or number * 10 + 1,
                key=key.text,
                token=issuer.issue(
                    Principal(number, Scope.READ, Source.API_KEY, key_id=key.id), datetime.now(UTC)
                )[0],
            )
            for number, key in zip(ids, keys, strict=True)
        ]
