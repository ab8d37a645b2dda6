"""What the API answers where it does not do what was asked: problem details (RFC 9457) with a code and a request id."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bot.core.errors import (
    BotError,
    CollectionBrokenError,
    GitHubError,
    MissingError,
    ModelUnavailableError,
    QuotaError,
    RateLimitedError,
    SearchUnavailableError,
    SignInError,
    StorageUnavailableError,
    UnauthenticatedError,
)
from bot.core.redaction import without_secrets

MEDIA = "application/problem+json"

MOST_ERRORS = 20
"""Faults of one body or query that are told at once."""

SOON = 5.0
"""Seconds until a part that is away may be back."""


class Fault(BaseModel):
    """One thing that is wrong with a request."""

    model_config = ConfigDict(extra="forbid")

    loc: list[str | int] = Field(description="Where: `body`, `query` or `path`, then the way to the value.")
    code: str
    detail: str


class Problem(BaseModel):
    """Why a request was not done (RFC 9457, application/problem+json)."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field("about:blank", description="Always about:blank: `code` tells the kinds apart.")
    title: str
    status: int = Field(ge=400, le=599)
    code: str = Field(description="A word for programs, which stays the same.")
    detail: str = Field(description="A sentence for people.")
    request_id: str = Field(description="Name it when you ask for help.")
    errors: list[Fault] | None = None


@dataclass(frozen=True, slots=True)
class ApiError(Exception):
    """A request that is not done. `detail` never quotes what only its sender or another account knows."""

    status: int
    code: str
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)
    errors: tuple[Fault, ...] = ()

    def problem(self, request_id: str) -> Problem:
        """The body of the answer."""
        return Problem(
            type="about:blank",
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            code=self.code,
            detail=self.detail,
            request_id=request_id,
            errors=list(self.errors) or None,
        )


def unauthenticated(detail: str) -> ApiError:
    """No credential, or one that is not good (RFC 6750, section 3)."""
    return ApiError(401, "unauthenticated", detail, {"WWW-Authenticate": 'Bearer realm="deja-view"'})


def not_found() -> ApiError:
    """The same for what does not exist and for what belongs to others, so that nobody learns which it is."""
    return ApiError(404, "not_found", "there is nothing of that name that this credential may see")


def forbidden(detail: str, code: str = "forbidden") -> ApiError:
    """The credential is good, and allows less."""
    return ApiError(403, code, detail)


def unavailable(detail: str, after: float = SOON) -> ApiError:
    """A part is away; the same request may be sent again after some seconds."""
    return ApiError(503, "unavailable", detail, {"Retry-After": str(max(1, math.ceil(after)))})


def invalid(where: str, error: ValidationError) -> ApiError:
    """A body or query that does not fit its schema; the values themselves are not told back."""
    faults = tuple(
        Fault(loc=[where, *map(shown, item["loc"])], code=item["type"], detail=without_secrets(item["msg"]))
        for item in error.errors(include_url=False, include_context=False, include_input=False)[:MOST_ERRORS]
    )
    return ApiError(422, "invalid", f"the {where} does not fit its schema", errors=faults)


def shown(part: str | int) -> str | int:
    """A step of the way to a value. Names that nobody knows are told back as they came, unless they look like a secret."""
    return without_secrets(part) if isinstance(part, str) else part


def api_error_of(error: BotError) -> ApiError:
    """What an error of a part means to who asked. Raises the error itself where it is a bug."""
    match error:
        case UnauthenticatedError():
            return unauthenticated(error.reason)
        case MissingError():
            return not_found()
        case SignInError():
            return unauthenticated("GitHub does not answer in your name any more: sign in again")
        case QuotaError():
            return ApiError(
                409, "quota_exceeded", str(error), {"X-Quota-Limit": f"{error.limit}={error.allowed}"}
            )
        case StorageUnavailableError():
            return unavailable("the database does not answer")
        case SearchUnavailableError() | ModelUnavailableError() | CollectionBrokenError():
            return unavailable("the search does not work right now")
        case RateLimitedError():
            return unavailable("GitHub's limit is reached", error.retry_after or 60.0)
        case GitHubError():
            return unavailable("GitHub does not answer", error.retry_after or 60.0)
        case _:
            raise error


def errors_of(values: Sequence[tuple[str, str]]) -> tuple[Fault, ...]:
    """Faults of a body that a schema cannot tell: a field and what is wrong with it."""
    return tuple(Fault(loc=["body", name], code="value_error", detail=text) for name, text in values)


def unprocessable(*values: tuple[str, str]) -> ApiError:
    """A body whose fields fit the schema, but not each other or what there is."""
    return ApiError(422, "invalid", values[0][1], errors=errors_of(values))
