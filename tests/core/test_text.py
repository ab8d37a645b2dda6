import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.boilerplate import keys_of
from bot.core.records import LeftOut
from bot.core.text import MAX_TEXT, clean, left_out, lexical_body, linked_numbers, sanitise, too_thin
from tests.pace import allowed

HOSTILE = [
    "![", "<!--", "<img ", "[", "http://", "#", "a", "<b ", "</details ", "_a", "#1", "aB", "`", "\n", "> ", "x/issues/1", "a/b#",
    "([", "](", "![a](", "*", "**a ", "  ", "# ", "字", "```\n", "- [ ] ", "\r\n", "\u2028",
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        (None, ""),
        ("a\x00b", "a\ufffdb"),
        ("a\ud800b\udfff", "a\ufffdb\ufffd"),
        ("👩‍💻 ok", "👩‍💻 ok"),
        ("x" * (MAX_TEXT + 1), "x" * MAX_TEXT),
    ],
)
def test_sanitise(text, expected):
    assert sanitise(text) == expected
    assert len(sanitise(text).encode("utf-8")) >= len(expected)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("It crashes.", "T\nIt crashes."),
        ("<!-- please\nread -->\nIt crashes.", "T\nIt crashes."),
        ("<!-- never closed", "T\n<!-- never closed"),
        ("### Steps to reproduce\nrun it", "T\nrun it"),
        ("**Expected behavior:**\nno crash", "T\nno crash"),
        ("### Wayland only\nrun it", "T\n### Wayland only\nrun it"),
        ("- [x] I searched\n- [ ] I did not", "T"),
        ("> quoted\nmine", "T\nmine"),
        ("_No response_\nN/A", "T"),
        ("see https://example.com/x?y now", "T\nsee   now"),
        ("![shot](https://example.com/a.png) gone", "T\n  gone"),
        ('<img width="3" src="https://x/y.png"> gone', "T\n  gone"),
        ("```py\n# not a heading\n> not a quote\n```\nend", "T\n# not a heading\n> not a quote\nend"),
        ("~~~\n```\nstill code\n~~~\nend", "T\n```\nstill code\nend"),
    ],
)
def test_clean(body, expected):
    assert clean("T", body) == expected


TEMPLATE = """<!-- Please
search first -->
### Steps to reproduce
Thanks for reporting!
> quoted
- [x] I searched
_No response_
***
It crashes, see https://example.com/x?y and ![shot](https://example.com/a.png)
```
Thanks for reporting!
```
<!-- never closed"""


def test_what_is_left_out_is_told_piece_by_piece():
    learned = frozenset(keys_of("Thanks for reporting!").tolist())
    assert left_out(TEMPLATE, learned) == (
        LeftOut("HTML comments", " Please\nsearch first "),
        LeftOut("template headings", "### Steps to reproduce"),
        LeftOut("lines of this repository's template", "Thanks for reporting!"),
        LeftOut("quoted lines", "> quoted"),
        LeftOut("check boxes", "- [x] I searched"),
        LeftOut("empty answers and rules", "_No response_"),
        LeftOut("empty answers and rules", "***"),
        LeftOut("images", "![shot](https://example.com/a.png)"),
        LeftOut("links", "https://example.com/x?y"),
    )
    kept = clean("T", TEMPLATE, learned)
    assert kept.splitlines() == ["T", "It crashes, see   and  ", "Thanks for reporting!", "<!-- never closed"]


def test_long_code_is_told_by_its_lines():
    block = "```\n" + "\n".join(f"line{n}" for n in range(17)) + "\n```"
    assert [(item.kind, item.text) for item in left_out(block)] == [
        ("lines of code after the 15th of a block", "line15"),
        ("lines of code after the 15th of a block", "line16"),
    ]


@given(
    st.lists(
        st.sampled_from([*HOSTILE, "mine", "### Steps", "N/A", "- [x] y", "see https://x.y/z"]), max_size=40
    )
)
def test_every_line_is_either_compared_or_told_as_left_out(lines):
    body = "\n".join(lines)
    written = [line for line in body.splitlines() if line.strip() and not line.startswith("```")]
    kept = clean("T", body).split("\n")[1:]
    told = [item for item in left_out(body) if item.kind not in ("images", "links")]
    assert len(kept) + len(told) == len(written)


def test_code_blocks_keep_their_first_lines():
    block = "```\n" + "\n".join(f"line{n}" for n in range(60)) + "\n```\nafter"
    assert clean("T", block).splitlines() == ["T", *(f"line{n}" for n in range(15)), "after"]
    assert lexical_body(block).splitlines() == [*(f"line{n}" for n in range(40)), "after"]


def test_lexical_text_is_bounded():
    assert len(lexical_body("word " * 20_000)) == 4_000


@pytest.mark.parametrize(
    ("title", "body", "thin"),
    [
        ("Crash on start", "It crashes when I open the settings.", False),
        ("Crash when opening settings", "", False),
        ("Bug", "It crashes when I open the settings.", True),
        ("[Bug]: ", "It crashes when I open the settings.", True),
        ("[BUG] title", "It crashes when I open the settings.", True),
        ("!!!", "It crashes when I open the settings.", True),
        ("😀😀😀😀", "It crashes when I open the settings.", True),
        ("   ", "It crashes when I open the settings.", True),
        ("\u200f\u200b\u200d👩‍👩‍👧", "It crashes when I open the settings.", True),
        ("Broken", "### Steps to reproduce\n\n_No response_\n- [ ] searched", True),
        ("設定画面が開かない", "", False),
        ("", "", True),
    ],
)
def test_too_thin(title, body, thin):
    assert (too_thin(title, body) is not None) is thin


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("same as #12, see #3.", {12, 3}),
        ("#7", {7}),
        ("Owner/Repo#5 and owner/repo#6", {5, 6}),
        ("other/repo#5", set()),
        ("notowner/repo#5", set()),
        ("https://github.com/owner/repo/issues/8#issuecomment-1", {8}),
        ("https://ghe.example/OWNER/REPO/pull/9", {9}),
        ("https://github.com/other/repo/issues/8", set()),
        ("color #123456abc, a#4, &#39; #", set()),
        ("```\n#4 in a block\n```\n#5 outside", {5}),
        ("#0  0x00007ffff in foo\n#1 0x0001 in bar", set()),
        ("#99999999999999999999", set()),
    ],
)
def test_linked_numbers(text, numbers):
    assert linked_numbers(text, "owner/repo") == numbers


@pytest.mark.parametrize("piece", HOSTILE)
@pytest.mark.parametrize(
    "read",
    [
        sanitise,
        lambda text: clean(text, text),
        lexical_body,
        lambda text: too_thin(text, text),
        lambda text: linked_numbers(text, "a/b"),
    ],
    ids=["sanitise", "clean", "lexical_body", "too_thin", "linked_numbers"],
)
def test_hostile_text_takes_linear_time(piece, read):
    text = (piece * MAX_TEXT)[:MAX_TEXT]
    assert best_of_three(read, text) < allowed(0.05)


def best_of_three(read, text):
    def once():
        start = time.process_time()
        read(text)
        return time.process_time() - start

    return min(once() for _ in range(3))
