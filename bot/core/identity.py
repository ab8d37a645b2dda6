"""Who a person is on GitHub, and who a workflow is."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

RENEW_EARLY = timedelta(minutes=5)
"""An access token is renewed that long before it ends: a request that is sent with it may take its time."""


@dataclass(frozen=True, slots=True)
class GitHubUser:
    """A person, by GitHub's numeric id."""

    id: int
    login: str


@dataclass(frozen=True, slots=True)
class UserTokens:
    """What lets us ask GitHub in a person's name. Where GitHub does not let tokens end, the dates are None."""

    access: str = field(repr=False)
    access_ends: datetime | None
    refresh: str | None = field(repr=False)  # used once: with it GitHub gives both anew
    refresh_ends: datetime | None

    def over(self, now: datetime) -> bool:
        """Whether the access token has to be renewed before it is used."""
        return self.access_ends is not None and now >= self.access_ends - RENEW_EARLY

    def renewable(self, now: datetime) -> bool:
        """Whether it can be renewed; else its person has to sign in again."""
        return self.refresh is not None and (self.refresh_ends is None or now < self.refresh_ends)


@dataclass(frozen=True, slots=True)
class WorkflowIdentity:
    """A GitHub Actions workflow, as a token that GitHub signed says. `repository_id` is what counts: names change hands."""

    repository_id: int
    repository: str  # owner/name
    owner_id: int
    ref: str
    event_name: str
    actor: str
