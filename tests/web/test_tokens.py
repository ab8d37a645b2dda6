import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from bot.core.errors import UnauthenticatedError
from bot.core.principal import Principal, Scope, Source
from bot.web.tokens import LIFETIME, TokenIssuer, key_id

SECRET, NEXT = "4f9a" + "0123456789abcdef" * 3, "b7c1" + "fedcba9876543210" * 3
NOW = datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC)
START = int(NOW.timestamp())
ISSUER = "https://deja-view.example"

BY_KEY = Principal(7, Scope.WRITE, Source.API_KEY, repository_id=99, key_id="0aB3dE6gH9jK")
BY_USER = Principal(7, Scope.ADMIN, Source.USER, user_id=12, login="ann")
BY_ACTION = Principal(7, Scope.READ, Source.ACTIONS, repository_id=99)

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PRIVATE = RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
PUBLIC = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def issuer():
    return TokenIssuer([SECRET], ISSUER)


def b64(data):
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(header, payload, secret=SECRET):
    """A token with any header and payload whose signature is right."""
    message = f"{b64(header)}.{b64(payload)}"
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
        message.encode(), secret.encode()
    )
    return f"{message}.{b64(signature)}"


HEADER = {"alg": "HS256", "typ": "JWT", "kid": key_id(SECRET)}
PAYLOAD = {
    "iss": ISSUER, "aud": "deja-view-api", "sub": "user:12", "exp": START + 900, "iat": START, "jti": "a1", "typ": "access",
    "account": 7, "scope": "admin", "repository": None, "key": None, "user": 12, "login": "ann",
}  # fmt: skip


def without(name):
    return {key: value for key, value in PAYLOAD.items() if key != name}


@pytest.mark.parametrize("principal", [BY_KEY, BY_USER, BY_ACTION], ids=lambda item: item.source)
def test_a_token_says_who_asked_for_it(issuer, principal):
    token, expires = issuer.issue(principal, NOW)
    claims = issuer.verify(token, NOW)
    assert claims.principal == replace(principal, token_id=claims.id)
    assert (claims.issued_at, claims.expires_at) == (NOW.replace(microsecond=0), expires)
    assert expires - claims.issued_at == timedelta(minutes=15)
    assert len(token) < 700


def test_what_stands_in_a_token(issuer):
    token, _ = issuer.issue(BY_USER, NOW)
    payload = jwt.decode(
        token,
        SECRET,
        algorithms=["HS256"],
        audience="deja-view-api",
        options={"verify_exp": False, "verify_iat": False},
    )
    assert payload == PAYLOAD | {"jti": payload["jti"]}
    assert jwt.get_unverified_header(token) == HEADER
    assert len({issuer.verify(issuer.issue(BY_USER, NOW)[0], NOW).id for _ in range(20)}) == 20


@pytest.mark.parametrize(
    "nobody",
    [Principal(7, Scope.READ, Source.ANONYMOUS), Principal(7, Scope.READ, Source.USER), Principal(7, Scope.READ, Source.API_KEY)],
    ids=str,
)  # fmt: skip
def test_nobody_gets_no_token(issuer, nobody):
    with pytest.raises(ValueError, match="no token is issued"):
        issuer.issue(nobody, NOW)


def test_the_hand_made_token_is_good(issuer):
    """What the tables below change is valid as it is."""
    assert issuer.verify(signed(HEADER, PAYLOAD), NOW).principal == replace(BY_USER, token_id="a1")


NOT_OURS, EXPIRED, TOO_EARLY = "not one of ours", "has expired", "not valid yet"

HEADERS = {
    "none": HEADER | {"alg": "none"},
    "none-in-capitals": HEADER | {"alg": "NONE"},
    "hs384": HEADER | {"alg": "HS384"},
    "hs512": HEADER | {"alg": "HS512"},
    "rs256": HEADER | {"alg": "RS256"},
    "no-algorithm": {"typ": "JWT", "kid": key_id(SECRET)},
    "two-algorithms": HEADER | {"alg": ["HS256", "none"]},
    "no-kid": {"alg": "HS256", "typ": "JWT"},
    "unknown-kid": HEADER | {"kid": "0" * 16},
    "path-as-kid": HEADER | {"kid": "../../dev/null"},
    "number-as-kid": HEADER | {"kid": 0},
    "list-as-kid": HEADER | {"kid": [key_id(SECRET)]},
    "empty-kid": HEADER | {"kid": ""},
    "jku": HEADER | {"jku": "http://127.0.0.1:1/keys"},
    "jwk": HEADER | {"jwk": {"kty": "oct", "k": b64(b"x" * 32)}},
    "x5u": HEADER | {"x5u": "http://127.0.0.1:1/cert"},
    "x5c": HEADER | {"x5c": ["AAAA"]},
    "crit": HEADER | {"crit": ["exp"]},
    "crit-empty": HEADER | {"crit": []},
    "payload-not-encoded": HEADER | {"b64": False, "crit": ["b64"]},
    "deep": b'{"alg": "HS256", "x": ' + b"[" * 2_000,
    "nul": b"\0",
    "list": [HEADER],
    "text": b"HS256",
    "not-utf-8": b"\xff\xfe",
}  # fmt: skip


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_headers_that_are_refused(issuer, header):
    """P02 and P06: the signature is right in each of them."""
    refuse(issuer, signed(header, PAYLOAD), NOT_OURS)


