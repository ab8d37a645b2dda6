import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.marker import Marker, marker, read
from tests.hostile import titles

KEY = b"k" * 32
MINE = marker(KEY, 7, 12, "suggestion", [3, 4])


@given(
    st.binary(min_size=1, max_size=64),
    st.integers(1, 2**63 - 1),
    st.integers(0, 2**31 - 1),
    st.from_regex(r"[a-z0-9][a-z0-9:._]{0,99}", fullmatch=True),
    st.lists(st.integers(1, 2**31 - 1), max_size=10),
)
def test_what_is_written_is_read(key, repository, number, effect, candidates):
    line = marker(key, repository, number, effect, candidates)
    assert "\n" not in line
    assert line.startswith("<!--")
    assert line.index("-->") == len(line) - 3
    assert read(key, f"{line}\n\nmore", repository, number) == Marker(effect, tuple(candidates))


@pytest.mark.parametrize(
    ("body", "repository", "number", "key"),
    [
        pytest.param(MINE, 8, 12, KEY, id="another-repository"),
        pytest.param(MINE, 7, 13, KEY, id="another-issue"),
        pytest.param(MINE, 7, 12, b"o" * 32, id="another-key"),
        pytest.param(MINE.replace("issue=12", "issue=13"), 7, 13, KEY, id="issue-changed"),
        pytest.param(MINE.replace("issue=12", "issue=13"), 7, 12, KEY, id="issue-changed-in-its-place"),
        pytest.param(MINE.replace("suggestion", "reply"), 7, 12, KEY, id="effect-changed"),
        pytest.param(MINE.replace("3,4", "3"), 7, 12, KEY, id="candidates-changed"),
        pytest.param(MINE.replace("3,4", "4,3"), 7, 12, KEY, id="candidates-turned"),
        pytest.param(re.sub("sign=.", "sign=g", MINE), 7, 12, KEY, id="no-signature"),
        pytest.param(MINE[:-5] + ("0" if MINE[-5] != "0" else "1") + " -->", 7, 12, KEY, id="last-digit"),
        pytest.param(MINE.upper(), 7, 12, KEY, id="upper-case"),
        pytest.param(f"x{MINE}", 7, 12, KEY, id="not-first"),
        pytest.param(f"> {MINE}", 7, 12, KEY, id="quoted"),
        pytest.param(f"\n{MINE}", 7, 12, KEY, id="second-line"),
        pytest.param(MINE.replace("v1", "v2"), 7, 12, KEY, id="another-version"),
        pytest.param(MINE.replace("12", "１２"), 7, 12, KEY, id="other-digits"),
        pytest.param("", 7, 12, KEY, id="empty"),
        pytest.param("<!-- deja-view:v1 " + "9" * 100_000, 7, 12, KEY, id="long"),
    ],
)
def test_what_we_did_not_write_here_is_nothing(body, repository, number, key):
    assert read(KEY, MINE, 7, 12) == Marker("suggestion", (3, 4))
    assert read(key, body, repository, number) is None


@given(titles)
def test_a_strangers_text_is_no_marker(text):
    assert read(KEY, text, 7, 12) is None


@pytest.mark.parametrize(
    "effect", ["", "-->", "a--b", "a b", "A", "a\n", "é", "a" * 101, "-a", "reply:1--", "a>b", "a=b", "a\0"]
)
def test_an_effect_key_that_could_end_the_comment_is_refused(effect):
    with pytest.raises(ValueError, match="effect key"):
        marker(KEY, 7, 12, effect)
