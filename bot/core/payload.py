"""GitHub's JSON, from webhooks and from its API, turned into records; what is not as GitHub documents it is refused.

Every function takes foreign JSON and raises DeadError where a part that we depend on is missing or of another type:
trying the same payload again cannot help.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bot.core.errors import DeadError
from bot.core.records import Account, Comment, Issue, RepositoryName
from bot.core.text import sanitise

MAX_ID = 2**63 - 1
MAX_NUMBER = 2**31 - 1
"""What the columns hold: ids are bigint, numbers of issues integer."""

MAX_NAME = 100
"""Code points of a login, a label or a repository name; GitHub allows fewer for each."""

MAX_LABELS = 100
"""Labels of one issue, GitHub's own limit."""

STATES = ("open", "closed")
ACCOUNT_KINDS = ("User", "Organization")
OWNER = re.compile("[A-Za-z0-9_-]{1,100}")
REPOSITORY = re.compile("(?!\\.{1,2}$)[A-Za-z0-9._-]{1,100}")
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Sender:
    """Who caused an event."""

    id: int  # 0 for a ghost, which is nobody's id
    login: str | None
    is_bot: bool


def issue_from(value: Any, repository_id: int) -> Issue:
    """An issue (or a pull request in an issue's clothes) of this repository, its text sanitised."""
    issue = object_in(value, "issue")
    state = issue.get("state")
    if state not in STATES:
        raise DeadError("the issue is neither open nor closed")
    author = sender_from(issue.get("user"))
    return Issue(
        repository_id=repository_id,
        number=whole(issue.get("number"), "issue.number", MAX_NUMBER),
        github_id=whole(issue.get("id"), "issue.id", MAX_ID),
        title=text(issue.get("title"), "issue.title"),
        body=optional_text(issue.get("body"), "issue.body"),
        state=state,
        state_reason=word(issue.get("state_reason")),
        author=author.login,
        author_id=author.id or None,
        author_is_bot=author.is_bot,
        labels=labels(issue.get("labels")),
        is_pull_request=issue.get("pull_request") is not None,
        locked=issue.get("locked") is True,
        reactions=thumbs_up(issue.get("reactions")),
        created_at=moment(issue.get("created_at"), "issue.created_at"),
        updated_at=moment(issue.get("updated_at"), "issue.updated_at"),
        closed_at=None if issue.get("closed_at") is None else moment(issue["closed_at"], "issue.closed_at"),
    )


def comment_from(value: Any) -> Comment:
    """A comment on an issue, its text sanitised."""
    comment = object_in(value, "comment")
    author = sender_from(comment.get("user"))
    app = comment.get("performed_via_github_app")
    return Comment(
        id=whole(comment.get("id"), "comment.id", MAX_ID),
        body=optional_text(comment.get("body"), "comment.body"),
        author=author.login,
        author_id=author.id or None,
        app_id=None if app is None else whole(object_in(app, "app").get("id"), "app.id", MAX_ID),
        created_at=moment(comment.get("created_at"), "comment.created_at"),
    )


def sender_from(value: Any) -> Sender:
    """A user; null is a ghost, whose account is gone."""
    if value is None:
        return Sender(0, None, is_bot=False)
    user = object_in(value, "user")
    login = text(user.get("login"), "user.login")[:MAX_NAME]
    return Sender(whole(user.get("id"), "user.id", MAX_ID), login, is_bot=user.get("type") == "Bot")


def account_from(value: Any) -> Account:
    """The user or organisation that installed the App; its tier is not GitHub's to know and stays empty."""
    account = object_in(value, "account")
    kind = account.get("type")
    if kind not in ACCOUNT_KINDS:
        raise DeadError("the account is neither a user nor an organisation")
    login = name(account.get("login"), "account.login", OWNER)
    return Account(whole(account.get("id"), "account.id", MAX_ID), login, kind, tier="")


def repository_name_from(value: Any) -> RepositoryName:
    """What a repository is called; installation events name its owner in `full_name` only.

    One that does not say whether it is private counts as private.
    """
    repository = object_in(value, "repository")
    owner = repository.get("owner")
    if isinstance(owner, dict):
        login = owner.get("login")
    else:
        login = text(repository.get("full_name"), "repository.full_name").partition("/")[0]
    return RepositoryName(
        id=whole(repository.get("id"), "repository.id", MAX_ID),
        owner=name(login, "repository.owner", OWNER),
        name=name(repository.get("name"), "repository.name", REPOSITORY),
        private=repository.get("private") is not False,
        archived=repository.get("archived") is True,
    )


def object_in(value: Any, what: str) -> dict[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        raise DeadError(f"there is no {what}")
    return value


def whole(value: Any, what: str, most: int) -> int:
    """An integer from 1 to `most`; neither true, 5.0 nor "5", which Python and JSON libraries like to take for one."""
    if type(value) is not int or not 0 < value <= most:
        raise DeadError(f"{what} is not a whole number from 1 to {most}")
    return value


def text(value: Any, what: str) -> str:
    """Sanitised text."""
    if not isinstance(value, str):
        raise DeadError(f"{what} is not text")
    return sanitise(value)


def optional_text(value: Any, what: str) -> str:
    """Sanitised text, empty where there is none."""
    return "" if value is None else text(value, what)


def word(value: Any) -> str | None:
    """A short word that we only show; None where it is none."""
    return sanitise(value[:MAX_NAME]) if isinstance(value, str) and value else None


def name(value: Any, what: str, allowed: re.Pattern[str]) -> str:
    """A name that goes into addresses."""
    if not isinstance(value, str) or not allowed.fullmatch(value):
        raise DeadError(f"{what} is not a name")
    return value


def moment(value: Any, what: str) -> datetime:
    """A date with time and zone (ISO 8601, as GitHub writes it), in UTC."""
    if not isinstance(value, str) or not DATE.fullmatch(value):
        raise DeadError(f"{what} is not a date")
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        raise DeadError(f"{what} is not a date") from None


def labels(value: Any) -> tuple[str, ...]:
    """The names of labels, which GitHub lists as objects or as names; odd ones are left out."""
    listed = value[:MAX_LABELS] if isinstance(value, list) else []
    named = (item.get("name") if isinstance(item, dict) else item for item in listed)
    return tuple(found for item in named if (found := word(item)) is not None)


def thumbs_up(value: Any) -> int:
    """How many agree with an issue; 0 where that is not told."""
    count = value.get("+1") if isinstance(value, dict) else None
    return min(count, MAX_NUMBER) if type(count) is int and count > 0 else 0
