"""What the operator does with credentials, on a real database and through the command line."""

import asyncio
import itertools
import logging
import os
import re
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
import structlog

from bot import credentials
from bot.__main__ import main
from bot.core.access import MOST_KEYS, Actor, UserRecord
from bot.core.api_keys import PATTERN, digest, is_secret, parse
from bot.core.errors import SealError
from bot.core.identity import UserTokens
from bot.core.principal import Scope
from bot.core.records import Account, RepositoryName
from bot.core.sealed_tokens import opened_tokens, sealed_tokens
from bot.core.sealing import Sealer
from bot.credentials import reseal_all
from storage.accounts import Accounts
from storage.api_keys import ApiKeys
from storage.audit import Audit
from storage.database import Database
from storage.sessions import Sessions
from tests.test_settings import JWT, KEY, PRODUCTION, SECRET

IDS = itertools.count(1)
LATER = datetime(2100, 1, 1, tzinfo=UTC)


# --- API keys


@pytest.fixture
async def octo(shared):
    """An account of the test's own, with one repository."""
    n = next(IDS)
    account = Account(n, f"octo{n}", "User", "free")
    await Accounts(shared).install(account, n, [RepositoryName(n, f"octo{n}", "app", private=True)])
    return account


@pytest.fixture(autouse=True)
def _logs_as_they_were():
    before = logging.getLogger().handlers[:]
    yield
    logging.getLogger().handlers[:] = before
    sys.excepthook = sys.__excepthook__
    structlog.reset_defaults()


