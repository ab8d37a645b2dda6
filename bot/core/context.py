"""What a handler is given: the only way from behaviour to the world."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from bot.core.ports import (
    Accounts,
    Effects,
    GitHub,
    Inbox,
    Issues,
    Jobs,
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
    effects: Effects
    usage: Usage
    github: GitHub
    similarity: Similarity
    app: AppIdentity
    marker_key: bytes  # signs the hidden markers
    clock: Callable[[], datetime] = now


@dataclass(frozen=True, slots=True)
class Context:
    """One job's view of the services."""

    services: Services
    job: Job
