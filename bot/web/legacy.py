"""The parent project's addresses, for those who move here by changing a base URL and adding a credential.

Requests, answers and errors have the parent's shapes (`bot.core.legacy`). Who asks, how often, and whether they may, is decided
by the same gate as under /v1; everything is about the caller's own account.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from typing import Any, Literal, TypeVar
from uuid import uuid4

import structlog
from aiohttp import web
from pydantic import BaseModel, ValidationError

from bot.core import discussion_metrics, discussions, legacy
from bot.core.errors import (
    BotError,
    GitHubError,
    GoneError,
    InvalidRequestError,
    MovedError,
    NotFoundError,
    PermissionMissingError,
    QuotaError,
    RateLimitedError,
    RefusedError,
    SuspendedError,
)
from bot.core.indexing import index_job
from bot.core.principal import Scope
from bot.core.records import Issue, Repository, RepositoryState, Role
from bot.core.report_duplicates import issue_address
from bot.web.api import gate
from bot.web.api.call import ROLES, Call, Parts
from bot.web.api.pipeline import internal, of_bot_error
from bot.web.api.problems import ApiError, not_found, unavailable
from bot.web.api.reading import json_of
from bot.web.api.repositories import visible

log = structlog.get_logger()

INDEX_WAIT = 30.0
"""Seconds that `POST /index` waits for the index; after that it goes on in the background."""

LABEL_WAIT = 40.0
"""Seconds in which labels are begun: GitHub wants a pause between two writes, and somebody waits for the answer."""

FIRST_LOOK, LAST_LOOK = 0.1, 1.0
"""Seconds between looks at a job that is waited for; they double."""

MOST_NUMBER = 2**31 - 1
"""The largest number of an issue that is looked for."""

NOT_WRITABLE = (GoneError, InvalidRequestError, MovedError, NotFoundError, RefusedError)
"""Why a label cannot be put on one issue, which says nothing about the others."""

Body = dict[str, Any]

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyRoute:
    """One operation of the parent; everything that is checked before `run` is said here."""

    method: str
    path: str
    run: Callable[[Call], Awaitable[Body]]
    scope: Scope
    role: Role | None = None  # what a person needs in the repository, where `ROLES` does not say it
    body: type[legacy.Target] | None = None  # names the repository
    by_path: bool = False  # the path names the repository, and the query is `legacy.Weeks`
    inactive: bool = False  # works for an inactive repository too

    @property
    def about_repository(self) -> bool:
        """Whether a request names a repository."""
        return self.body is not None or self.by_path


class BadBodyError(Exception):
    """A request that does not fit its model: 422 with FastAPI's list."""

    def __init__(self, detail: list[Body]) -> None:
        """`detail` as `legacy.validation_detail` gives it."""
        super().__init__("the request does not fit its model")
        self.detail = detail


# --- what is done


async def index(call: Call) -> Body:
    """`POST /index`: read the repository from GitHub, as the plan allows, and wait a while for it. Raises QuotaError."""
    asked: legacy.IndexRequest = call.body
    if asked.issue_state not in legacy.STATES:
        raise ApiError(400, "bad_value", f"issue_state is one of {', '.join(legacy.STATES)}")
    parts, repository = call.parts, call.repository
    if repository.state is RepositoryState.INACTIVE:
        await parts.accounts.activate(*call.key)
    await parts.jobs.enqueue(index_job(repository))
    await call.record("repository.reindex", f"repository:{repository.id}")
    done = await is_indexed_soon(call)
    return legacy.indexed(repository, await parts.issues.count(*call.key), done=done, asked=asked)


async def is_indexed_soon(call: Call) -> bool:
    """Wait for the index; False where it takes longer. Raises ApiError where it could not be made."""
    parts, wait, clock = call.parts, FIRST_LOOK, asyncio.get_running_loop().time
    until = clock() + INDEX_WAIT
    while (await parts.jobs.indexing(*call.key)).job != "none":
        if clock() > until:
            return False
        await asyncio.sleep(wait)
        wait = min(2 * wait, LAST_LOOK)
    found = await parts.repositories.get(*call.key)
    if found is None or found.state is not RepositoryState.ACTIVE:
        raise unavailable("the repository could not be indexed")
    return True


async def find_similar(call: Call) -> Body:
    """`POST /find_similar`: by the cosine of the texts, as thresholds in people's scripts mean it."""
    asked: legacy.FindSimilarRequest = call.body
    issue = await issue_of(call, asked)
    near = await call.parts.similarity().near(call.repository, issue, asked.top_k, asked.min_similarity)
    stored = await call.parts.issues.get(*call.key, [other for other, _ in near])
    issues = {other: item.issue for other, item in stored.items()}
    return legacy.similar(call.repository, issue.number, near, issues, call.parts.web_url)


