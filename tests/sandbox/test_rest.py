import base64
from datetime import UTC, datetime, timedelta

import pytest

ISSUES = "/repos/ann/tool/issues"


@pytest.fixture
def issue(play):
    return play.github.seed_issue(play.open, "It crashes", "when I click", "bob")


# --- what the sandbox is not


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/none"),
        ("GET", "/search/issues?q=x"),
        ("GET", "/repos/ann/tool/pulls"),
        ("DELETE", "/repos/ann/tool"),
        ("PUT", ISSUES),
        ("GET", f"{ISSUES}?labels=bug"),
        ("GET", f"{ISSUES}?page=1&per_pag=5"),
        ("GET", "/repos/ann/tool/issues/x"),
    ],
)
async def test_what_is_not_played_is_501_and_remembered(play, method, path):
    status, body, _ = await play.call(method, path)
    assert status == 501
    assert path in body["message"]
    assert [call.split(": ")[0] for call in play.sandbox.unknown] == [f"{method} {path}"]


async def test_a_change_that_is_not_played_is_501(play, issue):
    assert await play.status("PATCH", f"{ISSUES}/1", body={"title": "x"}) == 501
    assert issue.title == "It crashes"


async def test_every_call_is_remembered(play, issue):
    await play.status("GET", f"{ISSUES}/1")
    await play.status("GET", f"{ISSUES}/2")
    await play.status("POST", f"{ISSUES}/1/comments", body={"body": "x"})
    seen = [(call.method, call.path, call.status) for call in play.sandbox.calls]
    assert seen == [
        ("GET", f"{ISSUES}/1", 200),
        ("GET", f"{ISSUES}/2", 404),
        ("POST", f"{ISSUES}/1/comments", 201),
    ]
    assert [call.path for call in play.sandbox.writes()] == [f"{ISSUES}/1/comments"]


async def test_answers_have_githubs_headers(play):
    _, _, headers = await play.call("GET", ISSUES)
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert int(headers["X-RateLimit-Remaining"]) > 0
    assert int(headers["X-RateLimit-Reset"]) > datetime.now(UTC).timestamp()


# --- who sees what


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/repos/ann/secret", 404),
        ("GET", "/repos/ann/secret/issues", 404),
        ("POST", "/repos/ann/secret/issues", 404),
        ("GET", "/repos/ann/other", 404),
        ("POST", "/repos/ann/other/issues", 403),
        ("GET", "/repos/ann/none", 404),
    ],
)
async def test_what_is_outside_the_token(play, method, path, status):
    assert await play.status(method, path, body={"title": "x"}) == status


@pytest.mark.parametrize(
    ("permissions", "method", "path", "status"),
    [
        ({"metadata": "read"}, "GET", ISSUES, 403),
        ({"issues": "read"}, "GET", ISSUES, 200),
        ({"issues": "read"}, "POST", f"{ISSUES}/1/comments", 403),
        ({"issues": "write"}, "POST", f"{ISSUES}/1/comments", 201),
        ({"issues": "write"}, "GET", "/repos/ann/tool/contents/x", 403),
        ({"contents": "read"}, "GET", "/repos/ann/tool/contents/x", 404),
    ],
)
async def test_permissions(play, issue, permissions, method, path, status):
    answered, body, _ = await play.call(method, path, play.token(**permissions), {"body": "x"})
    assert answered == status
    assert status != 403 or body["message"] == "Resource not accessible by integration"


async def test_an_archived_repository_is_read_only(play, issue):
    play.open.archived = True
    assert await play.status("GET", f"{ISSUES}/1") == 200
    assert await play.status("POST", f"{ISSUES}/1/comments", body={"body": "x"}) == 403


# --- what moved


async def test_an_old_name_redirects(play, issue):
    play.github.rename_repository(play.open, "new")
    status, _, headers = await play.call("GET", "/repos/ann/tool/issues/1")
    assert (status, headers["Location"]) == (301, f"{play.url}/repositories/{play.open.id}/issues/1")
    status, _, headers = await play.call("POST", "/repos/Ann/Tool/issues/1/comments", body={"body": "x"})
    assert (status, headers["Location"]) == (307, f"{play.url}/repositories/{play.open.id}/issues/1/comments")
    assert await play.status("GET", "/repos/ann/new/issues/1") == 200
    assert issue.comments == []


async def test_an_old_name_that_is_taken_is_the_new_repository(play):
    play.github.rename_repository(play.open, "new")
    play.github.create_repository("ann", "tool")
    assert await play.status("GET", "/repos/ann/tool") == 404


