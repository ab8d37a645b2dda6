"""What behaviour may ask of the world: one Protocol per part, implemented by storage, github and similarity.

Every method that touches an account's data takes the account first; an implementation gives no row of
another account, whatever else it is asked (row-level security is the second wall).
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

import numpy as np
import numpy.typing as npt

from bot.core.access import (
    Act,
    ApiKey,
    AuditLine,
    Conflict,
    InFlight,
    LoginState,
    New,
    NewApiKey,
    Replay,
    SealedTokens,
    Session,
    Standing,
    StoredKey,
    StoredOutcome,
    Taken,
    UsageTotal,
    UserRecord,
)
from bot.core.identity import GitHubUser, UserTokens, WorkflowIdentity
from bot.core.indexing import Indexing
from bot.core.kept import Batch, Words
from bot.core.principal import Scope
from bot.core.records import (
    Account,
    AppIdentity,
    Closing,
    Comment,
    Delivery,
    Discussion,
    Effect,
    Explained,
    HookAttempt,
    Installation,
    InstallationState,
    Issue,
    Job,
    MissedDelivery,
    NewJob,
    Outcome,
    Pairs,
    Ranking,
    Repository,
    RepositoryName,
    RepositoryState,
    Role,
    StoredIssue,
    Suggestion,
    Tier,
    Vector,
    Wishes,
)
from bot.core.repo_config import ConfigOutcome
from bot.core.scoring import Whitening
from bot.core.sweep import Asking


class Inbox(Protocol):
    """Hop 4: makes a delivery durable together with its job."""

    async def accept(self, delivery: Delivery, job: NewJob) -> bool:
        """Store both in one transaction; False where the delivery id is known already (nothing changes).

        Raises StorageUnavailableError: answer 503, GitHub keeps the delivery for redelivery.
        """
        ...

    async def read(self, job: Job) -> Delivery:
        """The delivery that a `delivery` job is about. Raises DeadError where it was purged."""
        ...


class Jobs(Protocol):
    """The queue. Every write after `claim` is fenced by worker and attempt: LeaseLostError, nothing written."""

    async def enqueue(self, *jobs: NewJob) -> int:
        """Put jobs on the queue; returns how many were new (not dropped by `dedupe`)."""
        ...

    async def claim(self, worker: Any, *, limit: int = 1) -> list[Job]:
        """Lease jobs that are due, or whose lease ran out, by lane, below the account's cap."""
        ...

    async def extend(self, job: Job) -> None:
        """Renew the lease (the heartbeat)."""
        ...

    async def save_progress(self, job: Job, progress: Mapping[str, Any]) -> None:
        """Keep how far a long job got; a later attempt finds it in `job.progress`."""
        ...

    async def finish(self, job: Job, note: str | None = None) -> None:
        """Done; `note` says in words why there was nothing to do, if so."""
        ...

    async def give_back(self, job: Job, *, after: float, reason: str, counts: bool) -> None:
        """Ready again in `after` seconds; the attempt is taken back where it does not count."""
        ...

    async def bury(self, job: Job, reason: str) -> None:
        """Dead letter, with its reason."""
        ...

    async def indexing(self, account_id: int, repository_id: int) -> Indexing:
        """Whether a repository is being indexed now."""
        ...

    async def purge(self, older_than: timedelta) -> None:
        """Forget jobs and deliveries that are done and older than that; dead ones after four times that."""
        ...


class Paces(Protocol):
    """When each installation was written to."""

    async def purge(self) -> None:
        """Forget what no limit reaches any more."""
        ...


class Periodic(Protocol):
    """When each kind of `bot.core.periodic` was last done, and where it goes on."""

    async def progress(self, kind: str) -> dict[str, Any]:
        """What the last turn left; empty before the first."""
        ...

    async def done(self, kind: str, progress: Mapping[str, Any] | None = None, *, more: bool = False) -> None:
        """A turn ended well; with `more` the next one is due at once."""
        ...


class Missed(Protocol):
    """Deliveries that GitHub's log has and ours has not."""

    async def note(self, attempts: Sequence[HookAttempt]) -> None:
        """Remember those that are not in our log."""
        ...

    async def silence(self) -> bool:
        """Forget what arrived or is too old; whether nothing at all arrived since something was asked for."""
        ...

    async def due(self, asking: Asking) -> list[MissedDelivery]:
        """What to ask for now: of what an installation still sees, oldest first."""
        ...

    async def ask(self, missed: MissedDelivery, *, counts: bool) -> bool:
        """Take the turn to ask for it; False where somebody else just did."""
        ...

    async def settle(self, missed: MissedDelivery) -> None:
        """Nothing is missing: never ask for it."""
        ...

    async def lost(self, delivery_id: UUID | None) -> bool:
        """Whether we took a delivery before, and have it only because it was sent again, as after a restore."""
        ...