CLAIMS = {
    **{f"no-{name}": (without(name), NOT_OURS) for name in PAYLOAD},
    **{f"{name}-is-null": (PAYLOAD | {name: None}, NOT_OURS) for name in PAYLOAD if name not in {"repository", "key", "user", "login"}},
    **{
        f"{name}-{kind}": (PAYLOAD | {name: value}, NOT_OURS)
        for name, time in (("exp", START + 60), ("iat", START), ("nbf", START))
        for kind, value in [
            ("text", str(time)),
            ("float", float(time)),
            ("half", time + 0.5),
            ("inf", float("inf")),
            ("nan", float("nan")),
            ("true", True),
            ("list", [time]),
            ("negative", -1),
            ("far", 2**80),
        ]
    },
    "exp-just-in-time": (PAYLOAD | {"iat": START - 900, "exp": START - 29}, None),
    "exp-past": (PAYLOAD | {"iat": START - 900, "exp": START - 31}, EXPIRED),
    "exp-long-past": (PAYLOAD | {"iat": 0, "exp": 1}, EXPIRED),
    "life-of-a-day": (PAYLOAD | {"exp": START + 86_400}, NOT_OURS),
    "life-a-second-too-long": (PAYLOAD | {"exp": START + 901}, NOT_OURS),
    "iat-ahead": (PAYLOAD | {"iat": START + 120, "exp": START + 900}, TOO_EARLY),
    "iat-a-little-ahead": (PAYLOAD | {"iat": START + 20, "exp": START + 900}, None),
    "nbf-ahead": (PAYLOAD | {"nbf": START + 120}, TOO_EARLY),
    "nbf-a-little-ahead": (PAYLOAD | {"nbf": START + 20}, None),
    "other-aud": (PAYLOAD | {"aud": "deja-view-session"}, NOT_OURS),
    "two-auds": (PAYLOAD | {"aud": ["deja-view-api", "x"]}, NOT_OURS),
    "other-iss": (PAYLOAD | {"iss": "https://evil.example"}, NOT_OURS),
    "other-typ": (PAYLOAD | {"typ": "session"}, NOT_OURS),
    "empty-jti": (PAYLOAD | {"jti": ""}, NOT_OURS),
    "number-as-jti": (PAYLOAD | {"jti": 5}, NOT_OURS),
    "empty-sub": (PAYLOAD | {"sub": ""}, NOT_OURS),
    "unknown-sub": (PAYLOAD | {"sub": "robot:1"}, NOT_OURS),
    "number-as-sub": (PAYLOAD | {"sub": 12}, NOT_OURS),
    "account-text": (PAYLOAD | {"account": "7"}, NOT_OURS),
    "account-true": (PAYLOAD | {"account": True}, NOT_OURS),
    "repository-text": (PAYLOAD | {"repository": "99"}, NOT_OURS),
    "greater-scope": (PAYLOAD | {"scope": "owner"}, NOT_OURS),
    "scope-number": (PAYLOAD | {"scope": 3}, NOT_OURS),
    "unknown-claims": (PAYLOAD | {"tier": "enterprise"}, None),  # a newer version's: nothing here reads them
    "list": ([PAYLOAD], NOT_OURS),
    "text": (b"x", NOT_OURS),
    "deep": (b"[" * 2_000, NOT_OURS),
}  # fmt: skip


@pytest.mark.parametrize(("payload", "refused"), CLAIMS.values(), ids=CLAIMS)
def test_claims(issuer, payload, refused):
    """P03 to P05: the signature is right in each of them."""
    token = signed(HEADER, payload)
    if refused is None:
        assert issuer.verify(token, NOW).principal == replace(BY_USER, token_id="a1")
    else:
        refuse(issuer, token, refused)