@pytest.fixture
def command(shared_url, monkeypatch, tmp_path, capsys):
    """Runs `deja-view admin ...` in a process's place; gives exit code, output and what was said beside it."""

    async def run(*arguments, **environ):
        monkeypatch.setattr(os, "environ", PRODUCTION | {"DATABASE_URL": shared_url, **environ})
        code = await asyncio.to_thread(main, ["admin", *arguments, "--data-dir", str(tmp_path)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


async def test_a_key_is_printed_alone_and_kept_as_its_digest(shared, octo, command):
    given = ("--scope", "write", "--repository", f"{octo.login}/app", "--expires", "30", "--name", "ci")
    code, out, err = await command("api-key", "create", "--account", octo.login, *given)
    assert (code, err) == (0, "")
    assert re.fullmatch(PATTERN + "\n", out)
    text = parse(out.strip())
    stored = await ApiKeys(shared).find(text.id)
    assert is_secret(text.secret, stored.digest)
    key = stored.key
    assert (key.account_id, key.scope, key.repository_id, key.name) == (octo.id, Scope.WRITE, octo.id, "ci")
    assert timedelta(days=29) < key.expires_at - datetime.now(UTC) <= timedelta(days=30)
    (line,) = await Audit(shared).list(octo.id, None, 10)
    assert (line.act.action, line.act.actor, line.act.subject) == (
        "key.create",
        Actor.OPERATOR,
        f"key:{text.id}",
    )
    assert line.act.details == {"name": "ci", "scope": "write", "repository_id": octo.id}


@pytest.fixture
async def superuser(postgres, shared_url):
    """Whoever takes a dump: no row is hidden from them."""
    name = re.search("/(test_[0-9a-f]+)", shared_url)[1]
    connection = await asyncpg.connect(postgres.address(name, "postgres"))
    yield connection
    await connection.close()


async def dumped(superuser):
    """Every row of every table, as text."""
    tables = await superuser.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return [
        str(row[0])
        for table in tables
        for row in await superuser.fetch(f'SELECT t::text FROM "{table[0]}" t')
    ]


async def test_what_is_logged_does_not_stand_beside_the_key(command, monkeypatch):
    async def logs(_settings, _wanted):
        structlog.get_logger().warning("something_is_odd")
        logging.getLogger("theirs").warning("so it is")
        return "the key"

    monkeypatch.setattr(credentials, "create_key", logs)
    code, out, err = await command("api-key", "create", "--account", "octo", "--scope", "read")
    assert (code, out) == (0, "the key\n")
    assert "something_is_odd" in err
    assert "so it is" in err


async def test_no_secret_of_a_key_is_in_the_database(superuser, octo, command):
    _, out, _ = await command("api-key", "create", "--account", octo.login, "--scope", "admin")
    secret = parse(out.strip()).secret
    rows = await dumped(superuser)
    assert any(digest(secret).hex() in row for row in rows)  # they were looked at
    assert [row for row in rows if secret in row or secret.encode().hex() in row] == []


async def test_keys_are_listed_without_what_could_be_used(shared, octo, command):
    assert (await command("api-key", "list", "--account", octo.login))[:2] == (0, "no API keys\n")
    made = {}
    for name, more in [
        ("forever", ()),
        ("a\x1b[31m\nb", ("--expires", "3650")),
        ("gone", ("--repository", f"{octo.login}/app")),
    ]:
        _, out, _ = await command(
            "api-key", "create", "--account", octo.login, "--scope", "read", "--name", name, *more
        )
        made[name] = parse(out.strip())
    await command("api-key", "revoke", made["gone"].id)
    code, out, _ = await command("api-key", "list", "--account", octo.login)
    lines = {line[:12]: line for line in out.splitlines()}
    assert (code, len(lines)) == (0, 4)
    assert re.search(r"read .* never +lives +forever, all repositories$", lines[made["forever"].id])
    assert re.search(r" until 20\d\d-\d\d-\d\d +a \[31m b, all repositories$", lines[made["a\x1b[31m\nb"].id])
    assert re.search(rf" revoked +gone, {octo.login}/app$", lines[made["gone"].id])
    assert not any(key.secret[:10] in out for key in made.values())


async def test_a_key_is_revoked_once(shared, octo, command):
    _, out, _ = await command("api-key", "create", "--account", octo.login, "--scope", "read")
    key_id = parse(out.strip()).id
    assert (await command("api-key", "revoke", key_id))[:2] == (0, f"{key_id} is revoked\n")
    assert (await ApiKeys(shared).find(key_id)).key.revoked_at is not None
    latest = (await Audit(shared).list(octo.id, None, 1))[0].act
    assert (latest.action, latest.subject) == ("key.revoke", f"key:{key_id}")
    code, out, err = await command("api-key", "revoke", key_id)
    assert (code, out) == (2, "")
    assert "no key that was not revoked has that id" in err
    assert len(await Audit(shared).list(octo.id, None, 10)) == 2


async def refused(command, words, *arguments):
    code, out, err = await command(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err


async def test_what_is_not_there_is_told_in_one_line(shared, octo, command):
    other = await other_account(shared)
    create = ("api-key", "create", "--scope", "read", "--account")
    await refused(command, "not an account that has the App", *create, "nobody-here")
    await refused(command, "not an account that has the App", "api-key", "list", "--account", "nobody-here")
    for name in (f"{octo.login}/other", f"{other.login}/app", "app", ""):
        await refused(command, "is not a repository that", *create, octo.login, "--repository", name)
    for key_id in ("0aB3dE6gH9jK", "", "../1", "\udcff", "0" * 200):
        await refused(command, "no key that was not revoked", "api-key", "revoke", key_id)
    assert await ApiKeys(shared).list(octo.id) == []


async def other_account(shared):
    n = next(IDS)
    account = Account(n, f"octo{n}", "User", "free")
    await Accounts(shared).install(account, n, [RepositoryName(n, f"octo{n}", "app", private=True)])
    return account


async def test_an_account_has_so_many_keys_at_the_most(shared, octo, command):
    async with shared.system() as connection:
        await connection.execute(
            "INSERT INTO api_keys (id, account_id, name, digest, scope) "
            "SELECT 'many' || $1 || 'x' || n, $1::bigint, '', sha256(n::text::bytea), 'read' FROM generate_series(1, $2) n".replace("'many' || $1", "'many' || $1::bigint"),
            octo.id, MOST_KEYS,
        )  # fmt: skip
    await refused(
        command, f"has {MOST_KEYS} API keys", "api-key", "create", "--account", octo.login, "--scope", "read"
    )


@pytest.mark.parametrize("days", ["0", "-1", "3651", "1e3", "", "１", "99999", "x"])
def test_how_long_a_key_may_live(capsys, days):
    with pytest.raises(SystemExit) as ended:
        main(["admin", "api-key", "create", "--account", "octo", "--scope", "read", f"--expires={days}"])
    assert ended.value.code == 2
    assert "not a number of days from 1 to 3650" in capsys.readouterr().err


# --- sealing anew

OLD, NEW = Sealer([SECRET]), Sealer([KEY, SECRET])
ONLY_NEW = Sealer([KEY])


def tokens(n, version=0):
    return UserTokens(f"ghu_access{n}v{version}", LATER, f"ghr_refresh{n}v{version}", LATER)


async def sign_in(sessions, count, sealer=OLD):
    """People whose tokens an older key has sealed; every third has no refresh token."""
    for n in range(1, count + 1):
        given = tokens(n) if n % 3 else replace(tokens(n), refresh=None, refresh_ends=None)
        await sessions.save_user(UserRecord(n, f"user{n}", sealed_tokens(sealer, n, given)))


async def everybody(sessions):
    return await sessions.users_after(0, 10_000)


async def test_all_tokens_are_sealed_anew(database, monkeypatch):
    monkeypatch.setattr(credentials, "PAGE", 7)
    sessions, said = Sessions(database), []
    await sign_in(sessions, 20)
    before = {user.id: opened_tokens(NEW, user.id, user.tokens) for user in await everybody(sessions)}
    tally = await reseal_all(sessions, NEW, said.append)
    assert (tally.looked_at, tally.sealed, tally.lost, tally.left) == (20, 20, 0, 0)
    assert said == ["7 people", "14 people", "20 people"]
    after = {user.id: opened_tokens(ONLY_NEW, user.id, user.tokens) for user in await everybody(sessions)}
    assert after == before
    again = await reseal_all(sessions, NEW, said.append)
    assert (again.looked_at, again.sealed) == (20, 0)


async def test_tokens_are_sealed_anew_while_others_are_renewed(database, database_url):
    """Nothing that is renewed meanwhile is lost, everything opens at any time, and at the end the old key may go."""
    sessions = Sessions(database)
    await sign_in(sessions, 40)
    latest = {n: 0 for n in range(1, 41) if n % 3}
    stop = asyncio.Event()
    beside = await Database.connect(database_url, size=2)
    renewals = asyncio.create_task(renew(Sessions(beside), latest, stop))
    try:
        await asyncio.sleep(0)
        tally = await reseal_all(sessions, NEW, lambda _: None)
        stop.set()
        renewed = await renewals
    finally:
        stop.set()
        await asyncio.gather(renewals, return_exceptions=True)
        await beside.close()
    assert renewed > 0
    assert (tally.lost, tally.left) == (0, 0)
    for user in await everybody(sessions):
        assert not credentials.is_old(NEW, user)
        assert (
            opened_tokens(ONLY_NEW, user.id, user.tokens).access
            == f"ghu_access{user.id}v{latest.get(user.id, 0)}"
        )


async def renew(sessions, latest, stop):
    """What a process of the service does, which has both keys: read, take the turn, write. How often it did."""
    renewed = 0
    for n in itertools.cycle(sorted(latest, reverse=True)):
        user = await sessions.user(n)
        assert opened_tokens(NEW, n, user.tokens).access == f"ghu_access{n}v{latest[n]}"
        if await sessions.begin_refresh(n, user.tokens):
            fresh = sealed_tokens(NEW, n, tokens(n, latest[n] + 1))
            assert await sessions.end_refresh(n, user.tokens, fresh)
            latest[n] += 1
            renewed += 1
        if stop.is_set() and renewed:
            break
    return renewed


async def test_a_turn_to_renew_is_waited_for_and_not_taken(database):
    sessions = Sessions(database)
    await sign_in(sessions, 1)
    (user,) = await everybody(sessions)
    assert await sessions.begin_refresh(1, user.tokens)
    tally = await reseal_all(sessions, NEW, lambda _: None, patience=0.0)
    assert (tally.sealed, tally.left) == (0, 1)
    assert "run this again" in tally.text
    waiting = asyncio.create_task(reseal_all(sessions, NEW, lambda _: None))
    await asyncio.sleep(0.2)
    await sessions.end_refresh(1, user.tokens, None)
    assert (await waiting).sealed == 1


async def test_somebody_who_is_forgotten_meanwhile_is_no_obstacle(database):
    sessions = Sessions(database)
    await sign_in(sessions, 1)
    (user,) = await everybody(sessions)
    async with database.system() as connection:
        await connection.execute("DELETE FROM users WHERE id = 1")
    tally = credentials.Tally()
    await credentials.reseal_one(sessions, NEW, user, tally, 0.1)
    assert (tally.sealed, tally.lost, tally.left) == (0, 0, 0)


async def test_tokens_that_no_key_opens_are_told_and_left(database):
    sessions = Sessions(database)
    await sign_in(sessions, 3)
    await sign_in(sessions, 1, Sealer([JWT]))
    users = await everybody(sessions)
    swapped = replace(users[1].tokens, access=users[2].tokens.access)
    await sessions.save_user(replace(users[1], tokens=swapped))
    with pytest.raises(SealError):
        opened_tokens(NEW, 2, swapped)
    tally = await reseal_all(sessions, NEW, lambda _: None)
    assert (tally.sealed, tally.lost) == (1, 2)
    assert "2 cannot be opened" in tally.text


async def test_the_command_tells_what_it_did(shared, superuser, command):
    sessions = Sessions(shared)
    await sign_in(sessions, 5)
    code, out, err = await command("reseal", ENCRYPTION_KEYS=f"{KEY},{SECRET}")
    assert (code, out, err) == (0, "5 people, tokens of 5 sealed with the first key\n", "5 people\n")
    assert [opened_tokens(ONLY_NEW, user.id, user.tokens).access for user in await everybody(sessions)]
    await refused(command, "ENCRYPTION_KEYS is missing", "reseal")
    rows = await dumped(superuser)
    assert len([row for row in rows if "tokens.reseal" in row]) == 1
    assert [row for row in rows if "ghu_" in row or b"ghu_".hex() in row] == []
