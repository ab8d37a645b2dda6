"""Repositories: what there is, what it does, and what people want of it."""

from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from bot.core.indexing import index_job
from bot.core.principal import Principal, Scope, Source
from bot.core.records import Repository, RepositoryState, Role, Wishes
from bot.core.tiers import kept_until
from bot.web.api.call import Call, Parts, Reply, Route
from bot.web.api.pages import Out, Page, Paging
from bot.web.api.problems import ApiError, not_found, unprocessable
from bot.web.api.reading import Schema, lies_ahead

TAG = "repositories"

FullName = Annotated[
    str, StringConstraints(max_length=201, pattern=r"^[A-Za-z0-9_-]{1,100}/[A-Za-z0-9._-]{1,100}$")
]


class RepositoryOut(Out):
    """A repository that the App can see."""

    id: int = Field(description="GitHub's numeric id, which survives renames.")
    owner: str
    name: str
    full_name: str
    private: bool
    state: RepositoryState
    reason: str | None = Field(description="Why it is inactive.")
    issues_indexed: int
    issues_left_out: int = Field(description="Issues that the plan or the config leaves out of the index.")
    indexed_at: datetime | None
    kept_until: datetime | None = Field(
        description="After a downgrade: until when its index, or its issues above the plan's limit, are kept."
    )


class Names(Paging):
    """Which repositories."""

    name: FullName | None = Field(None, description="Only the one of that name, as `owner/repo`.")
    state: RepositoryState | None = None


class SettingsOut(Out):
    """What people want of the bot in a repository."""

    mode: Literal["auto", "comment", "shadow"] = Field(
        description="`auto`: as the back-test says. `shadow`: record, post nothing. The config file's `off` stands above it."
    )
    shadow_until: datetime | None = Field(description="When a `shadow` ends by itself.")
    public_search: bool = Field(description="Whether anybody may search it without a credential.")


class SettingsIn(Schema):
    """Changes; what is left out stays."""

    mode: Literal["auto", "comment", "shadow"] | None = None
    shadow_until: datetime | None = None
    public_search: bool | None = None


class StatusOut(Out):
    """How far a repository's index is."""

    state: RepositoryState
    reason: str | None
    issues_total: int | None = Field(description="On GitHub, as counted when the index was made.")
    issues_indexed: int
    indexed_at: datetime | None
    job: Literal["none", "waiting", "running"] = Field(description="Whether it is being indexed now.")
    pages_done: int | None = Field(description="Pages of 100 issues that the running index has read.")


class Queued(Out):
    """Work that was asked for."""

    queued: bool = Field(description="False where the same work waits already.")


def repository_out(call: Call, repository: Repository) -> RepositoryOut:
    """A repository as the API shows it now."""
    return RepositoryOut(
        id=repository.id,
        owner=repository.owner,
        name=repository.name,
        full_name=repository.full_name,
        private=repository.private,
        state=repository.state,
        reason=repository.reason,
        issues_indexed=repository.issues_indexed,
        issues_left_out=repository.issues_left_out,
        indexed_at=repository.indexed_at,
        kept_until=kept_until(repository, call.parts.clock()),
    )


async def visible(parts: Parts, principal: Principal) -> list[Repository]:
    """The repositories that a credential reaches, by name; a person's only where GitHub lets them read."""
    found = [
        item for item in await parts.repositories.list(principal.account_id) if principal.may_touch(item.id)
    ]
    if principal.source is not Source.USER or principal.user_id is None:
        return found
    reach = parts.reach()
    return [item for item in found if await reach.role_in(principal.user_id, item) >= Role.READ]


async def listed(call: Call) -> Reply:
    """`GET /v1/repositories`."""
    after = call.position()
    wanted = [
        item
        for item in await visible(call.parts, call.principal)
        if (call.query.name is None or item.full_name.casefold() == call.query.name.casefold())
        and call.query.state in (None, item.state)
    ]
    ordered = sorted(wanted, key=place)
    rest = [item for item in ordered if after is None or place(item) > tuple(after)]
    shown = rest[: call.query.limit]
    more = len(rest) > len(shown)
    return Reply(
        Page[RepositoryOut](
            items=[repository_out(call, item) for item in shown],
            next=call.after(place(shown[-1]) if more else None),
        )
    )


def place(repository: Repository) -> tuple[str, int]:
    """Where a repository stands in the list: by name, and by id while two have the same."""
    return repository.full_name.casefold(), repository.id


async def got(call: Call) -> Reply:
    """`GET /v1/repositories/{repository_id}`."""
    return Reply(repository_out(call, call.repository))


