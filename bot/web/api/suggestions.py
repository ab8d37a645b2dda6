"""Suggestions: what the bot said or would have said about each issue, and what people did with it."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from bot.core.duplicates import would_circle
from bot.core.principal import Scope
from bot.core.records import Outcome, OutcomeKind, Role, Suggestion
from bot.web.api.call import Call, Reply, Route
from bot.web.api.pages import Out, Page, Paging
from bot.web.api.problems import ApiError, not_found, unprocessable
from bot.web.api.reading import Schema

TAG = "suggestions"

MOST_NUMBER = 2**31 - 1


class CandidateOut(Out):
    """One candidate of a suggestion."""

    number: int
    chance: float | None
    score: float | None
    shared_error: str | None
    shared_terms: list[str]


class SuggestionOut(Out):
    """The last decision about an issue."""

    issue: int
    spoken: bool = Field(description="Whether a comment was decided on.")
    reason: str
    threshold: float | None = Field(
        description="The score from which it would have spoken; null: none would do."
    )
    likely: list[int]
    also: list[int]
    candidates: list[CandidateOut]
    model: str
    degraded: str | None
    decided_at: datetime


class OutcomeOut(Out):
    """What somebody did with a suggestion."""

    id: int
    issue: int
    candidate: int | None = Field(description="Null: the suggestion as a whole.")
    kind: OutcomeKind
    source: str
    recorded_at: datetime


class OutcomeIn(Schema):
    """What somebody says about a suggestion."""

    kind: Literal["confirmed", "rejected"]
    candidate: int | None = Field(
        None, ge=1, le=MOST_NUMBER, description="The earlier issue; null with `rejected`: none of them."
    )


class Recorded(Out):
    """It is remembered."""

    issue: int
    candidate: int | None
    kind: Literal["confirmed", "rejected"]


def suggestion_out(item: Suggestion) -> SuggestionOut:
    """A suggestion as the API shows it."""
    return SuggestionOut(
        issue=item.issue_number,
        spoken=item.spoken,
        reason=item.reason,
        threshold=finite(item.threshold),
        likely=list(item.likely),
        also=list(item.also),
        candidates=[
            CandidateOut(
                number=int(number),
                chance=known.get("chance"),
                score=known.get("score"),
                shared_error=known.get("shared_error"),
                shared_terms=list(known.get("shared_terms") or ()),
            )
            for number, known in sorted(item.evidence.items(), key=best_first)
        ],
        model=item.model,
        degraded=item.degraded,
        decided_at=item.decided_at,
    )


def best_first(item: tuple[str, dict[str, Any]]) -> tuple[float, int]:
    """Candidates by falling score."""
    number, known = item
    return -(known.get("score") or 0.0), int(number)


def finite(value: float) -> float | None:
    """JSON has no infinity."""
    return value if abs(value) != float("inf") else None


async def listed(call: Call) -> Reply:
    """`GET /v1/repositories/{repository_id}/suggestions`."""
    after, limit = call.position(), call.query.limit
    before = (datetime.fromisoformat(after[0]), after[1]) if after else None
    found = await call.parts.suggestions.list(*call.key, before, limit + 1)
    shown = found[:limit]
    last = [shown[-1].decided_at, shown[-1].issue_number] if len(found) > limit else None
    return Reply(Page[SuggestionOut](items=[suggestion_out(item) for item in shown], next=call.after(last)))


async def got(call: Call) -> Reply:
    """`GET /v1/repositories/{repository_id}/issues/{number}/suggestion`."""
    found = await call.parts.suggestions.get(*call.key, call.path["number"])
    if found is None:
        raise not_found()
    return Reply(suggestion_out(found))


async def outcomes(call: Call) -> Reply:
    """`GET /v1/repositories/{repository_id}/outcomes`."""
    after, limit = call.position(), call.query.limit
    found = await call.parts.suggestions.outcomes_since(*call.key, after[0] if after else 0, limit + 1)
    shown = found[:limit]
    items = [
        OutcomeOut(
            id=item.id,
            issue=item.outcome.issue_number,
            candidate=item.outcome.candidate,
            kind=item.outcome.kind,
            source=item.outcome.source,
            recorded_at=item.recorded_at,
        )
        for item in shown
    ]
    return Reply(
        Page[OutcomeOut](items=items, next=call.after([shown[-1].id] if len(found) > limit else None))
    )


async def record(call: Call) -> Reply:
    """`POST /v1/repositories/{repository_id}/issues/{number}/outcomes`."""
    wanted, number = OutcomeIn.model_validate(call.body), call.path["number"]
    confirmed = wanted.kind == "confirmed"
    if confirmed and wanted.candidate is None:
        raise unprocessable(("candidate", "to confirm needs the issue that it duplicates"))
    if wanted.candidate == number:
        raise unprocessable(("candidate", "an issue is no duplicate of itself"))
    numbers = [number] if wanted.candidate is None else [number, wanted.candidate]
    if len(await call.parts.issues.get(*call.key, numbers)) < len(numbers):
        raise not_found()
    if confirmed and would_circle(await call.parts.marks.all(*call.key), number, wanted.candidate or 0):
        raise ApiError(409, "circle", "the candidate is itself marked as a duplicate of this issue")
    kind = OutcomeKind.CONFIRMED if confirmed else OutcomeKind.REJECTED
    outcome = Outcome(*call.key, number, wanted.candidate, kind, call.principal.user_id, "api")
    await call.parts.suggestions.record(outcome)
    if confirmed and wanted.candidate is not None:
        await call.parts.marks.save(*call.key, {number: wanted.candidate})
    elif wanted.kind == "rejected":
        await call.parts.marks.remove(*call.key, number, wanted.candidate)
    return Reply(Recorded(issue=number, candidate=wanted.candidate, kind=wanted.kind))


ROUTES = (
    Route(
        name="listSuggestions",
        method="GET",
        path="/repositories/{repository_id}/suggestions",
        run=listed,
        summary="Decisions, the latest first",
        tag=TAG,
        scope=Scope.READ,
        query=Paging,
        answer=Page[SuggestionOut],
        statuses=(400,),
    ),
    Route(
        name="getSuggestion",
        method="GET",
        path="/repositories/{repository_id}/issues/{number}/suggestion",
        run=got,
        summary="The last decision about an issue",
        tag=TAG,
        scope=Scope.READ,
        answer=SuggestionOut,
    ),
    Route(
        name="listOutcomes",
        method="GET",
        path="/repositories/{repository_id}/outcomes",
        run=outcomes,
        summary="What people did with suggestions, the first ones first",
        tag=TAG,
        scope=Scope.READ,
        query=Paging,
        answer=Page[OutcomeOut],
        statuses=(400,),
    ),
    Route(
        name="recordOutcome",
        method="POST",
        path="/repositories/{repository_id}/issues/{number}/outcomes",
        run=record,
        summary="Say that an issue is a duplicate of another one, or is not",
        description="It teaches the bot. Nothing is written on GitHub: nobody is labelled, closed or told.",
        tag=TAG,
        scope=Scope.WRITE,
        role=Role.TRIAGE,
        body=OutcomeIn,
        answer=Recorded,
    ),
)
