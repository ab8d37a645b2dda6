"""What is kept of those who call: their keys, their calls, their sign-ins, and what they did."""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

from bot.core.principal import Scope
from bot.core.records import InstallationState, Outcome

MOST_KEYS = 100
"""API keys of an account that are neither revoked nor expired, at the most."""

NOTED = timedelta(minutes=1)
"""How exactly the last use of a key is kept; the query says it too."""


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key to be kept. Its secret is not: `digest` is the SHA-256 of it."""

    id: str  # public, and the same in its text
    name: str
    digest: bytes = field(repr=False)
    scope: Scope
    repository_id: int | None = None  # the only repository it may touch
    created_by: int | None = None  # a person on GitHub; None: the operator
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as people may see it."""

    id: str
    account_id: int
    name: str
    scope: Scope
    repository_id: int | None
    created_by: int | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None  # within a minute
    revoked_at: datetime | None

    def lives(self, now: datetime) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def is_noted(self, now: datetime) -> bool:
        """Whether a use of it now is told by its last one. Where two clocks differ by more than that, it is not."""
        return self.last_used_at is not None and abs(now - self.last_used_at) < NOTED


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key as it is checked: `digest` against that of the secret that came, in constant time."""

    key: ApiKey
    digest: bytes = field(repr=False)
    installation: InstallationState | None  # None: the App is not installed with its account any more


@dataclass(frozen=True, slots=True)
class Standing:
    """What became since of a token that was good when it was made."""

    revoked: bool  # itself, or the key that it was exchanged from (which may be expired or gone)
    installation: InstallationState | None  # None: the App is not installed with the account any more


@dataclass(frozen=True, slots=True)
class Taken:
    """One call against a limit of so many in any 60 seconds. Times in whole seconds, rounded up."""

    allowed: bool
    limit: int
    remaining: int  # calls that would be allowed right now
    reset_seconds: int  # until all of the limit is there again
    retry_after: int  # until one more would be allowed; 0 where it would be now


@dataclass(frozen=True, slots=True)
class New:
    """A request under an idempotency key that nobody made before: do it, then `finish` or `abandon`."""

    account_id: int
    key: str
    started_at: datetime  # its fence: who takes over a request that died starts anew


@dataclass(frozen=True, slots=True)
class Replay:
    """The same request was answered: give that answer again."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Conflict:
    """The key belongs to another request."""


@dataclass(frozen=True, slots=True)
class InFlight:
    """The same request is being worked on; it may be made again in `retry_after` seconds at the latest."""

    retry_after: int


class Actor(StrEnum):
    """What kind of hand did something."""

    USER = "user"
    API_KEY = "api_key"
    ACTIONS = "actions"
    OPERATOR = "operator"
    SYSTEM = "system"


class Result(StrEnum):
    """How what somebody did went."""

    OK = "ok"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Act:
    """What somebody did, for the audit log. Without secrets: `details` names what changed."""

    action: str  # such as "key.create"
    actor: Actor
    subject: str = ""  # what it was done to, such as "key:4f6…" or "octo/app"
    result: Result = Result.OK
    account_id: int | None = None  # None: no account's, such as a sign-in
    actor_id: int | None = None  # a person's id on GitHub
    address: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditLine:
    """A line of the audit log."""

    id: int
    at: datetime
    act: Act


@dataclass(frozen=True, slots=True)
class SealedTokens:
    """A person's tokens as they are kept: sealed, which no two times gives the same bytes."""

    access: bytes = field(repr=False)
    refresh: bytes | None = field(repr=False)
    access_ends: datetime | None
    refresh_ends: datetime | None


@dataclass(frozen=True, slots=True)
class UserRecord:
    """A person who signed in, by GitHub's id."""

    id: int
    login: str
    tokens: SealedTokens


@dataclass(frozen=True, slots=True)
class Session:
    """A browser in which somebody is signed in."""

    user: UserRecord
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class LoginState:
    """What a sign-in that was begun needs at its end."""

    verifier: str = field(repr=False)  # PKCE's
    next: str  # where the browser goes then


@dataclass(frozen=True, slots=True)
class UsageTotal:
    """What an account used on a day, in UTC."""

    day: date
    metric: str
    amount: int


@dataclass(frozen=True, slots=True)
class StoredOutcome:
    """An outcome with its place in the list of all."""

    id: int
    outcome: Outcome
    recorded_at: datetime
