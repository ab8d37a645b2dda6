"""What GitHub would remember: accounts, repositories, issues, comments, the App and its installations. No HTTP here."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count


@dataclass(slots=True)
class Account:
    """A user, an organisation or an App's bot."""

    id: int
    login: str
    kind: str  # "User", "Organization", "Bot"


@dataclass(slots=True)
class Membership:
    """A person in an organisation."""

    role: str  # "admin" for its owners, "member"
    state: str = "active"  # "pending" until an invitation is accepted


@dataclass(slots=True)
class Reaction:
    """One person's reaction."""

    id: int
    user: Account
    content: str


@dataclass(slots=True)
class Comment:
    """A comment on an issue; `app_id` is set where an App wrote it."""

    id: int
    author: Account | None
    body: str
    created_at: datetime
    updated_at: datetime
    app_id: int | None = None
    reactions: list[Reaction] = field(default_factory=list)


@dataclass(slots=True)
class Issue:
    """An issue, or a pull request, which GitHub lists among them."""

    id: int
    number: int
    title: str
    body: str | None
    author: Account | None  # None for a ghost
    created_at: datetime
    updated_at: datetime
    state: str = "open"
    state_reason: str | None = None
    closed_at: datetime | None = None
    labels: list[str] = field(default_factory=list)
    locked: bool = False
    is_pull_request: bool = False
    app_id: int | None = None
    duplicate_of: int | None = None
    closed_by: int | None = None  # the pull request that closed it
    milestone: str | None = None
    thumbs_up: int = 0
    comments: list[Comment] = field(default_factory=list)

    @property
    def node_id(self) -> str:
        """Its name in GraphQL."""
        return f"I_{self.id}"


@dataclass(slots=True)
class Discussion:
    """A discussion; GitHub numbers it together with the issues."""

    id: int
    number: int
    title: str
    author: Account | None
    created_at: datetime
    category: str = "General"
    answerable: bool = False
    answer: str | None = None
    upvotes: int = 1  # its author's
    comments: int = 0


@dataclass(slots=True)
class Repository:
    """A repository with its issues by number."""

    id: int
    owner: Account
    name: str
    private: bool
    archived: bool = False
    issues: dict[int, Issue] = field(default_factory=dict)
    discussions: list[Discussion] = field(default_factory=list)
    gone: set[int] = field(default_factory=set)  # numbers of deleted issues: 410 ever after
    moved: dict[int, str] = field(default_factory=dict)  # numbers of transferred issues: their new address
    roles: dict[str, str] = field(default_factory=dict)  # role_name by login
    files: dict[str, bytes] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def full_name(self) -> str:
        """`owner/name`."""
        return f"{self.owner.login}/{self.name}"

    @property
    def comments(self) -> dict[int, tuple[Issue, Comment]]:
        """All comments by id, each with its issue."""
        return {comment.id: (issue, comment) for issue in self.issues.values() for comment in issue.comments}


@dataclass(slots=True)
class App:
    """The GitHub App, as its settings page shows it."""

    id: int
    slug: str
    bot: Account
    private_key: str = field(repr=False)  # PEM
    webhook_url: str | None
    webhook_secret: str = field(repr=False)
    permissions: dict[str, str]
    events: frozenset[str]
    client_id: str
    client_secret: str = field(repr=False)
    callback_urls: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Installation:
    """An App on an account."""

    id: int
    app: App
    account: Account
    repositories: dict[int, Repository]
    permissions: dict[str, str]
    suspended: bool = False


class NoSuchError(Exception):
    """What was named does not exist: answered with 404."""


class World:
    """All of it, by id."""

    def __init__(self) -> None:
        """Nothing yet. Ids begin above 2^31, as many of GitHub's do, so that a narrow column is found."""
        self.ids = count(2_900_000_001)
        self.accounts: dict[str, Account] = {}
        self.repositories: dict[int, Repository] = {}
        self.old_names: dict[str, int] = {}  # what renamed repositories were called, lower case
        self.apps: dict[int, App] = {}
        self.installations: dict[int, Installation] = {}
        self.memberships: dict[int, dict[int, Membership]] = {}  # of people by the organisation's id

    def account(self, login: str, kind: str = "User") -> Account:
        """The account of that login, made where there is none: anybody may turn up."""
        known = self.accounts.get(login.casefold())
        if known is None:
            known = self.accounts[login.casefold()] = Account(next(self.ids), login, kind)
        return known

    def named(self, full_name: str) -> Repository | None:
        """The repository that has this name now."""
        wanted = full_name.casefold()
        return next(
            (item for item in self.repositories.values() if item.full_name.casefold() == wanted), None
        )

    def role(self, user: Account, repository: Repository) -> str | None:
        """The role that a person was given in a repository, as its owner or by name; not what is open to everybody."""
        owner = repository.owner
        membership = self.memberships.get(owner.id, {}).get(user.id)
        if user.id == owner.id or membership == Membership("admin"):
            return "admin"
        given = (role for name, role in repository.roles.items() if name.casefold() == user.login.casefold())
        return next(given, None)

    def installed_on(self, repository: Repository) -> list[Installation]:
        """Installations that see a repository."""
        return [item for item in self.installations.values() if repository.id in item.repositories]

    def issue_by_node(self, node_id: str) -> tuple[Repository, Issue]:
        """The issue of a GraphQL id. Raises NoSuchError."""
        for repository in self.repositories.values():
            for issue in repository.issues.values():
                if issue.node_id == node_id:
                    return repository, issue
        raise NoSuchError(node_id)
