"""What an import found and what became of it, counted and told: pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from bot.core.errors import BadRowError
from bot.core.exchange import (
    Item,
    Mark,
    ParentsDiscussion,
    Recorded,
    Row,
    Settings,
    header_in,
    parsed,
    row_of,
)
from bot.core.records import Issue, Lane, NewJob, Repository, Suggestion, Tier
from bot.core.repo_config import DEFAULT, Config

SHOWN = 20
"""Rows with a reason that are listed; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was read at one place: a line's text, or a record; nothing where `problem` says why."""

    place: str
    value: object
    problem: str = ""


@dataclass(slots=True)
class Tally:
    """What is there for one repository."""

    repository: Repository
    config: Config | None = None  # what it wants indexed, once that was asked for
    versions: dict[int, datetime] = field(
        default_factory=dict
    )  # of issues that are wanted, the newest of each
    twice: int = 0
    left: Counter[str] = field(default_factory=Counter)  # by what they are, in the plural
    other: Counter[str] = field(default_factory=Counter)
    stored: int = 0  # issues that were written
    evicted: int = 0  # issues that had no room
    stopped: str | None = None  # why nothing more was written

    def take(self, item: Item) -> bool:
        """Count an item; False where it is left out."""
        match item:
            case Issue():
                return self._take_issue(item)
            case ParentsDiscussion():
                self.left["discussions"] += 1
                return False
            case _:
                self.other[NAMES[type(item)]] += 1
                return True

    def _take_issue(self, issue: Issue) -> bool:
        include = (self.config or DEFAULT).include
        if issue.is_pull_request and not include.pull_requests:
            self.left["pull requests"] += 1
            return False
        if issue.state == "closed" and not include.closed:
            self.left["closed issues"] += 1
            return False
        known = self.versions.get(issue.number)
        self.twice += known is not None
        self.versions[issue.number] = max(issue.updated_at, known or issue.updated_at)
        return True


NAMES: Mapping[type, str] = {
    Settings: "settings",
    Mark: "marks",
    Suggestion: "suggestions",
    Recorded: "outcomes",
}


@dataclass(slots=True)
class Plan:
    """What a source holds, and what of it has a place here."""

    targets: Mapping[str, Tally]  # by the repository's name in lower case
    only: str | None = None  # the one repository that was asked for, in lower case
    rows: int = 0
    bad: int = 0
    reasons: list[str] = field(default_factory=list)
    foreign: Counter[str] = field(default_factory=Counter)  # rows by a repository that has no place here

    def read(self, found: Found) -> tuple[Tally, Item] | None:
        """What is at one place and where it goes; None where it has no place, is no row, or was not asked for."""
        try:
            row = self._row(found)
        except BadRowError as error:
            self.bad += 1
            self.reasons += [f"{found.place}: {error}"] if len(self.reasons) < SHOWN else []
            return None
        if row is None or self.only not in (None, row.repository.casefold()):
            return None
        target = self.targets.get(row.repository.casefold())
        if target is None:
            self.foreign[row.repository] += 1
            return None
        return target, row.item

    def _row(self, found: Found) -> Row | None:
        self.rows += 1
        if found.problem:
            raise BadRowError(found.problem)
        value = parsed(found.value) if isinstance(found.value, str) else found.value
        if header_in(value) is not None:
            self.rows -= 1
            return None
        return row_of(value)

    @property
    def tallies(self) -> list[Tally]:
        """The repositories that something was found for."""
        return [item for item in self.targets.values() if item.versions or item.left or item.other]

    @property
    def stopped(self) -> bool:
        """Whether a repository went away meanwhile."""
        return any(item.stopped for item in self.tallies)

    @property
    def refused(self) -> bool:
        """Whether anything has no place here."""
        return bool(self.bad or self.foreign)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What an import would do with the issues of one repository."""

    new: int
    newer: int
    known: int
    surplus: int  # beyond the tier's room


def forecast(tally: Tally, stored: Mapping[int, datetime], total: int, room: int) -> Forecast:
    """Compare with the versions that are stored, of `total` issues in all where there is room for so many."""
    new = len(tally.versions.keys() - stored.keys())
    newer = sum(number in stored and stored[number] < at for number, at in tally.versions.items())
    return Forecast(new, newer, len(tally.versions) - new - newer, max(0, total + new - room))


def plan_text(plan: Plan, forecasts: Sequence[tuple[Tally, Forecast]], tier: Tier) -> str:
    """What was found, for people."""
    lines = [line for tally, ahead in forecasts for line in repository_lines(tally, ahead, tier)]
    return "\n".join([f"{plan.rows} rows read", *lines, *refusals(plan)])


def outcome_text(plan: Plan, tier: Tier) -> str:
    """What an import did, for people."""
    lines = [f"{sum(item.stored for item in plan.tallies)} imported"]
    for item in plan.tallies:
        name = item.repository.full_name
        lines.append(f"{name}: {item.stored} issues written; the worker embeds them")
        lines += [f"  {room_text(item.evicted, tier)}"] if item.evicted else []
        lines += [f"  stopped: {item.stopped}"] if item.stopped else []
    return "\n".join(lines)


def repository_lines(tally: Tally, ahead: Forecast, tier: Tier) -> Iterator[str]:
    """What was found for one repository."""
    yield (
        f"{tally.repository.full_name}: {len(tally.versions)} issues: "
        f"{ahead.new} new, {ahead.newer} newer than here, {ahead.known} known"
    )
    if tally.other:
        yield f"  also {counted(tally.other)}"
    if tally.left:
        yield f"  left out: {counted(tally.left)}"
    if tally.twice:
        yield f"  {tally.twice} rows repeat an issue: the newest version holds, of equally new ones the last"
    if ahead.surplus:
        yield f"  {room_text(ahead.surplus, tier)}"


def counted(counts: Mapping[str, int]) -> str:
    """Counts by name, in the order in which they came up."""
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def room_text(surplus: int, tier: Tier) -> str:
    """What has no room, and whose turn it is to leave."""
    return (
        f"{surplus} issues have no room: the {tier.name.capitalize()} plan indexes {tier.issues} issues of a repository; "
        "closed ones stay out first, then those updated longest ago"
    )


def refusals(plan: Plan) -> Iterator[str]:
    """What has no place here, and what to do about it."""
    for name, count in plan.foreign.most_common(SHOWN):
        yield f"{name}: {count} rows refused: not a repository that this account's installation sees and indexes; add it there first"
    if len(plan.foreign) > SHOWN:
        yield f"{len(plan.foreign) - SHOWN} more repositories were refused"
    if plan.bad:
        yield f"{plan.bad} rows refused:"
        yield from (f"  {reason}" for reason in plan.reasons)
        if plan.bad > len(plan.reasons):
            yield f"  and {plan.bad - len(plan.reasons)} more"


def embed_job(repository: Repository, after: float = 0.0) -> NewJob:
    """Embeds what an import stored; `after_revision` is from where on to look for what left."""
    return NewJob(
        kind="embed_imported",
        lane=Lane.BACKFILL,
        account_id=repository.account_id,
        serial=f"index:{repository.id}",
        dedupe=f"embed_later:{repository.id}" if after else f"embed:{repository.id}",
        payload={"repository_id": repository.id, "after_revision": repository.revision},
        after=after,
    )


def backtest_job(repository: Repository) -> NewJob:
    """Judges the repository's past anew: there is more of it now."""
    return NewJob(
        kind="backtest",
        lane=Lane.BACKFILL,
        account_id=repository.account_id,
        serial=f"index:{repository.id}",
        dedupe=f"backtest:{repository.id}",
        payload={"repository_id": repository.id},
    )
