import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from multidict import CIMultiDict

from bot.core.errors import (
    CredentialsError,
    GitHubUnavailableError,
    GoneError,
    InvalidRequestError,
    MovedError,
    NotFoundError,
    PermissionMissingError,
    RateLimitedError,
    RefusedError,
    SuspendedError,
)
from bot.github.errors import UnsupportedQueryError, classify, classify_graphql

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
SECONDARY = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."


def body(message, **more):
    return json.dumps({"message": message, **more}).encode()


def judge(status, content, headers=()):
    return classify(status, CIMultiDict(headers), content, NOW)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_a_success_is_no_error(status):
    assert judge(status, b"{}") is None


@pytest.mark.parametrize(
    ("status", "content", "error"),
    [
        (401, body("Bad credentials"), CredentialsError),
        (403, body("This installation has been suspended"), SuspendedError),
        (403, body("Resource not accessible by integration"), PermissionMissingError),
        (403, body("Unable to create comment because issue is locked."), RefusedError),
        (403, body("Repository was archived so is read-only."), RefusedError),
        (403, b"<html>", RefusedError),
        (404, body("Not Found"), NotFoundError),
        (408, b"", GitHubUnavailableError),
        (410, body("This issue was deleted"), GoneError),
        (451, body("Repository access blocked"), RefusedError),
        (301, body("Moved Permanently"), MovedError),
        (304, b"", MovedError),
        (307, b"", MovedError),
        (400, body("Problems parsing JSON"), InvalidRequestError),
        (409, b"", InvalidRequestError),
        (422, body("Validation Failed"), InvalidRequestError),
        (
            422,
            body("The permissions requested are not granted to this installation."),
            PermissionMissingError,
        ),
        (
            422,
            body(
                "There is at least one repository that does not exist or is not accessible to the parent installation."
            ),
            NotFoundError,
        ),
        (500, b"", GitHubUnavailableError),
        (502, b"<html>Unicorn!</html>", GitHubUnavailableError),
        (520, b"", GitHubUnavailableError),
        (529, b"", GitHubUnavailableError),
        (203, b"{}", GitHubUnavailableError),
    ],
)
def test_the_error_of_an_answer(status, content, error):
    found = judge(status, content)
    assert type(found) is error
    assert found.status == status


def test_what_never_may_be_repeated_says_so():
    assert judge(422, body("Validation Failed")).retry_after is None
    assert judge(403, body("Resource not accessible by integration")).retry_after is None
    assert not judge(403, b"").sent


RESET = str(int((NOW + timedelta(minutes=10)).timestamp()))
SECONDARY_PAGE = (
    "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"
)
LIMITS = {
    "primary": (
        403,
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": RESET},
        "API rate limit exceeded",
        600.0,
        False,
    ),
    "primary 429": (
        429,
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": RESET},
        "Too many",
        600.0,
        False,
    ),
    "primary, no reset": (403, {"X-RateLimit-Remaining": "0"}, "API rate limit exceeded", 60.0, False),
    "primary, told how long": (403, {"Retry-After": "9", "X-RateLimit-Remaining": "0"}, "limit", 9.0, False),
    "primary, words alone": (403, {}, "API rate limit exceeded for installation", 60.0, False),
    "403 and retry-after": (
        403,
        {"Retry-After": "90", "X-RateLimit-Remaining": "4771"},
        SECONDARY,
        90.0,
        True,
    ),
    "403 and short retry-after": (403, {"Retry-After": "5"}, SECONDARY, 60.0, True),
    "403 alone": (403, {"X-RateLimit-Remaining": "4771"}, SECONDARY, 60.0, True),
    "403 with nothing left": (
        403,
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": RESET},
        SECONDARY,
        60.0,
        True,
    ),
    "403 and retry-after, other words": (403, {"Retry-After": "72"}, "Slow down", 72.0, True),
    "429 and retry-after": (429, {"Retry-After": "120"}, "Too many requests", 120.0, True),
    "429 alone": (429, {}, "", 60.0, True),
    "422 as in the past": (422, {}, "was submitted too quickly", 60.0, True),
    "422 abuse": (422, {"Retry-After": "75"}, "You have triggered an abuse detection mechanism", 75.0, True),
    "a date": (
        429,
        {"Retry-After": format_datetime(NOW + timedelta(seconds=80), usegmt=True)},
        "",
        80.0,
        True,
    ),
    "an absurd time": (429, {"Retry-After": "999999999"}, "", 86_400.0, True),
    "an odd header": (429, {"Retry-After": "soon"}, "", 60.0, True),
}


