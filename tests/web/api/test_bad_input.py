"""What nobody should send: each gets its status and code, none a 500, and no secret comes back or reaches the log (P01-P30)."""

import asyncio
import base64
import gzip
import hmac
import io
import itertools
import json
import logging
import secrets
import socket
import time

import pytest
import pytest_asyncio
import structlog
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from yarl import URL

from bot.core.api_keys import mint
from bot.core.records import Account, InstallationState, RepositoryName
from bot.logs import configure
from bot.web import legacy
from bot.web.api.problems import Problem
from bot.web.api.routes import ROUTES
from bot.web.tokens import key_id
from storage.accounts import Accounts
from tests.web.api.conftest import (
    MINE,
    MY_REPOSITORY,
    MY_SECOND,
    OTHER_REPOSITORY,
    Answer,
    limits,
    serve_world,
)
from tests.web.conftest import raw

pytestmark = pytest.mark.asyncio(loop_scope="module")

HERE = f"/v1/repositories/{MY_REPOSITORY}"
PUBLIC = "https://deja.example"
NUMBERS = itertools.count(1)
SPOOFS = ({"X-Forwarded-For": "9.9.9.9"}, {"Forwarded": "for=9.9.9.9"}, {"X-Real-IP": "9.9.9.9"})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(postgres, template, model_dir, tmp_path_factory):
    """One for all of these, with its log, and a port of its own for its numbers."""
    environ = {"PUBLIC_URL": PUBLIC, "CLIENT_ADDRESS_HEADER": "X-Client", "METRICS_PORT": str(free_port())}
    folder = tmp_path_factory.mktemp("bad-input")
    async with serve_world(postgres, template, model_dir, folder, **environ) as world:
        await limits(world, enterprise=100_000)
        world.key_text = await world.key()
        yield world


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def log():
    """What the service logs meanwhile, as production writes it."""
    stream = io.StringIO()
    configure("json", stream, logging.DEBUG)
    yield stream
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = []


async def send(world, method, path, given=(), data=None):
    """A request with these headers, each as often as it stands there, from an address of its own."""
    number = next(NUMBERS)
    headers = [("X-Client", f"10.2.{number >> 8}.{number & 255}"), *given]
    async with world.session.request(
        method, world.url + path, data=data, headers=headers, allow_redirects=False
    ) as response:
        return Answer(response.status, response.headers, await response.read())


async def asked(world, path, value="", method="GET", text=None):
    """The same with a good key and, where there is one, a body."""
    given = [("Authorization", f"Bearer {text or world.key_text}")]
    if method != "GET":
        given.append(("Content-Type", "application/json"))
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return await send(world, method, path, given, None if method == "GET" else io.BytesIO(data))


def ensure(answer, status, code):
    """Fails where a refusal is not told as it should be."""
    assert (answer.status, answer.code) == (status, code), answer.raw
    assert answer.headers["Content-Type"] == "application/problem+json; charset=utf-8"
    assert Problem.model_validate(answer.json).request_id == answer.headers["X-Request-Id"]
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)


# --- P01-P09: credentials


def b64(data):
    whole = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(whole).rstrip(b"=").decode()


RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PUBLIC_KEY = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def token(world, header=None, payload=None, *, secret=None, algorithm="sha256", drop=()):
    """A token with these changes, signed."""
    key, now = world.settings.jwt_secrets[0], int(time.time())
    head = {"alg": "HS256", "typ": "JWT", "kid": key_id(key)} | (header or {})
    claims = {
        "iss": PUBLIC, "aud": "deja-view-api", "sub": f"actions:{MY_REPOSITORY}", "exp": now + 900, "iat": now, "jti": secrets.token_hex(8),
        "typ": "access", "account": MINE, "scope": "admin", "repository": MY_REPOSITORY, "key": None, "user": None, "login": "ann",
    } | (payload or {})  # fmt: skip
    message = f"{b64(head)}.{b64({name: value for name, value in claims.items() if name not in drop})}"
    signature = hmac.new(key.encode() if secret is None else secret, message.encode(), algorithm).digest()
    return f"{message}.{b64(signature)}"


def later(seconds):
    return int(time.time()) + seconds


