"""Limits are exact over all processes, whoever asks how often at once (T107, T108, P20, P21, P26)."""

import asyncio
import itertools
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import pytest_asyncio

import bot.app
from bot.core.principal import Scope
from bot.core.records import Account, RepositoryName, RepositoryState
from bot.web.api import gate
from storage.accounts import Accounts
from storage.issues import Issues
from storage.repositories import Repositories
from tests.web.api.conftest import MY_REPOSITORY, World, issue, limits, serve_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT_HEADERS = (
    "RateLimit-Policy",
    "RateLimit",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
)
ACCOUNTS = itertools.count(8_001)


@asynccontextmanager
async def another(world, folder):
    """A second process on the same database."""
    settings = replace(world.settings, data_dir=folder / "second")
    options = bot.app.Options(clock=world.process.base.options.clock, host="127.0.0.1")
    async with bot.app.running(settings, options, jobs=False) as process:
        yield World(f"http://127.0.0.1:{process.port}", process, world.session, settings, world.clock)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worlds(postgres, template, model_dir, tmp_path_factory):
    """Two processes on one database. Each test has an account, and addresses, of its own."""
    folder = tmp_path_factory.mktemp("limits")
    async with (
        serve_world(postgres, template, model_dir, folder, CLIENT_ADDRESS_HEADER="X-Client") as first,
        another(first, folder) as second,
    ):
        yield first, second


async def settled(world, tier="free", repositories=1, *, private=True):
    """A new account with repositories and an issue in each; gives its id and their ids."""
    account_id = next(ACCOUNTS)
    ids = [account_id * 1_000 + n for n in range(repositories)]
    names = [RepositoryName(number, f"org{account_id}", f"r{number}", private=private) for number in ids]
    accounts = Accounts(world.database, default_tier=tier)
    await accounts.install(Account(account_id, f"org{account_id}", "Organization", tier), account_id, names)
    for number in ids[:3]:
        await Issues(world.database).save(account_id, [issue(number, n, "t", "b") for n in (1, 2)])
    return account_id, ids


def left(answer):
    """What an answer says is left; both ways to tell it agree."""
    headers = answer.headers
    assert headers["RateLimit"].startswith(f'"minute";r={headers["X-RateLimit-Remaining"]};t=')
    assert headers["RateLimit-Policy"] == f'"minute";q={headers["X-RateLimit-Limit"]};w=60'
    assert 0 < int(headers["X-RateLimit-Reset"]) <= 60
    return int(headers["X-RateLimit-Remaining"])


async def test_on_free_the_eleventh_call_in_a_minute_waits_whichever_process_it_asks(worlds):
    account_id, _ = await settled(worlds[0])
    keys = [await worlds[0].key(account_id), await worlds[0].key(account_id, Scope.READ)]
    for n in range(10):
        answer = await worlds[n % 2].get("/v1/account", keys[n // 5])
        assert (answer.status, left(answer), answer.headers["X-RateLimit-Limit"]) == (200, 9 - n, "10")
    for world in worlds:
        answer = await world.get("/v1/account", keys[0])
        assert (answer.status, answer.code, left(answer)) == (429, "rate_limited", 0)
        assert 0 < int(answer.headers["Retry-After"]) <= 60
    other, _ = await settled(worlds[0])
    assert (await worlds[0].get("/v1/account", await worlds[0].key(other))).status == 200


async def test_at_once_no_more_than_ten_are_let_through(worlds):
    account_id, _ = await settled(worlds[0])
    key = await worlds[0].key(account_id)
    answers = await asyncio.gather(*(worlds[n % 2].get("/v1/account", key) for n in range(60)))
    passed = [answer for answer in answers if answer.status == 200]
    assert sorted(left(answer) for answer in passed) == list(range(10))
    assert {answer.status for answer in answers} == {200, 429}
    await limits(worlds[0], free=1_000)
    usage = (await worlds[1].get("/v1/usage", key)).json["items"]
    await limits(worlds[0], free=10)
    assert {item["metric"] for item in usage} == {"api_calls"}
    assert sum(item["amount"] for item in usage) == 11  # by day, and midnight may have passed


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/account", None, 200), ("GET", "/v1/repositories/999", None, 404), ("GET", "/v1/usage?days=0", None, 422),
        ("POST", f"/v1/repositories/{MY_REPOSITORY}/similar", {}, 422), ("POST", "/v1/token", {}, 200), ("POST", "/v1/token", {"scope": "x"}, 422),
        ("GET", "/v1/export", None, 200), ("GET", "/v1/openapi.json", None, 200), ("POST", "/find_similar", {}, 422), ("GET", "/stats", None, 200),
    ],
)  # fmt: skip
async def test_every_answer_tells_the_limit(worlds, method, path, body, status):
    answer = await worlds[0].ask(method, path, await worlds[0].key(), body=body)
    assert answer.status == status, answer.raw
    left(answer)