GOOD = signed(HEADER, PAYLOAD)
MESSAGE, _, SIGNATURE = GOOD.rpartition(".")
TEXTS = {
    "empty": "",
    "dots": "..",
    "two-parts": MESSAGE,
    "no-signature": MESSAGE + ".",
    "signature-of-other": MESSAGE + "." + signed(HEADER, without("nbf") | {"jti": "b2"}).rpartition(".")[2],
    "payload-changed": MESSAGE.replace(b64(PAYLOAD), b64(PAYLOAD | {"account": 8})) + "." + SIGNATURE,
    "other-secret": signed(HEADER, PAYLOAD, NEXT),
    "empty-secret": signed(HEADER, PAYLOAD, ""),
    "public-key-as-secret": signed(HEADER, PAYLOAD, PUBLIC.decode()),
    "rs256-signed": jwt.encode(PAYLOAD, PRIVATE, "RS256", headers={"kid": key_id(SECRET)}),
    "hs384-signed": jwt.encode(PAYLOAD, SECRET, "HS384", headers={"kid": key_id(SECRET)}),
    "hs512-signed": jwt.encode(PAYLOAD, SECRET * 2, "HS512", headers={"kid": key_id(SECRET)}),
    "unsigned": f"{b64(HEADER | {'alg': 'none'})}.{b64(PAYLOAD)}.",
    "8-kb": signed(HEADER, PAYLOAD | {"login": "x" * 8_000}),
    "1-mb": "x" * 1_000_000,
    "dots-8-kb": "." * 8_000,
    "other-digits": GOOD.replace("e", "ｅ", 1),
    "nul": "\0" + GOOD,
    "half-a-character": GOOD + "\ud800",
    "accent": GOOD[:-1] + "é",
    "five-parts": f"{GOOD}.x.y",
    "api-key": f"djv_0aB3dE6gH9jK_{'z' * 43}_0phhkV",
    "github-token": "ghs_16C7e42F292c6912E7710c838347Ae178B4a",
}  # fmt: skip


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_texts_that_are_no_token_of_ours(issuer, text):
    """P02 and P07."""
    refuse(issuer, text, NOT_OURS)


def test_a_token_is_at_most_4_kb_long(issuer):
    room = 4_096 - len(GOOD)
    fill = {
        size: signed(HEADER, PAYLOAD | {"x": "x" * size})
        for size in range(room // 4 * 3 - 60, room // 4 * 3 + 60)
    }
    lengths = {len(token): token for token in fill.values()}
    longest = max(length for length in lengths if length <= 4_096)
    assert issuer.verify(lengths[longest], NOW).id == "a1"
    refuse(issuer, lengths[min(length for length in lengths if length > 4_096)], NOT_OURS)


def test_a_long_text_is_not_parsed(issuer, monkeypatch):
    monkeypatch.setattr(jwt, "get_unverified_header", lambda _: pytest.fail("parsed"))
    refuse(issuer, signed(HEADER, PAYLOAD | {"login": "x" * 8_000}), NOT_OURS)
    refuse(issuer, GOOD + "é", NOT_OURS)


def refuse(issuer, text, words):
    with pytest.raises(UnauthenticatedError, match=words) as caught:
        issuer.verify(text, NOW)
    assert len(caught.value.reason) < 60
    assert not set(caught.value.reason) & set('"\\\r\n')
    assert caught.value.__suppress_context__ or caught.value.__context__ is None  # it would quote the token


def test_a_token_ends(issuer):
    token, expires = issuer.issue(BY_USER, NOW)
    assert issuer.verify(token, expires + timedelta(seconds=30)).principal.user_id == 12
    with pytest.raises(UnauthenticatedError, match=EXPIRED):
        issuer.verify(token, expires + timedelta(seconds=31))
    with pytest.raises(UnauthenticatedError, match=TOO_EARLY):
        issuer.verify(token, NOW - timedelta(seconds=31))


def test_a_secret_is_rotated():
    before, during, after = (TokenIssuer(secrets, ISSUER) for secrets in ([SECRET], [NEXT, SECRET], [NEXT]))
    old, new = before.issue(BY_USER, NOW)[0], during.issue(BY_USER, NOW)[0]
    assert during.verify(old, NOW).principal.login == "ann"
    assert after.verify(new, NOW).principal.login == "ann"
    refuse(after, old, NOT_OURS)
    refuse(before, new, NOT_OURS)
    assert key_id(SECRET) != key_id(NEXT)
    assert SECRET[:8] not in key_id(SECRET)


def test_two_services_do_not_take_each_others_tokens(issuer):
    refuse(TokenIssuer([SECRET], "deja-view"), issuer.issue(BY_USER, NOW)[0], NOT_OURS)


def test_the_longest_principal_fits(issuer):
    large = Principal(2**63 - 1, Scope.WRITE, Source.USER, 2**63 - 1, "x" * 12, 2**63 - 1, "x" * 39)
    token, _ = TokenIssuer([SECRET], "https://" + "h" * 253).issue(large, NOW)
    assert len(token) < 1_500
    assert timedelta(0) < LIFETIME
