"""The nouns of Deja View: frozen records that all parts share."""

import math
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float32]
"""A unit vector of one text, float32, shape (384,)."""


class InstallationState(StrEnum):
    """What GitHub lets us do for an account."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    NEEDS_PERMISSION = "needs_permission"


class RepositoryState(StrEnum):
    """What Deja View does with a repository."""

    PENDING = "pending"  # known, not indexed yet
    INDEXING = "indexing"
    ACTIVE = "active"  # indexed: suggestions and commands work
    INACTIVE = "inactive"  # listed with a reason (`Repository.reason`), nothing is done


class Lane(IntEnum):
    """Which jobs go first, lowest number first (design: webhooks before commands before backfill)."""

    WEBHOOK = 0
    COMMAND = 1
    BACKFILL = 2


class JobState(StrEnum):
    """Where a job stands."""

    READY = "ready"
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"


class EffectState(StrEnum):
    """How far one outward write got."""

    INTENT = "intent"  # to be written
    SENDING = "sending"  # the request left; look it up before it is repeated
    DONE = "done"
    CANCELLED = "cancelled"


class OutcomeKind(StrEnum):
    """What people did with a suggestion."""

    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    IGNORED = "ignored"
    MISSED = "missed"


class Role(IntEnum):
    """What a person may do in a repository, by GitHub's `role_name`; a greater role includes the smaller."""

    NONE = 0
    READ = 1
    TRIAGE = 2
    WRITE = 3
    MAINTAIN = 4
    ADMIN = 5


@dataclass(frozen=True, slots=True)
class Account:
    """A tenant: one GitHub user or organisation, by GitHub's numeric id."""

    id: int
    login: str
    kind: str  # "User" or "Organization"
    tier: str


@dataclass(frozen=True, slots=True)
class Tier:
    """The limits of one tier; data that the operator can change."""

    name: str
    repositories: int
    issues: int  # per repository
    api_calls: int  # a minute
    shrunk_at: datetime | None = None  # when the account came to it from one of more issues


@dataclass(frozen=True, slots=True)
class Installation:
    """GitHub's installation of the App on an account."""

    id: int
    account_id: int
    state: InstallationState


@dataclass(frozen=True, slots=True)
class RepositoryName:
    """What GitHub calls a repository at this moment; `id` is the part that never changes."""

    id: int
    owner: str
    name: str
    private: bool
    archived: bool = False

    @property
    def full_name(self) -> str:
        """`owner/name`, as in addresses."""
        return f"{self.owner}/{self.name}"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What people want of the bot in a repository."""

    override: str | None
    override_until: datetime | None
    public_search: bool


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository that an installation can see, keyed by GitHub's numeric id."""

    id: int
    account_id: int
    installation_id: int
    owner: str
    name: str
    private: bool
    collection: str  # minted once, see `bot.core.names`
    state: RepositoryState
    reason: str | None  # why it is inactive, for people
    indexed_at: datetime | None
    issues_total: int | None  # on GitHub, as counted when the index was made
    issues_indexed: int
    revision: int  # rises with every change of an issue: caches compare it
    threshold: float | None  # the score from which the bot speaks, None before calibration
    threshold_model: str | None  # the scorer that the threshold belongs to
    config_notice: str | None  # sha of the last invalid config that was reported
    override: str | None = None  # "shadow" or "comment", by command, against the back-test
    override_until: datetime | None = None  # when a "shadow" ends by itself
    public_search: bool = False  # whether anybody may search it, while it is public
    frozen_at: datetime | None = None  # since when it is over the limit with an index
    surplus_since: datetime | None = None  # when the tier became too small for the issues that it holds

    @property
    def full_name(self) -> str:
        """`owner/name`, as in addresses."""
        return f"{self.owner}/{self.name}"

    @property
    def wishes(self) -> Wishes:
        """What people want of it."""
        return Wishes(self.override, self.override_until, self.public_search)

    def wish(self, now: datetime) -> str | None:
        """The override that is in force at that time."""
        return None if self.override_until is not None and self.override_until <= now else self.override

    @property
    def issues_left_out(self) -> int:
        """How many issues of the repository the tier or the caps leave out of the index."""
        return max(0, (self.issues_total or 0) - self.issues_indexed)


