"""The REST endpoints that Deja View calls, as docs.github.com describes them. Anything else is answered with 501."""

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha1
from typing import Any

from aiohttp import web

from bot.sandbox import views
from bot.sandbox.access import (
    DeniedError,
    github_of,
    issue_in,
    require_app,
    require_repository,
    require_token,
)
from bot.sandbox.state import Comment, Issue, NoSuchError, Repository
from bot.sandbox.tokens import LEVELS

routes = web.RouteTableDef()

REACTIONS = ("+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes")
LONGEST_BODY = 65_536
MOST_LABELS = 100


class InvalidError(Exception):
    """422 with this message."""


async def body_of(request: web.Request) -> dict[str, Any]:
    """The JSON object of a request, empty where there is no body. Raises DeniedError (400)."""
    try:
        value = json.loads(await request.text() or "{}")
    except ValueError:
        raise DeniedError("Problems parsing JSON", 400) from None
    if not isinstance(value, dict):
        raise DeniedError("Body should be a JSON object", 400)
    return value


def text_in(body: dict[str, Any], name: str) -> str:
    """A required text. Raises InvalidError."""
    value = body.get(name)
    if not isinstance(value, str) or not value.strip():
        raise InvalidError(f"{name} can't be blank")
    if len(value) > LONGEST_BODY:
        raise InvalidError(f"{name} is too long (maximum is {LONGEST_BODY} characters)")
    return value


def only(request: web.Request, *known: str) -> None:
    """Refuse query parameters that the endpoint does not have: a misspelt one would be ignored by GitHub without a word."""
    odd = set(request.query) - {*known, "page", "per_page"}
    if odd:
        raise web.HTTPNotImplemented(reason=f"sandbox: unknown parameters {sorted(odd)}")


def paged(request: web.Request, items: Sequence[Any]) -> tuple[list[Any], dict[str, str]]:
    """One page of a list, with its Link header."""
    size = min(100, max(1, int(request.query.get("per_page", "30"))))
    page = max(1, int(request.query.get("page", "1")))
    shown = list(items[(page - 1) * size : page * size])
    if page * size >= len(items):
        return shown, {}
    following = request.url.update_query(page=str(page + 1), per_page=str(size))
    return shown, {"Link": f'<{following}>; rel="next"'}


def since_of(request: web.Request) -> datetime:
    """The `since` parameter."""
    value = request.query.get("since")
    return datetime.fromisoformat(value) if value else datetime.min.replace(tzinfo=UTC)


def shown_issue(request: web.Request, repository: Repository, issue: Issue) -> dict[str, Any]:
    """An issue as JSON."""
    github = github_of(request)
    return views.issue(issue, repository, github.world.apps.get(issue.app_id or 0), github.url)


def shown_comment(
    request: web.Request, repository: Repository, issue: Issue, comment: Comment
) -> dict[str, Any]:
    """A comment as JSON."""
    github = github_of(request)
    return views.comment(comment, issue, repository, github.world.apps.get(comment.app_id or 0), github.url)


# --- the App


@routes.get("/app")
async def app(request: web.Request) -> web.Response:
    """Who we are."""
    mine = require_app(request)
    return web.json_response(
        {
            "id": mine.id,
            "slug": mine.slug,
            "name": mine.slug,
            "permissions": mine.permissions,
            "events": sorted(mine.events),
        }
    )