TOKENS = {
    "none": lambda w: token(w, {"alg": "none"}),
    "none without a signature": lambda w: token(w, {"alg": "none"}).rpartition(".")[0] + ".",
    "no signature": lambda w: token(w).rpartition(".")[0] + ".",
    "two parts": lambda w: token(w).rpartition(".")[0],
    "four parts": lambda w: token(w) + ".e30",
    "another algorithm": lambda w: token(w, {"alg": "HS512"}, algorithm="sha512"),
    "a public key as the secret": lambda w: token(w, secret=PUBLIC_KEY),
    "RS256": lambda w: token(w, {"alg": "RS256"}),
    "an empty secret": lambda w: token(w, secret=b""),
    "another secret": lambda w: token(w, secret=b"s" * 64),
    "no exp": lambda w: token(w, drop=["exp"]),
    "exp is over": lambda w: token(w, payload={"exp": later(-31), "iat": later(-931)}),
    "exp is text": lambda w: token(w, payload={"exp": str(later(900))}),
    "exp is a fraction": lambda w: token(w, payload={"exp": later(900) + 0.5}),
    "exp is never": lambda w: token(w, payload={"exp": 10**18}),
    "exp is null": lambda w: token(w, payload={"exp": None}),
    "a long life": lambda w: token(w, payload={"exp": later(86_400)}),
    "iat ahead": lambda w: token(w, payload={"iat": later(120), "exp": later(900)}),
    "nbf ahead": lambda w: token(w, payload={"nbf": later(120)}),
    "no iat": lambda w: token(w, drop=["iat"]),
    "no jti": lambda w: token(w, drop=["jti"]),
    "no sub": lambda w: token(w, drop=["sub"]),
    "no aud": lambda w: token(w, drop=["aud"]),
    "another aud": lambda w: token(w, payload={"aud": "deja-view-session"}),
    "several aud": lambda w: token(w, payload={"aud": ["deja-view-api", "x"]}),
    "another iss": lambda w: token(w, payload={"iss": "https://evil.example"}),
    "another typ": lambda w: token(w, payload={"typ": "session"}),
    "a scope more": lambda w: token(w, payload={"scope": "owner"}),
    "an account that is text": lambda w: token(w, payload={"account": str(MINE)}),
    "nobody": lambda w: token(w, payload={"sub": "root:1"}),
    "unknown kid": lambda w: token(w, {"kid": "0" * 16}),
    "kid is a path": lambda w: token(w, {"kid": "../../dev/null"}, secret=b""),
    "kid is a list": lambda w: token(w, {"kid": ["x"]}),
    "kid is SQL": lambda w: token(w, {"kid": "' OR 1=1 --"}),
    "no kid": lambda w: token(w, {"kid": None}),
    "jku": lambda w: token(w, {"jku": f"{w.url}/v1/openapi.json"}),
    "jwk": lambda w: token(w, {"jwk": {"kty": "oct", "k": b64(b"s" * 32)}}, secret=b"s" * 32),
    "x5u": lambda w: token(w, {"x5u": f"{w.url}/x5u"}),
    "crit": lambda w: token(w, {"crit": ["exp"]}),
    "the payload is a list": lambda w: f"{b64({'alg': 'HS256'})}.{b64([])}.x",
    "no JSON": lambda _: "eyJhbGciOiJIUzI1NiJ9.####.####",
    "8 kB": lambda _: "eyJ" + "a" * 7_900,
    "dots": lambda _: "." * 50,
}


def changed(text, part, value):
    """A key with another part."""
    parts = text.split("_")
    parts[part] = value
    return "_".join(parts)


KEYS = {
    "only the prefix": lambda _: "djv_",
    "three parts": lambda w: w.key_text.rpartition("_")[0],
    "truncated": lambda w: w.key_text[:-1],
    "longer": lambda w: w.key_text + "0",
    "a wrong checksum": lambda w: changed(w.key_text, 3, "000000"),
    "another secret": lambda w: changed(w.key_text, 2, mint().text.split("_")[2]),
    "never made": lambda _: mint().text,
    "upper case": lambda w: w.key_text.upper(),
    "twice": lambda w: f"{w.key_text} {w.key_text}",
    "SQL": lambda _: "djv_' OR 1=1 --",
}


@pytest.mark.parametrize("name", [*TOKENS, *KEYS])
async def test_a_credential_that_is_none_of_ours(world, log, name):
    """P02-P08: refused, told nowhere."""
    text = (TOKENS | KEYS)[name](world)
    answer = await send(world, "GET", "/v1/account", [("Authorization", f"Bearer {text}")])
    ensure(answer, 401, "unauthenticated")
    if len(text) > 20 and not text.endswith("."):
        assert text[-20:] not in answer.raw.decode() + str(answer.headers) + log.getvalue()


HEADERS = {
    "none": [],
    "empty": [("Authorization", "")],
    "no credential": [("Authorization", "Bearer")],
    "blank": [("Authorization", "Bearer  ")],
    "another scheme": [("Authorization", "Basic b2N0bzpvY3Rv")],
    "no scheme": [("Authorization", "djv_x")],
    "another header": [("X-Api-Key", "djv_x")],
    "a cookie": [("Cookie", "deja-view=x; __Host-deja-view=x")],
    "not ASCII": [("Authorization", "Bearer \u00e9\u00e9")],
}