async def fresh(call: Call) -> Repository:
    """The repository after a change."""
    found = await call.parts.repositories.get(*call.key)
    if found is None:
        raise not_found()
    return found


async def activate(call: Call) -> Reply:
    """`POST /v1/repositories/{repository_id}/activate`. Raises QuotaError."""
    admitted = await call.parts.accounts.activate(*call.key)
    await call.parts.jobs.enqueue(*(index_job(item) for item in admitted))
    await noted(call, "repository.activate")
    return Reply(repository_out(call, await fresh(call)))


async def deactivate(call: Call) -> Reply:
    """`POST /v1/repositories/{repository_id}/deactivate`: it makes room for another one."""
    await call.parts.accounts.deactivate(*call.key)
    admitted = await call.parts.accounts.promote(call.account_id)
    await call.parts.jobs.enqueue(*(index_job(item) for item in admitted))
    await noted(call, "repository.deactivate")
    return Reply(repository_out(call, await fresh(call)))


async def noted(call: Call, action: str, **details: Any) -> None:
    """An audit line about the repository."""
    await call.record(action, f"repository:{call.repository.id}", **details)


def settings_out(call: Call, repository: Repository) -> SettingsOut:
    """What people want of a repository now."""
    wish = repository.wish(call.parts.clock())
    return SettingsOut(
        mode="comment" if wish == "comment" else "shadow" if wish == "shadow" else "auto",
        shadow_until=repository.override_until if wish == "shadow" else None,
        public_search=repository.public_search,
    )


def etag(settings: SettingsOut) -> str:
    """Names one state of the settings, so that nobody overwrites what they did not see (RFC 9110, section 8.8.3)."""
    return f'"{sha256(settings.model_dump_json().encode()).hexdigest()[:16]}"'


async def settings(call: Call) -> Reply:
    """`GET /v1/repositories/{repository_id}/settings`."""
    found = settings_out(call, call.repository)
    return Reply(found, {"ETag": etag(found)})


async def change_settings(call: Call) -> Reply:
    """`PATCH /v1/repositories/{repository_id}/settings`. Raises ApiError 412 where somebody changed them meanwhile."""
    wanted: SettingsIn = call.body
    if wanted.public_search and call.repository.private:
        raise unprocessable(("public_search", "a private repository is not searched without a credential"))
    ensure_fits(wanted, call.parts.clock())
    seen = call.repository
    ensure_match(call, etag(settings_out(call, seen)))
    while not await call.parts.repositories.change_wishes(*call.key, seen.wishes, wishes(seen, wanted)):
        seen = await fresh(call)  # somebody else changed them meanwhile
        ensure_match(call, etag(settings_out(call, seen)))
    await noted(call, "settings.change", **wanted.model_dump(mode="json", exclude_none=True))
    found = settings_out(call, await fresh(call))
    return Reply(found, {"ETag": etag(found)})


def wishes(seen: Repository, wanted: SettingsIn) -> Wishes:
    """What people want after a change."""
    override, until = seen.override, seen.override_until
    if wanted.mode is not None:
        override, until = None if wanted.mode == "auto" else wanted.mode, wanted.shadow_until
    allowed = seen.public_search if wanted.public_search is None else wanted.public_search
    return Wishes(override, until, allowed)


def ensure_fits(wanted: SettingsIn, now: datetime) -> None:
    """Raises ApiError 422: an end belongs to a shadow, needs a time zone, and lies ahead."""
    end = wanted.shadow_until
    if end is None:
        return
    if wanted.mode != "shadow":
        raise unprocessable(("shadow_until", "it needs mode: shadow beside it"))
    if not lies_ahead(end, now):
        raise unprocessable(("shadow_until", "it has to lie ahead, with a time zone"))


def ensure_match(call: Call, current: str) -> None:
    """Raises ApiError 412 where the request is about another state than there is."""
    wanted = call.request.headers.get("If-Match")
    if wanted is not None and wanted.strip() not in ("*", current):
        raise ApiError(412, "changed", "the settings were changed meanwhile: read them again")


async def reindex(call: Call) -> Reply:
    """`POST /v1/repositories/{repository_id}/reindex`: from GitHub, without comments."""
    if call.repository.state is RepositoryState.INACTIVE:
        raise ApiError(409, "inactive", "the repository is inactive: activate it first")
    new = await call.parts.jobs.enqueue(index_job(call.repository))
    await noted(call, "repository.reindex")
    return Reply(Queued(queued=bool(new)))


