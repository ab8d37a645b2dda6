import base64
from datetime import UTC, datetime

import pytest

from bot.core.errors import (
    GitHubUnavailableError,
    InvalidRequestError,
    MovedError,
    NotFoundError,
    PermissionMissingError,
    RefusedError,
)
from bot.core.ports import ConfigFile, Written
from bot.core.records import AppIdentity, Role

from .conftest import APP_ID, INSTALLATION, MINT, Reply

REPO = "/repos/octo/hello"
SINCE = datetime(2024, 5, 1, 12, 0, 0, 900_000, UTC)
CONFIG = f"{REPO}/contents/.github/deja-view.yml"
WORK = {"issues": "write", "metadata": "read"}
HISTORY = {"issues": "read", "metadata": "read", "pull_requests": "read"}
NOT_GRANTED = Reply(422, {"message": "The permissions requested are not granted to this installation."})
OURS = {"id": APP_ID}


def issue(number, **more):
    known = {
        "id": 1000 + number,
        "number": number,
        "title": f"Issue {number}",
        "body": "It breaks",
        "state": "open",
        "user": {"id": 5, "login": "ada", "type": "User"},
        "labels": [{"name": "bug"}],
        "locked": False,
        "reactions": {"+1": 0},
        "created_at": "2024-05-01T00:00:00Z",
        "updated_at": "2024-05-02T00:00:00Z",
        "closed_at": None,
        "state_reason": None,
        "performed_via_github_app": None,
    }
    return known | more


def comment(number, **more):
    user = {"id": 5, "login": "ada", "type": "User"}
    known = {"id": number, "body": f"text {number}", "user": user, "created_at": "2024-05-01T00:00:00Z"}
    return known | {"updated_at": "2024-05-01T00:00:00Z", "performed_via_github_app": None} | more


def following(server, path, **query):
    return {"Link": f'<{server.url}{path}?{"&".join(f"{k}={v}" for k, v in query.items())}>; rel="next"'}


async def test_an_issue_is_read_with_a_token_for_this_repository_alone(server, repository):
    server.on("GET", f"{REPO}/issues/3", Reply(body=issue(3)))
    found = await repository.issue(3)
    assert (found.number, found.repository_id, found.author, found.labels) == (3, 42, "ada", ("bug",))
    assert server.minted == [{"permissions": WORK, "repository_ids": [42]}]
    assert server.work[0].token == "ghs_token1"
    assert server.work[0].headers["x-github-api-version"] == "2022-11-28"


@pytest.mark.parametrize("body", [{}, [], None, "text", {"number": "3"}])
async def test_an_answer_that_is_no_issue_is_no_answer(server, repository, body):
    server.on("GET", f"{REPO}/issues/3", Reply(body=body))
    with pytest.raises(GitHubUnavailableError) as raised:
        await repository.issue(3)
    assert not raised.value.sent


async def test_issues_come_page_by_page_and_follow_the_cursor(server, repository):
    path = f"{REPO}/issues"
    server.on(
        "GET",
        path,
        Reply(body=[issue(9), {"odd": True}, 5], headers=following(server, path, page=5, after="CUR")),
        Reply(body=[issue(8, pull_request={})]),
    )
    pages = [page async for page in repository.issues(state="closed", page=4)]
    assert [(page, [one.number for one in rows]) for page, rows in pages] == [(4, [9]), (5, [8])]
    assert pages[1][1][0].is_pull_request
    first, second = (seen.query for seen in server.to(path))
    common = {"state": "closed", "sort": "updated", "direction": "desc", "per_page": "100"}
    assert first == common | {"page": "4"}
    assert second == common | {"page": "5", "after": "CUR"}
    assert server.minted == [{"permissions": HISTORY, "repository_ids": [42]}]


async def test_beyond_page_99_a_cursor_is_fetched_first(server, repository):
    path = f"{REPO}/issues"
    server.on(
        "GET",
        path,
        Reply(body=[issue(3)], headers=following(server, path, page=100, after="A")),
        Reply(body=[issue(2)], headers=following(server, path, page=101, after="B")),
        Reply(body=[issue(1)]),
    )
    assert [page async for page, _ in repository.issues(state="open", page=101)] == [101]
    assert [seen.query["page"] for seen in server.to(path)] == ["99", "100", "101"]


async def test_a_next_page_elsewhere_is_never_asked_for(server, start, repository):
    foreign, path = await start(), f"{REPO}/issues"
    server.on(
        "GET", path, Reply(body=[issue(2)], headers=following(foreign, path, page=2)), Reply(body=[issue(1)])
    )
    assert [page async for page, _ in repository.issues(state="open", page=1)] == [1, 2]
    assert foreign.seen == []