@pytest.mark.parametrize("name", HEADERS)
async def test_no_credential(world, name):
    """P01."""
    ensure(await send(world, "GET", "/v1/account", HEADERS[name]), 401, "unauthenticated")


async def test_two_credentials_are_none(world):
    """P01."""
    both = [("Authorization", f"Bearer {world.key_text}")] * 2
    ensure(await send(world, "GET", "/v1/account", both), 401, "unauthenticated")


async def test_what_is_good_is_taken(world):
    """The same ways with good ones, so that the tables above refuse what they say."""
    for text in (world.key_text, token(world), token(world, payload={"iat": later(20), "exp": later(900)})):
        for scheme in ("Bearer", "bearer", "BEARER"):
            answer = await send(world, "GET", "/v1/account", [("Authorization", f"{scheme} {text}")])
            assert answer.status == 200, answer.raw


@pytest.mark.parametrize("size", [9_000, 100_000])
async def test_a_credential_without_end(world, log, size):
    """P07: refused by the server before anything looks at it."""
    text = mint().text * (size // 50)
    request = f"GET /v1/account HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {text}\r\n\r\n".encode()
    answer = await raw(world.process.port, request)
    assert answer[9:12] in ("400", "401", "431")
    assert text[:60] not in answer
    assert text.split("_")[2] not in log.getvalue()


@pytest.mark.parametrize("bad", ["\x00", "\x07", "\x7f"])
async def test_a_credential_in_a_header_that_is_none(world, log, bad):
    """aiohttp logs the line that it does not understand."""
    request = f"GET /v1/account HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {world.key_text}{bad}\r\n\r\n"
    answer = await raw(world.process.port, request.encode())
    assert answer[9:12] in ("400", "401")
    assert world.key_text.split("_")[2] not in answer + log.getvalue()


@pytest.mark.parametrize("path", ["/v1/account", HERE, "/v1/nothing", "/v1/openapi.json"])
async def test_a_credential_in_an_address_is_told_nowhere(world, log, path):
    """P09."""
    for text in (world.key_text, token(world)):
        answer = await asked(world, f"{path}?key={text}")
        if path in ("/v1/account", HERE):
            ensure(answer, 401, "unauthenticated")
        assert text[-20:] not in answer.raw.decode() + str(answer.headers) + log.getvalue()


# --- P11-P16, P18, P19: values

IDS = [
    "0", "-1", "+1", "01", "1.0", "1e3", "0x10", "1_000", "9223372036854775808", "99999999999999999999", "%EF%BC%91", "%00", "1%00", "%201", "1%20",
    "..%2F1", "%2e%2e%2f1", "1;2", "1,2", "null", "NaN", "123e4567-e89b-12d3-a456-426614174000", "5" * 5_000, "%F0%9F%98%80", "%FF", "*", "octo%2Fapp",
    "'%20OR%201=1--", f"{MY_REPOSITORY}%0a", f"{MY_REPOSITORY}.json",
]  # fmt: skip


@pytest.mark.parametrize(
    "path", ["/v1/repositories/{}", "/v1/repositories/{}/settings", f"{HERE}/issues/{{}}/similar"]
)
async def test_an_id_that_can_be_none(world, path):
    """P11."""
    for text in IDS:
        given = [("Authorization", f"Bearer {world.key_text}"), ("X-Client", "10.3.0.1")]
        url = URL(world.url + path.format(text), encoded=True)
        async with world.session.get(url, headers=given) as response:
            answer = Answer(response.status, response.headers, await response.read())
        assert answer.status == 404, text[:60]
        ensure(answer, 404, "not_found")


QUERIES = [
    (f"{HERE}/issues?limit=0", 422), (f"{HERE}/issues?limit=-1", 422), (f"{HERE}/issues?limit=101", 422), (f"{HERE}/issues?limit=1000000000", 422),
    (f"{HERE}/issues?limit=abc", 422), (f"{HERE}/issues?limit=", 422), (f"{HERE}/issues?limit=1.5", 422), (f"{HERE}/issues?limit=NaN", 422),
    (f"{HERE}/issues?limit=%EF%BC%91x", 422), (f"{HERE}/issues?limit=1&limit=2", 422), (f"{HERE}/issues?page=2147483648", 422),
    (f"{HERE}/issues?sort=title;drop%20table%20issues", 422), (f"{HERE}/issues?state=all", 422), (f"{HERE}/issues?state=OPEN", 422),
    (f"{HERE}/issues?%00=1", 422), (f"{HERE}/issues?cursor=%00", 400), (f"{HERE}/issues?cursor=", 400), (f"{HERE}/issues?cursor={'a' * 501}", 422),
    (f"{HERE}/issues?cursor=%F0%9F%98%80", 400), (f"{HERE}/issues?cursor=%FF", 400), (f"{HERE}/issues?cursor==", 400), (f"{HERE}?x=1", 422),
    ("/v1/repositories?name=octo", 422), ("/v1/repositories?name=octo/app/x", 422), ("/v1/repositories?name=octo%2F..%2F..", 422),
    ("/v1/repositories?state=deleted", 422), ("/v1/usage?days=0", 422), ("/v1/usage?days=396", 422), ("/v1/usage?days=1e2", 422),
    ("/v1/account?account_id=2002", 422), ("/v1/keys?account=cat", 422), ("/v1/audit?cursor=e30", 400), ("/v1/export?account=cat", 422),
    *((f"{HERE}/duplicates?threshold={value}", 422) for value in ("-1", "0.49", "1.01", "2", "NaN", "inf", "1e400", "x", "")),
    (f"{HERE}/duplicates?format=xml", 422), (f"{HERE}/duplicates?state=closed", 422),
    *((f"{HERE}/issues/7/similar?min_chance={value}", 422) for value in ("-0.1", "1.1", "NaN", "x")),
    (f"{HERE}/issues/7/similar?limit=51", 422),
]  # fmt: skip


@pytest.mark.parametrize(("path", "status"), QUERIES)
async def test_a_query_that_does_not_fit(world, path, status):
    """P12-P14, P19."""
    ensure(await asked(world, path), status, {400: "invalid_cursor", 422: "invalid"}[status])


async def test_a_cursor_with_one_character_changed(world):
    """P13."""
    path = f"{HERE}/issues?limit=1"
    cursor = (await asked(world, path)).json["next"]
    for place in range(len(cursor) - 1):  # of the last one not all bits count
        other = "B" if cursor[place] == "A" else "A"
        ensure(
            await asked(world, f"{path}&cursor={cursor[:place]}{other}{cursor[place + 1 :]}"),
            400,
            "invalid_cursor",
        )


WITH_BODY = [route for route in ROUTES if route.body is not None]
VALUES = {"repository_id": MY_SECOND, "number": 7, "key_id": "x"}
NO_JSON = [
    b" ", b"{", b"}", b"{'a': 1}", b"[1,]", b"nul", b"{}{}", b"NaN", b'{"a": NaN}', b'{"a": Infinity}', b'{"a": 1e999}', b"\xff\xfe{}",
    b"\xef\xbb\xbf{}", b'{"a": "\xff"}', b'{"a": "\x00"}', b"[" * 100_000, b'{"a":' * 40 + b"1" + b"}" * 40, b'{"title": "a", "title": "b"}',
    b'{"a": ' + b"9" * 5_000 + b"}", b"{}\x00", b"<x/>", b"title=a",
]  # fmt: skip
NO_BODIES = [
    None,
    True,
    1,
    1.5,
    "",
    "x",
    [],
    [{}],
    {"": 1},
    {"tier": "enterprise"},
    {"account_id": 2002},
    {"is_admin": True},
    {"__proto__": {}},
]


@pytest.mark.parametrize("route", WITH_BODY, ids=lambda route: route.name)
async def test_a_body_that_is_none(world, route):
    """P15, P16."""
    path = f"/v1{route.path}".format(**VALUES)
    for value in NO_JSON:
        answer = await asked(world, path, value, route.method)
        assert answer.status == 400, (value[:60], answer.raw)
        ensure(answer, 400, "malformed")
    for value in NO_BODIES:
        # `POST /v1/token` may be asked with nothing but the header, so that `{}` is fine there.
        ensure(await asked(world, path, value, route.method), 422, "invalid")
    for extra in ({"tier": "enterprise"}, {"repository_ids": [1]}, {"scopes": ["admin"]}):
        good = GOOD[route.name] | extra
        answer = await asked(world, path, good, route.method)
        ensure(answer, 422, "invalid")
        assert "extra_forbidden" in [item["code"] for item in answer.json["errors"]]


GOOD = {
    "createToken": {"scope": "read"},
    "changeSettings": {"mode": "shadow"},
    "similarToText": {"title": "a crash"},
    "recordOutcome": {"kind": "rejected"},
    "createKey": {"name": "k", "scope": "read"},
    "deleteData": {"confirm": "octo"},
}
"""A body of each that would be fine."""

WRONG = [
    ("similarToText", {"title": 1}), ("similarToText", {"title": None}), ("similarToText", {"title": ["a"]}), ("similarToText", {"title": ""}),
    ("similarToText", {"title": "x" * 1_001}), ("similarToText", {"title": "a", "body": "x" * 65_537}), ("similarToText", {"title": "a", "limit": 0}),
    ("similarToText", {"title": "a", "limit": 51}), ("similarToText", {"title": "a", "limit": True}), ("similarToText", {"title": "a", "limit": "5"}),
    ("similarToText", {"title": "a", "min_chance": -1}), ("similarToText", {"title": "a", "min_chance": 2}),
    ("similarToText", {"title": "a", "min_chance": "0.8"}), ("similarToText", {"title": "a", "state": "all"}),
    ("createKey", {"name": "", "scope": "read"}), ("createKey", {"name": "n" * 101, "scope": "read"}), ("createKey", {"name": "n", "scope": "owner"}),
    ("createKey", {"name": "n", "scope": 3}), ("createKey", {"name": "n", "scope": "read", "repository_id": 0}),
    ("createKey", {"name": "n", "scope": "read", "repository_id": 2**63}), ("createKey", {"name": "n", "scope": "read", "repository_id": True}),
    ("createKey", {"name": "n", "scope": "read", "repository_id": 1.5}), ("createKey", {"name": "\x00\x07", "scope": "read"}),
    ("createKey", {"name": "n", "scope": "read", "expires_at": "tomorrow"}), ("createKey", {"name": "n", "scope": "read", "expires_at": 1}),
    ("createKey", {"name": "n", "scope": "read", "expires_at": "2001-01-01T00:00:00Z"}),
    ("createKey", {"name": "n", "scope": "read", "expires_at": "2999-01-01T00:00:00"}),
    ("createKey", {"name": "n", "scope": "read", "expires_at": "9999-12-31T23:59:59-23:59"}),
    ("createKey", {"name": "n", "scope": "read", "expires_at": "0001-01-01T00:00:00+23:59"}),
    ("changeSettings", {"mode": "shadow", "shadow_until": "9999-12-31T23:59:59-23:59"}),
    ("changeSettings", {"mode": "shadow", "shadow_until": "0001-01-01T00:00:00+23:59"}),
    ("createKey", {"name": "\u202egnp.exe", "scope": "read"}),
    ("createToken", {"scope": "owner"}), ("createToken", {"repository_id": "1"}), ("createToken", {"repository_id": -1}), ("createToken", {"account": ""}),
    ("createToken", {"api_key": ""}), ("createToken", {"id_token": "x" * 8_001}), ("recordOutcome", {"kind": "maybe"}), ("recordOutcome", {"kind": "confirmed"}),
    ("recordOutcome", {"kind": "confirmed", "candidate": 7}), ("recordOutcome", {"kind": "rejected", "candidate": 2**31}),
    ("recordOutcome", {"kind": "rejected", "candidate": 0}), ("changeSettings", {"mode": "off"}), ("changeSettings", {"public_search": "yes"}),
    ("changeSettings", {"public_search": True}), ("changeSettings", {"shadow_until": "2999-01-01T00:00:00Z"}),
    ("changeSettings", {"mode": "shadow", "shadow_until": "2999-01-01T00:00:00"}), ("changeSettings", {"mode": "shadow", "shadow_until": "2001-01-01T00:00:00Z"}),
    ("deleteData", {"confirm": ""}), ("deleteData", {"confirm": "cat"}), ("deleteData", {"confirm": 1}), ("deleteData", {"confirm": "octo\x00"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "body"), WRONG, ids=[f"{n}-{name}" for n, (name, _) in enumerate(WRONG)])
async def test_a_value_that_does_not_fit(world, name, body):
    """P16, P18, P19."""
    route = next(route for route in ROUTES if route.name == name)
    answer = await asked(world, f"/v1{route.path}".format(**VALUES), body, route.method)
    ensure(answer, 422, "invalid")
    assert answer.json["errors"]


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "?",
        "!!! ... ???",
        "\x00",
        "\x00\x07",
        "\u200b",
        "\u202e\u2066",
        "\U0001f600",
        "e\u0301" * 300,
        "\ud7ff",
        "-- '; DROP TABLE issues",
        "`" * 1_000,
    ],
)
async def test_text_that_says_little_is_searched_all_the_same(world, text):
    """P18."""
    answer = await asked(world, f"{HERE}/similar", {"title": text, "body": text * 60}, "POST")
    assert answer.status == 200, answer.raw
    assert answer.json["searched"] == 10


