import io
import json
import logging
import subprocess
import sys
import time

import pytest
import structlog

from bot.__main__ import COMMANDS, main
from bot.core.api_keys import mint
from bot.core.errors import StorageUnavailableError
from bot.core.redaction import HIDDEN
from bot.logs import LONGEST, Redactor, configure
from tests.pace import allowed

PEM = (
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEAsecret\nsecretsecret+/=\n-----END RSA PRIVATE KEY-----"
)
SECRETS = {
    "installation-token": "ghs_16C7e42F292c6912E7710c838347Ae178B4a",
    "personal-token": "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "fine-grained-token": "github_pat_11ABCDEFG0aaaaaaaaaaaa_bbbbbbbbbbbbbbbb",
    "json-web-token": "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiI0NzExIn0.c2lnbmF0dXJl-_",
    "json-web-token-unsigned": "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiI0NzExIn0",
    "stripe-key": "sk_live_51H8secretsecret",
    "stripe-restricted": "rk_test_51H8secretsecret",
    "stripe-webhook": "whsec_secretsecret",
    "private-key": PEM,
    "private-key-cut": PEM[:60],
    "private-key-escaped": PEM.replace("\n", "\\n"),
    "bearer": "0123456789abcdef.0123",
    "own-key": mint().text,
    "own-key-cut": mint().text[:40],
    "user-token": "ghu_16C7e42F292c6912E7710c838347Ae178B4a",
    "refresh-token": "ghr_16C7e42F292c6912E7710c838347Ae178B4a",
    "installation-token-as-jwt": "ghs_4711_eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiI0NzExIn0-x.c2lnbmF0dXJl-_x",
    "installation-token-of-old": "v1." + "0123456789" * 4,
}
FRAMES = {
    "alone": "{}",
    "bearer": "Authorization: Bearer {}",
    "address": "https://api.github.com/x?access_token={}&y=1",
    "json": '{{"a": "{}"}}',
    "sentence": "GitHub said that {} is bad",
}
shapes = pytest.mark.parametrize(
    "text",
    [
        pytest.param(frame.format(secret), id=f"{kind}-{place}")
        for kind, secret in SECRETS.items()
        for place, frame in FRAMES.items()
        if kind != "bearer" or place == "bearer"
    ],
)

redacted = Redactor().value

NAMES = [
    "token", "access_token", "Authorization", "password", "DATABASE_PASSWORD", "webhook_secret", "GITHUB_WEBHOOK_SECRET",
    "private_key", "GITHUB_APP_PRIVATE_KEY", "api_key", "CHROMA_API_KEY", "Cookie", "Set-Cookie", "api-key",
    "apikey", "passwd", "pwd", "ENCRYPTION_KEYS", "jwt", "credentials", "X-Hub-Signature-256",
]  # fmt: skip


def is_clean(text):
    return not any(secret in text or secret[8:24] in text for secret in SECRETS.values())


@pytest.fixture
def stream():
    """Where events go; what other tests see of logging is put back."""
    root, before = logging.getLogger(), (logging.getLogger().handlers[:], logging.getLogger().level)
    stream = io.StringIO()
    configure("json", stream)
    yield stream
    sys.excepthook = sys.__excepthook__
    root.handlers[:], root.level = before
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def events(stream):
    """Every line as strict JSON."""

    def refuse(text):
        raise AssertionError(text)

    return [json.loads(line, parse_constant=refuse) for line in stream.getvalue().split("\n")[:-1]]


