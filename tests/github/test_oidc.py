import base64
import hashlib
import hmac
import json
import time
from contextlib import asynccontextmanager

import aiohttp
import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bot.core.errors import GitHubUnavailableError, UnauthenticatedError
from bot.core.identity import WorkflowIdentity
from bot.github import oidc
from bot.github.oidc import GitHubActionsIdentity
from bot.sandbox.faults import Fault
from bot.sandbox.server import Sandbox, serve

AUDIENCE = "https://deja-view.example.com"
KEYS = "/.well-known/jwks"


class Clock:
    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


class Work:
    """An issuer, a repository, and whoever checks its tokens."""

    def __init__(self, sandbox, url, session):
        self.sandbox, self.url, self.clock = sandbox, url, Clock()
        self.repository = sandbox.github.create_repository("octo", "hello")
        self.checker = GitHubActionsIdentity(session, url, AUDIENCE, self.clock)

    @property
    def issuer(self):
        return self.sandbox.github.actions

    def token(self, **changes):
        return self.issuer.token(self.url, self.repository, AUDIENCE, **changes)

    def claims(self, **changes):
        return jwt.decode(self.token(**changes), options={"verify_signature": False})

    @property
    def looks(self):
        """How often the keys were read."""
        return sum(call.path == KEYS for call in self.sandbox.calls)

    async def refused(self, token):
        """Why a token is not taken."""
        with pytest.raises(UnauthenticatedError) as caught:
            await self.checker.verify(token)
        assert len(token) < 10 or token[:20] not in caught.value.reason
        return caught.value.reason.removeprefix("the workflow identity token is refused: ")


@pytest.fixture
async def work():
    sandbox = Sandbox()
    async with serve(sandbox) as url, aiohttp.ClientSession() as session:
        yield Work(sandbox, url, session)


async def test_a_workflow_is_known_by_its_repositorys_id(work):
    repository = work.repository
    assert await work.checker.verify(work.token()) == WorkflowIdentity(
        repository.id, "octo/hello", repository.owner.id, "refs/heads/main", "issues", "octo"
    )
    stranger = work.sandbox.github.create_repository("mallory", "evil")
    lying = work.issuer.token(work.url, stranger, AUDIENCE, repository="octo/hello")
    assert (await work.checker.verify(lying)).repository_id == stranger.id


OVER = int(time.time()) - 31
SOON = int(time.time()) + 86_400


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"aud": "https://github.com/octo"}, "it was made for another audience"),
        ({"aud": [AUDIENCE, "https://github.com/octo"]}, "it was made for another audience"),
        ({"aud": None}, "a claim is missing"),
        ({"iss": "https://token.actions.githubusercontent.com"}, "it has another issuer"),
        ({"iss": None}, "a claim is missing"),
        ({"exp": OVER}, "it is over"),
        ({"exp": None}, "a claim is missing"),
        ({"exp": str(SOON)}, "it is not valid"),
        ({"exp": float("inf")}, "it is not valid"),
        ({"exp": SOON + 0.5}, "it is not valid"),
        ({"nbf": SOON}, "it is not valid yet"),
        ({"nbf": None}, "a claim is missing"),
        ({"iat": SOON}, "it is not valid yet"),
        ({"iat": True}, "it is not valid"),
        ({"iat": None}, "a claim is missing"),
        ({"jti": None}, "a claim is missing"),
        ({"sub": None}, "a claim is missing"),
        ({"repository_id": None}, "a claim is missing"),
        ({"repository_id": 42}, "it is not valid"),
        ({"repository_id": "-42"}, "it is not valid"),
        ({"repository_id": "４２"}, "it is not valid"),
        ({"repository_id": "0"}, "it is not valid"),
        ({"repository_id": str(2**63)}, "it is not valid"),
        ({"repository_id": "4" * 5_000}, "it is not valid"),
        ({"repository_owner_id": None}, "a claim is missing"),
        ({"repository_owner_id": ""}, "it is not valid"),
        ({"actor": ["octo"]}, "it is not valid"),
    ],
)
async def test_claims_that_are_not_taken(work, changes, reason):
    assert await work.refused(work.token(**changes)) == reason


def signed(header, claims, sign):
    """A token by hand."""

    def encoded(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    text = b".".join(encoded(json.dumps(value).encode()) for value in (header, claims))
    return (text + b"." + encoded(sign(text))).decode()


def new_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


async def test_algorithms_that_are_not_taken(work):
    claims = work.claims()
    (kid, key) = next(iter(work.issuer.keys.items()))
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    other = "it is not signed with RS256"
    assert await work.refused(signed({"alg": "none", "kid": kid}, claims, lambda _: b"")) == other
    assert await work.refused(signed({"alg": "None", "kid": kid}, claims, lambda _: b"")) == other
    confused = signed(
        {"alg": "HS256", "kid": kid}, claims, lambda text: hmac.digest(pem, text, hashlib.sha256)
    )
    assert await work.refused(confused) == other
    for algorithm in ("RS384", "RS512", "PS256"):
        assert await work.refused(jwt.encode(claims, key, algorithm, headers={"kid": kid})) == other


async def test_keys_that_are_not_the_issuers(work):
    claims, mine = work.claims(), new_key()
    kid = next(iter(work.issuer.keys))
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(mine.public_key()))
    forged = jwt.encode(claims, mine, "RS256", headers={"kid": kid})
    assert await work.refused(forged) == "its signature is wrong"
    for header in ({"jku": work.url + "/evil"}, {"jwk": public}, {"x5u": work.url}, {"x5c": ["MII"]}):
        given = {"kid": kid} | header
        brought = jwt.encode(claims, work.issuer.keys[kid], "RS256", headers=given)
        assert await work.refused(brought) == "it brings its own key"
    critical = jwt.encode(claims, work.issuer.keys[kid], "RS256", headers={"kid": kid, "crit": ["x"], "x": 1})
    assert await work.refused(critical) == "it cannot be read"
    unknown = jwt.encode(claims, mine, "RS256", headers={"kid": "../../dev/null"})
    assert await work.refused(unknown) == "its key is not one of the issuer's"
    assert await work.refused(jwt.encode(claims, mine, "RS256")) == "it names no key"
    assert {call.path for call in work.sandbox.calls} == {KEYS}


