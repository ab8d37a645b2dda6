"""The endpoints that answer in a person's name, as docs.github.com describes them."""

from typing import Any

from aiohttp import web

from bot.sandbox import views
from bot.sandbox.access import DeniedError, github_of, require_user
from bot.sandbox.github import GitHub
from bot.sandbox.people import UserToken
from bot.sandbox.rest import only, paged
from bot.sandbox.state import Installation, NoSuchError, Repository

routes = web.RouteTableDef()

ABILITIES = {"read": "pull", "triage": "triage", "write": "push", "maintain": "maintain", "admin": "admin"}
"""What `permissions` of a repository calls each role, least first; a role has those before it too."""


def permissions(role: str) -> dict[str, bool]:
    """The `permissions` of a repository for somebody of that role. A custom role has none of the named ones here."""
    ranks = list(ABILITIES)
    rank = ranks.index(role) if role in ranks else 0
    return {name: ranks.index(level) <= rank for level, name in ABILITIES.items()}


def reached(github: GitHub, token: UserToken, installation: Installation) -> list[tuple[Repository, str]]:
    """The repositories of an installation that a person has a role in, with it."""
    roles = ((item, github.world.role(token.user, item)) for item in installation.repositories.values())
    return [(item, role) for item, role in roles if role is not None]


def installations_of(github: GitHub, token: UserToken) -> list[Installation]:
    """The installations of the token's App that a person can reach."""
    memberships = github.world.memberships
    return [
        item
        for item in github.world.installations.values()
        if item.app.id == token.app.id
        and (
            item.account.id == token.user.id
            or token.user.id in memberships.get(item.account.id, {})
            or reached(github, token, item)
        )
    ]


@routes.get("/user")
async def user(request: web.Request) -> web.Response:
    """Who signed in."""
    return web.json_response(views.account(require_user(request).user))


@routes.get("/user/installations")
async def installations(request: web.Request) -> web.Response:
    """What the person can reach."""
    token = require_user(request)
    only(request)
    found = installations_of(github_of(request), token)
    page, headers = paged(request, found)
    shown = [views.installation(item) for item in page]
    return web.json_response({"total_count": len(found), "installations": shown}, headers=headers)


@routes.get(r"/user/installations/{id:\d+}/repositories")
async def repositories(request: web.Request) -> web.Response:
    """The repositories of an installation that the person has a role in."""
    token, github = require_user(request), github_of(request)
    only(request)
    wanted = int(request.match_info["id"])
    installation = next((item for item in installations_of(github, token) if item.id == wanted), None)
    if installation is None:
        raise NoSuchError("installation")
    if installation.suspended:
        raise DeniedError("This installation has been suspended")
    found = reached(github, token, installation)
    page, headers = paged(request, found)
    shown: list[dict[str, Any]] = [
        views.repository(item, github.url) | {"permissions": permissions(role)} for item, role in page
    ]
    return web.json_response({"total_count": len(found), "repositories": shown}, headers=headers)


@routes.get("/user/memberships/orgs/{org}")
async def membership(request: web.Request) -> web.Response:
    """The person's place in an organisation; the App has to have the organisation permission for it there."""
    token, github = require_user(request), github_of(request)
    organisation = github.world.accounts.get(request.match_info["org"].casefold())
    known = github.world.memberships.get(organisation.id, {}) if organisation else {}
    if organisation is None or token.user.id not in known:
        raise NoSuchError("membership")
    if not any(
        item.account.id == organisation.id and item.permissions.get("members") in ("read", "write")
        for item in installations_of(github, token)
    ):
        raise DeniedError("Resource not accessible by integration")
    found = known[token.user.id]
    shown = {
        "url": f"{github.url}/orgs/{organisation.login}/memberships/{token.user.login}",
        "state": found.state,
        "role": found.role,
        "organization": {"id": organisation.id, "login": organisation.login},
        "user": views.account(token.user),
    }
    return web.json_response(shown)
