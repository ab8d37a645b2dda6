"""Every error that one part of Deja View raises for another to act on.

An error says what the receiver does next, and carries what it needs for that. Anything else that is raised
is a bug: it is logged with its traceback, retried with back-off and at last buried with its reason.
"""

from datetime import datetime


class BotError(Exception):
    """Base of all typed errors."""


class SettingsError(BotError):
    """The environment does not allow a start; the message is one line that names the setting."""


class StorageUnavailableError(BotError):
    """PostgreSQL cannot be reached right now; nothing was stored."""


class BadDeliveryError(BotError):
    """A webhook request that is refused. `status` is the HTTP status to answer with."""

    def __init__(self, status: int, reason: str) -> None:
        """`reason` is shown to the sender, so it never quotes the request."""
        super().__init__(reason)
        self.status = status
        self.reason = reason


class UnauthenticatedError(BotError):
    """A credential is missing or not valid: 401. `reason` goes into the answer, so it never quotes the credential."""

    def __init__(self, reason: str) -> None:
        """`reason` has neither quotes nor backslashes: it stands in `WWW-Authenticate`."""
        super().__init__(reason)
        self.reason = reason


class SealError(BotError):
    """A sealed value does not open: another key, another place, or it was changed. Treat it as lost."""


class TellError(BotError):
    """The person who commented has to know this; `markdown` is the reply, already inert."""

    def __init__(self, markdown: str) -> None:
        """`markdown` states the rule that was broken and what to do instead."""
        super().__init__(markdown)
        self.markdown = markdown


class RetryError(BotError):
    """Do this job again later.

    `after` is in seconds. `counts` is False when the attempt shall not be held against the job, because
    the wait was asked for (a rate limit, a pace) and says nothing about the job itself.
    """

    def __init__(self, reason: str, after: float, *, counts: bool = True) -> None:
        """See the class."""
        super().__init__(reason)
        self.reason = reason
        self.after = after
        self.counts = counts


class SkipError(BotError):
    """There is nothing to do, and that is fine; `reason` says why in words, for the log and the job row."""

    def __init__(self, reason: str) -> None:
        """See the class."""
        super().__init__(reason)
        self.reason = reason


class DeadError(BotError):
    """This job can never succeed: bury it at once, with its reason."""

    def __init__(self, reason: str) -> None:
        """See the class."""
        super().__init__(reason)
        self.reason = reason


class BadRowError(BotError):
    """A row of an import that is left out; the message says what is wrong with it, without quoting its text."""


class LeaseLostError(BotError):
    """Another worker owns the job now; whatever this one still wanted to write must not be written."""


class CollectionBrokenError(BotError):
    """The Chroma collection is missing, damaged, or of another model; rebuild it from PostgreSQL."""


class SearchUnavailableError(BotError):
    """Chroma cannot be reached right now; the collection itself may be fine."""


class ModelUnavailableError(BotError):
    """The embedding model does not work right now; what needs new vectors waits for it."""


class MissingError(BotError):
    """What is named is not there, or not the caller's, which is not told apart. The message is for people."""


class QuotaError(BotError):
    """An account has no room for one more. `limit` names what is limited, `allowed` how many there may be."""

    def __init__(self, limit: str, allowed: int, message: str) -> None:
        """`limit` is one of repositories, api_keys; the message says what can be done."""
        super().__init__(message)
        self.limit = limit
        self.allowed = allowed


class GitHubError(BotError):
    """GitHub did not do what was asked.

    `retry_after` is the number of seconds after which the same request may be sent again, None where it
    never may. `sent` is True where the request may have taken effect all the same (a reply was lost), so
    that a write must be looked up before it is repeated. `message` is GitHub's, cut, without secrets.
    """

    retry_after: float | None = None
    sent = False

    def __init__(self, message: str, *, status: int = 0, retry_after: float | None = None) -> None:
        """`status` is the HTTP status, 0 where there was none."""
        super().__init__(message)
        self.status = status
        if retry_after is not None:
            self.retry_after = retry_after


class GitHubUnavailableError(GitHubError):
    """No usable answer: connection, time-out, 5xx, an answer that is not what its label says."""

    retry_after = 5.0
    sent = True


class RateLimitedError(GitHubError):
    """A primary or secondary limit, or our own pace. `resume_at` is when calls of this kind may go on."""

    def __init__(
        self, message: str, *, status: int, retry_after: float, resume_at: datetime, secondary: bool
    ) -> None:
        """`secondary` tells the abuse limits from the hourly one."""
        super().__init__(message, status=status, retry_after=retry_after)
        self.resume_at = resume_at
        self.secondary = secondary


class CredentialsError(GitHubError):
    """401: the App's key or id is wrong, or a token is too young or too old."""

    retry_after = 30.0


class SuspendedError(GitHubError):
    """The installation is suspended: park its work until `unsuspend`."""


class PermissionMissingError(GitHubError):
    """403 "Resource not accessible by integration": the installation has not granted what the call needs."""


class RefusedError(GitHubError):
    """403 or 451 about this one object: locked, archived, blocked, interaction limits. Skip it."""


class NotFoundError(GitHubError):
    """404: not there, not yet there (a replica behind), or not visible."""


class GoneError(GitHubError):
    """410: deleted, or issues are switched off."""


class MovedError(GitHubError):
    """A redirect where none may be followed: the repository or the issue has another name now."""


class InvalidRequestError(GitHubError):
    """400, 409, 422: GitHub refuses these values and would refuse them again."""


class ForeignHostError(GitHubError):
    """An address on another host than the API's; nothing was sent there."""


class SignInError(BotError):
    """GitHub does not (or no longer) answer in this person's name: they have to sign in again. The message says why."""


NOT_TOLD = (GitHubUnavailableError, InvalidRequestError, NotFoundError, PermissionMissingError, RefusedError)
"""Why GitHub does not answer a question whose answer we can do without."""
