import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.inert import END_ISOLATE, ISOLATE, JOINER, NOTHING, code, cut, inert, one_line
from tests.gfm import MARKDOWN, judge
from tests.hostile import FRAGMENTS, LONG, titles
from tests.pace import allowed

INVISIBLE = str.maketrans("", "", JOINER + ISOLATE + END_ISOLATE)
PLACES = ["{}", "- {}", "- #12 {} · open", "> {}", "x {} x", "1. {}", "| a | b |\n| --- | --- |\n| {} | x |"]
"""Where foreign text may stand in a line."""


def paragraph(text):
    """What a reader sees of one paragraph."""
    (inline,) = [token for token in MARKDOWN.parse(text) if token.type == "inline"]
    return "".join(token.content for token in inline.children)


@pytest.mark.parametrize("place", PLACES)
@given(title=titles)
@settings(max_examples=150, deadline=None)
def test_hostile_text_is_only_text(place, title):
    judged = judge(place.format(inert(title)))
    assert judged.skeleton == judge(place.format("Harmless")).skeleton
    assert judged.active == ()
    assert judged.references <= {12}
    assert (judged.links, judged.images, judged.foreign_html) == ((), (), ())


@pytest.mark.parametrize("fragment", FRAGMENTS)
@pytest.mark.parametrize("place", PLACES)
def test_every_fragment_alone(place, fragment):
    judged = judge(place.format(inert(fragment)))
    assert judged.skeleton == judge(place.format("Harmless")).skeleton
    assert judged.active == ()
    assert judged.references <= {12}


@given(title=titles)
@settings(max_examples=300, deadline=None)
def test_a_reader_sees_the_text_itself(title):
    shown = paragraph(inert(title, 1_000)).translate(INVISIBLE)
    assert shown == (cut(one_line(title[:4_000]), 1_000).strip() or NOTHING)


@given(title=titles, limit=st.integers(8, 200))
@settings(max_examples=300, deadline=None)
def test_it_is_one_line_and_short(title, limit):
    text = inert(title, limit)
    assert len(paragraph(text).translate(INVISIBLE)) <= max(limit, len(NOTHING))
    assert not {"\n", "\r", "\u2028", "\u2029", "\x85", "\0"} & set(text)
    assert text.count(ISOLATE) == text.count(END_ISOLATE)
    text.encode()  # no lone surrogate is left


@pytest.mark.parametrize("text", LONG)
def test_ten_thousand_characters_take_no_time(text):
    started = time.perf_counter()
    assert len(paragraph(inert(text)).translate(INVISIBLE)) <= 80
    assert len(code(text)) <= 62
    assert time.perf_counter() - started < allowed(0.2)


def test_only_the_beginning_of_a_text_is_read():
    text = "a b " * 2_000_000
    started = time.perf_counter()
    assert (len(inert(text)), len(code(text))) == (80, 62)
    assert time.perf_counter() - started < allowed(0.1)


@given(term=titles)
@settings(max_examples=300, deadline=None)
def test_a_code_span_stays_one_code_span(term):
    judged = judge(f"Both mention {code(term)}, {code(term)}.")
    assert judged == judge("Both mention `x`, `x`.")


@pytest.mark.parametrize(
    ("text", "limit", "kept"),
    [
        pytest.param("abcdef", 6, "abcdef", id="fits"),
        pytest.param("abcdefg", 6, "abcde…", id="too-long"),
        pytest.param("abcd efgh", 6, "abcd…", id="no-blank-before-the-dots"),
        pytest.param("abcde\u0301fgh", 6, "abcd…", id="an-accent-stays-with-its-letter"),
        pytest.param("ab👨\u200d👩\u200d👧\u200d👦x", 6, "ab…", id="a-family-goes-as-a-whole"),
        pytest.param("ab👨\u200d👩\u200d👧", 4, "ab…", id="no-joiner-before-the-dots"),
        pytest.param("abc👋🏽def", 5, "abc…", id="a-hand-keeps-its-colour"),
        pytest.param("\u0301" * 9, 6, "…", id="nothing-but-accents"),
        pytest.param("abcd☀\ufe0fxyz", 6, "abcd…", id="an-emoji-stays-with-its-variant"),
    ],
)
def test_where_text_is_cut(text, limit, kept):
    assert cut(text, limit) == kept


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", NOTHING),
        (" \t\n", NOTHING),
        ("\u200b\u2060\ufeff", NOTHING),
        ("a\nb\r\nc\td\u2028e\0f", "a b c d e f"),
        ("a\ud800b", "a\ufffdb"),
        ("a\u202eb\u2066c", "abc"),
        ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
    ],
)
def test_what_cannot_be_seen(text, shown):
    assert inert(text).replace("\\", "") == shown


@pytest.mark.parametrize("text", ["|", "a | b", "\\|", "`|`", "| --- |"])
def test_a_cell_of_a_table_stays_one_cell(text):
    shown = judge(f"| a | b |\n| --- | --- |\n| {inert(text)} | last |").shown
    assert shown.splitlines() == ["a", "b", text, "last"]


@pytest.mark.parametrize("text", ["שלום", "a مرحبا b"])
def test_text_from_right_to_left_is_isolated(text):
    assert inert(text) == f"{ISOLATE}{text}{END_ISOLATE}"
    assert unicodedata.name(ISOLATE) == "FIRST STRONG ISOLATE"


@pytest.mark.parametrize("text", ["deada5c3785ed8d6a35868bc169f07e40e889087fd2e", "a5c3785", "0" * 80])
def test_no_run_of_digits_is_a_commit(text):
    assert all(len(run) < 7 for run in inert(text).split(JOINER))