@shapes
def test_secrets_are_known_by_their_shape(text):
    shown = redacted(text)
    assert is_clean(shown)
    assert HIDDEN in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:hunter22@h:5432/x", "postgresql://***@h:5432/x"),
        ("postgresql://me:hun@ter@22@h/x", "postgresql://***@h/x"),
        ("redis://:hunter22@h", "redis://***@h"),
        ("https://github.com/ann/tool", "https://github.com/ann/tool"),
        ("https://h:8080/a@b", "https://h:8080/a@b"),
        ("mail ann@example.org", "mail ann@example.org"),
        ("sha a5c3785ed8d6a35868bc169f07e40e889087fd2e", "sha a5c3785ed8d6a35868bc169f07e40e889087fd2e"),
        ("gh_x, eyJust a word, skipped", "gh_x, eyJust a word, skipped"),
    ],
)
def test_addresses_keep_all_but_the_password(text, shown):
    assert redacted(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("host=h password=hunter22 port=1", "host=h password=*** port=1"),
        ("/x?access_token=hunter22&y=1", "/x?access_token=***&y=1"),
        ("client_secret='hunter22'", "client_secret='***'"),
        ("{'password': 'hunter22', 'user': 'ann'}", "{'password': '***', 'user': 'ann'}"),
        ('{"refresh_token":"hunter22"}', '{"refresh_token":"***"}'),
        (r'"{\"API_KEY\": \"hunter22\"}"', r'"{\"API_KEY\": \"***\"}"'),
        ("the token is too old: hunters", "the token is too old: hunters"),
        ("token: expired", "token: expired"),
        ("tokens=3, secret=no", "tokens=3, secret=no"),
    ],
)
def test_secrets_are_known_by_a_name_inside_a_text(text, shown):
    assert redacted(text) == shown


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["hunter22", 5, b"x", {"a": "hunter22"}, ["hunter22"]])
def test_secrets_are_known_by_their_name(name, value):
    assert redacted({"outer": [{name: value}]}) == {"outer": [{name: HIDDEN}]}


@shapes
def test_secrets_are_found_at_any_depth(stream, text):
    structlog.get_logger().info("x", a={"b": [{"c": (text, {text})}]}, **{text: 1}, e=ValueError(text))
    structlog.get_logger().info(text)
    assert is_clean(stream.getvalue())
    assert len(events(stream)) == 2


@shapes
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_tracebacks_tell_no_secret(text, stream, log_format):
    configure(log_format, stream)

    def fails(local):
        raise ValueError(text)

    try:
        try:
            fails(text)
        except ValueError as error:
            raise RuntimeError("outer") from error
    except RuntimeError:
        structlog.get_logger().exception("ours")
        logging.getLogger("somebody.else").exception("theirs %s", text)
    shown = stream.getvalue()
    assert is_clean(shown)
    assert shown.count("ValueError: ") == 2


def test_other_peoples_records_look_like_ours(stream):
    structlog.contextvars.bind_contextvars(job_id=7)
    structlog.get_logger().info("ours", n=1)
    logging.getLogger("a.b").warning("theirs %s", "token")
    ours, theirs = events(stream)
    assert (ours["event"], ours["n"], ours["job_id"], ours["level"]) == ("ours", 1, 7, "info")
    assert (theirs["event"], theirs["logger"], theirs["job_id"], theirs["level"]) == (
        "theirs token",
        "a.b",
        7,
        "warning",
    )
    assert ours["timestamp"].endswith("Z")


def test_one_event_is_one_line(stream):
    for text in (
        "a\nb",
        "a\r\nb",
        "a\u2028b\u2029c",
        "a\x85b",
        "a\x0bb\x0cc",
        "a\0b",
        '"}\n{"event": "forged"}',
    ):
        structlog.get_logger().info(text, value=text, **{text: 1})
        logging.getLogger("x").info("%s", text)
    assert len(stream.getvalue().splitlines()) == len(events(stream)) == 14
    assert "forged" not in [event["event"] for event in events(stream)]