async def status(call: Call) -> Reply:
    """`GET /v1/repositories/{repository_id}/status`."""
    repository = call.repository
    work = await call.parts.jobs.indexing(*call.key)
    return Reply(
        StatusOut(
            state=repository.state,
            reason=repository.reason,
            issues_total=repository.issues_total,
            issues_indexed=await call.parts.issues.count(*call.key),
            indexed_at=repository.indexed_at,
            job=work.job,
            pages_done=work.pages,
        )
    )


async def backtest(call: Call) -> Reply:
    """`GET /v1/repositories/{repository_id}/backtest`."""
    found = await call.parts.backtests.get(*call.key)
    if found is None:
        raise ApiError(
            404, "no_backtest", "the repository was not back-tested yet: it is, when it has been indexed"
        )
    known = {name: found.report.get(name) for name in BacktestOut.model_fields}
    own = {"model": found.model, "verdict": found.verdict, "made_at": found.made_at}
    return Reply(BacktestOut.model_validate(known | own))


class PointOut(Out):
    """The past at one threshold. Precision is a lower bound: people do not mark every duplicate."""

    threshold: float | None = Field(description="Null where nothing reaches it.")
    comments: int
    comments_per_100: float
    right: int
    precision: float | None
    recall: float | None


class ExampleOut(Out):
    """What it would have said about one issue."""

    number: int
    named: list[int]
    score: float | None
    marked: bool = Field(description="Whether people marked the issue as a duplicate.")
    right: bool


class BacktestOut(Out):
    """What the bot would have done in the repository's past."""

    model: str
    verdict: Literal["comment", "shadow"]
    reason: str
    threshold: float | None
    asked: int = Field(description="Issues of the past that were asked again.")
    marked: int = Field(description="How many of them people marked as duplicates.")
    budget: float
    precision_target: float
    points: list[PointOut]
    examples: list[ExampleOut]
    made_at: datetime


ROUTES = (
    Route(
        name="listRepositories",
        method="GET",
        path="/repositories",
        run=listed,
        summary="Repositories that the credential reaches",
        tag=TAG,
        scope=Scope.READ,
        own=True,
        query=Names,
        answer=Page[RepositoryOut],
        statuses=(400,),
    ),
    Route(
        name="getRepository",
        method="GET",
        path="/repositories/{repository_id}",
        run=got,
        summary="One repository",
        tag=TAG,
        scope=Scope.READ,
        answer=RepositoryOut,
    ),
    Route(
        name="activateRepository",
        method="POST",
        path="/repositories/{repository_id}/activate",
        run=activate,
        summary="Index the repository and work there, if the plan has room",
        tag=TAG,
        scope=Scope.WRITE,
        role=Role.MAINTAIN,
        answer=RepositoryOut,
    ),
    Route(
        name="deactivateRepository",
        method="POST",
        path="/repositories/{repository_id}/deactivate",
        run=deactivate,
        summary="Do nothing there any more, which makes room for another repository",
        tag=TAG,
        scope=Scope.WRITE,
        role=Role.MAINTAIN,
        answer=RepositoryOut,
    ),
    Route(
        name="getSettings",
        method="GET",
        path="/repositories/{repository_id}/settings",
        run=settings,
        summary="What people want of the bot in the repository",
        tag=TAG,
        scope=Scope.READ,
        answer=SettingsOut,
    ),
    Route(
        name="changeSettings",
        method="PATCH",
        path="/repositories/{repository_id}/settings",
        run=change_settings,
        summary="Change some of it",
        description="With `If-Match` the change is refused where the settings are others than those of that ETag.",
        tag=TAG,
        scope=Scope.WRITE,
        role=Role.MAINTAIN,
        body=SettingsIn,
        answer=SettingsOut,
        statuses=(412,),
    ),
    Route(
        name="reindexRepository",
        method="POST",
        path="/repositories/{repository_id}/reindex",
        run=reindex,
        summary="Read the issues from GitHub again; nothing is commented",
        tag=TAG,
        scope=Scope.WRITE,
        role=Role.ADMIN,
        answer=Queued,
        status=202,
    ),
    Route(
        name="getIndexStatus",
        method="GET",
        path="/repositories/{repository_id}/status",
        run=status,
        summary="How far the index is",
        tag=TAG,
        scope=Scope.READ,
        answer=StatusOut,
    ),
    Route(
        name="getBacktest",
        method="GET",
        path="/repositories/{repository_id}/backtest",
        run=backtest,
        summary="What the bot would have done in the repository's past",
        tag=TAG,
        scope=Scope.READ,
        answer=BacktestOut,
    ),
)