@dataclass(frozen=True, slots=True)
class Issue:
    """An issue as GitHub shows it, its text already sanitised (`bot.core.text.sanitise`)."""

    repository_id: int
    number: int
    github_id: int  # 0 where GitHub did not tell this version: it was imported
    title: str
    body: str
    state: str  # "open" or "closed"
    state_reason: str | None  # "completed", "not_planned", "duplicate", "reopened"
    author: str | None  # login; None for a ghost
    author_id: int | None
    author_is_bot: bool
    labels: tuple[str, ...]
    is_pull_request: bool
    locked: bool
    reactions: int  # thumbs up
    created_at: datetime
    updated_at: datetime
    closed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredIssue:
    """An issue with what the index keeps of it."""

    issue: Issue
    revision: int
    title_vector: Vector | None  # None until embedded
    text_vector: Vector | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One webhook request that passed verification."""

    id: UUID
    event: str
    action: str | None
    installation_id: int | None
    repository_id: int | None
    body: bytes


@dataclass(frozen=True, slots=True)
class HookAttempt:
    """One request of a delivery, as GitHub's log of our webhook shows it. Without content."""

    id: int
    guid: UUID  # the delivery's id: the same for each of its requests
    event: str
    action: str | None
    installation_id: int | None
    repository_id: int | None
    answered: bool  # with a 2xx
    delivered_at: datetime