async def test_a_deleted_issue_is_gone(play, issue):
    play.github.delete_issue(play.open, issue)
    assert await play.status("GET", f"{ISSUES}/1") == 410
    assert await play.status("POST", f"{ISSUES}/1/comments", body={"body": "x"}) == 410
    assert play.github.seed_issue(play.open, "next").number == 2  # a number is never given twice


async def test_a_transferred_issue_redirects(play, issue):
    moved = play.github.transfer_issue(play.open, issue, play.other)
    status, _, headers = await play.call("GET", f"{ISSUES}/1")
    assert (status, headers["Location"]) == (301, f"{play.url}/repos/ann/other/issues/{moved.number}")
    assert await play.status("POST", f"{ISSUES}/1/comments", body={"body": "x"}) == 307
    assert (moved.title, moved.id == issue.id) == (issue.title, False)


async def test_pages_lead_to_each_other(play):
    for n in range(250):
        play.github.seed_issue(play.open, f"issue {n}")
    path, numbers, pages = f"{ISSUES}?state=all&per_page=100&sort=created&direction=asc", [], 0
    while path:
        status, body, headers = await play.call("GET", path)
        assert status == 200
        numbers += [item["number"] for item in body]
        link, pages = headers.get("Link", ""), pages + 1
        path = link[1 : link.index(">")] if link else ""
    assert (numbers, pages) == (list(range(1, 251)), 3)
    assert len((await play.call("GET", ISSUES))[1]) == 30
    assert len((await play.call("GET", f"{ISSUES}?per_page=1000"))[1]) == 100
    assert (await play.call("GET", f"{ISSUES}?page=99"))[1] == []


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("", [4, 3, 1]),
        ("state=all", [4, 3, 2, 1]),
        ("state=closed", [2]),
        ("state=all&direction=asc", [1, 2, 3, 4]),
        ("state=all&sort=updated", [1, 4, 3, 2]),
        ("state=all&creator=bob", [2]),
        ("state=all&since=2030-01-01T00:00:00Z", [1]),
    ],
)
async def test_lists(play, query, numbers):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    seed = play.github.seed_issue
    seed(play.open, "a", created_at=start, updated_at=datetime(2030, 1, 1, tzinfo=UTC))
    seed(play.open, "b", author="bob", created_at=start + timedelta(days=1), state="closed")
    seed(play.open, "c", created_at=start + timedelta(days=2), is_pull_request=True)
    seed(play.open, "d", author=None, created_at=start + timedelta(days=3))
    _, body, _ = await play.call("GET", f"{ISSUES}?{query}")
    assert [item["number"] for item in body] == numbers
    assert {item["number"] for item in body if "pull_request" in item} == {3} & set(numbers)
    assert {item["number"] for item in body if item["user"] is None} == {4} & set(numbers)


# --- writes


async def test_an_issue_is_opened_closed_and_reopened(play):
    status, body, _ = await play.call("POST", ISSUES, body={"title": "x", "body": "y"})
    assert (status, body["number"], body["user"]["login"]) == (201, 1, "deja-view[bot]")
    assert body["performed_via_github_app"]["id"] == play.app.id
    _, body, _ = await play.call(
        "PATCH", f"{ISSUES}/1", body={"state": "closed", "state_reason": "duplicate"}
    )
    assert (body["state"], body["state_reason"], body["closed_at"] is None) == ("closed", "duplicate", False)
    _, body, _ = await play.call("PATCH", f"{ISSUES}/1", body={"state": "open"})
    assert (body["state"], body["state_reason"], body["closed_at"]) == ("open", "reopened", None)
    assert await play.status("PATCH", f"{ISSUES}/1", body={"state_reason": "boring"}) == 422


async def test_comments(play, issue):
    path = f"{ISSUES}/1/comments"
    _, made, _ = await play.call("POST", path, body={"body": "one"})
    assert (made["user"]["type"], made["performed_via_github_app"]["slug"]) == ("Bot", "deja-view")
    play.github.comment(play.open, issue, "bob", "two")
    _, listed, _ = await play.call("GET", path)
    assert [(item["body"], item["performed_via_github_app"] is None) for item in listed] == [
        ("one", False),
        ("two", True),
    ]
    one = f"{ISSUES}/comments/{made['id']}"
    assert (await play.call("PATCH", one, body={"body": "changed"}))[1]["body"] == "changed"
    assert (await play.call("GET", one))[1]["body"] == "changed"
    assert await play.status("GET", f"{ISSUES}/comments/1") == 404
    future = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert (await play.call("GET", f"{path}?since={future}"))[1] == []


