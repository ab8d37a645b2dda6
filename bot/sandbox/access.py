"""Who may make a call: the rules of installation tokens, as documented for GitHub Apps."""

from aiohttp import web

from bot.sandbox.github import GitHub
from bot.sandbox.people import UserToken
from bot.sandbox.state import App, Issue, NoSuchError, Repository
from bot.sandbox.tokens import RefusedTokenError, Token, app_of

APP_KEY: web.AppKey[GitHub] = web.AppKey("github", GitHub)


class DeniedError(Exception):
    """403 (or another status) with GitHub's message."""

    def __init__(self, message: str, status: int = 403) -> None:
        """`message` is what GitHub says."""
        super().__init__(message)
        self.status = status


def github_of(request: web.Request) -> GitHub:
    """The GitHub that serves a request."""
    return request.app[APP_KEY]


def credentials(request: web.Request) -> str:
    """The bearer token of a request. Raises RefusedTokenError."""
    kind, _, value = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() not in ("bearer", "token") or not value:
        raise RefusedTokenError("Requires authentication")
    return value


def require_app(request: web.Request) -> App:
    """The App that calls in its own name. Raises RefusedTokenError."""
    return app_of(credentials(request), github_of(request).world.apps)


def require_token(request: web.Request) -> Token:
    """The installation token of a request. Raises RefusedTokenError, DeniedError."""
    token = github_of(request).tokens.find(credentials(request))
    if token.installation.suspended:
        raise DeniedError("This installation has been suspended")
    return token


def require_user(request: web.Request) -> UserToken:
    """The user access token of a request. Raises RefusedTokenError."""
    return github_of(request).people.find(credentials(request))


def require_repository(request: web.Request, permission: str, level: str) -> tuple[Token, Repository]:
    """The repository named in the path, where the token may do that. Raises NoSuchError, MovedError, DeniedError."""
    token, github = require_token(request), github_of(request)
    full_name = f"{request.match_info['owner']}/{request.match_info['repo']}"
    repository = github.world.named(full_name)
    if repository is None:
        old = github.world.old_names.get(full_name.casefold())
        if old is None:
            raise NoSuchError(full_name)
        rest = request.path.split("/", 4)[4:]
        raise MovedError(
            f"{github.url}/repositories/{old}/{'/'.join(rest)}".rstrip("/"),
            permanent=True,
            method=request.method,
        )
    if not token.sees(repository.id):
        if repository.private or level == "read":
            raise NoSuchError(full_name)
        raise DeniedError("Resource not accessible by integration")
    if not token.allows(permission, level):
        raise DeniedError("Resource not accessible by integration")
    if repository.archived and level == "write":
        raise DeniedError("Repository was archived so is read-only.")
    return token, repository


class MovedError(Exception):
    """A redirect: 301 for reads and 307 for writes, as GitHub does after a rename."""

    def __init__(self, location: str, *, permanent: bool, method: str) -> None:
        """`location` is where it is now."""
        super().__init__(location)
        self.location = location
        self.status = 301 if permanent and method == "GET" else 307


class GoneError(Exception):
    """410."""


def issue_in(request: web.Request, repository: Repository) -> Issue:
    """The issue named in the path. Raises NoSuchError, MovedError, GoneError."""
    number = int(request.match_info["number"])
    if number in repository.gone:
        raise GoneError("This issue was deleted")
    if number in repository.moved:
        raise MovedError(repository.moved[number], permanent=True, method=request.method)
    if number not in repository.issues:
        raise NoSuchError(f"#{number}")
    return repository.issues[number]