@routes.post(r"/app/installations/{id:\d+}/access_tokens")
async def access_token(request: web.Request) -> web.Response:
    """A token for an installation, scoped as asked."""
    github, mine, body = github_of(request), require_app(request), await body_of(request)
    installation = github.world.installations.get(int(request.match_info["id"]))
    if installation is None or installation.app.id != mine.id:
        raise NoSuchError("installation")
    if installation.suspended:
        raise DeniedError("This installation has been suspended")
    permissions = body.get("permissions", installation.permissions)
    for name, level in permissions.items():
        if level not in LEVELS or LEVELS[level] > LEVELS.get(installation.permissions.get(name, ""), 0):
            raise InvalidError("The permissions requested are not granted to this installation.")
    ids = body.get("repository_ids")
    if ids is not None and not set(ids) <= set(installation.repositories):
        raise InvalidError(
            "There is at least one repository that does not exist or is not accessible to the parent installation."
        )
    token = github.tokens.issue(installation, None if ids is None else frozenset(ids), permissions)
    ends = datetime.fromtimestamp(token.expires_at, UTC)
    return web.json_response(
        {"token": token.value, "expires_at": views.stamp(ends), "permissions": permissions}, status=201
    )


@routes.get("/installation/repositories")
async def installation_repositories(request: web.Request) -> web.Response:
    """What an installation sees."""
    token, github = require_token(request), github_of(request)
    only(request)
    seen = [item for item in token.installation.repositories.values() if token.sees(item.id)]
    page, headers = paged(request, seen)
    shown = [views.repository(item, github.url) for item in page]
    return web.json_response({"total_count": len(seen), "repositories": shown}, headers=headers)


@routes.get("/app/hook/deliveries")
async def deliveries(request: web.Request) -> web.Response:
    """The log of webhook deliveries, newest first."""
    require_app(request)
    only(request, "cursor")
    attempts = sorted(github_of(request).hooks.attempts, key=lambda item: -item.id)
    cursor, size = request.query.get("cursor"), min(100, int(request.query.get("per_page", "30")))
    rest = [item for item in attempts if cursor is None or item.id <= int(cursor)]
    headers = {}
    if len(rest) > size:
        headers["Link"] = f'<{request.url.update_query(cursor=str(rest[size].id))}>; rel="next"'
    return web.json_response([item.summary() for item in rest[:size]], headers=headers)


@routes.get(r"/app/hook/deliveries/{id:\d+}")
async def delivery(request: web.Request) -> web.Response:
    """One request of that log, with what was sent and answered."""
    require_app(request)
    for item in github_of(request).hooks.attempts:
        if item.id == int(request.match_info["id"]):
            return web.json_response(item.detail())
    raise NoSuchError("delivery")


@routes.post(r"/app/hook/deliveries/{id:\d+}/attempts")
async def redeliver(request: web.Request) -> web.Response:
    """Deliver again."""
    mine = require_app(request)
    if not github_of(request).hooks.redeliver(mine, int(request.match_info["id"])):
        raise NoSuchError("delivery")
    return web.json_response({}, status=202)


# --- repositories


@routes.get("/repos/{owner}/{repo}")
async def repository(request: web.Request) -> web.Response:
    """One repository."""
    _, found = require_repository(request, "metadata", "read")
    return web.json_response(views.repository(found, github_of(request).url))


@routes.get("/repos/{owner}/{repo}/collaborators/{login}/permission")
async def permission(request: web.Request) -> web.Response:
    """What somebody may do."""
    _, found = require_repository(request, "metadata", "read")
    login = request.match_info["login"]
    known = github_of(request).world.accounts.get(login.casefold())
    if known is None:
        raise NoSuchError(f"{login} is not a user")
    role = next(
        (role for name, role in found.roles.items() if name.casefold() == login.casefold()),
        "none" if found.private else "read",
    )
    base = {"maintain": "write", "triage": "read"}.get(role, role)
    return web.json_response({"permission": base, "role_name": role, "user": views.account(known)})