async def test_history_without_the_right_to_see_pull_requests(server, repository):
    server.on("POST", MINT, NOT_GRANTED, Reply(201, {"token": "ghs_a", "expires_at": "2999-01-01T00:00:00Z"}))
    server.on("GET", f"{REPO}/issues", Reply(body=[issue(1)]))
    assert [page async for page, _ in repository.issues(state="open", page=1)] == [1]
    assert [seen.data["permissions"] for seen in server.to(MINT)] == [HISTORY, WORK]


@pytest.mark.parametrize(("pull_requests", "count"), [(False, 12), (True, 42)])
async def test_issue_count(server, repository, pull_requests, count):
    found = {"issues": {"totalCount": 12}} | ({"pullRequests": {"totalCount": 30}} if pull_requests else {})
    server.on("POST", "/graphql", Reply(body={"data": {"repository": found}}))
    assert await repository.issue_count(pull_requests=pull_requests) == count
    assert ("pullRequests" in server.work[0].data["query"]) is pull_requests
    assert server.work[0].data["variables"] == {"owner": "octo", "name": "hello"}
    assert server.minted[0]["permissions"] == (HISTORY if pull_requests else WORK)


async def test_issue_count_of_a_repository_that_is_not_there(server, repository):
    server.on("POST", "/graphql", Reply(body={"data": {"repository": None}}))
    with pytest.raises(GitHubUnavailableError):
        await repository.issue_count(pull_requests=False)


WRITES = [
    (lambda r: r.comment(3, "hi"), "POST", "/issues/3/comments", {"body": "hi"}, Reply(201, comment(77)), 77),
    (lambda r: r.edit_comment(77, "new"), "PATCH", "/issues/comments/77", {"body": "new"}, Reply(), None),
    (
        lambda r: r.open_issue("t", "b"),
        "POST",
        "/issues",
        {"title": "t", "body": "b"},
        Reply(201, issue(8)),
        8,
    ),
    (
        lambda r: r.react(77, "+1"),
        "POST",
        "/issues/comments/77/reactions",
        {"content": "+1"},
        Reply(201),
        None,
    ),
    (
        lambda r: r.add_labels(3, ["a", "b"]),
        "POST",
        "/issues/3/labels",
        {"labels": ["a", "b"]},
        Reply(body=[]),
        None,
    ),
    (
        lambda r: r.remove_label(3, "a/b c"),
        "DELETE",
        "/issues/3/labels/a%2Fb%20c",
        None,
        Reply(body=[]),
        None,
    ),
]


@pytest.mark.parametrize(("act", "method", "path", "data", "reply", "result"), WRITES)
async def test_a_write(server, repository, act, method, path, data, reply, result):
    server.on(method, REPO + path, reply)
    assert await act(repository) == result
    assert [(seen.method, seen.path, seen.data) for seen in server.work] == [(method, REPO + path, data)]
    assert server.minted == [{"permissions": WORK, "repository_ids": [42]}]


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_write_follows_no_redirect(server, start, repository, write, status):
    act, method, path, *_ = write
    foreign = await start()
    there = {"Location": f"{foreign.url}/repositories/42{path}"}
    server.on(method, REPO + path, Reply(status, {"message": "Moved Permanently"}, there))
    with pytest.raises(MovedError) as raised:
        await act(repository)
    assert not raised.value.sent
    assert len(server.work) == 1
    assert foreign.seen == []


@pytest.mark.parametrize("body", [{}, {"id": None}, []])
async def test_a_comment_whose_id_did_not_arrive_has_to_be_looked_up(server, repository, body):
    server.on("POST", f"{REPO}/issues/3/comments", Reply(201, body))
    with pytest.raises(GitHubUnavailableError) as raised:
        await repository.comment(3, "hi")
    assert raised.value.sent


async def test_a_label_that_is_not_there(server, repository):
    server.on("DELETE", f"{REPO}/issues/3/labels/bug", Reply(404, {"message": "Label does not exist"}))
    await repository.remove_label(3, "bug")


@pytest.mark.parametrize("label", ["..", ".", ""])
async def test_a_label_that_would_be_another_address(server, repository, label):
    with pytest.raises(InvalidRequestError):
        await repository.remove_label(3, label)
    assert server.work == []