async def issue_of(call: Call, asked: legacy.FindSimilarRequest) -> Issue:
    """The issue as it is stored, or as GitHub has it where the index leaves it out. Raises ApiError 404, GitHubError."""
    number, nothing = asked.issue_number, missing(f"{asked.issue} not found in {asked.full_name}")
    if not 0 < number <= MOST_NUMBER:
        raise nothing
    stored = await call.parts.issues.get(*call.key, [number])
    if number in stored:
        return stored[number].issue
    try:
        return await call.parts.github().repository(call.repository).issue(number)
    except (NotFoundError, GoneError, MovedError):
        raise nothing from None


async def suggest_discussions(call: Call) -> Body:
    """`POST /suggest_discussions`: which issues would rather be discussions, and labels where they are asked for."""
    asked: legacy.SuggestDiscussionsRequest = call.body
    repository, parts = call.repository, call.parts
    found, analyzed = list[Body](), 0
    async for batch in parts.issues.stream(*call.key):
        issues = [item.issue for item in batch if not item.issue.is_pull_request]
        analyzed += len(issues)
        found += await asyncio.to_thread(
            discussions.suggestions, issues, asked.min_score, partial(address, call)
        )
    best = discussions.best(found, asked.max_suggestions)
    answer = legacy.suggested(repository, best, analyzed, asked)
    return await with_labels(call, answer) if asked.labels else answer


def address(call: Call, issue: Issue) -> str:
    """Where people read an issue."""
    return issue_address(call.repository.full_name, issue, call.parts.web_url)


async def with_labels(call: Call, answer: Body) -> Body:
    """Put on the labels that are not there yet, as far as time and GitHub's limit reach. Raises GitHubError."""
    github, clock = call.parts.github().repository(call.repository), asyncio.get_running_loop().time
    until, written = clock() + LABEL_WAIT, list[int]()
    wanted = [
        (item["number"], label)
        for item in answer["suggestions"]
        if (label := legacy.wanted_label(item)) is not None
    ]
    tried = 0
    for number, label in wanted:
        if clock() > until:
            break
        try:
            await github.add_labels(number, [label])
            written.append(number)
        except NOT_WRITABLE as error:
            log.info("label_refused", issue=number, reason=str(error))
        except RateLimitedError:
            break
        tried += 1
    await call.record("discussions.label", f"repository:{call.repository.id}", issues=len(written))
    return legacy.labelled(answer, written, len(wanted) - tried)


async def discussions_metrics(call: Call) -> Body:
    """`POST /discussions_metrics` and its GET: numbers that GitHub is asked for now. Raises GitHubError."""
    asked: legacy.DiscussionsMetricsRequest = call.body
    now = call.parts.clock()
    since = discussion_metrics.asked_since(now, asked.weeks_back)
    github = call.parts.github().repository(call.repository)
    found = [item async for page in github.discussions(since) for item in page]
    return discussion_metrics.metrics(found, now, asked.weeks_back)


async def stats(call: Call) -> Body:
    """`GET /stats`: of the repositories that the credential reaches."""
    counts = {
        item.full_name: await call.parts.issues.count(item.account_id, item.id)
        for item in await visible(call.parts, call.principal)
        if item.state is not RepositoryState.INACTIVE
    }
    return legacy.stats({name: count for name, count in counts.items() if count})


async def clear(call: Call) -> Body:
    """`DELETE /clear`: the account's own indexes and all that is kept with them, nobody else's."""
    await gate.ensure_account(call.parts, call.principal, Scope.ADMIN)
    cleared = await call.parts.accounts.clear(call.account_id)
    await call.record("account.delete_data", f"account:{call.account_id}", repositories=len(cleared))
    return legacy.CLEARED


ROUTES: tuple[LegacyRoute, ...] = (
    LegacyRoute(
        method="POST",
        path="/index",
        run=index,
        scope=Scope.WRITE,
        role=Role.ADMIN,
        body=legacy.IndexRequest,
        inactive=True,
    ),
    LegacyRoute(
        method="POST",
        path="/find_similar",
        run=find_similar,
        scope=Scope.READ,
        body=legacy.FindSimilarRequest,
    ),
    LegacyRoute(
        method="POST",
        path="/suggest_discussions",
        run=suggest_discussions,
        scope=Scope.READ,
        body=legacy.SuggestDiscussionsRequest,
    ),
    LegacyRoute(
        method="POST",
        path="/discussions_metrics",
        run=discussions_metrics,
        scope=Scope.READ,
        body=legacy.DiscussionsMetricsRequest,
    ),
    LegacyRoute(
        method="GET",
        path="/discussions_metrics/{owner}/{repo}",
        run=discussions_metrics,
        scope=Scope.READ,
        by_path=True,
    ),
    LegacyRoute(method="GET", path="/stats", run=stats, scope=Scope.READ),
    LegacyRoute(method="DELETE", path="/clear", run=clear, scope=Scope.ADMIN),
)


# --- how it is done


def serve(parts: Parts) -> list[web.RouteDef]:
    """The parent's routes."""
    return [
        *(web.route(route.method, route.path, handler_of(parts, route)) for route in ROUTES),
        web.get("/health", told_to_everybody(legacy.health(version("deja-view")))),
        web.get("/", told_to_everybody(legacy.welcome("Deja View"))),
    ]