@pytest.mark.parametrize(("status", "headers", "message", "wait", "secondary"), LIMITS.values(), ids=LIMITS)
def test_a_limit(status, headers, message, wait, secondary):
    found = judge(status, body(message), headers)
    assert isinstance(found, RateLimitedError)
    assert (found.retry_after, found.secondary) == (wait, secondary)
    assert found.resume_at == NOW + timedelta(seconds=wait)


def test_the_page_that_github_names_tells_a_secondary_limit():
    assert judge(403, body("Forbidden", documentation_url=SECONDARY_PAGE)).secondary


def test_a_reset_is_measured_by_the_clock_of_the_server():
    served = format_datetime(NOW + timedelta(minutes=8), usegmt=True)
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": RESET, "Date": served}
    assert judge(403, body("limit"), headers).retry_after == 120.0


@pytest.mark.parametrize("reset", ["", "x", "1e999", "-5", "nan"])
def test_an_odd_reset(reset):
    assert (
        1.0 <= judge(403, b"", {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}).retry_after <= 60.0
    )


def test_503_may_say_how_long():
    assert judge(503, b"", {"Retry-After": "30"}).retry_after == 30.0
    assert judge(503, b"").retry_after == 5.0


@pytest.mark.parametrize(
    "secret",
    [
        "ghs_" + "a" * 36,
        "ghs_eyJhbGciOi.J9-x_y",
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiI0NyJ9.c2ln",
        "v1." + "0" * 40,
        "ghp_x",
    ],
)
def test_no_secret_in_a_message(secret):
    for found in (
        judge(422, body(f"Bad value {secret} here")),
        judge(422, body("no", errors=[{"field": "x", "message": secret}])),
        classify_graphql({}, json.dumps({"errors": [{"message": secret}]}).encode(), NOW),
    ):
        assert secret not in str(found)
        assert "***" in str(found)


def test_a_message_is_one_short_line():
    found = judge(422, body("a\nb " * 1_000))
    assert "\n" not in str(found)
    assert len(str(found)) < 250


def test_details_are_told():
    details = [{"resource": "Issue", "field": "title", "code": "missing_field"}, "text"]
    assert (
        str(judge(422, body("Validation Failed", errors=details)))
        == "422 Validation Failed: title missing_field: text"
    )


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b"\xff", b'{"message": 5, "errors": 5}', b"null", b"[]", b""]
)
def test_an_odd_body_is_no_trap(content):
    assert str(judge(422, content)) == "422"


GRAPHQL = {
    "nothing": ({"data": {}}, None),
    "not found": ({"errors": [{"type": "NOT_FOUND", "message": "Could not resolve"}]}, NotFoundError),
    "forbidden": ({"errors": [{"type": "FORBIDDEN", "message": "no"}]}, RefusedError),
    "permission": (
        {"errors": [{"type": "FORBIDDEN", "message": "Resource not accessible by integration"}]},
        PermissionMissingError,
    ),
    "unprocessable": ({"errors": [{"type": "UNPROCESSABLE", "message": "no"}]}, InvalidRequestError),
    "schema": (
        {"errors": [{"message": "x", "extensions": {"code": "undefinedField"}}]},
        UnsupportedQueryError,
    ),
    "limit": ({"errors": [{"type": "RATE_LIMITED", "message": "API rate limit exceeded"}]}, RateLimitedError),
    "secondary limit": ({"errors": [{"message": SECONDARY}]}, RateLimitedError),
    "time-out": ({"errors": [{"message": "Something went wrong"}]}, GitHubUnavailableError),
    "odd": ({"errors": "x"}, GitHubUnavailableError),
    "no object": ([], GitHubUnavailableError),
}


@pytest.mark.parametrize(("answer", "error"), GRAPHQL.values(), ids=GRAPHQL)
def test_graphql(answer, error):
    found = classify_graphql(CIMultiDict(), json.dumps(answer).encode(), NOW)
    assert (None if found is None else type(found)) is error