class Accounts(Protocol):
    """Accounts, their installations and their tiers."""

    async def install(
        self, account: Account, installation_id: int, repositories: Sequence[RepositoryName]
    ) -> list[Repository]:
        """Record an installation and the repositories it brought; returns those that are to be indexed.

        A known account keeps its tier. Above the tier's repositories the rest is INACTIVE with the reason. Race free.
        """
        ...

    async def add_repositories(
        self, account_id: int, installation_id: int, repositories: Sequence[RepositoryName]
    ) -> list[Repository]:
        """As in `install`, for repositories added later; returns those to be indexed."""
        ...

    async def promote(self, account_id: int) -> list[Repository]:
        """Let in, oldest first, repositories that were over the tier's limit and fit now: PENDING, to be indexed."""
        ...

    async def remove_repositories(self, account_id: int, repository_ids: Sequence[int]) -> list[Repository]:
        """Purge repositories and all their rows; returns what they were, so that collections can go too."""
        ...

    async def clear(self, account_id: int, repository_ids: Sequence[int] | None = None) -> Sequence[int]:
        """Delete all that is kept of these repositories (None: of all of the account's); returns which there were.

        They stay listed, INACTIVE as after `deactivate`. Keys that were for one of them alone go with it.
        """
        ...

    async def uninstall(self, account_id: int, installation_id: int) -> list[Repository]:
        """Purge the account's data (usage totals stay); returns the repositories it had."""
        ...

    async def rename(self, account_id: int, login: str) -> None:
        """What GitHub calls the account now; the owner in its repositories' names follows."""
        ...

    async def set_state(self, account_id: int, installation_id: int, state: InstallationState) -> None:
        """Suspend, resume or park an installation."""
        ...

    async def installation(self, installation_id: int) -> Installation | None:
        """The installation, by GitHub's id: the one look-up that finds the account of an event."""
        ...

    async def account(self, account_id: int) -> Account | None:
        """The account."""
        ...

    async def tier(self, account_id: int) -> Tier:
        """The limits of the account's tier."""
        ...

    async def set_tier(self, account_id: int, tier: str) -> Sequence[Repository]:
        """Give an account another tier; returns what is to be indexed now: what was let in, and what may hold more issues.

        What a smaller one has no room for is INACTIVE with the reason: those that were added last. Their index is kept for
        `bot.core.tiers.NOTICE`, and so are issues beyond the new limit. Raises MissingError where account or tier are not
        known.
        """
        ...

    async def overdue(self, before: datetime) -> Sequence[int]:
        """Accounts that keep something beyond their tier since a downgrade of that time or before."""
        ...

    async def purge_frozen(self, account_id: int, before: datetime) -> Sequence[int]:
        """Delete what is kept of repositories that are over the limit since that time or longer; returns which there were.

        They stay listed, INACTIVE as what was added over the limit, with what people wanted of the bot there; when there is
        room they are indexed from the start. Keys that were for one of them alone go. One that was let in meanwhile stays.
        """
        ...

    async def end_notice(self, account_id: int, before: datetime) -> None:
        """Let go of issues beyond the limit, where the last downgrade was at that time or before."""
        ...

    async def deactivate(self, account_id: int, repository_id: int) -> bool:
        """People want nothing done in a repository: INACTIVE, its index kept, its place in the tier free for `promote`.

        Only `activate` lets it in again, no event and no `promote`. False where it was so already. Raises MissingError.
        """
        ...

    async def activate(self, account_id: int, repository_id: int) -> Sequence[Repository]:
        """Let in an INACTIVE repository: PENDING; returns what is to be indexed, nothing where it was let in already.

        Race free. Raises QuotaError where the tier has no room, MissingError where the account has no such repository.
        """
        ...

    async def find(self, login: str) -> Account | None:
        """The account of that login, in upper or lower case; None while the App is not installed there."""
        ...


