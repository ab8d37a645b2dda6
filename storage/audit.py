"""Who did what: lines that are added and read, never changed."""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from bot.core.access import Act, Actor, AuditLine, Result
from bot.core.text import sanitise
from storage.database import Database
from storage.queries import load

SQL = load("audit")


class Audit:
    """The audit log in PostgreSQL; see `bot.core.ports.Audit` for what each method promises."""

    def __init__(self, database: Database) -> None:
        """Lines of an account are written and read in transactions that see that account's alone."""
        self._database = database

    async def record(self, act: Act) -> None:
        """Add a line, now. What does not look like an address is left out."""
        values = (
            act.account_id,
            act.actor.value,
            act.actor_id,
            sanitise(act.action),
            sanitise(act.subject),
            act.result.value,
            address_of(act.address),
            clean(act.details),
        )
        own = self._database.system() if act.account_id is None else self._database.account(act.account_id)
        async with own as connection:
            await connection.execute(SQL["record"], *values)

    async def list(self, account_id: int, before_id: int | None, limit: int) -> Sequence[AuditLine]:
        """An account's lines, latest first; those below an id, or from the last one on."""
        async with self._database.account(account_id) as connection:
            rows = await connection.fetch(SQL["list"], account_id, before_id, limit)
        return [line_of(row) for row in rows]


def address_of(text: str | None) -> IPv4Address | IPv6Address | None:
    """An address without its zone; None for what is none."""
    try:
        return None if text is None else ip_address(text.partition("%")[0])
    except ValueError:
        return None


def clean(value: Any) -> Any:
    """JSON without characters that PostgreSQL refuses."""
    if isinstance(value, dict):
        return {sanitise(key): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return sanitise(value) if isinstance(value, str) else value


def line_of(row: Mapping[str, Any]) -> AuditLine:
    """A row as a record."""
    act = Act(
        action=row["action"],
        actor=Actor(row["actor"]),
        subject=row["subject"],
        result=Result(row["result"]),
        account_id=row["account_id"],
        actor_id=row["actor_id"],
        address=None if row["address"] is None else str(row["address"]),
        details=row["details"],
    )
    return AuditLine(row["id"], row["at"], act)
