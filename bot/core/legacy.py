"""The parent project's API: its requests with their bounds, its answers, and its way to say what is wrong with a body.

Its clients were written against FastAPI, so values are read as leniently as FastAPI does ("5" is 5), and names that are not
known are left alone. What it promises is on one page: docs/legacy-api.md.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from bot.core.discussions import LABELS
from bot.core.records import Issue, Repository
from bot.core.report_duplicates import issue_address

SERVICE = "github-issues-similarity"

STATES = ("open", "closed", "all")

BATCH = 100
"""Issues of a batch: what GitHub gives on a page."""

MOST_FAULTS = 20
"""Faults of one body that are told at once."""

MOST_IN_MESSAGE = 200
"""Characters of a name that are told back."""


class Target(BaseModel):
    """The repository of a request, by name."""

    owner: str
    repo: str

    @property
    def full_name(self) -> str:
        """`owner/repo`, as an answer tells it back."""
        return f"{self.owner}/{self.repo}"[:MOST_IN_MESSAGE]


class IndexRequest(Target):
    """`POST /index`."""

    max_issues: int = Field(100, ge=1, le=1000)
    include_discussions: bool = False
    issue_state: str = "open"


class FindSimilarRequest(Target):
    """`POST /find_similar`."""

    issue_number: int
    top_k: int = Field(10, ge=1, le=50)
    min_similarity: float = Field(0.0, ge=0.0, le=1.0)

    @property
    def issue(self) -> str:
        """The issue, as an answer tells it back."""
        return f"Issue #{self.issue_number}"[:MOST_IN_MESSAGE]


class SuggestDiscussionsRequest(Target):
    """`POST /suggest_discussions`."""

    min_score: float = Field(0.5, ge=0.0, le=1.0)
    max_suggestions: int = Field(20, ge=1, le=100)
    dry_run: bool = True
    add_labels: bool = False

    @property
    def labels(self) -> bool:
        """Whether labels are to be written."""
        return self.add_labels and not self.dry_run


class Weeks(BaseModel):
    """`GET /discussions_metrics/{owner}/{repo}`."""

    weeks_back: int = Field(4, ge=1, le=52)


class DiscussionsMetricsRequest(Target, Weeks):
    """`POST /discussions_metrics`."""


Body = dict[str, Any]


def validation_detail(error: ValidationError, where: Literal["body", "query"] = "body") -> list[Body]:
    """What is wrong with a body, as FastAPI tells it; the values themselves are not told back."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)[:MOST_FAULTS]
    return [fault(item["type"], item["msg"], where, *item["loc"]) for item in faults]


def fault(kind: str, message: str, *where: str | int) -> Body:
    """One entry of such a list."""
    return {"loc": list(where), "msg": message, "type": kind}


NO_JSON = [fault("json_invalid", "JSON decode error", "body", 0)]
NO_OBJECT = [
    fault(
        "model_attributes_type",
        "Input should be a valid dictionary or object to extract fields from",
        "body",
    )
]
"""What FastAPI says of a body that is no JSON, and of one that is no object."""


def health(version: str) -> Body:
    """`GET /health`."""
    return {"status": "healthy", "version": version, "service": SERVICE}


def welcome(name: str) -> Body:
    """`GET /`."""
    return {"message": name, "docs": "/docs", "health": "/health"}


def indexed(repository: Repository, issues: int, *, done: bool, asked: IndexRequest) -> Body:
    """What the index of a repository holds now."""
    if done and not issues:
        return {"indexed": 0, "repository": repository.full_name}
    return {
        "indexed": issues,
        "issues": issues,
        "discussions": 0,
        "repository": repository.full_name,
        "batches": math.ceil(issues / BATCH),
        "message": index_message(issues, done=done, discussions=asked.include_discussions),
    }


def index_message(issues: int, *, done: bool, discussions: bool) -> str:
    """The same in a sentence."""
    said = (
        f"Successfully indexed {issues} issues"
        if done
        else f"Indexing goes on in the background; {issues} issues are indexed so far"
    )
    return f"{said}. Discussions are not indexed here" if discussions else said


def similar(
    repository: Repository,
    number: int,
    near: Sequence[tuple[int, float]],
    issues: Mapping[int, Issue],
    web_url: str,
) -> Body:
    """Issues by cosine, best first; one that left meanwhile is left out."""
    found = [
        similar_issue(repository, issues[other], cosine, web_url) for other, cosine in near if other in issues
    ]
    query = {"number": number, "url": f"{web_url}/{repository.full_name}/issues/{number}"}
    return {"query_issue": query, "similar_issues": found, "count": len(found)}


def similar_issue(repository: Repository, issue: Issue, cosine: float, web_url: str) -> Body:
    """One of them."""
    return {
        "number": issue.number,
        "title": issue.title,
        "similarity": round(cosine, 4),
        "state": issue.state,
        "url": issue_address(repository.full_name, issue, web_url),
        "type": "pull_request" if issue.is_pull_request else "issue",
        "is_pull_request": issue.is_pull_request,
        "is_discussion": False,
        "labels": list(issue.labels),
    }


def suggested(
    repository: Repository, found: Sequence[Body], analyzed: int, asked: SuggestDiscussionsRequest
) -> Body:
    """Issues that would rather be discussions."""
    return {
        "suggestions": list(found),
        "total_analyzed": analyzed,
        "total_suggestions": len(found),
        "repository": repository.full_name,
        "dry_run": asked.dry_run,
        "min_score": asked.min_score,
        "message": suggested_message(len(found), analyzed, dry_run=asked.dry_run),
    }


def suggested_message(found: int, analyzed: int, *, dry_run: bool) -> str:
    """The same in a sentence."""
    if not analyzed:
        return "No issues found to analyze"
    said = f"{found} issues could be discussions"
    return f"Dry run: {said}" if dry_run else f"{said}; nothing is converted, which only people can do"


def wanted_label(suggestion: Body) -> str | None:
    """The label that a suggestion asks for; None where it has one of them already, or is too unsure for any."""
    has_one = any(label in suggestion["labels"] for label in LABELS.values())
    return None if has_one else LABELS.get(suggestion["confidence"])


def labelled(answer: Body, written: Sequence[int], left: int) -> Body:
    """The same answer after labels were written; `left` is how many there was no time for."""
    numbers = set(written)
    told = [
        {"number": item["number"], "labels": [LABELS[item["confidence"]]], "confidence": item["confidence"]}
        for item in answer["suggestions"]
        if item["number"] in numbers
    ]
    more = f"; {left} labels are still to be written: ask again" if left else ""
    return {
        **answer,
        "labeled_issues": told,
        "labels_applied": bool(told),
        "message": f"{answer['message']}{more}",
    }


def stats(repositories: Mapping[str, int]) -> Body:
    """How many issues are indexed, by repository."""
    return {"total_issues": sum(repositories.values()), "repositories": sorted(repositories)}


CLEARED = {"message": "All issues cleared successfully"}