class Repositories(Protocol):
    """Repository rows."""

    async def get(self, account_id: int, repository_id: int) -> Repository | None:
        """The repository, where it is this account's."""
        ...

    async def list(self, account_id: int) -> list[Repository]:
        """All of the account's repositories, by name."""
        ...

    async def anywhere(self, repository_id: int) -> Repository | None:
        """The repository of that id, whosever it is: for those whose right to it GitHub has proven."""
        ...

    async def open_to_all(self, repository_id: int) -> Repository | None:
        """The repository, where it is public, worked on, and its people let anybody search it."""
        ...

    async def change_wishes(self, account_id: int, repository_id: int, seen: Wishes, wanted: Wishes) -> bool:
        """Change what people want of it; False, and nothing changes, where that is not what was seen any more."""
        ...

    async def rename(self, account_id: int, name: RepositoryName) -> None:
        """Owner, name and visibility as GitHub tells them now; the collection keeps its name."""
        ...

    async def set_state(
        self, account_id: int, repository_id: int, state: RepositoryState, reason: str | None = None
    ) -> None:
        """Move a repository to a state."""
        ...

    async def active(self, login: str | None = None) -> Sequence[Repository]:
        """Every repository that is indexed and may be worked on, of all accounts or of one."""
        ...

    async def synced_until(self, account_id: int, repository_id: int) -> datetime | None:
        """Up to when all changes on GitHub are known; None before the first index."""
        ...

    async def synced(self, account_id: int, repository_id: int, until: datetime) -> None:
        """All changes up to then are known now."""
        ...

    async def readmit(self, account_id: int, repository_id: int, reason: str) -> None:
        """Let a repository that is INACTIVE for that reason wait for room in the tier: `Accounts.promote` lets it in."""
        ...

    async def indexed(self, account_id: int, repository_id: int, *, total: int | None) -> None:
        """The index is complete: ACTIVE, `indexed_at` now, `issues_indexed` recounted, `issues_total` as told."""
        ...

    async def calibrated(self, account_id: int, repository_id: int, threshold: float, model: str) -> None:
        """Keep the score from which the bot speaks."""
        ...

    async def set_override(
        self, account_id: int, repository_id: int, mode: str | None, until: datetime | None = None
    ) -> None:
        """Have the bot comment ("comment") or only record ("shadow") whatever its back-test says; None takes that back.

        `until` ends a "shadow" by itself.
        """
        ...

    async def config_reported(self, account_id: int, repository_id: int, sha: str) -> bool:
        """Remember that this invalid config was reported; False where it had been already."""
        ...


class Issues(Protocol):
    """Issue rows: text, state, vectors. A version older than the stored one changes nothing."""

    async def save(self, account_id: int, issues: Sequence[Issue], *, room: int | None = None) -> "Saved":
        """Insert or update by `updated_at`; tombstones stay dead.

        An imported version (`github_id` 0) gives way to one of the same time that GitHub told, and what it does not know
        stays as it was.

        `room` is how many issues the repository may hold: above it the least useful ones (closed before open,
        least recently updated first) leave. All issues of one call belong to one repository.
        """
        ...

    async def get(
        self, account_id: int, repository_id: int, numbers: Sequence[int]
    ) -> dict[int, StoredIssue]:
        """Issues by number; what is not stored is left out."""
        ...

    async def set_vectors(
        self,
        account_id: int,
        repository_id: int,
        model: str,
        vectors: Mapping[int, tuple[bytes, Vector, Vector]],
        words: Mapping[int, Words] | None = None,
    ) -> None:
        """Keep title and text vectors by number, and words; only where the content hash (first value) is still the same."""
        ...

    async def unembedded(self, account_id: int, repository_id: int, model: str, limit: int) -> list[Issue]:
        """Issues without vectors of this model, oldest number first."""
        ...

    def stream(
        self, account_id: int, repository_id: int, *, after_revision: int = 0
    ) -> AsyncIterator[list[StoredIssue]]:
        """All issues whose revision is above, in batches, by revision."""
        ...

    def read(self, account_id: int, repository_id: int, *, after_revision: int = 0) -> AsyncIterator[Batch]:
        """The same, but by kept words instead of text where there are any."""
        ...

    async def outdated(self, account_id: int, revisions: Mapping[int, int]) -> list[tuple[int, int | None]]:
        """Of repositories as they were at those revisions: (id, None) where it is gone, else deleted issues (id, number)."""
        ...

    async def removed_since(self, account_id: int, repository_id: int, after_revision: int) -> list[int]:
        """Numbers of issues that left since that revision."""
        ...

    async def delete(
        self, account_id: int, repository_id: int, numbers: Sequence[int], at: datetime
    ) -> list[int]:
        """Replace issues by tombstones without content; a late event cannot bring them back. Returns those there were."""
        ...

    async def trim(self, account_id: int, repository_id: int, room: int) -> Sequence[int]:
        """Have the least useful issues leave, as in `save`, down to `room`; returns which."""
        ...

    async def leave(self, account_id: int, repository_id: int, numbers: Sequence[int]) -> list[int]:
        """Take issues out that the repository does not want indexed; they may come back. Returns those there were."""
        ...

    async def tombstones(self, account_id: int, repository_id: int, numbers: Sequence[int]) -> list[int]:
        """Which of these were deleted."""
        ...

    async def count(self, account_id: int, repository_id: int) -> int:
        """How many issues are stored."""
        ...

    async def list(
        self, account_id: int, repository_id: int, state: str | None, after_number: int, limit: int
    ) -> Sequence[Issue]:
        """Issues above a number, by number: "open", "closed" or all (None) of them."""
        ...


