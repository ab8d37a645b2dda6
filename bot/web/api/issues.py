"""Issues: what is indexed, and which earlier ones report the same."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from bot.core.calibration import word
from bot.core.finding import OVERFETCH, Finder
from bot.core.principal import Scope
from bot.core.records import Candidate, Issue, Ranking, RepositoryState
from bot.core.text import sanitise
from bot.web.api.call import Call, Reply, Route
from bot.web.api.pages import Out, Page, Paging
from bot.web.api.problems import ApiError, not_found
from bot.web.api.reading import Query, Schema

TAG = "issues"

LONGEST_TITLE = 1_000
LONGEST_BODY = 65_536
"""Characters; GitHub takes 256 and 65,536, and people paste more."""

WORTH_A_WORD = 0.1
"""What is less likely is not called possible."""

State = Literal["open", "closed"]


class IssueOut(Out):
    """An issue, without its body."""

    number: int
    title: str
    state: State
    state_reason: str | None
    url: str
    author: str | None = Field(description="Null where the account is gone.")
    labels: list[str]
    is_pull_request: bool
    created_at: datetime
    updated_at: datetime


class Listing(Paging):
    """Which issues."""

    state: State | None = None


class Match(Out):
    """An earlier issue that may report the same problem, and why that is thought."""

    issue: IssueOut
    chance: float | None = Field(
        description="That it is the same problem, from 0 to 1, calibrated on the repository's past; null before its back-test."
    )
    word: Literal["likely", "possible"] | None = Field(
        description="The chance as people are told it; null below one in ten, and where there is no chance."
    )
    score: float = Field(description="Orders the matches of one answer, and means nothing beyond it.")
    shared_error: str | None = Field(description="An error line that both have.")
    shared_terms: list[str] = Field(description="Rare words that both have, the rarest first.")
    shared_label: str | None
    via: int | None = Field(description="The marked duplicate of this issue that was compared.")


class Matches(Out):
    """Earlier issues, the best first."""

    matches: list[Match]
    searched: int = Field(description="Issues that were searched.")
    model: str
    degraded: str | None = Field(description="What was missing in this search; null: nothing.")


class Wanted(Query):
    """How many matches, and which."""

    limit: int = Field(5, ge=1, le=50, description="Matches at the most.")
    min_chance: float = Field(0.0, ge=0, le=1, description="Leave out matches that are less likely.")
    state: State | None = Field(None, description="Only matches in this state.")


Title = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_TITLE)]


class Text(Schema):
    """What somebody is about to file. Nothing of it is kept."""

    title: Title
    body: str = Field("", max_length=LONGEST_BODY)
    limit: int = Field(5, ge=1, le=50, description="Matches at the most.")
    min_chance: float = Field(0.0, ge=0, le=1, description="Leave out matches that are less likely.")
    state: State | None = Field(None, description="Only matches in this state.")


def issue_out(call: Call, issue: Issue) -> IssueOut:
    """An issue as the API shows it."""
    kind = "pull" if issue.is_pull_request else "issues"
    return IssueOut(
        number=issue.number,
        title=issue.title,
        state="open" if issue.state == "open" else "closed",
        state_reason=issue.state_reason,
        url=f"{call.parts.web_url}/{call.repository.full_name}/{kind}/{issue.number}",
        author=issue.author,
        labels=list(issue.labels),
        is_pull_request=issue.is_pull_request,
        created_at=issue.created_at,
        updated_at=issue.updated_at,
    )


def match_out(call: Call, item: Candidate) -> Match:
    """A candidate as the API shows it."""
    return Match(
        issue=issue_out(call, item.issue),
        chance=item.chance,
        word=None if item.chance is None or item.chance < WORTH_A_WORD else word(item.chance),
        score=item.score,
        shared_error=item.shared_error,
        shared_terms=list(item.shared_terms),
        shared_label=item.shared_label,
        via=item.via,
    )


def matches_out(call: Call, ranking: Ranking, wanted: Wanted | Text) -> Matches:
    """A ranking as the API shows it, without what was not asked for."""
    found = [
        item
        for item in ranking.candidates
        if wanted.state in (None, item.issue.state) and (item.chance or 0.0) >= wanted.min_chance
    ]
    return Matches(
        matches=[match_out(call, item) for item in found[: wanted.limit]],
        searched=ranking.history,
        model=ranking.model,
        degraded=ranking.degraded,
    )


def finder(call: Call) -> Finder:
    """What finds earlier reports; the comment and the commands use the same. Raises ApiError 409 where nothing is indexed."""
    parts = call.parts
    if call.repository.state is RepositoryState.INACTIVE:
        raise ApiError(409, "inactive", "the repository is inactive: nothing is searched there")
    return Finder(parts.similarity(), parts.issues, parts.marks, parts.backtests)


async def listed(call: Call) -> Reply:
    """`GET /v1/repositories/{repository_id}/issues`."""
    after, limit = call.position(), call.query.limit
    found = await call.parts.issues.list(*call.key, call.query.state, after[0] if after else 0, limit + 1)
    shown = found[:limit]
    following = call.after([shown[-1].number] if len(found) > limit else None)
    return Reply(Page[IssueOut](items=[issue_out(call, item) for item in shown], next=following))


async def similar(call: Call) -> Reply:
    """`GET /v1/repositories/{repository_id}/issues/{number}/similar`."""
    stored = (await call.parts.issues.get(*call.key, [call.path["number"]])).get(call.path["number"])
    if stored is None:
        raise not_found()
    wanted: Wanted = call.query
    ranking = await finder(call).earlier(call.repository, stored.issue, limit=wanted.limit * OVERFETCH)
    return Reply(matches_out(call, ranking, wanted))


async def search(call: Call) -> Reply:
    """`POST /v1/repositories/{repository_id}/similar`: the check before something is filed."""
    text: Text = call.body
    ranking = await finder(call).by_text(
        call.repository, sanitise(text.title), sanitise(text.body), limit=text.limit * OVERFETCH
    )
    return Reply(matches_out(call, ranking, text))


ROUTES = (
    Route(
        name="listIssues",
        method="GET",
        path="/repositories/{repository_id}/issues",
        run=listed,
        summary="Issues in the index, by number",
        tag=TAG,
        scope=Scope.READ,
        query=Listing,
        answer=Page[IssueOut],
        statuses=(400,),
    ),
    Route(
        name="similarToIssue",
        method="GET",
        path="/repositories/{repository_id}/issues/{number}/similar",
        run=similar,
        summary="Earlier issues that may report what an issue reports",
        tag=TAG,
        scope=Scope.READ,
        query=Wanted,
        answer=Matches,
        anonymous=True,
        statuses=(409,),
    ),
    Route(
        name="similarToText",
        method="POST",
        path="/repositories/{repository_id}/similar",
        run=search,
        summary="Issues that may report what a text reports: the check before filing",
        description="Nothing is stored and nothing is commented. A repository may allow it without a credential (`public_search`).",
        tag=TAG,
        scope=Scope.READ,
        body=Text,
        answer=Matches,
        anonymous=True,
        statuses=(409,),
    ),
)
