"""The account as a whole: what it is, what it used, who did what, and all of its data."""

from collections.abc import AsyncIterator
from datetime import date, datetime
from typing import Annotated

import structlog
from aiohttp import web
from pydantic import Field, StringConstraints

from bot.core.exchange import exported as lines_of
from bot.core.exchange import header_line
from bot.core.principal import Scope, ScopeWord, Source
from bot.web.api.call import Call, Reply, Route
from bot.web.api.pages import Out, Page, Paging
from bot.web.api.problems import not_found, unprocessable
from bot.web.api.reading import Query, Schema

log = structlog.get_logger()

TAG = "account"

DAYS = 395
"""Days of usage that are kept: 13 months."""


class Limits(Out):
    """What the plan allows."""

    repositories: int
    issues_per_repository: int
    api_calls_per_minute: int


class Caller(Out):
    """Who this credential is."""

    source: Source
    scope: ScopeWord
    repository_id: int | None


class AccountOut(Out):
    """The account of the credential."""

    id: int
    login: str
    kind: str
    tier: str
    limits: Limits
    caller: Caller


class Days(Query):
    """How far back."""

    days: int = Field(30, ge=1, le=DAYS, description="Days, today included, in UTC.")


class Total(Out):
    """What was used on a day."""

    day: date
    metric: str
    amount: int


class UsageOut(Out):
    """What was used, by day and metric; days without any are left out."""

    items: list[Total]


class AuditOut(Out):
    """Something that somebody did."""

    id: int
    at: datetime
    actor: str
    actor_id: int | None
    action: str
    subject: str
    result: str
    address: str | None
    details: dict[str, str | int | float | bool | None]


class Deletion(Schema):
    """Deleting everything has to be meant."""

    confirm: Annotated[str, StringConstraints(min_length=1, max_length=100)] = Field(
        description="The account's login."
    )


class Deleted(Out):
    """What was deleted."""

    repositories: int


async def got(call: Call) -> Reply:
    """`GET /v1/account`."""
    account = await call.parts.accounts.account(call.account_id)
    if account is None:
        raise not_found()
    tier = await call.parts.accounts.tier(call.account_id)
    who = call.principal
    return Reply(
        AccountOut(
            id=account.id,
            login=account.login,
            kind=account.kind,
            tier=tier.name,
            limits=Limits(
                repositories=tier.repositories,
                issues_per_repository=tier.issues,
                api_calls_per_minute=tier.api_calls,
            ),
            caller=Caller(source=who.source, scope=who.scope.word, repository_id=who.repository_id),
        )
    )


async def usage(call: Call) -> Reply:
    """`GET /v1/usage`."""
    found = await call.parts.usage.read(call.account_id, call.query.days)
    return Reply(
        UsageOut(items=[Total(day=item.day, metric=item.metric, amount=item.amount) for item in found])
    )


async def audit(call: Call) -> Reply:
    """`GET /v1/audit`."""
    after, limit = call.position(), call.query.limit
    found = await call.parts.audit.list(call.account_id, after[0] if after else None, limit + 1)
    shown = found[:limit]
    items = [
        AuditOut(
            id=line.id,
            at=line.at,
            actor=line.act.actor,
            actor_id=line.act.actor_id,
            action=line.act.action,
            subject=line.act.subject,
            result=line.act.result,
            address=line.act.address,
            details={name: plain(value) for name, value in line.act.details.items()},
        )
        for line in shown
    ]
    return Reply(Page[AuditOut](items=items, next=call.after([shown[-1].id] if len(found) > limit else None)))


def plain(value: object) -> str | int | float | bool | None:
    """A detail of an audit line as one value."""
    return value if isinstance(value, str | int | float | bool | None) else str(value)


async def export(call: Call) -> web.StreamResponse:
    """`GET /v1/export`: one JSON object a line, as `deja-view import` reads it."""
    headers = {"Content-Disposition": f'attachment; filename="deja-view-{call.account_id}.jsonl"'}
    response = web.StreamResponse(headers=headers)
    response.content_type, response.charset = "application/x-ndjson", "utf-8"
    await call.record("account.export", f"account:{call.account_id}")
    lines = exported(call)
    first = await anext(lines, b"")  # what fails at once is told as a problem, not in the middle of a file
    call.prepare(response)
    await response.prepare(call.request)
    try:
        await response.write(first)
        async for line in lines:
            await response.write(line)
    except ConnectionError:  # the client went
        return response
    except (
        Exception
    ):  # what was sent cannot be taken back: an end in the middle is all that still tells of it
        log.exception("answer_broke_off")
        if call.request.transport is not None:
            call.request.transport.abort()
    return response


async def exported(call: Call) -> AsyncIterator[bytes]:
    """A header, and the lines of every repository."""
    parts = call.parts
    account = await parts.accounts.account(call.account_id)
    yield (header_line(account.login if account else "", parts.clock()) + "\n").encode()
    for repository in await parts.repositories.list(call.account_id):
        async for line in lines_of(repository, parts.issues, parts.marks, parts.suggestions):
            yield (line + "\n").encode()


async def delete(call: Call) -> Reply:
    """`POST /v1/account/delete-data`: issues, vectors, decisions and keys; the App stays installed, and does nothing."""
    account = await call.parts.accounts.account(call.account_id)
    if account is None:
        raise not_found()
    if call.body.confirm.casefold() != account.login.casefold():
        raise unprocessable(("confirm", "this is not the account's login"))
    cleared = await call.parts.accounts.clear(call.account_id)
    await call.record("account.delete_data", f"account:{call.account_id}", repositories=len(cleared))
    return Reply(Deleted(repositories=len(cleared)))


ROUTES = (
    Route(
        name="getAccount",
        method="GET",
        path="/account",
        run=got,
        summary="The account of the credential, its plan and its limits",
        tag=TAG,
        scope=Scope.READ,
        own=True,
        answer=AccountOut,
    ),
    Route(
        name="getUsage",
        method="GET",
        path="/usage",
        run=usage,
        summary="What was used, by day",
        tag=TAG,
        scope=Scope.READ,
        query=Days,
        answer=UsageOut,
    ),
    Route(
        name="listAudit",
        method="GET",
        path="/audit",
        run=audit,
        summary="Who did what, the latest first",
        tag=TAG,
        scope=Scope.ADMIN,
        reads=True,
        query=Paging,
        answer=Page[AuditOut],
        statuses=(400,),
    ),
    Route(
        name="exportData",
        method="GET",
        path="/export",
        run=export,
        summary="All data of the account, one JSON object a line",
        tag=TAG,
        scope=Scope.ADMIN,
        reads=True,
        media=("application/x-ndjson",),
    ),
    Route(
        name="deleteData",
        method="POST",
        path="/account/delete-data",
        run=delete,
        summary="Delete the indexes, decisions and texts of all repositories",
        description="The App stays installed; each repository is inactive until somebody activates it. Usage totals and audit lines stay.",
        tag=TAG,
        scope=Scope.ADMIN,
        body=Deletion,
        answer=Deleted,
    ),
)
