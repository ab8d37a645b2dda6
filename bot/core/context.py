"""What a handler is given: the only way from behaviour to the world."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from bot.core.finding import Finder
from bot.core.ports import (
    Accounts,
    Backtests,
    Configs,
    Effects,
    Erasure,
    Expired,
    GitHub,
    Inbox,
    Issues,
    Jobs,
    Marks,
    Missed,
    Observations,
    Paces,
    Periodic,
    Repositories,
    Similarity,
    Suggestions,
    Usage,
)
from bot.core.records import AppIdentity, Job


def now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Services:
    """Everything behaviour can reach, made once by the composition root."""

    inbox: Inbox
    jobs: Jobs
    accounts: Accounts
    repositories: Repositories
    issues: Issues
    suggestions: Suggestions
    marks: Marks
    backtests: Backtests
    effects: Effects
    usage: Usage
    erasure: Erasure
    expired: Expired
    periodic: Periodic
    missed: Missed
    paces: Paces
    github: GitHub
    configs: Configs
    similarity: Similarity
    observations: Observations
    app: AppIdentity
    routed: Callable[[str, str | None], bool]  # whether an event and action are handled
    marker_key: bytes  # signs the hidden markers
    web_url: str = "https://github.com"  # where people see what we link to
    clock: Callable[[], datetime] = now  # what an issue's age is measured with
    comment_gap: float = 60.0  # seconds between two comments of ours on one issue, at the least

    @property
    def finder(self) -> Finder:
        """What finds earlier reports and says how likely each is."""
        return Finder(self.similarity, self.issues, self.marks, self.backtests)


@dataclass(frozen=True, slots=True)
class Context:
    """One job's view of the services."""

    services: Services
    job: Job
