import asyncio
import json
import traceback
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from bot.core.errors import (
    CredentialsError,
    ForeignHostError,
    GitHubError,
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
from bot.core.pace import Kind, Pause, WritePace
from bot.github.access import Access, AppAccess
from bot.github.app import GitHubApp
from bot.github.auth import AppKeys
from bot.github.client import Api, Client, Request, Wire, get
from bot.github.errors import limited
from bot.github.pace import MemoryPauses, Pace
from bot.github.tokens import Tokens

from .conftest import APP_ID, INSTALLATION, MINT, Reply

READ = get("thing")
WRITE = Request(Kind.WRITE, "POST", "thing", data={"a": 1})
SECONDARY = {"message": "You have exceeded a secondary rate limit."}


@pytest.fixture
def pauses():
    return MemoryPauses()


@pytest.fixture
def wire(session, api, pauses):
    return Wire(session, api, pauses)


@pytest.fixture
def tokens(wire, pem):
    return Tokens(AppAccess(wire, AppKeys(APP_ID, [pem])).mint)


@pytest.fixture
def access(wire, tokens):
    return Access(wire, tokens, Pace(WritePace(0.0, 10_000, 10_000)), INSTALLATION, 42)


def old(monkeypatch):
    """Lets every token be older than GitHub's replicas need."""
    monkeypatch.setattr("bot.github.tokens.YOUNG", 0.0)


REFUSED = Reply(401, {"message": "Bad credentials"})


@pytest.mark.parametrize("request_", [READ, WRITE], ids=["read", "write"])
async def test_a_refused_young_token_is_tried_again(server, access, request_):
    server.on(request_.method, "/thing", REFUSED, REFUSED, REFUSED, Reply(body={"ok": 1}))
    assert (await access.send(request_)).data == {"ok": 1}
    assert len(server.work) == 4
    assert len(server.minted) == 1


async def test_a_young_token_that_stays_refused(server, access):
    server.on("GET", "/thing", REFUSED)
    with pytest.raises(CredentialsError):
        await access.send(READ)
    assert len(server.work) == 4
    assert len(server.minted) == 1


async def test_a_young_token_is_tried_again_after_1_2_and_4_seconds(server, session, pem, monkeypatch):
    slept = []

    async def sleep(self, seconds):
        slept.append(seconds)

    monkeypatch.setattr(Client, "sleep", sleep)
    wire = Wire(session, Api(server.url), MemoryPauses())
    tokens = Tokens(AppAccess(wire, AppKeys(APP_ID, [pem])).mint)
    server.on("GET", "/thing", REFUSED)
    with pytest.raises(CredentialsError):
        await Access(wire, tokens, Pace(WritePace()), INSTALLATION, 42).send(READ)
    assert slept == [1.0, 2.0, 4.0]


@pytest.mark.parametrize("request_", [READ, WRITE], ids=["read", "write"])
async def test_a_refused_old_token_is_renewed(server, access, request_, monkeypatch):
    old(monkeypatch)
    server.on(request_.method, "/thing", REFUSED, Reply(body={"ok": 1}))
    assert (await access.send(request_)).data == {"ok": 1}
    assert [seen.token for seen in server.work] == ["ghs_token1", "ghs_token2"]


async def test_a_refused_old_token_is_renewed_once(server, access, monkeypatch):
    old(monkeypatch)
    server.on("GET", "/thing", REFUSED)
    with pytest.raises(CredentialsError):
        await access.send(READ)
    assert len(server.work) == len(server.minted) == 2


async def test_fifty_requests_share_one_token(server, access):
    server.on("GET", "/thing", Reply(body={}))
    await asyncio.gather(*(access.send(READ) for _ in range(50)))
    assert len(server.minted) == 1
    assert len(server.work) == 50


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("request_", [READ, WRITE], ids=["read", "write"])
async def test_no_redirect_is_followed(server, start, access, status, request_):
    foreign = await start()
    for elsewhere in (f"{foreign.url}/thing", "/repositories/42/thing"):
        server.seen.clear()
        server.on(request_.method, "/thing", Reply(status, {"message": "Moved"}, {"Location": elsewhere}))
        with pytest.raises(MovedError) as raised:
            await access.send(request_)
        assert not raised.value.sent
        assert len(server.work) == 1
    assert foreign.seen == []


async def test_a_token_goes_to_no_other_host(server, start, access):
    foreign = await start()
    other = [
        f"{foreign.url}/thing",
        foreign.url.replace("http://", "http://user@") + "/thing",
        server.url.replace("http:", "https:") + "/thing",
        "ftp://evil.test/thing",
        "file:///etc/passwd",
        server.url.replace("127.0.0.1", "127.0.0.1@evil.test"),
    ]
    for address in other:
        for request in (get(address), Request(Kind.WRITE, "POST", address)):
            with pytest.raises(ForeignHostError) as raised:
                await access.send(request)
            assert "user" not in str(raised.value)
    assert foreign.seen == server.work == []
    with pytest.raises(InvalidRequestError):  # nothing is scripted for it
        await access.send(get("//evil.test/thing"))
    assert server.work[0].path == "/evil.test/thing"


async def test_an_address_that_github_gave(server, access):
    server.on("GET", "/thing", Reply(body=1))
    assert (await access.send(get(server.url + "/thing?x=%2F"))).data == 1
    assert server.work[0].query == {"x": "/"}


LIMITS = {
    "403, retry-after": Reply(403, SECONDARY, {"Retry-After": "90", "X-RateLimit-Remaining": "4771"}),
    "403, no retry-after": Reply(403, SECONDARY, {"X-RateLimit-Remaining": "4771"}),
    "429, retry-after": Reply(429, SECONDARY, {"Retry-After": "60"}),
    "429, no retry-after": Reply(429, {"message": "Too many requests"}),
    "422, submitted too quickly": Reply(422, {"message": "was submitted too quickly"}),
    "403, nothing remains": Reply(
        403, {"message": "API rate limit exceeded"}, {"X-RateLimit-Remaining": "0"}
    ),
}


@pytest.mark.parametrize("reply", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("request_", [READ, WRITE], ids=["read", "write"])
async def test_nothing_is_sent_inside_a_pause(server, access, wire, pauses, reply, request_):
    server.on(request_.method, "/thing", reply)
    with pytest.raises(RateLimitedError) as raised:
        await access.send(request_)
    assert raised.value.retry_after >= 59.0
    assert not raised.value.sent
    sent = len(server.seen)
    for request in (READ, WRITE):
        with pytest.raises(RateLimitedError) as again:
            await access.send(request)
        assert 58.0 <= again.value.retry_after <= raised.value.retry_after
    assert len(server.seen) == sent

    other = Access(wire, access.tokens, access.pace, INSTALLATION + 1, 42)
    server.on("POST", f"/app/installations/{INSTALLATION + 1}/access_tokens", Reply(201, token()))
    server.on("GET", "/thing", Reply(body={}))
    await other.send(READ)
    pauses._pauses[INSTALLATION] = Pause(datetime.now(UTC) - timedelta(seconds=1), 60.0, True)
    await access.send(READ)


def token():
    return {"token": "ghs_other", "expires_at": "2999-01-01T00:00:00Z"}


async def test_the_app_s_own_requests_pause_for_all_processes_and_stop_nobody_else(
    server, session, api, pem, pauses
):
    def started():
        return GitHubApp(session, api, AppKeys(APP_ID, [pem]), pauses=pauses)

    app = started()
    server.on("GET", "/app/hook/deliveries", LIMITS["403, retry-after"])
    with pytest.raises(RateLimitedError) as raised:
        await app.hook_attempts(None)
    assert raised.value.retry_after >= 89.0
    for ask in (
        app.ping,
        lambda: app.hook_attempts(None),
        lambda: app.redeliver(7),
        started().ping,
        started().identity,
    ):
        with pytest.raises(RateLimitedError):
            await ask()
    assert len(server.seen) == 1
    server.on("GET", "/repos/octo/hello", Reply(body={}))
    access = Access(Wire(session, api, pauses), Tokens(app._app.mint), Pace(WritePace()), INSTALLATION, 42)
    await access.send(get("repos/octo/hello"))
    pauses._pauses.clear()
    await app.ping()


async def test_a_stored_pause_holds_after_a_restart(server, session, api, pem):
    pauses = MemoryPauses()
    await pauses.add(INSTALLATION, limited("x", 429, 50.0, datetime.now(UTC), secondary=True))
    wire = Wire(session, api, pauses)
    tokens = Tokens(AppAccess(wire, AppKeys(APP_ID, [pem])).mint)
    with pytest.raises(RateLimitedError):
        await Access(wire, tokens, Pace(WritePace()), INSTALLATION, 42).send(READ)
    assert server.seen == []


async def test_the_request_for_a_token_may_be_limited_too(server, access):
    server.on("POST", MINT, LIMITS["403, retry-after"])
    for _ in range(3):
        with pytest.raises(RateLimitedError):
            await access.send(READ)
    assert len(server.seen) == 1


async def test_a_graphql_answer_may_be_a_limit(server, access, api):
    limit = {"errors": [{"type": "RATE_LIMITED", "message": "API rate limit exceeded"}]}
    server.on("POST", "/graphql", Reply(body=limit))
    for _ in range(3):
        with pytest.raises(RateLimitedError):
            await access.send(Request(Kind.READ, "POST", api.graphql_url, data={}))
    assert len(server.work) == 1


UNUSABLE = {
    "502 in HTML, labelled JSON": Reply(502, b"<html>Unicorn!</html>"),
    "529": Reply(529, b""),
    "500": Reply(500, {"message": "Server Error"}),
    "200 cut short": Reply(200, {"a": "b" * 1_000}, cut=True),
    "200 in HTML, labelled JSON": Reply(200, b"<html>"),
    "200 that is no text": Reply(200, b"\xff\xfe{"),
    "200 of an unknown encoding": Reply(200, b"{}", {"Content-Type": "application/json; charset=x-klingon"}),
    "200 nested without end": Reply(200, b"[" * 100_000),
    "a dropped reply": Reply(drop=True),
}


@pytest.mark.parametrize("reply", UNUSABLE.values(), ids=UNUSABLE)
async def test_a_read_without_a_usable_answer_is_repeated(server, access, reply):
    server.on("GET", "/thing", reply, reply, Reply(body={"ok": 1}))
    assert (await access.send(READ)).data == {"ok": 1}
    assert len(server.work) == 3


@pytest.mark.parametrize("reply", UNUSABLE.values(), ids=UNUSABLE)
async def test_a_read_is_repeated_twice_at_the_most(server, access, reply):
    server.on("GET", "/thing", reply)
    with pytest.raises(GitHubUnavailableError) as raised:
        await access.send(READ)
    # The HTTP client asks once more by itself where a server hangs up.
    assert len(server.work) == (6 if reply.drop else 3)
    assert not raised.value.sent
    assert raised.value.retry_after > 0


@pytest.mark.parametrize("reply", UNUSABLE.values(), ids=UNUSABLE)
@pytest.mark.parametrize("kind", [Kind.WRITE, Kind.COMMENT])
async def test_a_write_is_never_repeated(server, access, reply, kind):
    server.on("POST", "/thing", reply, Reply(201, {}))
    with pytest.raises(GitHubUnavailableError) as raised:
        await access.send(Request(kind, "POST", "thing", data={"a": 1}))
    assert len(server.work) == 1
    assert raised.value.sent


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_a_write_on_a_kept_connection_is_never_repeated_either(server, access, method):
    server.on("GET", "/thing", Reply(body={}))
    server.on(method, "/thing", Reply(drop=True))
    await access.send(READ)
    with pytest.raises(GitHubUnavailableError):
        await access.send(Request(Kind.WRITE, method, "thing", data={}))
    assert [seen.method for seen in server.work] == ["GET", method]


async def test_the_request_for_a_token_is_repeated(server, access):
    server.on("POST", MINT, Reply(502, b"<html>"), Reply(drop=True), Reply(201, token()))
    server.on("POST", "/thing", Reply(201, {}))
    await access.send(WRITE)
    assert len(server.to(MINT)) == 3
    assert len(server.work) == 1


async def test_a_token_that_cannot_be_had_leaves_a_write_unsent(server, access):
    server.on("POST", MINT, Reply(502, b""))
    with pytest.raises(GitHubUnavailableError) as raised:
        await access.send(WRITE)
    assert not raised.value.sent


async def test_nobody_listens(session, pauses, unused_tcp_port):
    wire = Wire(session, Api(f"http://127.0.0.1:{unused_tcp_port}", read_retries=()), pauses)
    with pytest.raises(GitHubUnavailableError) as raised:
        await Client(wire).send(WRITE)
    assert not raised.value.sent


async def test_a_server_that_hangs(session, pauses):
    async def hang(reader, writer):
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    wire = Wire(session, Api(f"http://127.0.0.1:{port}", timeout=0.1, read_retries=()), pauses)
    with pytest.raises(GitHubUnavailableError) as raised:
        await Client(wire).send(WRITE)
    assert raised.value.sent
    silent.close()
    await silent.wait_closed()


PERMANENT = {
    "suspended": (403, "This installation has been suspended", SuspendedError),
    "permission": (403, "Resource not accessible by integration", PermissionMissingError),
    "locked": (403, "Unable to create comment because issue is locked.", RefusedError),
    "gone": (410, "This issue was deleted", GoneError),
    "blocked": (451, "Repository access blocked", RefusedError),
    "not found": (404, "Not Found", NotFoundError),
    "invalid": (422, "Validation Failed", InvalidRequestError),
}


@pytest.mark.parametrize(("status", "message", "error"), PERMANENT.values(), ids=PERMANENT)
@pytest.mark.parametrize("request_", [READ, WRITE], ids=["read", "write"])
async def test_a_refusal_is_not_asked_again(server, access, status, message, error, request_):
    server.on(request_.method, "/thing", Reply(status, {"message": message}))
    with pytest.raises(GitHubError) as raised:
        await access.send(request_)
    assert type(raised.value) is error
    assert raised.value.retry_after is None
    assert not raised.value.sent
    assert len(server.work) == 1


async def test_a_suspended_installation_gets_no_token(server, access):
    server.on("POST", MINT, Reply(403, {"message": "This installation has been suspended"}))
    with pytest.raises(SuspendedError):
        await access.send(WRITE)
    assert len(server.seen) == 1


async def test_at_most_fifty_requests_are_under_way(server, session, api, monkeypatch):
    busy = most = 0

    async def exchange(self, *request):
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0.01)
        busy -= 1
        return 200, {}, b""

    monkeypatch.setattr(Client, "_exchange", exchange)
    wire = Wire(session, api, MemoryPauses())
    await asyncio.gather(*(Client(wire, number).send(READ) for number in range(200)))
    assert most == 50


@pytest.mark.parametrize("value", ["", ".", "..", "..."])
async def test_a_value_cannot_name_another_resource(server, wire, value):
    with pytest.raises(InvalidRequestError):
        await Client(wire).send(get("repos/{owner}/x", {"owner": value}))
    assert server.seen == []


@pytest.mark.parametrize("value", ["a/b", "../x", "a?b=c", "a#b", "%2e%2e", "ü"])
async def test_a_value_stays_in_its_segment(server, wire, value):
    with pytest.raises(InvalidRequestError):  # nothing is scripted for it
        await Client(wire).send(get("repos/{owner}/x", {"owner": value}))
    assert server.seen[0].path.count("/") == 3
    assert server.seen[0].query == {}


FAILURES = [*UNUSABLE.values(), REFUSED, *LIMITS.values(), Reply(400, {"message": "ghs_token1"})]


@pytest.mark.parametrize("reply", FAILURES)
async def test_no_secret_leaves_with_an_error(server, access, pem, reply, capsys):
    server.on("POST", "/thing", reply)
    server.on("GET", "/thing", reply)
    for request in (READ, WRITE):
        with pytest.raises(GitHubError) as raised:
            await access.send(request)
        told = (
            "".join(traceback.format_exception(raised.value)) + repr(raised.value) + repr(vars(raised.value))
        )
        told += capsys.readouterr().out
        for secret in ("ghs_token", "eyJ", pem.splitlines()[3], "Authorization"):
            assert secret not in told
        assert isinstance(raised.value, GitHubError)
        assert raised.value.__cause__ is None
        assert (
            not isinstance(raised.value.__context__, aiohttp.ClientError) or raised.value.__suppress_context__
        )


@pytest.mark.parametrize(
    ("base", "graphql"),
    [
        ("https://api.github.com", "https://api.github.com/graphql"),
        ("https://ghe.example/api/v3", "https://ghe.example/api/graphql"),
        ("https://ghe.example/api/v3/", "https://ghe.example/api/graphql"),
    ],
)
def test_where_graphql_is(base, graphql):
    assert Api(base).graphql_url == graphql


async def test_an_enterprise_server_keeps_its_prefix(server, session, pauses):
    server.on("GET", "/api/v3/thing", Reply(body=json.loads("[1]")))
    wire = Wire(session, Api(server.url + "/api/v3"), pauses)
    assert (await Client(wire).send(READ)).data == [1]