async def test_an_integer_may_be_written_with_a_fraction_of_nothing(world):
    """As JSON Schema has it, and so the description."""
    answer = await asked(world, "/v1/token", b'{"repository_id": %d.0}' % MY_REPOSITORY, "POST")
    assert (answer.status, answer.json["repository_id"]) == (200, MY_REPOSITORY)
    answer = await asked(world, f"{HERE}/similar", b'{"title": "a", "limit": 2e0, "min_chance": 0.0}', "POST")
    assert answer.status == 200


@pytest.mark.parametrize(
    "text", [r'{"title": "\ud800"}', r'{"title": "a", "body": "x\udfff"}', r'{"\ud800": 1}']
)
async def test_half_a_character(world, text):
    """P18."""
    ensure(await asked(world, f"{HERE}/similar", text.encode(), "POST"), 400, "malformed")


# --- P17, P22-P25, P29, P30: HTTP

TITLE = json.dumps({"title": "crash"}).encode()
FORMATS = [
    ({"Content-Type": "text/plain"}, TITLE, 415), ({"Content-Type": "application/x-www-form-urlencoded"}, TITLE, 415),
    ({"Content-Type": "application/json; charset=utf-16"}, TITLE, 415), ({"Content-Type": "application/json; charset=latin-1"}, TITLE, 415),
    ({"Content-Type": "multipart/form-data; boundary=x"}, TITLE, 415), ({"Content-Type": ""}, TITLE, 415), ({"Content-Type": ";;;="}, TITLE, 415),
    ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, gzip.compress(TITLE, mtime=0), 415),
    ({"Content-Type": "application/json", "Content-Encoding": "identity"}, TITLE, 415),
    ({"Content-Type": "application/json"}, gzip.compress(TITLE, mtime=0), 400),
    ({"Content-Type": "application/json"}, b'{"title": "' + b"x" * 1_048_564 + b'"}', 413),
    ({"Content-Type": "application/json; charset=UTF-8"}, TITLE, 200),
]  # fmt: skip
CODES = {400: "malformed", 413: "too_large", 415: "unsupported_media"}


