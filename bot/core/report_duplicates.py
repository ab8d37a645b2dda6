"""The duplicates report of a repository: clusters of issues that are near or marked, as JSON and as Markdown.

Clusters are what pairs and marks connect (single linkage), so two issues of one cluster need not be near themselves: a report
is for people to read, and nothing is closed by it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from bot.core.duplicates import connected
from bot.core.inert import inert
from bot.core.records import Issue, Pairs, Repository

States = Literal["open", "all"]

MOST_CLUSTERS = 500
"""Clusters of one report."""

MOST_MEMBERS = 100
"""Issues listed of one cluster; how many more there are is told."""

LONGEST_TITLE = 120
"""Code points of a title in the report."""


@dataclass(frozen=True, slots=True)
class Member:
    """An issue of a cluster."""

    issue: Issue
    similarity: (
        float | None
    )  # the greatest cosine with another issue of the cluster; None where only marks connect it
    marked: bool  # whether people marked it as a duplicate


@dataclass(frozen=True, slots=True)
class Cluster:
    """Issues that very likely report one problem."""

    root: Member  # the oldest open issue, or the oldest where all are closed
    others: tuple[Member, ...]  # nearest first, `MOST_MEMBERS` at the most
    size: int  # of all of them, the root too

    @property
    def similarity(self) -> float:
        """How near its nearest two are; 0 where only marks connect them."""
        return max(item.similarity or 0.0 for item in (self.root, *self.others))


@dataclass(frozen=True, slots=True)
class Report:
    """The clusters of a repository."""

    repository: str  # `owner/name`
    asked: float  # the threshold that was asked for
    floor: float  # the one that holds: greater where too many pairs reached that one
    states: States
    issues: int  # that were compared
    clusters: tuple[Cluster, ...]  # the nearest first
    left_out: int  # clusters beyond `MOST_CLUSTERS`
    made_at: datetime


def numbers_in(pairs: Pairs, marks: Mapping[int, int]) -> list[int]:
    """The issues that a report has to know."""
    near = (number for older, newer, _ in pairs.near for number in (older, newer))
    return sorted({*near, *marks, *marks.values()})


def report_of(
    repository: Repository,
    pairs: Pairs,
    marks: Mapping[int, int],
    issues: Mapping[int, Issue],
    *,
    asked: float,
    states: States,
    now: datetime,
) -> Report:
    """The report; what is not in `issues` any more is left out. With `open` only clusters that have an open issue count."""
    near = [item for item in pairs.near if item[0] in issues and item[1] in issues]
    known = {number: original for number, original in marks.items() if {number, original} <= issues.keys()}
    groups = connected([*((older, newer) for older, newer, _ in near), *known.items()])
    best = nearest_of(near)
    found = [
        cluster_of([Member(issues[number], best.get(number), number in known) for number in sorted(group)])
        for group in set(groups.values())
        if len(group) > 1 and (states == "all" or any(issues[number].state == "open" for number in group))
    ]
    found.sort(key=lambda item: (-item.similarity, item.root.issue.number))
    shown = tuple(found[:MOST_CLUSTERS])
    return Report(
        repository.full_name, asked, pairs.floor, states, pairs.issues, shown, len(found) - len(shown), now
    )


def nearest_of(near: Iterable[tuple[int, int, float]]) -> dict[int, float]:
    """The greatest cosine of each issue."""
    best: dict[int, float] = {}
    for older, newer, cosine in near:
        for number in (older, newer):
            best[number] = max(cosine, best.get(number, cosine))
    return best


def cluster_of(members: list[Member]) -> Cluster:
    """A cluster; `members` come oldest first."""
    root = next((item for item in members if item.issue.state == "open"), members[0])
    others = sorted(
        (item for item in members if item is not root),
        key=lambda item: (-(item.similarity or 0.0), item.issue.number),
    )
    return Cluster(root, tuple(others[:MOST_MEMBERS]), len(members))


def as_json(report: Report, web_url: str) -> dict[str, Any]:
    """The report for programs."""
    return {
        "repository": report.repository,
        "threshold": report.asked,
        "effective_threshold": round(report.floor, 4),
        "state": report.states,
        "issues_compared": report.issues,
        "clusters": [
            {
                "size": cluster.size,
                "similarity": round(cluster.similarity, 4),
                "root": member_json(report, cluster.root, web_url),
                "others": [member_json(report, item, web_url) for item in cluster.others],
            }
            for cluster in report.clusters
        ],
        "clusters_left_out": report.left_out,
        "made_at": report.made_at.isoformat(),
    }


def member_json(report: Report, item: Member, web_url: str) -> dict[str, Any]:
    """One issue of a cluster."""
    return {
        "number": item.issue.number,
        "title": item.issue.title,
        "url": issue_address(report.repository, item.issue, web_url),
        "state": item.issue.state,
        "is_pull_request": item.issue.is_pull_request,
        "similarity": None if item.similarity is None else round(item.similarity, 4),
        "marked": item.marked,
        "created_at": item.issue.created_at.isoformat(),
    }


def as_markdown(report: Report, web_url: str) -> str:
    """The report for people; titles in it ping nobody and link nowhere."""
    return "\n".join(lines_of(report, web_url))


def lines_of(report: Report, web_url: str) -> Iterator[str]:
    """Line by line."""
    yield f"# Possible duplicates in {inert(report.repository, 200)}"
    yield ""
    yield (
        f"{counted(len(report.clusters), 'cluster')} among {counted(report.issues, 'issue')}, "
        f"similarity {report.floor:.2f} or more, {report.made_at:%Y-%m-%d %H:%M} UTC."
    )
    if report.floor > report.asked:
        yield f"More pairs than can be shown reach {report.asked:.2f}, so the threshold was raised."
    if report.left_out:
        yield f"{counted(report.left_out, 'more cluster')} are not shown."
    for cluster in report.clusters:
        root = cluster.root.issue
        yield ""
        yield f"## {linked(report, root, web_url)} {inert(root.title, LONGEST_TITLE)}"
        yield ""
        yield f"{root.state} · opened {root.created_at:%Y-%m-%d} · {counted(cluster.size, 'issue')}"
        yield ""
        yield from (member_line(report, item, web_url) for item in cluster.others)
        if more := cluster.size - 1 - len(cluster.others):
            yield f"- and {more} more"
    yield ""


def member_line(report: Report, item: Member, web_url: str) -> str:
    """One issue of a cluster as an item of a list."""
    said = [item.issue.state]
    if item.similarity is not None:
        said.append(f"similarity {item.similarity:.2f}")
    if item.marked:
        said.append("marked as a duplicate")
    return f"- {linked(report, item.issue, web_url)} {inert(item.issue.title, LONGEST_TITLE)} · {' · '.join(said)}"


def linked(report: Report, issue: Issue, web_url: str) -> str:
    """The number with its address: the report may be read anywhere."""
    return f"[#{issue.number}]({issue_address(report.repository, issue, web_url)})"


def issue_address(full_name: str, issue: Issue, web_url: str) -> str:
    """Where people read an issue or a pull request."""
    return f"{web_url}/{full_name}/{'pull' if issue.is_pull_request else 'issues'}/{issue.number}"


def counted(count: int, noun: str) -> str:
    """A number with its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