class Whitenings(Protocol):
    """What was fitted to a repository's vectors: losing it costs time only."""

    async def save(self, account_id: int, repository_id: int, basis: bytes, whitening: Whitening) -> None:
        """Keep the last one; `basis` names the vectors it was fitted to."""
        ...

    async def get(self, account_id: int, repository_id: int, basis: bytes) -> Whitening | None:
        """The last one, where it was fitted to these vectors."""
        ...


@dataclass(frozen=True, slots=True)
class Saved:
    """What `Issues.save` changed, by issue number."""

    changed_text: tuple[int, ...]  # new, or with another title or body: to be embedded
    changed: tuple[int, ...]  # any change, `changed_text` included
    evicted: tuple[int, ...]  # left to make room; gone from the rows, to be taken out of the collection


class Suggestions(Protocol):
    """Suggestions and what people did with them."""

    async def save(self, suggestion: Suggestion) -> None:
        """Insert, or replace the one of the same issue."""
        ...

    async def get(self, account_id: int, repository_id: int, number: int) -> Suggestion | None:
        """The suggestion of an issue."""
        ...

    async def forget(self, account_id: int, repository_id: int, number: int) -> list[int]:
        """Nothing about a deleted issue stays, in what was said under it or in what was said of it under others.

        Returns the issues under which a comment of ours names it.
        """
        ...

    async def duplicate_of(self, account_id: int, repository_id: int, number: int) -> int | None:
        """The issue that this one was confirmed to be a duplicate of, if any (the last confirmation counts)."""
        ...

    async def record(self, outcome: Outcome) -> None:
        """Add an outcome; the same one twice counts once."""
        ...

    async def refused(self, account_id: int, repository_id: int, number: int) -> frozenset[int | None]:
        """Candidates that were rejected for an issue; None is in it where the whole suggestion was."""
        ...

    def stream(self, account_id: int, repository_id: int) -> AsyncIterator[list[Suggestion]]:
        """Every suggestion of a repository in batches, by issue."""
        ...

    def outcomes(self, account_id: int, repository_id: int) -> AsyncIterator[list[tuple[Outcome, datetime]]]:
        """Every outcome of a repository in batches, with its time, in the order of their first record."""
        ...

    async def restore(self, account_id: int, suggestions: Sequence[Suggestion]) -> int:
        """Add suggestions of the account's repositories where the issue has none; returns how many."""
        ...

    async def restore_outcomes(self, account_id: int, outcomes: Sequence[tuple[Outcome, datetime]]) -> int:
        """Add outcomes of the account's repositories that are not known, with their times; returns how many."""
        ...

    async def outcomes_since(
        self, account_id: int, repository_id: int, since_id: int, limit: int
    ) -> Sequence[StoredOutcome]:
        """Outcomes above an id, by id."""
        ...

    async def list(
        self, account_id: int, repository_id: int, before: tuple[datetime, int] | None, limit: int
    ) -> Sequence[Suggestion]:
        """Suggestions, latest first; from (`decided_at`, issue number) of the last that was seen on, that one left out."""
        ...


class Marks(Protocol):
    """Which issues people marked as duplicates of which; one original a number."""

    async def save(self, account_id: int, repository_id: int, marks: Mapping[int, int]) -> None:
        """Keep marks: number -> the original it duplicates. A number's last mark holds."""
        ...

    async def all(self, account_id: int, repository_id: int) -> dict[int, int]:
        """Every mark of a repository."""
        ...

    async def remove(
        self, account_id: int, repository_id: int, number: int, original: int | None = None
    ) -> None:
        """Forget a mark: that it is a duplicate of `original`, or of anything (None)."""
        ...


@dataclass(frozen=True, slots=True)
class StoredBacktest:
    """The last back-test of a repository: `report` is `bot.core.backtest.Report.as_json`."""

    model: str
    verdict: str  # "comment" or "shadow"
    report: dict[str, Any]
    made_at: datetime


class Backtests(Protocol):
    """What the bot would have done in each repository's past."""

    async def save(
        self, account_id: int, repository_id: int, model: str, verdict: str, report: dict[str, Any]
    ) -> None:
        """Keep a report as the last one."""
        ...

    async def get(self, account_id: int, repository_id: int) -> StoredBacktest | None:
        """The last report; None before the first one."""
        ...


