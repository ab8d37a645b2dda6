import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.core import api_keys
from bot.core.access import ApiKey
from bot.core.api_keys import ALPHABET, PATTERN, ApiKeyText, digest, is_secret, mint, parse
from bot.core.principal import Scope

NOW = datetime(2025, 1, 1, tzinfo=UTC)
KEY = ApiKeyText("0aB3dE6gH9jK", "z" * 43)


def test_a_key_is_read_as_it_was_made():
    keys = [mint() for _ in range(50)]
    assert [parse(key.text) for key in keys] == keys
    assert len({key.id for key in keys} | {key.secret for key in keys}) == 100
    assert all(re.fullmatch(PATTERN, key.text) for key in keys)
    assert set("".join(key.secret for key in keys)) == set(
        ALPHABET
    )  # 2,150 digits: none of the 62 is left out
    assert 62**43 >= 2**256


def test_the_format_stays():
    assert KEY.text == f"djv_0aB3dE6gH9jK_{'z' * 43}_0phhkV"
    assert parse(KEY.text) == KEY


BAD = {
    "empty": "",
    "other": "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "other-prefix": KEY.text.replace("djv_", "djw_"),
    "upper-case": KEY.text.upper(),
    "cut": KEY.text[:-1],
    "longer": KEY.text + "0",
    "checksum": KEY.text[:-1] + "0",
    "id-changed": KEY.text.replace("0aB3", "1aB3"),
    "secret-changed": KEY.text.replace("zz_", "zy_"),
    "letters-swapped": KEY.text.replace("H9", "9H"),
    "line-end": KEY.text + "\n",
    "space": " " + KEY.text,
    "other-digits": KEY.text.replace("0aB", "０aB"),
    "nul": KEY.text.replace("zz", "z\0", 1),
    "half-a-character": KEY.text[:-1] + "\ud800",
    "long": KEY.text * 10_000,
    "underscores": "_" * 66,
}  # fmt: skip


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_what_is_no_key(text):
    assert parse(text) is None


def test_every_digit_counts():
    for at, char in enumerate(KEY.text):
        other = "1" if char != "1" else "2"
        assert parse(KEY.text[:at] + other + KEY.text[at + 1 :]) is None, at


def test_what_is_stored_tells_no_secret():
    stored = digest(KEY.secret)
    assert len(stored) == 32
    assert KEY.secret.encode() not in stored
    assert is_secret(KEY.secret, stored)
    assert not is_secret(KEY.secret[:-1] + "y", stored)
    assert not is_secret("", stored)
    assert not is_secret(KEY.secret, b"")


def test_the_comparison_takes_the_same_time_wherever_it_differs(monkeypatch):
    asked = []
    monkeypatch.setattr(api_keys.hmac, "compare_digest", lambda *both: asked.append(both) or True)
    assert is_secret(KEY.secret, b"other")
    assert asked == [(digest(KEY.secret), b"other")]


def test_the_repr_tells_no_secret():
    assert KEY.secret not in repr(KEY)
    assert KEY.id in repr(KEY)


def test_scanners_are_told_what_to_look_for():
    page = (Path(__file__).parent.parent.parent / "SECURITY.md").read_text(encoding="utf-8")
    assert f"`{PATTERN}`" in page


@pytest.mark.parametrize(
    ("ago", "noted"), [(None, False), (0, True), (59, True), (60, False), (-59, True), (-3600, False)]
)
def test_a_use_is_noted_once_a_minute(ago, noted):
    last = None if ago is None else NOW - timedelta(seconds=ago)
    key = ApiKey("x", 1, "ci", Scope.READ, None, None, NOW, None, last, None)
    assert key.is_noted(NOW) is noted
