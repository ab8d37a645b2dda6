import json

import pytest

from tests.sandbox.conftest import SECRET, verifies


async def arrived(play):
    """What the receiver got, after all was sent: (event, action, GUID)."""
    await play.github.hooks.settled()
    return [
        (headers["X-GitHub-Event"], json.loads(body)["action"], headers["X-GitHub-Delivery"])
        for headers, body in play.receiver.got
    ]


async def test_deliveries_are_signed_and_in_order(play):
    issue = play.github.open_issue(play.open, "bob", "It crashes é👍", "body")
    play.github.comment(play.open, issue, "cat", "me too")
    play.github.close_issue(play.open, issue)
    assert [(event, action) for event, action, _ in await arrived(play)] == [
        ("installation", "created"), ("issues", "opened"), ("issue_comment", "created"), ("issues", "closed"),
    ]  # fmt: skip
    assert len({guid for _, _, guid in await arrived(play)}) == 4
    for headers, body in play.receiver.got:
        assert verifies(headers, body)
        assert not verifies(headers, body + b" ")
        assert not verifies(headers, body, "x" * 40)
        assert headers["Content-Type"] == "application/json"
        assert headers["X-GitHub-Hook-Installation-Target-ID"] == str(play.app.id)
        body.decode("ascii")
    assert SECRET not in repr(play.app)


async def test_events_name_whom_they_are_about(play):
    play.github.open_issue(play.open, "bob", "x")
    await play.github.hooks.settled()
    payload = json.loads(play.receiver.got[-1][1])
    assert payload["installation"]["id"] == play.installation.id
    assert (payload["repository"]["id"], payload["repository"]["full_name"]) == (play.open.id, "ann/tool")
    assert payload["sender"]["login"] == payload["issue"]["user"]["login"] == "bob"
    assert payload["issue"]["id"] > 2**31


async def test_events_go_only_where_the_app_is_installed(play):
    before = len(await play.sent())
    issue = play.github.open_issue(play.other, "bob", "x")
    play.github.comment(play.other, issue, "bob", "x")
    assert len(await play.sent()) == before
    play.github.add_repositories(play.installation, [play.other])
    play.github.close_issue(play.other, issue)
    assert (await play.sent())[before:] == [("installation_repositories", "added"), ("issues", "closed")]
    play.github.remove_repositories(play.installation, [play.other])
    play.github.reopen_issue(play.other, issue)
    assert (await play.sent())[before + 2 :] == [("installation_repositories", "removed")]


async def test_a_suspended_installation_hears_nothing_but_that(play):
    play.github.suspend(play.installation)
    play.github.open_issue(play.open, "bob", "x")
    play.github.unsuspend(play.installation)
    assert (await play.sent())[1:] == [("installation", "suspend"), ("installation", "unsuspend")]


async def test_an_app_hears_only_what_it_listens_to(play):
    quiet = play.github.create_app("quiet", play.receiver.url, "x" * 40, events=["issue_comment"])
    play.github.install(quiet, play.open.owner, [play.open])
    before = len(await play.sent())
    issue = play.github.open_issue(play.open, "bob", "x")
    play.github.comment(play.open, issue, "bob", "x")
    targets = [
        (attempt.event, attempt.headers["X-GitHub-Hook-Installation-Target-ID"])
        for attempt in play.github.hooks.attempts[before:]
    ]
    assert targets == [
        ("issues", str(play.app.id)), ("issue_comment", str(play.app.id)), ("issue_comment", str(quiet.id)),
    ]  # fmt: skip


async def test_every_change_has_its_event(play):
    github, issue = play.github, play.github.open_issue(play.open, "bob", "x")
    github.edit_issue(play.open, issue, title="y", body="z")
    github.add_labels(play.open, issue, ["a", "a", "b"])
    github.remove_label(play.open, issue, "a")
    comment = github.comment(play.open, issue, "bob", "x")
    github.edit_comment(play.open, issue, comment, "y")
    github.react(comment, "bob", "+1")  # GitHub sends nothing for it
    github.delete_comment(play.open, issue, comment)
    github.reopen_issue(play.open, issue)
    github.delete_issue(play.open, issue)
    github.accept_permissions(play.installation, {"issues": "read"})
    github.uninstall(play.installation)
    assert [action for _, action in (await play.sent())[1:]] == [
        "opened", "edited", "labeled", "labeled", "unlabeled", "created", "edited", "deleted", "reopened", "deleted",
        "new_permissions_accepted", "deleted",
    ]  # fmt: skip
    changes = [json.loads(attempt.body).get("changes") for attempt in play.github.hooks.attempts]
    assert [change for change in changes if change] == [
        {"title": {"from": "x"}, "body": {"from": ""}}, {"body": {"from": "x"}},
    ]  # fmt: skip


# --- the log, and sending again


