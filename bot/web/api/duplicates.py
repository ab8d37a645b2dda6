"""The duplicates report: which indexed issues say the same, in groups, for programs or as Markdown."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from bot.core.principal import Scope
from bot.core.report_duplicates import as_json, as_markdown, numbers_in, report_of
from bot.web.api.call import Call, Reply, Route
from bot.web.api.pages import Out
from bot.web.api.reading import Query

TAG = "duplicates"


class Asked(Query):
    """What counts as near, and how it is told."""

    threshold: float = Field(
        0.8, ge=0.5, le=1, description="The cosine of two issues' texts from which they belong together."
    )
    state: Literal["open", "all"] = Field(
        "open", description="`open`: only groups that have an open issue; `all`: all of them."
    )
    format: Literal["json", "markdown"] = "json"


class MemberOut(Out):
    """An issue of a group."""

    number: int
    title: str
    url: str
    state: Literal["open", "closed"]
    is_pull_request: bool
    similarity: float | None = Field(
        description="With the nearest of the group; null where only marks connect it."
    )
    marked: bool = Field(description="Whether people marked it as a duplicate.")
    created_at: datetime


class ClusterOut(Out):
    """Issues that very likely report one problem."""

    size: int
    similarity: float
    root: MemberOut = Field(description="The oldest open one, or the oldest.")
    others: list[MemberOut] = Field(description="A hundred at the most, the nearest first.")


class ReportOut(Out):
    """The groups of a repository, the nearest first."""

    repository: str
    threshold: float
    effective_threshold: float = Field(
        description="Greater than what was asked for where too many pairs reached that."
    )
    state: Literal["open", "all"]
    issues_compared: int
    clusters: list[ClusterOut]
    clusters_left_out: int
    made_at: datetime


async def report(call: Call) -> Reply:
    """`GET /v1/repositories/{repository_id}/duplicates`."""
    parts, asked = call.parts, call.query
    pairs = await parts.similarity().pairs(call.repository, asked.threshold)
    marks = await parts.marks.all(*call.key)
    stored = await parts.issues.get(*call.key, numbers_in(pairs, marks))
    issues = {number: item.issue for number, item in stored.items()}
    made = report_of(
        call.repository, pairs, marks, issues, asked=asked.threshold, states=asked.state, now=parts.clock()
    )
    if asked.format == "markdown":
        return Reply(as_markdown(made, parts.web_url).encode(), media="text/markdown")
    return Reply(ReportOut.model_validate(as_json(made, parts.web_url)))


ROUTES = (
    Route(
        name="reportDuplicates",
        method="GET",
        path="/repositories/{repository_id}/duplicates",
        run=report,
        summary="Issues of the index that very likely report the same, in groups",
        tag=TAG,
        scope=Scope.READ,
        query=Asked,
        answer=ReportOut,
        media=("application/json", "text/markdown"),
    ),
)