async def test_refusals_tell_the_limit_too(worlds):
    account_id, _ = await settled(worlds[0], "enterprise")
    read = await worlds[0].key(account_id, Scope.READ)
    for key, path, status in (
        (read, "/v1/keys", 403),
        (None, "/v1/account", 401),
        ("djv_x", "/v1/account", 401),
        (None, "/v1/repositories/1/issues/1/similar", 401),
    ):
        answer = await worlds[0].get(path, key, headers={"X-Client": "10.4.0.1"})
        assert answer.status == status
        left(answer)


async def test_what_cannot_be_guessed_is_not_tried_for_long(worlds):
    """Counted for the address, over all processes, ways to ask and kinds of credentials; a good one goes on."""
    here, there = {"X-Client": "10.5.0.1"}, {"X-Client": "10.5.0.2"}
    ways = [
        lambda world: world.get("/v1/account", "djv_x", headers=here),
        lambda world: world.get("/v1/account", "eyJhbGciOiJIUzI1NiJ9.e30.x", headers=here),
        lambda world: world.post("/v1/token", None, {"api_key": "djv_x"}, headers=here),
        lambda world: world.get("/v1/account?key=djv_x", headers=here),
        lambda world: world.get("/stats", "djv_x", headers=here),
    ]
    statuses = [(await ways[n % len(ways)](worlds[n % 2])).status for n in range(gate.FAILURES)]
    assert statuses == [401] * gate.FAILURES
    for way in ways:
        answer = await way(worlds[0])
        assert (answer.status, 0 < int(answer.headers["Retry-After"]) <= 60) == (429, True)
    good = await worlds[0].key()
    assert (await worlds[0].get("/v1/account", good, headers=here)).status == 200
    assert (await worlds[0].get("/v1/account", "djv_x", headers=there)).status == 401


async def test_addresses_of_one_network_are_one(worlds):
    for n in range(gate.FAILURES):
        answer = await worlds[0].get("/v1/account", "djv_x", headers={"X-Client": f"2001:db8::{n:x}"})
        assert answer.status == 401
    for address, status in (("2001:db8:0:0:ffff::1", 429), ("2001:db8:0:1::1", 401)):
        answer = await worlds[0].get("/v1/account", "djv_x", headers={"X-Client": address})
        assert answer.status == status


async def test_fifty_activations_at_once_leave_three(worlds):
    account_id, ids = await settled(worlds[0], repositories=50)
    key = await worlds[0].key(account_id)
    await limits(worlds[0], free=1_000)
    try:
        cleared = await worlds[0].post("/v1/account/delete-data", key, {"confirm": f"org{account_id}"})
        assert cleared.json == {"repositories": 50}
        answers = await asyncio.gather(
            *(worlds[n % 2].post(f"/v1/repositories/{number}/activate", key) for n, number in enumerate(ids))
        )
    finally:
        await limits(worlds[0], free=10)
    assert sorted(answer.status for answer in answers) == [200] * 3 + [409] * 47
    for answer in answers:
        if answer.status == 409:
            assert (answer.code, answer.headers["X-Quota-Limit"]) == ("quota_exceeded", "repositories=3")
    found = await Repositories(worlds[0].database).list(account_id)
    working = [item.id for item in found if item.state is not RepositoryState.INACTIVE]
    assert len(working) == 3
    assert sorted(working) == sorted(answer.json["id"] for answer in answers if answer.status == 200)


async def actions(world, key):
    """What the audit log says was done."""
    return [line["action"] for line in (await world.get("/v1/audit", key)).json["items"]]