async def test_a_redelivery_keeps_guid_and_body(play):
    await play.github.hooks.settled()
    play.receiver.answer = 503
    play.github.open_issue(play.open, "bob", "x")
    await play.github.hooks.settled()
    _, log, _ = await play.call("GET", "/app/hook/deliveries", play.jwt())
    listed = [(item["event"], item["status_code"], item["redelivery"]) for item in log]
    assert listed == [("issues", 503, False), ("installation", 202, False)]
    play.receiver.answer = 202
    assert await play.status("POST", f"/app/hook/deliveries/{log[0]['id']}/attempts", play.jwt()) == 202
    await play.github.hooks.settled()
    (first, first_body), (second, second_body) = play.receiver.got[-2:]
    assert first_body == second_body
    assert first["X-GitHub-Delivery"] == second["X-GitHub-Delivery"] == log[0]["guid"]
    assert verifies(second, second_body)
    _, log, _ = await play.call("GET", "/app/hook/deliveries", play.jwt())
    assert [(item["guid"], item["status_code"], item["redelivery"]) for item in log[:2]] == [
        (log[1]["guid"], 202, True), (log[1]["guid"], 503, False),
    ]  # fmt: skip


async def test_an_unknown_delivery_is_404(play):
    assert await play.status("POST", "/app/hook/deliveries/99999/attempts", play.jwt()) == 404


async def test_the_log_has_pages(play):
    for n in range(7):
        play.github.open_issue(play.open, "bob", f"issue {n}")
    await play.github.hooks.settled()
    path, ids = "/app/hook/deliveries?per_page=3", []
    while path:
        _, body, headers = await play.call("GET", path, play.jwt())
        ids += [item["id"] for item in body]
        link = headers.get("Link", "")
        path = link[1 : link.index(">")] if link else ""
    assert ids == sorted(ids, reverse=True)
    assert len(ids) == 8


async def test_a_delivery_that_is_dropped_is_only_in_the_log(play):
    await play.github.hooks.settled()
    play.receiver.got.clear()
    play.github.hooks.switches.drop = True
    play.github.open_issue(play.open, "bob", "x")
    await play.github.hooks.settled()
    assert play.receiver.got == []
    assert (play.github.hooks.attempts[-1].status, play.github.hooks.attempts[-1].status_code) == (
        "failed to connect to host",
        0,
    )
    play.github.hooks.switches.drop = False
    assert play.github.hooks.redeliver(play.app, play.github.hooks.attempts[-1].id)
    assert len(await arrived(play)) == 1


async def test_a_delivery_may_arrive_twice(play):
    await play.github.hooks.settled()
    play.receiver.got.clear()
    play.github.hooks.switches.twice = True
    play.github.open_issue(play.open, "bob", "x")
    (one, two) = await arrived(play)
    assert one == two


async def test_a_receiver_that_is_not_there_is_in_the_log(play):
    play.app.webhook_url = "http://127.0.0.1:1/hook"
    play.github.open_issue(play.open, "bob", "x")
    await play.github.hooks.settled()
    assert play.github.hooks.attempts[-1].status == "failed: ClientConnectorError"


@pytest.mark.parametrize("answer", [200, 202, 301, 400, 500])
async def test_the_log_has_what_was_answered(play, answer):
    await play.github.hooks.settled()
    play.receiver.answer = answer
    play.github.open_issue(play.open, "bob", "x")
    await play.github.hooks.settled()
    last = play.github.hooks.attempts[-1]
    assert last.status_code == answer
    assert (last.status == "OK") == (answer < 300)


async def test_one_entry_of_the_log_shows_what_was_sent(play):
    play.github.open_issue(play.open, "bob", "x")
    await play.github.hooks.settled()
    _, log, _ = await play.call("GET", "/app/hook/deliveries", play.jwt())
    assert (log[0]["installation_id"], log[0]["repository_id"]) == (play.installation.id, play.open.id)
    status, entry, _ = await play.call("GET", f"/app/hook/deliveries/{log[0]['id']}", play.jwt())
    assert (status, entry["guid"], entry["request"]["payload"]["action"]) == (200, log[0]["guid"], "opened")
    assert await play.status("GET", "/app/hook/deliveries/99999", play.jwt()) == 404


async def test_each_nth_is_dropped_and_a_redelivery_is_not(play):
    play.github.hooks.switches.drop_each = 3
    for n in range(8):
        play.github.open_issue(play.open, "bob", f"x{n}")
    await play.github.hooks.settled()
    lost = [item for item in play.github.hooks.attempts if item.status_code == 0]
    assert len(lost) in (2, 3)
    for item in lost:
        play.github.hooks.redeliver(play.app, item.id)
    await play.github.hooks.settled()
    assert {item.guid for item in lost} <= {headers["X-GitHub-Delivery"] for headers, _ in play.receiver.got}