@dataclass(frozen=True, slots=True)
class MissedDelivery:
    """A delivery that GitHub's log has and ours has not."""

    attempt: HookAttempt
    asked: int  # how often it was asked for, where that counted
    asked_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to put on the queue.

    `kind` is `delivery` or a task's name. `serial` lets one job at a time run per value (one issue, one
    repository). `dedupe` drops the job when a waiting one has the same value. `after` is in seconds.
    """

    kind: str
    lane: Lane
    account_id: int | None = None
    serial: str | None = None
    dedupe: str | None = None
    payload: dict[str, Any] = field(default_factory=dict)
    delivery_id: UUID | None = None
    after: float = 0.0
    max_attempts: int = 8


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed job: `worker` and `attempt` are its fence, every later write must match both."""

    id: int
    kind: str
    lane: Lane
    account_id: int | None
    serial: str | None
    payload: dict[str, Any]
    delivery_id: UUID | None
    progress: dict[str, Any]
    attempt: int
    max_attempts: int
    worker: UUID
    enqueued_at: datetime


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as the operator sees it: with the names of what it is about, without its content."""

    id: int
    kind: str
    lane: Lane
    state: str
    attempt: int
    max_attempts: int
    reason: str | None
    account_id: int | None
    account: str | None  # its login, None where it is not installed
    repository: str | None
    event: str | None  # of a delivery: event and action
    delivery_id: UUID | None
    payload: dict[str, Any]
    progress: dict[str, Any]
    enqueued_at: datetime
    run_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Stuck:
    """An account, or a repository of it, that nothing was done for although there is work."""

    account_id: int
    account: str | None
    repository: str | None  # None: the account as a whole
    since: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Effect:
    """One outward write on GitHub, at most once per `key` of an issue."""

    id: int
    account_id: int
    repository_id: int
    issue_number: int
    key: str  # "suggestion", "reply:<comment id>", "label:…": the logical write
    state: EffectState
    body: str  # what was or shall be written
    github_id: int | None  # the comment's id once it is known
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Features:
    """What the score of one candidate is made of; see `bot.core.scoring` for each unit."""

    cos_title: float
    cos_text: float
    bm25_title_self: float
    bm25_z: float
    age_days: float
    same_author: bool
    whitened_title: float | None = None  # None below the history that whitening needs
    whitened_text: float | None = None
    rare_tokens: float = 0.0  # ln(1 + sum of idf)


@dataclass(frozen=True, slots=True)
class Closing:
    """How GitHub says that an issue was closed."""

    pull_request: int | None  # of the same repository
    milestone: str | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """An earlier issue that may report the same problem."""

    number: int
    score: float
    features: Features
    issue: Issue
    shared_terms: tuple[str, ...] = ()  # rarest first, as they stand in the texts
    via: int | None = None  # the duplicate of `number` that was compared, where people marked it as one
    closing: Closing | None = None  # asked for only where it is shown
    shared_error: str | None = None  # in words, see `bot.core.signatures`
    shared_label: str | None = None
    shared_prefix: str | None = None  # of both titles, such as `ui`
    chance: float | None = None  # that it is the same problem; None where nothing says what its score means

    def evidence(self) -> dict[str, Any]:
        """Score, chance, features and what is shared as JSON takes them, for `Suggestion.evidence`."""
        score = self.score if math.isfinite(self.score) else None
        return {
            "score": score,
            "chance": self.chance,
            "features": asdict(self.features),
            "shared_error": self.shared_error,
            "shared_terms": list(self.shared_terms),
            "shared_label": self.shared_label,
            "shared_prefix": self.shared_prefix,
            "via": self.via,
        }


@dataclass(frozen=True, slots=True)
class Ranking:
    """Candidates for one issue, best first, and how they were found."""

    candidates: tuple[Candidate, ...]
    history: int  # issues that were searched
    model: str  # scorer and embedding model, the threshold must belong to the same
    degraded: str | None = None  # what was missing, in words ("Chroma unavailable"), None if nothing


@dataclass(frozen=True, slots=True)
class Pairs:
    """Issues of one repository whose texts are near, two by two."""

    near: tuple[tuple[int, int, float], ...]  # (older, newer, cosine), the nearest first
    floor: (
        float  # every pair from this cosine on is there; above what was asked for where those were too many
    )
    issues: int  # that were compared


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A piece of an issue's body that is not compared, and what kind of thing it is, in the plural."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Explained:
    """One pair of issues, for `why`."""

    ranking: Ranking  # of that one candidate
    left_out: tuple[LeftOut, ...]  # of the new issue's body

    @property
    def candidate(self) -> Candidate:
        """The earlier issue."""
        return self.ranking.candidates[0]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What the bot says about one issue: candidates, evidence, decision."""

    account_id: int
    repository_id: int
    issue_number: int
    spoken: bool
    reason: str  # why it spoke or stayed silent, in words
    threshold: float
    model: str
    likely: tuple[int, ...]  # issue numbers, best first
    also: tuple[int, ...]
    evidence: dict[str, Any]  # candidate number -> `Candidate.evidence`, for the API
    content_hash: bytes  # of the issue text it was made for
    decided_at: datetime
    degraded: str | None = None  # what was missing when it was made, in words


@dataclass(frozen=True, slots=True)
class Outcome:
    """What somebody did with a suggestion; `candidate` None means the suggestion as a whole."""

    account_id: int
    repository_id: int
    issue_number: int
    candidate: int | None
    kind: OutcomeKind
    actor_id: int | None
    source: str  # "command", "comment", "reaction", "deletion"


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment on an issue, as GitHub shows it."""

    id: int
    body: str
    author: str | None
    author_id: int | None
    app_id: int | None  # `performed_via_github_app`
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Discussion:
    """A discussion as GitHub shows it, its text sanitised."""

    number: int
    title: str
    url: str
    category: str
    answerable: bool  # whether its category is one for questions and answers
    answered: bool
    upvotes: int
    comments: int
    author: str | None  # login; None for a ghost
    created_at: datetime


@dataclass(frozen=True, slots=True)
class AppIdentity:
    """Who we are on GitHub."""

    id: int
    slug: str  # the bot's login is `slug[bot]`

    @property
    def login(self) -> str:
        """The login under which the App comments."""
        return f"{self.slug}[bot]"