@routes.get("/repos/{owner}/{repo}/contents/{path:.+}")
async def contents(request: web.Request) -> web.Response:
    """A file of the default branch, or a folder's list."""
    _, found = require_repository(request, "contents", "read")
    only(request, "ref")
    path = request.match_info["path"]
    inside = [name for name in found.files if name.startswith(f"{path}/")]
    if inside:
        return web.json_response(
            [{"type": "file", "path": name, "size": len(found.files[name])} for name in inside]
        )
    if path not in found.files:
        raise NoSuchError(path)
    data = found.files[path]
    large = len(data) > 1024 * 1024
    return web.json_response(
        {
            "type": "file",
            "path": path,
            "size": len(data),
            "sha": sha1(b"blob %d\0%b" % (len(data), data), usedforsecurity=False).hexdigest(),
            "encoding": "none" if large else "base64",
            "content": "" if large else base64.encodebytes(data).decode(),
        }
    )


# --- issues


@routes.get("/repos/{owner}/{repo}/issues")
async def issues(request: web.Request) -> web.Response:
    """Issues and pull requests."""
    _, found = require_repository(request, "issues", "read")
    only(request, "state", "sort", "direction", "since", "creator")
    state, creator = request.query.get("state", "open"), request.query.get("creator")
    field = {"created": "created_at", "updated": "updated_at"}[request.query.get("sort", "created")]
    listed = [
        item
        for item in found.issues.values()
        if state in ("all", item.state)
        and item.updated_at >= since_of(request)
        and (creator is None or (item.author is not None and item.author.login == creator))
    ]
    listed.sort(
        key=lambda item: (getattr(item, field), item.number),
        reverse=request.query.get("direction", "desc") == "desc",
    )
    page, headers = paged(request, listed)
    return web.json_response([shown_issue(request, found, item) for item in page], headers=headers)


@routes.post("/repos/{owner}/{repo}/issues")
async def open_issue(request: web.Request) -> web.Response:
    """Open an issue in the App's name."""
    token, found = require_repository(request, "issues", "write")
    body, mine = await body_of(request), token.installation.app
    opened = github_of(request).open_issue(
        found, mine.bot.login, text_in(body, "title"), str(body.get("body") or ""), app_id=mine.id
    )
    return web.json_response(shown_issue(request, found, opened), status=201)


@routes.get(r"/repos/{owner}/{repo}/issues/{number:\d+}")
async def issue(request: web.Request) -> web.Response:
    """One issue."""
    _, found = require_repository(request, "issues", "read")
    return web.json_response(shown_issue(request, found, issue_in(request, found)))


@routes.patch(r"/repos/{owner}/{repo}/issues/{number:\d+}")
async def change_issue(request: web.Request) -> web.Response:
    """Close or reopen."""
    token, found = require_repository(request, "issues", "write")
    changed, body, github = issue_in(request, found), await body_of(request), github_of(request)
    if set(body) - {"state", "state_reason"}:
        raise web.HTTPNotImplemented(reason="sandbox: only state and state_reason can be changed")
    if body.get("state_reason") not in (None, "completed", "not_planned", "duplicate", "reopened"):
        raise InvalidError("state_reason is not included in the list")
    if body.get("state") == "closed":
        github.close_issue(
            found, changed, token.installation.app.bot, body.get("state_reason") or "completed"
        )
    elif body.get("state") == "open":
        github.reopen_issue(found, changed, token.installation.app.bot)
    return web.json_response(shown_issue(request, found, changed))


@routes.post(r"/repos/{owner}/{repo}/issues/{number:\d+}/labels")
async def add_labels(request: web.Request) -> web.Response:
    """Add labels; those that the repository lacks are made."""
    token, found = require_repository(request, "issues", "write")
    changed, body = issue_in(request, found), await body_of(request)
    names = body.get("labels")
    if not isinstance(names, list) or not all(
        isinstance(name, str) and 0 < len(name) <= 50 for name in names
    ):
        raise InvalidError("labels is not a list of names of at most 50 characters")
    if len({*changed.labels, *names}) > MOST_LABELS:
        raise InvalidError("too many labels")
    github_of(request).add_labels(found, changed, names, token.installation.app.bot)
    return web.json_response([{"name": name} for name in changed.labels])