class Effects(Protocol):
    """Outward writes: intent first, marked, looked up before any repeat."""

    async def intend(self, account_id: int, repository_id: int, number: int, key: str, body: str) -> Effect:
        """The effect of that key: a new INTENT, or the one there is, unchanged."""
        ...

    async def get(self, account_id: int, repository_id: int, number: int, key: str) -> Effect | None:
        """The effect of that key."""
        ...

    async def sending(self, effect: Effect, body: str) -> Effect:
        """Mark it SENDING with the body that will be sent; raises LeaseLostError where somebody else moved it since."""
        ...

    async def done(self, effect: Effect, github_id: int | None) -> Effect:
        """Mark it DONE."""
        ...

    async def reset(self, effect: Effect) -> Effect:
        """Back to INTENT: GitHub certainly did not take it."""
        ...

    async def cancel(self, effect: Effect) -> Effect:
        """It shall not be written."""
        ...

    async def spoken_today(self, account_id: int, repository_id: int, number: int) -> int:
        """How many comments of ours an issue got in the last 24 hours."""
        ...

    async def silent_for(self, account_id: int, repository_id: int, number: int) -> float | None:
        """Seconds since our last comment on an issue, an edit being none; None where there is none."""
        ...


class Erasure(Protocol):
    """What follows a removal: no copy of what was removed stays, in rows or in files."""

    async def forget(self) -> None:
        """Empty the raw events of what is not there any more."""
        ...

    async def erase(self) -> None:
        """Rewrite the files without what was deleted, as far as they are ours."""
        ...


class Usage(Protocol):
    """Counters per account and day."""

    async def add(self, account_id: int, metric: str, amount: int = 1) -> None:
        """Count. `metric` is one of indexed_issues, suggestions, comments, commands, api_calls."""
        ...

    async def read(self, account_id: int, days: int) -> list[UsageTotal]:
        """Totals of today and the days before, so many in all, latest first."""
        ...

    async def purge(self, older_than: timedelta) -> None:
        """Forget totals of days that are longer ago, of every account."""
        ...


class ApiKeys(Protocol):
    """API keys. Nothing is cached: what is revoked is so at once, for every process."""

    async def add(self, account_id: int, new: NewApiKey) -> ApiKey:
        """Keep a key. Race free.

        Raises QuotaError where the account has `MOST_KEYS` that live, MissingError where the App is not installed with it
        or it has no such repository.
        """
        ...

    async def revoke(self, account_id: int, key_id: str) -> bool:
        """Let a key be good for nothing from now on; False where there is none that lives."""
        ...

    async def used(self, account_id: int, key_id: str) -> None:
        """Remember that it was used just now; written at most once a minute."""
        ...

    async def find(self, key_id: str) -> StoredKey | None:
        """The key of that id, whosever it is: this is how the account of a request is found."""
        ...

    async def list(self, account_id: int) -> Sequence[ApiKey]:
        """The account's keys, latest first; those that ended too, for 30 days."""
        ...


class Revocations(Protocol):
    """Tokens that were taken back before their end."""

    async def revoke(self, account_id: int, jti: str, until: datetime) -> None:
        """Take a token back; it is remembered until it would have ended."""
        ...

    async def standing(self, account_id: int, jti: str, key_id: str | None = None) -> Standing:
        """What became of a token since it was made, of the key that it was exchanged from, and of its account."""
        ...


class CallWindows(Protocol):
    """Calls of the last 60 seconds: never more than the limit in any 60 seconds, over all processes together."""

    async def take_call(self, account_id: int) -> Taken:
        """Make a call against the account's tier; one that is allowed counts as used, too."""
        ...

    async def take(self, key: str, limit: int) -> Taken:
        """Make a call against a limit of one or more; `key` says of what, as `address:203.0.113.7`."""
        ...

    async def peek(self, key: str, limit: int) -> Taken:
        """Whether a call would be allowed, without making it: for what counts only where it fails."""
        ...


class Idempotency(Protocol):
    """Requests that have an effect once, however often they are made under one key. Kept for 24 hours."""

    async def begin(
        self, account_id: int, key: str, fingerprint: bytes
    ) -> New | Replay | Conflict | InFlight:
        """What a request is; `fingerprint` is a SHA-256 of all that makes it the same one.

        One that was begun a minute ago and never finished is `New` once more.
        """
        ...

    async def finish(self, begun: New, status: int, body: bytes) -> None:
        """Keep the answer; nothing where somebody else took the request over."""
        ...

    async def abandon(self, begun: New) -> None:
        """It had no effect: the same request may be made again."""
        ...


