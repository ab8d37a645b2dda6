"""What programs do with the API, one call after the other."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from bot.core.errors import SearchUnavailableError
from bot.core.principal import Scope
from bot.core.tiers import day_of
from storage.accounts import Accounts
from tests.web.api.conftest import (
    MINE,
    MY_REPOSITORY,
    MY_SECOND,
    OTHER,
    OTHER_REPOSITORY,
    REPORTS,
    serve_world,
)

HERE = f"/v1/repositories/{MY_REPOSITORY}"


async def test_the_check_before_filing(world):
    key = await world.key(scope=Scope.READ)
    title, body = REPORTS[0]
    answer = await world.post(f"{HERE}/similar", key, {"title": title, "body": f"{body} Please help!"})
    assert answer.status == 200
    found = answer.json
    assert found["matches"][0]["issue"]["number"] == 1
    assert found["matches"][0]["issue"]["url"].endswith("/octo/app/issues/1")
    assert (found["searched"], found["degraded"]) == (10, None)
    assert answer.headers["RateLimit"].startswith('"minute";r=999;')


async def test_similar_by_number(world):
    answer = await world.get(f"{HERE}/issues/7/similar?limit=3", await world.key(scope=Scope.READ))
    assert answer.status == 200
    assert {item["issue"]["number"] for item in answer.json["matches"]} <= set(range(1, 7))


async def test_repositories_page_by_page(world):
    key = await world.key(scope=Scope.READ)
    first = (await world.get("/v1/repositories?limit=1", key)).json
    second = (await world.get(f"/v1/repositories?limit=1&cursor={first['next']}", key)).json
    assert [item["id"] for item in first["items"] + second["items"]] == [MY_REPOSITORY, MY_SECOND]
    assert second["next"] is None


async def test_a_downgrade_says_until_when_what_has_no_room_is_kept(world):
    owner = await asyncpg.connect(world.settings.database_url)
    await owner.execute("UPDATE tiers SET repositories = 1, issues = 4 WHERE name = 'free'")
    await owner.close()
    key = await world.key()
    listed = (await world.get("/v1/repositories", key)).json["items"]
    assert [item["kept_until"] for item in listed] == [None, None]
    await Accounts(world.database).set_tier(MINE, "free")
    placed, frozen = (await world.get("/v1/repositories", key)).json["items"]
    assert (placed["state"], frozen["state"]) == ("active", "inactive")
    until = datetime.fromisoformat(frozen["kept_until"])
    assert timedelta(days=29) < until - datetime.now(UTC) < timedelta(days=31)
    assert frozen["reason"].endswith(f"Its index is kept until {day_of(until)}.")
    assert placed["kept_until"] == frozen["kept_until"], "its issues beyond the limit are, too"
    assert (await world.get(f"/v1/repositories/{MY_SECOND}", key)).json == frozen
    world.clock["ahead"] = timedelta(days=31)
    assert (await world.get(f"/v1/repositories/{MY_REPOSITORY}", key)).json["kept_until"] is None
    moved = await world.post(f"/v1/repositories/{MY_SECOND}/deactivate", key)
    assert (moved.status, moved.json["kept_until"]) == (200, None)


async def test_what_is_anothers_is_not_there(world):
    key = await world.key()
    foreign = await world.get(f"/v1/repositories/{OTHER_REPOSITORY}", key)
    missing = await world.get("/v1/repositories/999", key)
    assert (foreign.status, missing.status) == (404, 404)
    assert {**foreign.json, "request_id": ""} == {**missing.json, "request_id": ""}


async def test_a_key_becomes_a_token(world):
    key = await world.key(scope=Scope.WRITE)
    answer = await world.post("/v1/token", key, {"scope": "read", "repository_id": MY_SECOND})
    assert answer.status == 200, answer.raw
    token = answer.json["access_token"]
    assert (await world.get(f"/v1/repositories/{MY_SECOND}", token)).status == 200
    assert (await world.get(HERE, token)).status == 404
    assert (await world.post(f"/v1/repositories/{MY_SECOND}/reindex", token)).code == "insufficient_scope"
    assert (await world.ask("DELETE", "/v1/token", token)).status == 204
    assert (await world.get(f"/v1/repositories/{MY_SECOND}", token)).status == 401


async def test_a_request_without_a_body_is_one_with_an_empty_object(world):
    key = await world.key(scope=Scope.READ)
    assert (await world.ask("POST", "/v1/token", key)).status == 200
    assert (await world.ask("POST", f"{HERE}/similar", key)).code == "invalid"


async def test_a_revoked_key_ends_with_its_tokens(world):
    admin, key = await world.key(), await world.key(scope=Scope.READ)
    token = (await world.post("/v1/token", body={"api_key": key})).json["access_token"]
    assert (await world.get(HERE, token)).status == 200
    assert (await world.ask("DELETE", f"/v1/keys/{key.split('_')[1]}", admin)).status == 204
    assert [(await world.get(HERE, text)).status for text in (key, token)] == [401, 401]


async def test_keys_are_made_and_shown_once(world):
    admin = await world.key()
    made = await world.post(
        "/v1/keys", admin, {"name": "ci", "scope": "read", "repository_id": MY_REPOSITORY}
    )
    assert made.status == 201
    text = made.json["key"]
    listed = await world.get("/v1/keys", admin)
    assert text.split("_")[2].encode() not in listed.raw
    assert (await world.get(HERE, text)).status == 200
    assert (await world.get(f"/v1/repositories/{MY_SECOND}", text)).status == 404
    foreign = await world.post(
        "/v1/keys", admin, {"name": "x", "scope": "read", "repository_id": OTHER_REPOSITORY}
    )
    assert foreign.status == 404
    lines = (await world.get("/v1/audit", admin)).json["items"]
    assert [line["action"] for line in lines] == ["key.create"]


async def test_settings_are_changed_by_those_who_saw_them(world):
    key = await world.key()
    before = await world.get(f"{HERE}/settings", key)
    assert before.json == {"mode": "auto", "shadow_until": None, "public_search": False}
    changed = await world.ask(
        "PATCH",
        f"{HERE}/settings",
        key,
        body={"mode": "shadow"},
        headers={"If-Match": before.headers["ETag"]},
    )
    assert (changed.status, changed.json["mode"]) == (200, "shadow")
    late = await world.ask(
        "PATCH",
        f"{HERE}/settings",
        key,
        body={"mode": "comment"},
        headers={"If-Match": before.headers["ETag"]},
    )
    assert (late.status, late.code) == (412, "changed")


async def test_a_public_repository_may_be_searched_by_anybody(world):
    key, text = await world.key(), {"title": REPORTS[1][0]}
    assert (await world.post(f"{HERE}/similar", None, text)).status == 401
    assert (await world.ask("PATCH", f"{HERE}/settings", key, body={"public_search": True})).status == 200
    assert (await world.post(f"{HERE}/similar", None, text)).status == 200
    there = await world.key(OTHER, scope=Scope.READ)
    assert (await world.post(f"{HERE}/similar", there, text)).status == 200
    assert (await world.get(f"{HERE}/issues", there)).status == 404
    private = f"/v1/repositories/{MY_SECOND}"
    assert (await world.post(f"{private}/similar", there, text)).status == 404
    assert (await world.ask("PATCH", f"{private}/settings", key, body={"public_search": True})).status == 422
    statuses = [(await world.post(f"{HERE}/similar", None, text)).status for _ in range(12)]
    assert statuses[-1] == 429


async def test_a_repeated_write_is_done_once(world):
    key, body = await world.key(), {"kind": "rejected"}
    headers = {"Idempotency-Key": "k1"}
    path = f"{HERE}/issues/7/outcomes"
    first = await world.post(path, key, body, headers=headers)
    again = await world.post(path, key, body, headers=headers)
    assert (first.status, again.status, again.raw) == (200, 200, first.raw)
    assert again.headers["Idempotency-Replayed"] == "true"
    other = await world.post(path, key, {"kind": "confirmed", "candidate": 2}, headers=headers)
    assert (other.status, other.code) == (422, "idempotency_mismatch")


async def test_outcomes_teach(world):
    key = await world.key(scope=Scope.WRITE)
    path = f"{HERE}/issues/7/outcomes"
    assert (await world.post(path, key, {"kind": "confirmed", "candidate": 2})).status == 200
    assert (
        await world.post(f"{HERE}/issues/2/outcomes", key, {"kind": "confirmed", "candidate": 7})
    ).code == "circle"
    assert [item["kind"] for item in (await world.get(f"{HERE}/outcomes", key)).json["items"]] == [
        "confirmed"
    ]


async def test_export_and_deletion(world):
    key = await world.key()
    export = await world.get("/v1/export", key)
    lines = export.raw.decode().splitlines()
    assert export.headers["Content-Type"].startswith("application/x-ndjson")
    assert sum('"kind":"issue"' in line for line in lines) == 2 * len(REPORTS)
    assert "CANARY" not in export.raw.decode()
    assert (await world.post("/v1/account/delete-data", key, {"confirm": "cat"})).status == 422
    assert (await world.post("/v1/account/delete-data", key, {"confirm": "octo"})).json == {"repositories": 2}
    assert (await world.get(f"{HERE}/issues", key)).json["items"] == []
    there = await world.key(OTHER)
    assert len((await world.get(f"/v1/repositories/{OTHER_REPOSITORY}/issues", there)).json["items"]) == len(
        REPORTS
    )
    assert (await world.post(f"{HERE}/activate", key)).json["state"] == "pending"


async def test_the_duplicates_report(world):
    key = await world.key(scope=Scope.READ)
    report = await world.get(f"{HERE}/duplicates?threshold=0.5&state=all", key)
    assert report.status == 200
    assert report.json["issues_compared"] == len(REPORTS)
    text = await world.get(f"{HERE}/duplicates?format=markdown", key)
    assert text.headers["Content-Type"].startswith("text/markdown")


async def test_the_document_and_its_page(world):
    document = (await world.get("/v1/openapi.json")).json
    assert document["openapi"] == "3.1.0"
    page = await world.get("/docs")
    assert (page.status, b"swagger-ui-bundle.js" in page.raw) == (200, True)
    assert (await world.get("/docs/swagger-ui-bundle.js")).status == 200


@pytest.mark.parametrize(
    "path", ["/v1/account", "/v1/usage", f"{HERE}/status", f"{HERE}/backtest", f"{HERE}/suggestions"]
)
async def test_what_there_is_to_read(world, path):
    answer = await world.get(path, await world.key())
    assert answer.status == (404 if path.endswith("backtest") else 200), answer.raw


async def test_a_process_that_ended_holds_no_model(postgres, template, model_dir, tmp_path):
    async with serve_world(postgres, template, model_dir, tmp_path) as world:
        search = world.process.search
        assert search.loaded is not None
    assert search.loaded is None
    with pytest.raises(SearchUnavailableError):
        search.get()