async def test_a_token_that_was_changed_is_refused(work):
    head, _, signature = work.token().split(".")
    stranger = work.sandbox.github.create_repository("mallory", "evil")
    claims = work.claims() | {"repository_id": str(stranger.id)}
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    assert await work.refused(f"{head}.{body}.{signature}") == "its signature is wrong"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "a.b.c",
        "..",
        "Bearer x",
        "é" * 50,
        "x" * 16_385,
        "e30.e30.",
        "W10.e30.e30",
        "bnVsbA.e30.e30",
        "eyJhbGciOltdfQ.e30.e30",
    ],
)
async def test_what_is_no_token_is_refused_before_anything_is_read(work, text):
    assert await work.refused(text)
    assert work.looks == 0


@pytest.mark.parametrize("more", ["x" * oidc.LONGEST_TOKEN, "é"])
async def test_a_token_that_is_too_long_or_not_in_ascii_is_not_looked_into(work, more):
    assert await work.refused(work.token() + more) == "it is too long, or not in ASCII"


# --- the published keys


async def test_keys_are_read_once_an_hour(work):
    for _ in range(3):
        await work.checker.verify(work.token())
    assert work.looks == 1
    work.clock.now += oidc.KEYS_FOR
    await work.checker.verify(work.token())
    assert work.looks == 2


async def test_a_new_key_is_looked_for_at_most_once_a_minute(work):
    await work.checker.verify(work.token())
    work.issuer.rotate()
    for _ in range(3):
        assert await work.refused(work.token()) == "its key is not one of the issuer's"
    assert work.looks == 1
    work.clock.now += oidc.LOOK_EVERY
    await work.checker.verify(work.token())
    assert work.looks == 2


async def test_a_key_that_was_taken_back_ends_within_an_hour(work):
    token = work.token()
    await work.checker.verify(token)
    work.issuer.rotate()
    work.clock.now += oidc.KEYS_FOR - 1
    await work.checker.verify(token)
    work.clock.now += 1
    assert await work.refused(token) == "its key is not one of the issuer's"


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 200, "body": "<html>"},
        {"status": 200, "body": '{"keys": []}'},
        {"status": 200, "body": '{"keys": [{"kty": "RSA", "kid": "x"}, {"kty": "oct", "k": "eA"}, 5]}'},
        {"status": 302, "headers": {"Location": "/elsewhere"}},
        {"hang_up": True},
    ],
)
async def test_keys_that_cannot_be_read_are_an_error_and_asked_for_again_soon(work, fault):
    # A client repeats a read by itself where the server hangs up.
    work.sandbox.faults.append(Fault("GET", "jwks", times=2 if "hang_up" in fault else 1, **fault))
    for _ in range(3):
        with pytest.raises(GitHubUnavailableError, match="keys cannot be read"):
            await work.checker.verify(work.token())
    assert work.looks == (2 if "hang_up" in fault else 1)
    work.clock.now += oidc.TRY_EVERY
    await work.checker.verify(work.token())
    assert not any(call.path == "/elsewhere" for call in work.sandbox.calls)


async def test_keys_that_are_too_large_are_not_read_to_their_end(work):
    published = json.dumps(work.issuer.published())
    work.sandbox.faults.append(Fault("GET", "jwks", status=200, body=published + " " * oidc.LARGEST_KEYS))
    with pytest.raises(GitHubUnavailableError, match="more than a megabyte"):
        await work.checker.verify(work.token())


async def test_known_keys_last_while_the_issuer_is_down(work):
    await work.checker.verify(work.token())
    work.sandbox.faults.append(Fault("GET", "jwks", times=100))
    work.clock.now += oidc.KEYS_FOR - 1
    await work.checker.verify(work.token())
    work.clock.now += 1
    with pytest.raises(GitHubUnavailableError):
        await work.checker.verify(work.token())


@asynccontextmanager
async def publishing(*keys):
    """An issuer that publishes these."""

    async def answer(_request):
        return web.json_response({"keys": keys})

    app = web.Application()
    app.router.add_get(KEYS, answer)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        url = str(server.make_url("")).rstrip("/")
        yield url, GitHubActionsIdentity(session, url, AUDIENCE)


@pytest.mark.parametrize(("bits", "use"), [(1_024, "sig"), (2_048, "enc")])
async def test_keys_that_are_too_short_or_not_for_signatures_are_left_out(work, bits, use):
    weak = rsa.generate_private_key(public_exponent=65537, key_size=bits)

    def published(key, **more):
        return json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())) | more

    good = published(new_key(), kid="good", use="sig")
    async with publishing(published(weak, kid="weak", use=use), good) as (url, checker):
        header, claims = {"alg": "RS256", "kid": "weak"}, work.claims(iss=url)

        token = signed(header, claims, lambda text: weak.sign(text, PKCS1v15(), SHA256()))
        with pytest.raises(UnauthenticatedError, match="its key is not one"):
            await checker.verify(token)