class Audit(Protocol):
    """Who did what, when, from where, and how it went. Lines are added and read, never changed; kept for 400 days."""

    async def record(self, act: Act) -> None:
        """Add a line, now."""
        ...

    async def list(self, account_id: int, before_id: int | None, limit: int) -> Sequence[AuditLine]:
        """An account's lines, latest first; those below an id, or from the last one on."""
        ...


class Sessions(Protocol):
    """People who signed in, and the browsers they did it in. A person belongs to no account.

    Digests are SHA-256 of what the browser holds.
    """

    async def save_user(self, user: UserRecord) -> None:
        """Who signed in just now, with their tokens in place of older ones."""
        ...

    async def user(self, user_id: int) -> UserRecord | None:
        """The person; None where they never signed in or were forgotten."""
        ...

    async def begin_refresh(self, user_id: int, old: SealedTokens) -> bool:
        """Take the turn to have the tokens renewed, for half a minute: a refresh token is good for one use.

        False where somebody else has it, or the tokens are not these any more: read the person again, soon.
        """
        ...

    async def end_refresh(self, user_id: int, old: SealedTokens, new: SealedTokens | None) -> bool:
        """End that turn: with new tokens, or without (None). False where the old ones are gone: a later sign-in holds."""
        ...

    async def replace_tokens(self, user_id: int, old: SealedTokens, new: SealedTokens) -> bool:
        """The same tokens sealed anew; False where they are others by now, or are being renewed."""
        ...

    async def users_after(self, user_id: int, limit: int) -> list[UserRecord]:
        """People with a greater id, by id: with `replace_tokens`, how all tokens are sealed anew."""
        ...

    async def open(self, digest: bytes, user_id: int, expires_at: datetime) -> None:
        """Sign a person in. Raises MissingError where they were not saved."""
        ...

    async def find(self, digest: bytes) -> Session | None:
        """The session with its person; None where it was closed or is over."""
        ...

    async def close(self, digest: bytes) -> None:
        """Sign out here."""
        ...


class LoginStates(Protocol):
    """Sign-ins that were begun. Digests are SHA-256 of the state that the browser brings back."""

    async def put(self, digest: bytes, state: LoginState) -> None:
        """Keep it for ten minutes."""
        ...

    async def take(self, digest: bytes) -> LoginState | None:
        """Take it, once; None where it was taken, is over, or never was."""
        ...


class Expired(Protocol):
    """What was kept for a time that is over: tokens taken back, windows, idempotency keys, sessions, audit lines."""

    async def purge(self) -> None:
        """Forget it."""
        ...


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """`.github/deja-view.yml` as GitHub holds it on the default branch."""

    sha: str
    content: bytes  # empty where `problem` is set
    problem: str | None = None  # why it could not be read as a file: a directory, a link, too large


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A repository's config as it stands: `sha` is GitHub's name of the file's content, "" where it is absent."""

    sha: str
    outcome: ConfigOutcome


class Configs(Protocol):
    """The repositories' own configs, read from GitHub and remembered for a minute."""

    async def of(self, repository: Repository) -> LoadedConfig:
        """The config on the default branch. Raises GitHubError."""
        ...


@dataclass(frozen=True, slots=True)
class Written:
    """Something our App wrote: a comment by its id, an issue by its number."""

    id: int
    body: str


class RepositoryGitHub(Protocol):
    """GitHub as one repository's installation token shows it. Every method may raise GitHubError."""

    async def issue(self, number: int) -> Issue:
        """One issue, fresh."""
        ...

    def issues(self, *, state: str, page: int) -> AsyncIterator[tuple[int, list[Issue]]]:
        """Issues and pull requests, most recently updated first, from that page on: (page, up to 100)."""
        ...

    def issues_since(self, since: datetime | None) -> AsyncIterator[list[Issue]]:
        """Issues and pull requests, open and closed, that changed since then (None: all), least recently first."""
        ...

    async def issue_count(self, *, pull_requests: bool) -> int:
        """How many issues (and pull requests) the repository has in all."""
        ...

    async def comment(self, number: int, body: str) -> int:
        """Post a comment; returns its id."""
        ...

    async def edit_comment(self, comment_id: int, body: str) -> None:
        """Replace a comment's body."""
        ...

    async def own_comments(self, number: int, since: datetime) -> list[Written]:
        """Comments that our App wrote on an issue since then."""
        ...

    async def open_issue(self, title: str, body: str) -> int:
        """Open an issue; returns its number."""
        ...

    async def own_issues(self, since: datetime) -> list[Written]:
        """Issues that our App opened since then."""
        ...

    async def get_comment(self, comment_id: int) -> Comment:
        """One comment, fresh."""
        ...

    async def react(self, comment_id: int, content: str) -> None:
        """Add a reaction ("eyes", "+1", "confused", "rocket") to a comment."""
        ...

    async def thumbs_down(self, comment_id: int) -> list[tuple[int, str]]:
        """Who gave 👎 to a comment: (user id, login), bots left out."""
        ...

    async def role(self, login: str) -> Role:
        """What a person may do here, asked of GitHub now."""
        ...

    async def add_labels(self, number: int, labels: Sequence[str]) -> None:
        """Add labels, keeping the others."""
        ...

    async def remove_label(self, number: int, label: str) -> None:
        """Take one label off; fine where it is not there."""
        ...

    async def close_as_duplicate(self, number: int, of: int) -> None:
        """Close with the reason duplicate, marked as a duplicate of `of`."""
        ...

    def discussions(self, since: datetime) -> AsyncIterator[list[Discussion]]:
        """Discussions that were created since then, latest first, a page at a time; empty where there are none."""
        ...

    def duplicate_marks(self, after: str | None = None) -> AsyncIterator[tuple[str, dict[int, int]]]:
        """What people marked as duplicates among closed issues, latest first: (cursor to go on from, number -> original)."""
        ...

    async def closings(self, numbers: Sequence[int]) -> dict[int, Closing]:
        """By which pull request, or under which milestone, issues were closed; what GitHub does not say is left out."""
        ...

    async def config_file(self) -> ConfigFile | None:
        """The repository's config on its default branch, read with a token for that alone; None if absent."""
        ...

    async def name(self) -> RepositoryName:
        """What the repository is called now, found by its id."""
        ...