@pytest.mark.parametrize(("given", "data", "status"), FORMATS)
async def test_a_body_in_another_format(world, given, data, status):
    """P17."""
    headers = [("Authorization", f"Bearer {world.key_text}"), *given.items()]
    answer = await send(world, "POST", f"{HERE}/similar", headers, io.BytesIO(data))
    if status == 200:
        assert answer.status == 200
    else:
        ensure(answer, status, CODES[status])


async def test_a_body_without_a_length_is_bounded_too(world):
    """P17."""

    async def parts():
        for _ in range(40):
            yield b" " * 65_536

    given = [("Authorization", f"Bearer {world.key_text}"), ("Content-Type", "application/json")]
    ensure(await send(world, "POST", f"{HERE}/similar", given, parts()), 413, "too_large")


def request_of(world, *lines, body=b""):
    """The bytes of a request with a good key."""
    head = [f"POST {HERE}/similar HTTP/1.1", "Host: h", f"Authorization: Bearer {world.key_text}"]
    return "\r\n".join([*head, "Content-Type: application/json", *lines, "", ""]).encode() + body


SMUGGLED = b"GET /v1/keys HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        (["Content-Length: 5", "Transfer-Encoding: chunked"], b"0\r\n\r\n" + SMUGGLED),
        (["Transfer-Encoding: chunked", "Content-Length: 5"], b"0\r\n\r\n" + SMUGGLED),
        (["Content-Length: 2", "Content-Length: 38"], b"{}" + SMUGGLED),
        (["Transfer-Encoding: xchunked", "Content-Length: 2"], b"{}" + SMUGGLED),
        (["Transfer-Encoding : chunked"], b"0\r\n\r\n" + SMUGGLED),
        (["Content-Length: +2"], b"{}" + SMUGGLED),
        (["Content-Length: 2, 2"], b"{}" + SMUGGLED),
        (["Content-Length: -1"], SMUGGLED),
        (["Transfer-Encoding: chunked"], b"zz\r\n{}\r\n0\r\n\r\n" + SMUGGLED),
        (["Transfer-Encoding: chunked"], b"2\r\n{}XX\r\n0\r\n\r\n" + SMUGGLED),
    ],
)
async def test_a_request_in_a_request(world, lines, body):
    """P24: one answer, 400, and the connection is closed."""
    answer = await raw(world.process.port, request_of(world, *lines, body=body))
    assert answer.count("HTTP/1.") == 1
    assert answer[9:12] == "400", answer