@routes.delete(r"/repos/{owner}/{repo}/issues/{number:\d+}/labels/{name}")
async def remove_label(request: web.Request) -> web.Response:
    """Take a label off."""
    token, found = require_repository(request, "issues", "write")
    changed = issue_in(request, found)
    github_of(request).remove_label(found, changed, request.match_info["name"], token.installation.app.bot)
    return web.json_response([{"name": name} for name in changed.labels])


# --- comments


def ensure_unlocked(issue: Issue) -> None:
    """A locked conversation takes no comment of an App."""
    if issue.locked:
        raise DeniedError("Unable to create comment because issue is locked.")


@routes.get(r"/repos/{owner}/{repo}/issues/{number:\d+}/comments")
async def comments(request: web.Request) -> web.Response:
    """The comments of an issue, oldest first."""
    _, found = require_repository(request, "issues", "read")
    only(request, "since")
    parent = issue_in(request, found)
    page, headers = paged(request, [item for item in parent.comments if item.updated_at >= since_of(request)])
    return web.json_response([shown_comment(request, found, parent, item) for item in page], headers=headers)


@routes.post(r"/repos/{owner}/{repo}/issues/{number:\d+}/comments")
async def add_comment(request: web.Request) -> web.Response:
    """Comment in the App's name."""
    token, found = require_repository(request, "issues", "write")
    parent, body, mine = issue_in(request, found), await body_of(request), token.installation.app
    ensure_unlocked(parent)
    made = github_of(request).comment(found, parent, mine.bot, text_in(body, "body"), mine)
    return web.json_response(shown_comment(request, found, parent, made), status=201)


def comment_in(request: web.Request, repository: Repository) -> tuple[Issue, Comment]:
    """The comment named in the path. Raises NoSuchError."""
    number = int(request.match_info["comment"])
    if number not in repository.comments:
        raise NoSuchError(f"comment {number}")
    return repository.comments[number]


@routes.get(r"/repos/{owner}/{repo}/issues/comments/{comment:\d+}")
async def comment(request: web.Request) -> web.Response:
    """One comment."""
    _, found = require_repository(request, "issues", "read")
    return web.json_response(shown_comment(request, found, *comment_in(request, found)))


@routes.patch(r"/repos/{owner}/{repo}/issues/comments/{comment:\d+}")
async def change_comment(request: web.Request) -> web.Response:
    """Edit a comment. An App with write access may edit anybody's, so a wrong id shows here."""
    token, found = require_repository(request, "issues", "write")
    parent, changed = comment_in(request, found)
    github_of(request).edit_comment(
        found, parent, changed, text_in(await body_of(request), "body"), token.installation.app.bot
    )
    return web.json_response(shown_comment(request, found, parent, changed))


@routes.get(r"/repos/{owner}/{repo}/issues/comments/{comment:\d+}/reactions")
async def reactions(request: web.Request) -> web.Response:
    """Who reacted."""
    _, found = require_repository(request, "issues", "read")
    only(request, "content")
    _, of = comment_in(request, found)
    wanted = request.query.get("content")
    page, headers = paged(request, [item for item in of.reactions if wanted in (None, item.content)])
    shown = [{"id": item.id, "user": views.account(item.user), "content": item.content} for item in page]
    return web.json_response(shown, headers=headers)


@routes.post(r"/repos/{owner}/{repo}/issues/comments/{comment:\d+}/reactions")
async def react(request: web.Request) -> web.Response:
    """React in the App's name."""
    token, found = require_repository(request, "issues", "write")
    _, to = comment_in(request, found)
    content = (await body_of(request)).get("content")
    if content not in REACTIONS:
        raise InvalidError("content is not a reaction")
    before = len(to.reactions)
    made = github_of(request).react(to, token.installation.app.bot, content)
    return web.json_response(
        {"id": made.id, "content": content}, status=201 if len(to.reactions) > before else 200
    )