async def test_own_comments(server, repository):
    path = f"{REPO}/issues/3/comments"
    bot = {"id": 9, "login": "deja-view[bot]", "type": "Bot"}
    server.on(
        "GET",
        path,
        Reply(
            body=[
                comment(1),
                comment(2, performed_via_github_app=OURS, body="<!-- ours -->"),
                comment(3, performed_via_github_app={"id": APP_ID + 1}, user=bot),
            ],
            headers=following(server, path, page=2),
        ),
        Reply(
            body=[
                comment(4, user=bot, body=None),
                comment(5, user=None),
                comment(6, user={"login": "deja-view"}),
            ]
        ),
    )
    assert await repository.own_comments(3, SINCE) == [Written(2, "<!-- ours -->"), Written(4, "")]
    assert server.to(path)[0].query == {"since": "2024-05-01T12:00:00Z", "per_page": "100", "page": "1"}


async def test_own_issues(server, repository):
    path = f"{REPO}/issues"
    server.on("GET", path, Reply(body=[issue(4, performed_via_github_app=OURS, body="x"), issue(5)]))
    assert await repository.own_issues(SINCE) == [Written(4, "x")]
    query = server.to(path)[0].query
    assert (query["creator"], query["state"], query["since"]) == (
        "deja-view[bot]",
        "all",
        "2024-05-01T12:00:00Z",
    )


async def test_a_comment_is_read_fresh(server, repository):
    server.on("GET", f"{REPO}/issues/comments/77", Reply(body=comment(77, performed_via_github_app=OURS)))
    found = await repository.get_comment(77)
    assert (found.id, found.author, found.app_id) == (77, "ada", APP_ID)


async def test_thumbs_down(server, repository):
    path = f"{REPO}/issues/comments/77/reactions"
    rows = [
        {"content": "-1", "user": {"id": 1, "login": "ada", "type": "User"}},
        {"content": "+1", "user": {"id": 2, "login": "bob", "type": "User"}},
        {"content": "-1", "user": {"id": 3, "login": "x[bot]", "type": "Bot"}},
        {"content": "-1", "user": None},
    ]
    server.on("GET", path, Reply(body=rows))
    assert await repository.thumbs_down(77) == [(1, "ada")]
    assert server.to(path)[0].query["content"] == "-1"


@pytest.mark.parametrize(
    ("answer", "role"),
    [
        ({"role_name": "admin", "permission": "admin"}, Role.ADMIN),
        ({"role_name": "maintain", "permission": "write"}, Role.MAINTAIN),
        ({"role_name": "write", "permission": "write"}, Role.WRITE),
        ({"role_name": "triage", "permission": "read"}, Role.TRIAGE),
        ({"role_name": "read", "permission": "read"}, Role.READ),
        ({"role_name": "none", "permission": "none"}, Role.NONE),
        ({"role_name": "Security Engineer", "permission": "write"}, Role.WRITE),
        ({"permission": "admin"}, Role.ADMIN),
        ({"role_name": None, "permission": "read"}, Role.READ),
        ({}, Role.NONE),
    ],
)
async def test_role(server, repository, answer, role):
    server.on("GET", f"{REPO}/collaborators/x%5Bbot%5D/permission", Reply(body=answer))
    assert await repository.role("x[bot]") is role


async def test_role_of_somebody_unknown(server, repository):
    server.on("GET", f"{REPO}/collaborators/eve/permission", Reply(404, {"message": "Not Found"}))
    assert await repository.role("eve") is Role.NONE


async def test_role_that_github_does_not_tell(server, repository):
    server.on("GET", f"{REPO}/collaborators/eve/permission", Reply(403, {"message": "Blocked"}))
    with pytest.raises(RefusedError):
        await repository.role("eve")


IDS = Reply(body={"data": {"repository": {"issue": {"id": "I_3"}, "of": {"id": "I_1"}}}})
CLOSED = Reply(body={"data": {"closeIssue": {"issue": {"id": "I_3"}}}})
UNKNOWN = {"message": "Field doesn't accept argument", "extensions": {"code": "argumentNotAccepted"}}
OLD_SERVER = Reply(body={"errors": [UNKNOWN]})
INVALID = Reply(422, {"message": "Validation Failed"})


async def test_close_as_duplicate_marks_the_original(server, repository):
    server.on("POST", "/graphql", IDS, CLOSED)
    await repository.close_as_duplicate(3, 1)
    asked, closed = (seen.data for seen in server.work)
    assert asked["variables"] == {"owner": "octo", "name": "hello", "number": 3, "of": 1}
    assert closed["variables"] == {"issue": "I_3", "of": "I_1"}
    assert "stateReason:DUPLICATE" in closed["query"]


