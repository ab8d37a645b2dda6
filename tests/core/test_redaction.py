import time

import pytest

from bot.core.api_keys import mint
from bot.core.errors import GitHubError
from bot.core.inert import code, inert
from bot.core.marker import marker
from bot.core.outcome import describe
from bot.core.redaction import HIDDEN, without_secrets
from tests.pace import allowed

DIGITS = "16C7e42F292c6912E7710c838347Ae178B4a"
PEM = (
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEAsecret\nsecretsecret+/=\n-----END RSA PRIVATE KEY-----"
)
TOKENS = {
    **{prefix: f"{prefix}_{DIGITS}" for prefix in ("ghs", "ghu", "ghr", "gho", "ghp")},
    "github_pat": f"github_pat_11ABCDEFG0aaaaaaaaaaaa_{DIGITS}",
    "ghs-that-is-a-jwt": "ghs_4711_eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiI0NzExIn0-x.c2lnbmF0dXJl-_x",
    "ghs-of-old": "v1." + "0123456789" * 4,
    "jwt": "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiI0NzExIn0.c2lnbmF0dXJl-_",
    "stripe": "sk_live_51H8secretsecret",
    "stripe-webhook": "whsec_secretsecret",
    "pem": PEM,
    "ours": mint().text,
    "ours-cut": mint().text[:40],
}


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS)
@pytest.mark.parametrize(
    "frame",
    [
        "{}",
        "({})",
        "401 Bad credentials: {}.",
        '{{"token": "{}"}}',
        "https://h/?key={}&x=1",
        "a\n{}\nb",
        r"a\n{}\nb",
    ],
)
def test_tokens_are_hidden_whole(token, frame):
    assert without_secrets(frame.format(token)) == frame.format(HIDDEN)


@pytest.mark.parametrize(
    "text",
    [
        "", "It fails", "ghs_", "ghost_writer_of_sixteen", "eyJust a word", "djv_", "sk_test_1", "v1.2.3", "Bearer authentication-failures",
        "https://me:hunter22@h/", "-----BEGIN CERTIFICATE-----", "a5c3785ed8d6a35868bc169f07e40e889087fd2e", "token=abc", "KeyJsonDeserializer.deserialize", "java.lang.keyJoinColumns.eyelids_of", "a-long-name-here.eye-catcher.x",
        marker(b"k" * 32, 99, 7, "suggestion", [1, 2, 3]),
    ],
)  # fmt: skip
def test_what_is_no_token_stays(text):
    assert without_secrets(text) == text


@pytest.mark.parametrize(
    "unit",
    [
        "ghs_",
        "eyJ",
        "eyJaaaaaaaa.",
        "-----BEGIN ",
        "a",
        ".-",
        "djv_",
        "ghs_aaaaaaaaaaaaaaaa",
        ".a",
        "_",
        "a-",
        "eyJaaaaaaaa.ey",
        "bearer ",
        "sk_live_",
    ],
)
def test_hostile_text_takes_linear_time(unit):
    text = (unit * 1_000_000)[:1_000_000]
    started = time.thread_time()
    without_secrets(text)
    assert time.thread_time() - started < allowed(1)


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS)
def test_no_secret_in_what_is_kept_and_quoted(token):
    """The reason in a job row, and foreign text in our comments."""
    for shown in (
        describe(GitHubError(f"422 Bad value {token} here")),
        describe(ValueError("x" * 270 + token)),
        inert(f"Bad {token} here"),
        inert("x" * 70 + " " + token),
        code(f"Bad {token} here"),
        code("x" * 50 + " " + token),
    ):
        bare = shown.replace("\u2060", "").replace("\\", "")
        assert token not in bare
        assert token[:12] not in bare
