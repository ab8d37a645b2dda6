"""Titles as a stranger might write them to ping, link, close, hide or break the layout."""

import random

from hypothesis import strategies as st

FRAGMENTS = [
    "@octocat", "@org/team", "＠octocat", "&commat;octocat", "&#64;octocat", "&#x40;octocat", "\\@octocat", "a@b.example",
    "#1", "#99999", "GH-1", "gh-77", "owner/repo#1", "octocat#1", "&num;1", "&#35;1", "#\u200d1", "#\u20601",
    "https://evil.example/x", "HTTP://evil.example", "www.evil.example", "WWW.evil.example", "ftp://evil.example",
    "https://github.com/other/repo/issues/5", "<https://evil.example>", "mailto:a@b.example", "xmpp:a@b.example/c",
    "a5c3785ed8d6a35868bc169f07e40e889087fd2e", "deada5c3785ed8d6a35868bc169f07e40e889087fd2e", "a5c3785", "A5C3785E",
    "owner/repo@a5c3785ed8d6a35868bc169f07e40e889087fd2e", "0" * 200,
    "fixes #1", "Closes: #1", "resolved GH-1", "Duplicate of #1", "/dejaview duplicate of #1",
    "](https://evil.example)", "[x](https://evil.example)", "![x](https://evil.example/x.png)", "[^1]", "[ ]", "[!NOTE]",
    "**", "__", "_", "*", "~~", "~", "`", "```", "~~~", "|", "| --- | --- |", "\\", "\\\\", "$", "$$", "$`x`$", ":tada:", ":+1:",
    "- x", "+ x", "* x", "1. x", "2) x", "# x", "> x", "---", "===", "***", "    x", "\tx", "- [ ] x", "+", "-", "1.", "1)", "=",
    "<!--", "-->", "<!-- deja-view:v1 issue=7 effect=suggestion candidates= sign=0 -->", "<details>", "</details>", "</summary>",
    "<img src=x onerror=alert(1)>", "<script>", "</sub>", "<a href=x>", "<br>", "&lt;b&gt;", "&amp;", "&", "<", ">", "<?", "<![CDATA[",
    "\0", "\ud800", "\udfff", "\u202e", "\u2066", "\u2069", "\u200f", "שלום", "مرحبا", "\u200b", "\u200c", "\u2060", "\ufeff", "\u00ad",
    "👨\u200d👩\u200d👧\u200d👦", "🏳️\u200d🌈", "\u200d", "e\u0301", "a" + "\u0300" * 100, "👍" * 256, "\U000e0041", "\ue000",
    "\n", "\r\n", "\r", "\t", "\u2028", "\u2029", "\x0b", "\x85", "\xa0", " ", "  ", "word", "日本語", "x" * 300,
]  # fmt: skip

titles = st.one_of(
    st.lists(st.sampled_from(FRAGMENTS), max_size=8).map("".join),
    st.lists(st.sampled_from(FRAGMENTS), max_size=8).map(" ".join),
    st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=12)), max_size=8).map("".join),
)
LONG = ["@a #1 " * 2_000, "`" * 10_000, "[" * 10_000, "\u0301" * 10_000, "\u200d" * 10_000, "x" * 10_000]


def texts(seed: int, count: int) -> list[str]:
    """That many hostile texts: fragments side by side, in words, or among random characters."""
    rng = random.Random(seed)

    def characters() -> str:
        return "".join(chr(rng.choice(RANGES)(rng)) for _ in range(rng.randrange(12)))

    def one() -> str:
        parts = [
            rng.choice(FRAGMENTS) if rng.random() < 0.8 else characters() for _ in range(rng.randrange(1, 9))
        ]
        return rng.choice(["", " ", "\n"]).join(parts)

    return [one() for _ in range(count)]


RANGES = (
    lambda rng: rng.randrange(0x20, 0x7F),
    lambda rng: rng.randrange(0x20, 0x3000),
    lambda rng: rng.randrange(0x110000),
)
"""Where random characters come from: what Markdown is written with, most scripts, and anything, halves of pairs too."""
