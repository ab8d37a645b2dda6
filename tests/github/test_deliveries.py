import pytest

from bot.core.errors import GitHubUnavailableError, NotFoundError
from tests.github.conftest import Reply

LOG = "/app/hook/deliveries"
ROW = {
    "id": 12345678901234,
    "guid": "0b989ba4-242f-11e5-81e1-c7b6966d2516",
    "delivered_at": "2019-06-03T00:57:16.123Z",
    "redelivery": False,
    "duration": 0.27,
    "status": "OK",
    "status_code": 200,
    "event": "issues",
    "action": "opened",
    "installation_id": 123,
    "repository_id": 456,
    "throttled_at": None,
}


async def test_the_log_is_read_page_by_page_by_its_cursor(server, github):
    following = '<https://evil.example/app/hook/deliveries?per_page=100&cursor=v1_17>; rel="next"'
    server.on("GET", LOG, Reply(200, [ROW], {"Link": following}), Reply(200, []))
    (found,), cursor = await github.hook_attempts(None)
    assert (found.id, str(found.guid), found.answered) == (ROW["id"], ROW["guid"], True)
    assert (found.event, found.action, found.installation_id, found.repository_id) == (
        "issues",
        "opened",
        123,
        456,
    )
    assert found.delivered_at.isoformat() == "2019-06-03T00:57:16.123000+00:00"
    assert await github.hook_attempts(cursor) == ([], None)
    assert [seen.query for seen in server.to(LOG)] == [
        {"per_page": "100"},
        {"per_page": "100", "cursor": "v1_17"},
    ]


@pytest.mark.parametrize(
    ("change", "answered"),
    [
        ({"status_code": 202}, True),
        ({"status_code": 0, "status": "failed to connect"}, False),
        ({"status_code": 302}, False),
        ({"status_code": 503}, False),
        ({"action": None, "installation_id": None, "repository_id": None}, True),
    ],
)
async def test_only_a_2xx_is_an_answer(server, github, change, answered):
    server.on("GET", LOG, Reply(200, [ROW | change]))
    ((found,), _) = await github.hook_attempts(None)
    assert found.answered is answered


async def test_an_odd_row_does_not_hide_the_others(server, github):
    odd = [ROW | {"guid": "no id"}, ROW | {"delivered_at": None}, {}, ROW]
    server.on("GET", LOG, Reply(200, odd))
    found, _ = await github.hook_attempts(None)
    assert len(found) == 1


async def test_a_log_that_is_none_is_told(server, github):
    server.on("GET", LOG, Reply(200, {"message": "?"}))
    with pytest.raises(GitHubUnavailableError):
        await github.hook_attempts(None)


async def test_a_delivery_is_looked_at_and_asked_for_in_the_apps_own_name(server, github):
    server.on("GET", f"{LOG}/7", Reply(200, {"id": 7, "request": {"payload": {"action": "created"}}}))
    server.on("POST", f"{LOG}/7/attempts", Reply(202, {}))
    server.on("POST", f"{LOG}/8/attempts", Reply(404, {"message": "Not Found"}))
    assert await github.hook_payload(7) == {"action": "created"}
    await github.redeliver(7)
    with pytest.raises(NotFoundError):
        await github.redeliver(8)
    assert server.minted == []