async def test_a_body_that_breaks_off(world, log):
    whole = request_of(world, "Content-Length: 500", body=b'{"title"')

    _reader, writer = await asyncio.open_connection("127.0.0.1", world.process.port)
    writer.write(whole)
    await writer.drain()
    await asyncio.sleep(0.1)
    writer.close()
    await writer.wait_closed()
    assert (await asked(world, "/v1/account")).status == 200
    assert "request_failed" not in log.getvalue()


@pytest.mark.parametrize(
    "given",
    [
        {"X-Tenant-Id": "2002"}, {"X-Account-Id": "2002"}, {"X-Forwarded-Host": "evil.example"}, {"Host": "evil.example"}, {"X-Original-URL": "/v1/keys"},
        {"X-Rewrite-URL": "/v1/keys"}, {"X-HTTP-Method-Override": "DELETE"}, {"X-HTTP-Method": "DELETE"}, {"X-Method-Override": "DELETE"},
        {"X-Forwarded-User": "root"}, {"X-Forwarded-Proto": "http"},
    ],
)  # fmt: skip
async def test_headers_that_claim_something(world, given):
    """P22, P23: none of them has an effect."""
    headers = [("Authorization", f"Bearer {world.key_text}"), *given.items()]
    answer = await send(world, "GET", "/v1/account", headers)
    assert (answer.status, answer.json["login"]) == (200, "octo")
    assert "evil" not in answer.raw.decode() + str(answer.headers)