@pytest.mark.parametrize(
    ("replies", "reasons"), [([Reply()], ["duplicate"]), ([INVALID, Reply()], ["duplicate", "not_planned"])]
)
async def test_close_as_duplicate_on_an_older_server(server, repository, replies, reasons):
    server.on("POST", "/graphql", IDS, OLD_SERVER)
    server.on("PATCH", f"{REPO}/issues/3", *replies)
    await repository.close_as_duplicate(3, 1)
    sent = [seen.data for seen in server.to(f"{REPO}/issues/3")]
    assert sent == [{"state": "closed", "state_reason": reason} for reason in reasons]


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_close_as_duplicate_without_graphql(server, repository, status):
    server.on("POST", "/graphql", Reply(status, {"message": "Not Found"}))
    server.on("PATCH", f"{REPO}/issues/3", Reply())
    await repository.close_as_duplicate(3, 1)
    assert [seen.data["state_reason"] for seen in server.to(f"{REPO}/issues/3")] == ["duplicate"]


@pytest.mark.parametrize(
    ("kind", "error"),
    [("NOT_FOUND", NotFoundError), ("FORBIDDEN", RefusedError), ("UNPROCESSABLE", InvalidRequestError)],
)
async def test_close_as_duplicate_that_github_refuses(server, repository, kind, error):
    server.on("POST", "/graphql", IDS, Reply(body={"data": {"closeIssue": None}, "errors": [{"type": kind}]}))
    with pytest.raises(error):
        await repository.close_as_duplicate(3, 1)
    assert len(server.work) == 2


def file(content, /, **more):
    known = {"type": "file", "encoding": "base64", "size": len(content), "sha": "abc"}
    return known | {"content": base64.encodebytes(content).decode()} | more


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"


async def test_config_file(server, repository):
    content = b"threshold: 0.5\n" * 20
    server.on("GET", CONFIG, Reply(body=file(content)))
    assert await repository.config_file() == ConfigFile("abc", content)
    assert server.minted == [
        {"permissions": {"contents": "read", "metadata": "read"}, "repository_ids": [42]}
    ]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ([file(b"x")], "directory"),
        (file(b"", type="symlink", target="../x"), "symbolic link"),
        (file(b"", type="submodule"), "submodule"),
        (file(b"", submodule_git_url="git://x"), "submodule"),
        (file(b"x", type="<odd>"), "something else"),
        (file(b"x", size=64 * 1024 + 1), "larger than 64 KiB"),
        (file(b"x", encoding="none", content=""), "content"),
        (file(LFS), "Git LFS"),
    ],
)
async def test_a_config_that_is_no_file(server, repository, body, problem):
    server.on("GET", CONFIG, Reply(body=body))
    found = await repository.config_file()
    assert found.content == b""
    assert found.sha
    assert problem in found.problem


async def test_a_config_of_64_kib_is_read(server, repository):
    server.on("GET", CONFIG, Reply(body=file(b"#" * 64 * 1024)))
    assert (await repository.config_file()).problem is None


async def test_no_config(server, repository):
    server.on("GET", CONFIG, Reply(404, {"message": "Not Found"}))
    assert await repository.config_file() is None


async def test_a_config_that_we_may_not_read(server, repository):
    server.on("POST", MINT, NOT_GRANTED)
    with pytest.raises(PermissionMissingError):
        await repository.config_file()


def named(number, full_name):
    owner, _, name = full_name.partition("/")
    known = {"id": number, "full_name": full_name, "name": name, "private": False, "archived": False}
    return known | {"owner": {"login": owner, "id": 1, "type": "User"}}


async def test_name_is_found_by_id(server, repository):
    listed = {"total_count": 2, "repositories": [named(41, "octo/hello"), named(42, "octo/renamed")]}
    server.on("GET", "/installation/repositories", Reply(body=listed))
    assert (await repository.name()).full_name == "octo/renamed"
    assert server.minted == [{"permissions": {"metadata": "read"}, "repository_ids": [42]}]


async def test_name_of_a_repository_that_went_away(server, repository):
    server.on("GET", "/installation/repositories", Reply(body={"repositories": [named(41, "octo/hello")]}))
    with pytest.raises(NotFoundError):
        await repository.name()


async def test_identity_is_asked_for_once(server, github):
    assert await github.identity() == await github.identity() == AppIdentity(APP_ID, "deja-view")
    assert len(server.to("/app")) == 1


async def test_repositories_of_an_installation(server, github):
    path = "/installation/repositories"
    server.on(
        "GET",
        path,
        Reply(body={"repositories": [named(1, "o/a")]}, headers=following(server, path, page=2)),
        Reply(body={"repositories": [named(2, "o/b")]}),
    )
    pages = [[name.id for name in page] async for page in github.installation_repositories(INSTALLATION)]
    assert pages == [[1], [2]]
    assert server.minted == [{"permissions": {"metadata": "read"}}]