@pytest.mark.parametrize(
    "body", [{}, {"body": ""}, {"body": "  "}, {"body": None}, {"body": 5}, {"body": "x" * 65_537}]
)
async def test_comments_that_github_refuses(play, issue, body):
    assert await play.status("POST", f"{ISSUES}/1/comments", body=body) == 422
    assert issue.comments == []


async def test_a_body_that_is_no_json_is_400(play, issue):
    for data in (b"{", b"[]", b"\xff"):
        headers = {"Authorization": f"Bearer {play.token()}"}
        async with play.session.post(
            f"{play.url}{ISSUES}/1/comments", data=data, headers=headers
        ) as response:
            assert response.status == 400


async def test_a_locked_issue_takes_no_comment(play, issue):
    issue.locked = True
    assert await play.status("POST", f"{ISSUES}/1/comments", body={"body": "x"}) == 403


async def test_labels(play, issue):
    path = f"{ISSUES}/1/labels"
    assert (await play.call("POST", path, body={"labels": ["a", "b", "a"]}))[1] == [
        {"name": "a"},
        {"name": "b"},
    ]
    assert await play.status("DELETE", f"{path}/a") == 200
    assert await play.status("DELETE", f"{path}/a") == 404
    assert issue.labels == ["b"]
    for labels in ("a", [5], ["x" * 51], [""], None, [str(n) for n in range(101)]):
        assert await play.status("POST", path, body={"labels": labels}) == 422
    await play.status("POST", path, body={"labels": ["a b/ü"]})
    assert await play.status("DELETE", f"{path}/a%20b%2F%C3%BC") == 200


async def test_reactions(play, issue):
    comment = play.github.comment(play.open, issue, "bob", "hello")
    path = f"{ISSUES}/comments/{comment.id}/reactions"
    assert await play.status("POST", path, body={"content": "eyes"}) == 201
    assert await play.status("POST", path, body={"content": "eyes"}) == 200
    assert await play.status("POST", path, body={"content": "shrug"}) == 422
    play.github.react(comment, "cat", "-1")
    _, listed, _ = await play.call("GET", path)
    assert [(item["user"]["login"], item["content"]) for item in listed] == [
        ("deja-view[bot]", "eyes"),
        ("cat", "-1"),
    ]
    assert len((await play.call("GET", f"{path}?content=-1"))[1]) == 1


@pytest.mark.parametrize(
    ("login", "permission", "role"),
    [
        ("ann", "admin", "admin"),
        ("Tri", "read", "triage"),
        ("mai", "write", "maintain"),
        ("bob", "read", "read"),
    ],
)
async def test_roles(play, login, permission, role):
    play.open.roles |= {"tri": "triage", "mai": "maintain"}
    play.github.world.account("bob"), play.github.world.account("tri"), play.github.world.account("mai")
    _, body, _ = await play.call("GET", f"/repos/ann/tool/collaborators/{login}/permission")
    assert (body["permission"], body["role_name"]) == (permission, role)
    assert await play.status("GET", "/repos/ann/tool/collaborators/none/permission") == 404


async def test_files(play):
    large = b"x" * (1024 * 1024 + 1)
    play.open.files |= {".github/deja-view.yml": b"mode: shadow\n", "large": large}
    _, body, _ = await play.call("GET", "/repos/ann/tool/contents/.github/deja-view.yml")
    assert base64.b64decode(body["content"]) == b"mode: shadow\n"
    assert len(body["sha"]) == 40
    _, body, _ = await play.call("GET", "/repos/ann/tool/contents/large")
    assert (body["encoding"], body["content"]) == ("none", "")
    _, body, _ = await play.call("GET", "/repos/ann/tool/contents/.github")
    assert [item["path"] for item in body] == [".github/deja-view.yml"]
    assert await play.status("GET", "/repos/ann/tool/contents/none") == 404


async def test_what_an_installation_sees(play):
    play.github.add_repositories(play.installation, [play.secret])
    _, body, _ = await play.call("GET", "/installation/repositories?per_page=1")
    assert (body["total_count"], [item["full_name"] for item in body["repositories"]]) == (2, ["ann/tool"])
    scoped = play.token([play.secret])
    _, body, _ = await play.call("GET", "/installation/repositories", scoped)
    assert [(item["full_name"], item["visibility"]) for item in body["repositories"]] == [
        ("ann/secret", "private")
    ]