class GitHub(Protocol):
    """GitHub as the App sees it."""

    async def identity(self) -> AppIdentity:
        """Who we are."""
        ...

    def repository(self, repository: Repository) -> RepositoryGitHub:
        """The repository, through a token scoped to its id."""
        ...

    async def hook_attempts(self, cursor: str | None) -> tuple[list[HookAttempt], str | None]:
        """A page of the log of our webhook, newest first, and the cursor of the next; None for the last."""
        ...

    async def hook_payload(self, attempt_id: int) -> dict[str, Any]:
        """What was delivered in a request of that log."""
        ...

    async def redeliver(self, attempt_id: int) -> None:
        """Have a request of that log sent again, under the same delivery id."""
        ...

    def installation_repositories(self, installation_id: int) -> AsyncIterator[list[RepositoryName]]:
        """All repositories that an installation sees, a page at a time."""
        ...


class Observations(Protocol):
    """What is counted about behaviour, for the operator."""

    def decided(self, outcome: str) -> None:
        """A suggestion was decided: "spoken" or "silent"."""
        ...

    def commented(self, seconds: float) -> None:
        """A first comment was posted, that long after its issue was opened."""
        ...

    def indexed(self, issues: int) -> None:
        """Issues were embedded."""
        ...


@dataclass(frozen=True, slots=True)
class Past:
    """The latest issues of a repository, each asked again as when it was new."""

    shown: tuple[
        tuple[int, tuple[tuple[int, float], ...]], ...
    ]  # number, then the best earlier ones with their scores
    lowest: float  # the score below which nothing is worth a comment
    careful: float | None  # the threshold where the history is too short to judge by, None where it is not


class Similarity(Protocol):
    """Finds earlier reports. Tenant aware: everything happens inside one repository's collection."""

    @property
    def model(self) -> str:
        """Names the embedding model and the scorer; a threshold belongs to one."""
        ...

    async def index(self, repository: Repository, numbers: Sequence[int], *, urgent: bool = False) -> int:
        """Embed these stored issues and put them into the collection; returns how many were embedded.

        `urgent` ones go before those of a backfill: somebody waits for a decision.
        """
        ...

    async def forget(self, repository: Repository, numbers: Sequence[int]) -> None:
        """Take issues out of the collection and of every cache."""
        ...

    async def rank(self, repository: Repository, issue: Issue, *, limit: int = 10) -> Ranking:
        """Earlier issues (lower number, created before) by score. Degrades as `Ranking.degraded` says."""
        ...

    async def search(self, repository: Repository, title: str, body: str, *, limit: int = 10) -> Ranking:
        """As `rank`, for an issue that nobody has filed yet: every stored one is earlier. Nothing is stored."""
        ...

    async def near(
        self, repository: Repository, issue: Issue, k: int, floor: float
    ) -> list[tuple[int, float]]:
        """Issues, newer ones too, by the cosine of their texts with this one's: (number, cosine), best first.

        At most `k`, and none below `floor`. The issue need not be stored, and is not found itself. Raises
        ModelUnavailableError where its vector would have to be made first.
        """
        ...

    async def pairs(self, repository: Repository, floor: float) -> Pairs:
        """Every two issues whose texts have at least that cosine, for the duplicates report; bounded."""
        ...

    async def compare(self, repository: Repository, issue: Issue, other: int) -> Explained | None:
        """The score of one pair, for `why`; None where the other is not an earlier indexed issue."""
        ...

    async def past(self, repository: Repository) -> Past:
        """What would have been found for each of the repository's latest issues when it was new."""
        ...

    async def rebuild(self, repository: Repository) -> int:
        """Make the collection anew from PostgreSQL; returns how many records it has."""
        ...

    async def verify(self, repository: Repository) -> str | None:
        """What the collection lacks of what PostgreSQL holds, in words, and a rebuild is asked for; None where it is whole."""
        ...

    async def drop(self, repository: Repository) -> None:
        """Delete the collection and forget every cached word of the repository."""
        ...