def told_to_everybody(body: Body) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A handler that gives everybody the same JSON, whatever else works."""

    async def handle(_request: web.Request) -> web.Response:
        return web.json_response(body)

    return handle


def handler_of(parts: Parts, route: LegacyRoute) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """An aiohttp handler that does what a route says."""

    async def handle(request: web.Request) -> web.StreamResponse:
        headers = {"X-Request-Id": uuid4().hex, "Cache-Control": "no-store"}
        with structlog.contextvars.bound_contextvars(
            request_id=headers["X-Request-Id"], operation=f"legacy:{route.path}"
        ):
            try:
                response = web.json_response(await answer(parts, route, request, headers))
            except BadBodyError as error:
                response = web.json_response({"detail": error.detail}, status=422)
            except ApiError as error:
                response = told(error)
            except BotError as error:
                response = told(meaning(error))
            except Exception:
                log.exception("request_failed")
                response = told(internal())
        response.headers.update(headers)
        return response

    return handle


def told(error: ApiError) -> web.Response:
    """What went wrong, in FastAPI's shape."""
    return web.json_response({"detail": error.detail}, status=error.status, headers=dict(error.headers))


def meaning(error: BotError) -> ApiError:
    """What an error of a part means to a client of the parent: GitHub's limit and missing rights are its 403."""
    match error:
        case RateLimitedError():
            wait = {"Retry-After": str(max(1, round(error.retry_after or 60.0)))}
            return ApiError(403, "github_limit", "GitHub's API rate limit is exceeded: try again later", wait)
        case PermissionMissingError() | RefusedError() | SuspendedError():
            return ApiError(403, "github_refused", "GitHub does not permit this to the installation")
        case NotFoundError() | GoneError() | MovedError():
            return missing("GitHub does not find this")
        case QuotaError():
            return ApiError(403, "quota_exceeded", str(error))
        case GitHubError() | _:
            return of_bot_error(error)


def missing(detail: str) -> ApiError:
    """What is not there, or not the caller's, which is not told apart."""
    return replace(not_found(), detail=detail)


async def answer(parts: Parts, route: LegacyRoute, request: web.Request, headers: dict[str, str]) -> Body:
    """Do what a route says. Raises BadBodyError, ApiError or BotError."""
    visitor = await gate.admit(parts, request, headers)
    principal = gate.ensure_scope(visitor.principal, route.scope)
    asked = await asked_of(route, request) if route.about_repository else None
    scope = scope_of(route, asked)
    gate.ensure_scope(principal, scope)
    if scope > Scope.READ:
        gate.ensure_working(visitor)
    call = Call(parts, request, visitor.address, principal, {}, None, asked, headers, None)
    if asked is not None:
        call = replace(call, found=await named(call, asked, route, route.role or ROLES[scope]))
    return await route.run(call)


def scope_of(route: LegacyRoute, asked: legacy.Target | None) -> Scope:
    """What a request needs: writing labels needs more than asking what they would be."""
    writes = isinstance(asked, legacy.SuggestDiscussionsRequest) and asked.labels
    return Scope.WRITE if writes else route.scope


async def asked_of(route: LegacyRoute, request: web.Request) -> legacy.Target:
    """What a request asks for. Raises BadBodyError, ApiError."""
    if route.body is not None:
        return fitting(route.body, await body_of(request), "body")
    weeks = fitting(legacy.Weeks, dict(request.query), "query")
    return legacy.DiscussionsMetricsRequest(**request.match_info, weeks_back=weeks.weeks_back)


async def body_of(request: web.Request) -> Any:
    """The JSON object of a request. Raises BadBodyError for what is none, ApiError for what is too large or too late."""
    try:
        value = await json_of(request)
    except ApiError as error:
        if error.status in (400, 415):
            raise BadBodyError(legacy.NO_JSON if error.status == 400 else legacy.NO_OBJECT) from None
        raise
    if not isinstance(value, dict):
        raise BadBodyError(legacy.NO_OBJECT)
    return value


def fitting(model: type[M], value: Any, where: Literal["body", "query"]) -> M:
    """A value as its model has it. Raises BadBodyError."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise BadBodyError(legacy.validation_detail(error, where)) from None


async def named(call: Call, asked: legacy.Target, route: LegacyRoute, role: Role) -> Repository:
    """The account's repository of that name, in upper or lower case, where whoever asks may do this to it.

    Raises ApiError: 404 where they may not see it or there is none, 403 where they may not do it or it is inactive.
    """
    name = (asked.owner.casefold(), asked.repo.casefold())
    listed: Sequence[Repository] = await call.parts.repositories.list(call.account_id)
    found = next((item for item in listed if (item.owner.casefold(), item.name.casefold()) == name), None)
    nothing = missing(f"Repository {asked.full_name} not found")
    if found is None:
        raise nothing
    try:
        repository = await gate.repository_for(call.parts, call.principal, found.id, role)
    except ApiError as error:
        raise (nothing if error.status == 404 else error) from None
    if repository.state is RepositoryState.INACTIVE and not route.inactive:
        raise ApiError(403, "inactive", "the repository is inactive here: POST /index activates it")
    return repository