def test_nobody_forges_a_line_of_the_console(stream):
    configure("console", stream)
    text = "a\n2026-01-01T00:00:00Z [info] forged"
    structlog.get_logger().info(text, value=text)
    logging.getLogger("x").info("%s", text)
    assert len(stream.getvalue().splitlines()) == 2


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_nothing_turns_or_controls_the_reader(stream, log_format):
    configure(log_format, stream)
    signs = "\x00\x07\x08\x1b\x7f\x9b\u061c\u200e\u200f\u202a\u202e\u2066\u2069\ud800"
    structlog.get_logger().info("a" + signs, value=signs, nested=[signs], error=ValueError(signs))
    shown = stream.getvalue()
    left = set(shown) & set(signs)
    assert left <= ({"\x1b"} if log_format == "console" else set())  # the console's own colours
    assert redacted("\x1b[31mred\u202e") == "\\u001b[31mred\\u202e"
    assert shown.count("\n") == 1


def test_numbers_that_json_lacks_are_words(stream):
    structlog.get_logger().info("x", a=float("nan"), b=float("inf"), c=1.5, d=True, e=None, f=2**70)
    (event,) = events(stream)
    assert [event[name] for name in "abcdef"] == ["nan", "inf", 1.5, True, None, 2**70]


def test_objects_are_shown_by_their_type_alone(stream):
    class Settings:
        def __repr__(self):
            return "hunter22"

    structlog.get_logger().info("x", settings=Settings(), body=b"hunter22")
    assert "hunter22" not in stream.getvalue()
    assert events(stream)[0]["settings"] == "<Settings>"


def test_values_are_cut_and_take_no_time(stream):
    started = time.perf_counter()
    structlog.get_logger().info(
        "x",
        value="x" * 10_000_000,
        keys="-----BEGIN " * 1_000_000,
        url="://a:" * 1_000_000,
        named="token='" * 1_000_000,
    )
    assert time.perf_counter() - started < allowed(1)
    assert len(events(stream)[0]["value"]) == LONGEST


def test_no_half_of_a_secret_stands_before_the_cut():
    text = "x" * (LONGEST - 12) + SECRETS["installation-token"]
    assert "ghs_16C7" not in redacted(text)


@pytest.mark.parametrize(("level", "shown"), [("debug", 0), ("info", 1), ("error", 1)])
def test_levels(stream, level, shown):
    getattr(structlog.get_logger(), level)("x")
    getattr(logging.getLogger("other"), level)("x")
    assert len(events(stream)) == 2 * shown


@pytest.mark.parametrize("name", ["httpx", "chromadb", "aiohttp.access"])
def test_chatty_libraries_are_quiet(stream, name):
    logging.getLogger(name).info("GET https://h/x")
    logging.getLogger(name).warning("x")
    assert [event["level"] for event in events(stream)] == ["warning"]


# --- failing closed


class Broken:
    """Breaks while it is looked at, and takes a secret with it."""

    def __str__(self):
        raise ValueError(SECRETS["installation-token"])

    __repr__ = __str__


class BrokenError(Exception):
    __str__ = Broken.__str__


class BrokenMapping(dict):
    items = Broken.__str__


def endless():
    value = ["hunter22"]
    value.append(value)
    return value


def endless_mapping():
    value = {"a": "hunter22"}
    value["b"] = value
    return value


def deep(levels):
    value = SECRETS["installation-token"]
    for _ in range(levels):
        value = {"a": [value]}
    return value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (BrokenError(), "<BrokenError: not shown>"),
        (BrokenMapping(a=1), "<BrokenMapping: not shown>"),
        ({Broken(): "hunter22"}, "<dict: not shown>"),
        ([1, BrokenError(), 2], [1, "<BrokenError: not shown>", 2]),
        (Broken(), "<Broken>"),
    ],
    ids=["error", "mapping", "name", "nested", "object"],
)
def test_a_value_that_breaks_is_dropped_and_its_event_is_not(stream, value, shown):
    configure("json", stream)  # without pytest's own handler, which would look at it too
    structlog.get_logger().info("x", value=value, other="kept")
    (event,) = events(stream)
    assert (event["event"], event["value"], event["other"]) == ("x", shown, "kept")
    assert is_clean(stream.getvalue())


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_containers_without_end_have_one(stream, log_format):
    configure(log_format, stream)
    structlog.get_logger().info("x", value=endless(), mapping=endless_mapping(), deep=deep(2_000))
    assert "<list>" in stream.getvalue()
    assert "<dict>" in stream.getvalue()
    assert stream.getvalue().count("\n") == 1
    assert is_clean(stream.getvalue())