@pytest.mark.parametrize("spoof", SPOOFS, ids=lambda item: next(iter(item)))
async def test_failures_count_for_the_address_that_the_operator_believes(world, spoof):
    """P22."""
    number = next(NUMBERS)
    statuses = []
    for n in range(22):
        name, value = next(iter(spoof.items()))
        headers = {
            "X-Client": f"10.9.{number >> 8}.{number & 255}",
            "Authorization": "Bearer djv_x",
            name: value.replace("9.9.9.9", f"9.9.9.{n}"),
        }
        answer = await world.get("/v1/account", headers=headers)
        statuses.append(answer.status)
    assert statuses == [401] * 20 + [429] * 2


@pytest.mark.parametrize("origin", ["https://evil.example", "null", PUBLIC])
async def test_no_other_site_may_read(world, origin):
    """P25."""
    asking = [
        ("Origin", origin),
        ("Access-Control-Request-Method", "GET"),
        ("Access-Control-Request-Headers", "authorization"),
    ]
    for method, path in (
        ("OPTIONS", "/v1/account"),
        ("OPTIONS", "/v1/token"),
        ("GET", "/v1/account"),
        ("GET", "/v1/openapi.json"),
    ):
        answer = await send(world, method, path, [*asking, ("Authorization", f"Bearer {world.key_text}")])
        assert answer.status == (405 if method == "OPTIONS" else 200)
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "", "*/*;q=0", "a" * 4_000])
async def test_the_answer_is_json_whatever_is_accepted(world, accept):
    """P29."""
    for path, kind in (
        ("/v1/account", "application/json"),
        (f"/v1/repositories/{OTHER_REPOSITORY}", "application/problem+json"),
    ):
        answer = await send(
            world, "GET", path, [("Accept", accept), ("Authorization", f"Bearer {world.key_text}")]
        )
        assert answer.headers["Content-Type"] == f"{kind}; charset=utf-8"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.json


async def test_numbers_are_not_for_everybody(world):
    """P30."""
    assert (await world.get("/healthz")).status == 200
    assert (await world.get("/metrics")).status == 404
    private = f"http://127.0.0.1:{world.settings.metrics_port}"
    async with world.session.get(f"{private}/metrics") as response:
        assert response.status == 200
    async with world.session.get(f"{private}/v1/account") as response:
        assert response.status == 404


# --- P26, P28


@pytest.mark.parametrize("key", ["", "x" * 256, "\u00e9", "a\tb", "\U0001f600"])
async def test_an_idempotency_key_that_cannot_be_kept(world, key):
    """P26."""
    given = [
        ("Authorization", f"Bearer {world.key_text}"),
        ("Content-Type", "application/json"),
        ("Idempotency-Key", key),
    ]
    answer = await send(world, "POST", f"{HERE}/issues/7/outcomes", given, b'{"kind": "rejected"}')
    ensure(answer, 422, "invalid")


async def test_what_an_account_may_do_that_is_suspended_or_gone(world):
    """P28."""
    accounts = Accounts(world.database, default_tier="enterprise")
    await accounts.install(
        Account(7_001, "sleepy", "User", "enterprise"),
        701,
        [RepositoryName(71_001, "sleepy", "r", private=True)],
    )
    key = await world.key(7_001)
    path = "/v1/repositories/71001"
    await accounts.set_state(7_001, 701, InstallationState.SUSPENDED)
    assert (await asked(world, path, text=key)).status == 200
    for method, where, body in WRITES:
        ensure(await asked(world, where, body, method, text=key), 403, "suspended")
    await accounts.set_state(7_001, 701, InstallationState.ACTIVE)
    held = (await asked(world, "/v1/token", {}, "POST", text=key)).json["access_token"]
    await accounts.uninstall(7_001, 701)
    for text in (key, held):
        for method, where, body in WRITES:
            answer = await asked(world, where, body, method, text=text)
            assert answer.status in (401, 404), answer.raw
        assert (await asked(world, path, text=text)).status in (401, 404)