class Embedder(Protocol):
    """Turns texts into vectors, off the event loop."""

    @property
    def model(self) -> str:
        """Names the model and its revision; vectors of two models are never compared."""
        ...

    async def embed(self, texts: Sequence[str], urgent: bool = False) -> npt.NDArray[np.float32]:  # noqa: FBT001, FBT002 — reads as a switch at every call
        """Unit vectors, (n, 384), in the order of the texts. `urgent` texts go before those that wait."""
        ...


class Collections(Protocol):
    """The vector index: one collection a repository, which can be made anew from PostgreSQL at any time.

    Every method may raise SearchUnavailableError; all but `reset` and `drop` CollectionBrokenError.
    """

    async def upsert(
        self, repository: Repository, model: str, records: Sequence[tuple[int, Vector, int]]
    ) -> None:
        """Put in or replace (number, text vector, creation in seconds since 1970)."""
        ...

    async def remove(self, repository: Repository, numbers: Sequence[int]) -> None:
        """Take records out; unknown numbers are fine."""
        ...

    async def query(
        self, repository: Repository, model: str, vector: Vector, k: int
    ) -> list[tuple[int, float]]:
        """The k nearest records as (number, cosine), nearest first."""
        ...

    async def reset(self, repository: Repository, model: str) -> None:
        """Make the collection anew and empty."""
        ...

    async def drop(self, repository: Repository) -> None:
        """Delete the collection; fine where there is none."""
        ...

    async def numbers(self, repository: Repository) -> frozenset[int]:
        """Numbers of all its records."""
        ...

    async def count(self, repository: Repository) -> int:
        """How many records the collection says it has."""
        ...


class SignIn(Protocol):
    """Signing in with GitHub. Raises SignInError where the person has to (try to) sign in again, else GitHubError."""

    def authorize_url(self, state: str, challenge: str, redirect_uri: str) -> str:
        """Where a browser goes to be asked; `challenge` is PKCE's, S256."""
        ...

    async def exchange(self, code: str, verifier: str, redirect_uri: str) -> UserTokens:
        """The tokens for a code that the browser brought back."""
        ...

    async def refresh(self, refresh_token: str) -> UserTokens:
        """New tokens; those that were given before end."""
        ...

    async def who(self, access_token: str) -> GitHubUser:
        """Whose token it is."""
        ...

    async def installations(self, access_token: str) -> list[Installation]:
        """The App's installations that the person can reach, suspended ones too."""
        ...

    async def account_role(self, access_token: str, account: Account) -> Scope | None:
        """How much the person may do with an account: its user and an organisation's owners ADMIN, members READ."""
        ...

    async def repositories(self, access_token: str, installation_id: int) -> dict[int, Role]:
        """The repositories of an installation that the person can reach, and their role in each; none where there is no access."""
        ...


class People(Protocol):
    """The tokens of people who signed in."""

    async def keep(self, user: GitHubUser, tokens: UserTokens) -> None:
        """Keep the tokens of somebody who signed in. Raises SealError where there is no key to seal them with."""
        ...


class Reach(Protocol):
    """What a person may do here: what GitHub said at most five minutes ago. Raises SignInError, GitHubError."""

    async def role_in(self, user_id: int, repository: Repository) -> Role:
        """Their role in a repository."""
        ...

    async def account_role(self, user_id: int, account: Account) -> Scope | None:
        """How much they may do with an account; None: nothing, but for repositories that they have a role in."""
        ...

    async def installations(self, user_id: int) -> list[Installation]:
        """The App's installations that they can reach, each with its account's id."""
        ...


class ActionsIdentity(Protocol):
    """Identities of GitHub Actions workflows."""

    async def verify(self, token: str, /) -> WorkflowIdentity:
        """Who a workflow is. Raises UnauthenticatedError for a bad token, GitHubUnavailableError where the issuer's keys cannot be read."""
        ...