@pytest.mark.parametrize("arguments", [("a", "b"), (Broken(),), ()], ids=["too-many", "broken", "none"])
def test_a_record_that_cannot_be_formatted_is_told_without_its_arguments(stream, capsys, arguments):
    configure("json", stream)
    token = SECRETS["installation-token"]
    logging.getLogger("theirs").warning("%s and %s" if arguments == () else "%d", *arguments, {token: token})
    (event,) = events(stream)
    assert event["event"].startswith("not formatted: ")
    assert (event["logger"], event["level"]) == ("theirs", "warning")
    assert capsys.readouterr().err == ""
    assert is_clean(stream.getvalue())


def test_a_stream_that_is_gone_is_no_reason_to_tell_secrets(stream, capsys):
    configure("json", stream)
    stream.close()
    logging.getLogger("theirs").warning("%s", SECRETS["installation-token"])
    assert capsys.readouterr().err == ""
    logging.getLogger().handlers[0].setStream(io.StringIO())


# --- secrets without a shape


KNOWN = ["correct horse battery staple", "correct horse", "c0ffee.c0ffee+c0ffee", "short"]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_known_secrets_are_hidden_whatever_they_look_like(stream, log_format):
    configure(log_format, stream, secrets=KNOWN)
    for secret in KNOWN[:3]:
        structlog.get_logger().info(secret, value=[f"a{secret}b"], **{secret: 1})
        logging.getLogger("theirs").warning("%s", secret)
        structlog.get_logger().error("x", exc_info=ValueError(secret))
    shown = stream.getvalue()
    assert "correct" not in shown
    assert "staple" not in shown
    assert "c0ffee" not in shown


def test_what_is_too_short_to_be_told_from_words_stays():
    assert Redactor(KNOWN).value("short") == "short"
    assert Redactor([]).value("a") == Redactor(["", "x"]).value("a") == "a"


# --- what ends the process

CRASH = """
import sys
from bot.logs import configure, tell_crashes
if sys.argv[1] == "configured":
    configure("json", secrets=["correct horse battery staple"])
else:
    tell_crashes()
def fails(local):
    raise ValueError(f"it was {local}\\x1b[31m")
fails(sys.stdin.read())
"""


@pytest.mark.parametrize("how", ["configured", "plain"])
@pytest.mark.parametrize("kind", ["installation-token", "private-key", "own-key", "json-web-token"])
def test_a_crash_tells_no_secret(how, kind):
    secret = SECRETS[kind] + " correct horse battery staple" * (how == "configured")
    ended = subprocess.run(
        [sys.executable, "-c", CRASH, how], input=secret, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "in fails\n" in ended.stderr
    assert f"ValueError: it was {HIDDEN}" in ended.stderr
    assert is_clean(ended.stderr)
    assert "staple" not in ended.stderr
    assert "\x1b" not in ended.stderr
    assert ended.stdout == ""


def test_the_command_line_crashes_without_secrets(monkeypatch, capsys):
    def fails(_):
        raise ValueError(SECRETS["installation-token"])

    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    monkeypatch.setitem(COMMANDS, "migrate", fails)
    with pytest.raises(ValueError) as caught:
        main(["migrate"])
    sys.excepthook(caught.type, caught.value, caught.tb)
    assert f"ValueError: {HIDDEN}" in capsys.readouterr().err


def test_what_the_command_line_says_holds_no_secret(monkeypatch, capsys):
    def fails(_):
        raise StorageUnavailableError(SECRETS["own-key"])

    monkeypatch.setitem(COMMANDS, "migrate", fails)
    assert main(["migrate"]) == 2
    assert capsys.readouterr().err == f"deja-view: {HIDDEN}\n"