WRITES = [
    ("POST", "/v1/repositories/71001/deactivate", {}), ("POST", "/v1/repositories/71001/reindex", {}),
    ("PATCH", "/v1/repositories/71001/settings", {"mode": "shadow"}), ("POST", "/v1/keys", {"name": "k", "scope": "read"}), ("POST", "/v1/token", {}),
    ("POST", "/v1/account/delete-data", {"confirm": "sleepy"}),
]  # fmt: skip


# --- the parent's addresses

LEGACY = [route for route in legacy.ROUTES if route.body is not None]
NAMES = [
    "",
    " ",
    "\x00",
    "a/b",
    "..",
    "octo\n",
    "\u0130",
    "\U0001f600",
    "o" * 5_000,
    "%00",
    "'; DROP TABLE issues --",
]


def ensure_detail(answer, status):
    """Fails where an error has not the parent's shape."""
    assert answer.status == status, answer.raw
    assert set(answer.json) == {"detail"}
    if status == 422:
        assert all(set(item) == {"loc", "msg", "type"} for item in answer.json["detail"])


@pytest.mark.parametrize("route", LEGACY, ids=lambda route: route.path)
async def test_a_body_that_is_none_where_the_parents_clients_ask(world, route):
    for value in [
        *NO_JSON,
        *NO_BODIES,
        {"owner": "octo"},
        {"owner": 1, "repo": None},
        {"owner": ["a"], "repo": {}},
    ]:
        ensure_detail(await asked(world, route.path, value, "POST"), 422)
    for name in NAMES:
        body = {"owner": name, "repo": "app", "issue_number": 1}
        ensure_detail(await asked(world, route.path, body, "POST"), 404)
    body = json.dumps({"owner": "o\ud800", "repo": "app", "issue_number": 1}).encode()
    assert (await asked(world, route.path, body, "POST")).status in (404, 422)
    ensure_detail(await asked(world, route.path, b" " * 1_048_577, "POST"), 413)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"issue_number": 0}, 404), ({"issue_number": -1}, 404), ({"issue_number": 2**63}, 404), ({"issue_number": 10**400}, 404),
        ({"issue_number": "seven"}, 422), ({"issue_number": 1.5}, 422), ({"issue_number": None}, 422), ({"issue_number": 7, "top_k": 0}, 422),
        ({"issue_number": 7, "top_k": 51}, 422), ({"issue_number": 7, "min_similarity": -0.1}, 422), ({"issue_number": 7, "min_similarity": 1.1}, 422),
        ({"issue_number": 7, "min_similarity": "nan"}, 422), ({"issue_number": "7"}, 200), ({"issue_number": 7, "unknown": 1}, 200),
    ],
)  # fmt: skip
async def test_values_where_the_parents_clients_ask(world, body, status):
    answer = await asked(world, "/find_similar", {"owner": "octo", "repo": "app"} | body, "POST")
    if status == 200:
        assert answer.status == 200
    else:
        ensure_detail(answer, status)


@pytest.mark.parametrize(
    "path", ["%00/app", "octo/%00", "octo/%F0%9F%98%80", "..%2F../app", "octo/" + "r" * 5_000]
)
async def test_paths_where_the_parents_clients_ask(world, path):
    given = {"Authorization": f"Bearer {world.key_text}", "X-Client": "10.3.0.2"}
    url = URL(f"{world.url}/discussions_metrics/{path}", encoded=True)
    async with world.session.get(url, headers=given) as response:
        ensure_detail(Answer(response.status, response.headers, await response.read()), 404)
    weeks = ["0", "53", "-1", "x", "", "1.5", "NaN", "9" * 5_000]
    for value in weeks:
        ensure_detail(await asked(world, f"/discussions_metrics/octo/app?weeks_back={value}"), 422)


@pytest.mark.parametrize("route", legacy.ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_no_credential_where_the_parents_clients_ask(world, route):
    path = route.path.format(owner="octo", repo="app")
    for given in ([], [("Authorization", "Bearer djv_x")], [("Authorization", "Basic x")]):
        answer = await send(world, route.method, path, given)
        ensure_detail(answer, 401)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