@pytest.mark.parametrize("path", ["deactivate", "reindex", "issues/1/outcomes"])
async def test_twenty_at_once_under_one_key_are_done_once(worlds, path):
    account_id, (repository_id, *_) = await settled(worlds[0], "enterprise")
    key, body = await worlds[0].key(account_id), {"kind": "rejected"} if "outcomes" in path else None
    where, headers = f"/v1/repositories/{repository_id}/{path}", {"Idempotency-Key": "one"}

    async def one(n):
        return await worlds[n % 2].post(where, key, body, headers=headers)

    answers = await asyncio.gather(*(one(n) for n in range(20)))
    done = [answer for answer in answers if answer.status != 409]
    first = [answer for answer in done if "Idempotency-Replayed" not in answer.headers]
    assert len(first) == 1
    assert first[0].status in (200, 202)
    assert {answer.raw for answer in done} == {first[0].raw}
    for answer in answers:
        if answer.status == 409:
            assert (answer.code, int(answer.headers["Retry-After"]) > 0) == ("in_flight", True)
    again = await one(1)
    assert (again.raw, again.headers["Idempotency-Replayed"]) == (first[0].raw, "true")
    if body:
        outcomes = (await worlds[0].get(f"/v1/repositories/{repository_id}/outcomes", key)).json["items"]
        assert len(outcomes) == 1
    else:
        assert await actions(worlds[0], key) == [f"repository.{path}"]
    async with worlds[0].database.account(account_id) as connection:
        assert await connection.fetchval("SELECT count(*) FROM idempotency_keys") == 1


async def test_a_key_of_one_account_is_another_one_elsewhere(worlds):
    headers = {"Idempotency-Key": "shared"}
    for _ in range(2):
        account_id, (repository_id, *_) = await settled(worlds[0], "enterprise")
        key = await worlds[0].key(account_id)
        answer = await worlds[0].post(f"/v1/repositories/{repository_id}/deactivate", key, headers=headers)
        assert (answer.status, answer.json["id"]) == (200, repository_id)
        assert "Idempotency-Replayed" not in answer.headers


async def test_what_failed_may_be_tried_again_under_its_key(worlds):
    account_id, (repository_id, *_) = await settled(worlds[0], "enterprise")
    key, headers = await worlds[0].key(account_id), {"Idempotency-Key": "again"}
    path = f"/v1/repositories/{repository_id}"
    assert (await worlds[0].post(f"{path}/deactivate", key)).status == 200
    assert (await worlds[0].post(f"{path}/reindex", key, headers=headers)).code == "inactive"
    assert (await worlds[0].post(f"{path}/activate", key)).status == 200
    answer = await worlds[1].post(f"{path}/reindex", key, headers=headers)
    assert (answer.status, "Idempotency-Replayed" in answer.headers) == (202, False)


async def test_of_those_who_saw_the_same_settings_one_changes_them(worlds):
    """P27: who comes late is told so; without `If-Match` nobody loses what others changed beside them."""
    account_id, (repository_id, *_) = await settled(worlds[0], "enterprise", private=False)
    key, path = await worlds[0].key(account_id), f"/v1/repositories/{repository_id}/settings"
    seen = (await worlds[0].get(path, key)).headers["ETag"]

    async def change(n, body, headers):
        return await worlds[n % 2].ask("PATCH", path, key, body=body, headers=headers)

    modes = ["shadow", "comment"] * 10
    answers = await asyncio.gather(
        *(change(n, {"mode": mode}, {"If-Match": seen}) for n, mode in enumerate(modes))
    )
    assert sorted(answer.status for answer in answers) == [200] + [412] * 19
    assert {answer.code for answer in answers if answer.status == 412} == {"changed"}
    won = next(answer for answer in answers if answer.status == 200)
    assert (await worlds[0].get(path, key)).headers["ETag"] == won.headers["ETag"]
    bodies = [{"mode": "comment"}, {"public_search": True}] * 10
    answers = await asyncio.gather(*(change(n, body, {}) for n, body in enumerate(bodies)))
    assert {answer.status for answer in answers} == {200}
    found = (await worlds[0].get(path, key)).json
    assert (found["mode"], found["public_search"]) == ("comment", True)
