import itertools
from dataclasses import replace
from datetime import UTC, datetime

import asyncpg
import pytest

from bot.core.access import Act, Actor, Result
from storage.audit import Audit

ACT = Act(
    "key.create",
    Actor.USER,
    "key:4f6",
    Result.OK,
    actor_id=5,
    address="203.0.113.7",
    details={"scope": "read", "names": ["a", None, 1.5]},
)
ACCOUNTS = itertools.count(1)


@pytest.fixture
def audit(shared):
    return Audit(shared)


@pytest.fixture
def account():
    """An account of the test's own."""
    return next(ACCOUNTS)


def of(account, **changes):
    return replace(ACT, account_id=account, **changes)


async def acts(audit, account):
    return [line.act for line in await audit.list(account, None, 99)]


async def test_a_line_is_read_as_it_was_written(audit, account):
    await audit.record(of(account))
    (line,) = await audit.list(account, None, 9)
    assert line.act == of(account)
    assert abs((datetime.now(UTC) - line.at).total_seconds()) < 3_600


@pytest.mark.parametrize("actor", Actor)
@pytest.mark.parametrize("result", Result)
async def test_every_kind_of_hand_and_of_end_is_known(audit, account, actor, result):
    await audit.record(of(account, actor=actor, result=result))
    assert await acts(audit, account) == [of(account, actor=actor, result=result)]


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("2001:db8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("unix:", None),
        ("203.0.113.7, 10.0.0.1", None),
        ("", None),
        (None, None),
    ],
)
async def test_what_is_no_address_is_left_out(audit, account, address, kept):
    await audit.record(of(account, address=address))
    assert await acts(audit, account) == [of(account, address=kept)]


async def test_what_postgresql_refuses_is_written_all_the_same(audit, account):
    await audit.record(of(account, subject="a\0\ud800", details={"k\0": ["v\ud800"]}))
    assert await acts(audit, account) == [
        of(account, subject="a\ufffd\ufffd", details={"k\ufffd": ["v\ufffd"]})
    ]


async def test_pages_go_back_from_the_latest(audit, account):
    for n in range(5):
        await audit.record(of(account, subject=str(n)))
    first = await audit.list(account, None, 2)
    rest = await audit.list(account, first[-1].id, 9)
    assert [line.act.subject for line in (*first, *rest)] == ["4", "3", "2", "1", "0"]


async def test_a_line_of_nobodys_account_is_written_by_the_system_and_listed_for_none(audit, account, shared):
    await audit.record(of(None, action="sign_in"))
    assert await acts(audit, account) == []
    async with shared.system() as connection:
        assert (
            await connection.fetchval("SELECT count(*) FROM audit_log WHERE at > now() - interval '1 day'")
            > 0
        )


@pytest.mark.parametrize("role", ["account", "system"])
@pytest.mark.parametrize("statement", ["UPDATE audit_log SET result = 'ok'", "TRUNCATE audit_log"])
async def test_no_role_can_change_a_line(audit, account, shared, role, statement):
    await audit.record(of(account))
    scope = shared.account(account) if role == "account" else shared.system()
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
        async with scope as connection:
            await connection.execute(statement)


async def test_an_account_cannot_delete_its_lines_and_the_system_none_before_its_time(audit, account, shared):
    await audit.record(of(account, subject="young"))
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
        async with shared.account(account) as connection:
            await connection.execute("DELETE FROM audit_log")
    async with shared.account(account) as connection:
        for subject, days in (("old", 401), ("not yet", 399)):
            await connection.execute(
                "INSERT INTO audit_log (account_id, at, actor, action, subject, result, details)"
                " VALUES ($1, now() - $3 * interval '1 day', 'user', 'a', $2, 'ok', '{}')",
                account,
                subject,
                days,
            )
    async with shared.system() as connection:
        await connection.execute("DELETE FROM audit_log")
    assert {act.subject for act in await acts(audit, account)} == {"young", "not yet"}
