import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.commands import (
    MAX_CALLS,
    MAX_LINES,
    MAX_RAW,
    USAGE,
    Call,
    Command,
    changed_calls,
    find_calls,
    may,
    parse,
)
from bot.core.errors import TellError
from bot.core.records import Role
from bot.core.repo_config import Allow, Commands, Config
from tests.pace import allowed

SLUG = "Deja-View"


def raws(text):
    return [call.raw for call in find_calls(text, SLUG)]


def understood(line, full_name="Ann/b.c", number=99):
    (call,) = find_calls(line, SLUG)
    return parse(call, full_name, number)


def told(line, **place):
    with pytest.raises(TellError) as caught:
        understood(line, **place)
    return caught.value.markdown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("/dv why #12", [Call("why", ("#12",), 1, "/dv why #12")], id="C01"),
        pytest.param("/DV WHY #12", [Call("why", ("#12",), 1, "/DV WHY #12")], id="C09-case"),
        pytest.param("/dv why #12.", [Call("why", ("#12",), 1, "/dv why #12.")], id="C09-full-stop"),
        pytest.param("/dv why #12 :)", [Call("why", ("#12",), 1, "/dv why #12 :)")], id="C09-smile"),
        pytest.param("hi\r\n/dv check\r\nbye", [Call("check", (), 2, "/dv check")], id="C09-crlf"),
        pytest.param("a\r/dv check\r", [Call("check", (), 2, "/dv check")], id="C09-cr"),
        pytest.param("/dv\twhy\t#12\t", [Call("why", ("#12",), 1, "/dv why #12")], id="C09-tabs"),
        pytest.param("/dv\u00a0why\u00a0#12", [Call("why", ("#12",), 1, "/dv why #12")], id="C09-nbsp"),
        pytest.param("/dv", [Call("help", (), 1, "/dv")], id="C10"),
        pytest.param("/dv why #12 @org/team", [Call("why", ("#12",), 1, "/dv why #12 @org/team")], id="C17"),
        pytest.param("@deja-view: check", [Call("check", (), 1, "@deja-view: check")], id="slug"),
        pytest.param("/dejaview check", [Call("check", (), 1, "/dejaview check")], id="long-prefix"),
        pytest.param("a\n\n\n/dv check\nb\n/dv why #1", [Call("check", (), 4, "/dv check"), Call("why", ("#1",), 6, "/dv why #1")], id="C26"),
        pytest.param("   /dv check", [Call("check", (), 1, "/dv check")], id="three-blanks"),
        pytest.param("text\n      /dv check", [Call("check", (), 2, "/dv check")], id="continued"),
        pytest.param("see `x`\n/dv check", [Call("check", (), 2, "/dv check")], id="behind-code-span"),
        pytest.param("<details>\nx\n</details>\n\n/dv check", [Call("check", (), 5, "/dv check")], id="behind-details"),
        pytest.param("<!-- <details> -->\n\n/dv check", [Call("check", (), 3, "/dv check")], id="behind-comment"),
        pytest.param("put it in `<details>`\n\n/dv check", [Call("check", (), 3, "/dv check")], id="behind-code-of-tag"),
        pytest.param("see [a][b] [c](d)\n/dv check", [Call("check", (), 2, "/dv check")], id="behind-link"),
        pytest.param("```\nx\n```\n/dv check", [Call("check", (), 4, "/dv check")], id="behind-fence"),
    ],
)  # fmt: skip
def test_a_command_is_found(text, expected):
    assert find_calls(text, SLUG) == expected


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("> /dv check", id="C03"),
        pytest.param("> a\n/dv check", id="C03-lazy"),
        pytest.param("> > /dv check", id="C03-twice"),
        pytest.param("```\n/dv check\n```", id="C04-fence"),
        pytest.param("~~~~\n```\n/dv check\n~~~~", id="C04-tildes"),
        pytest.param("```\n/dv check", id="C04-unclosed"),
        pytest.param("    /dv check", id="C04-indented"),
        pytest.param("`/dv check`", id="C04-inline"),
        pytest.param("a `b\n/dv check\n` c", id="C04-long-inline"),
        pytest.param("<!-- /dv check -->", id="C05-comment"),
        pytest.param("<!--\n/dv check\n-->", id="C05-long-comment"),
        pytest.param("a <!--\n/dv check\n--> b", id="C05-inline-comment"),
        pytest.param("a <b title='\n/dv check\n'> b", id="C05-attribute"),
        pytest.param("<details>\n/dv check\n</details>", id="C05-details"),
        pytest.param("<details>\n\n/dv check\n\n</details>", id="C05-details-blank"),
        pytest.param("a <details>\n\n/dv check\n\n</details>", id="C05-details-inline"),
        pytest.param("<details><details></details>\n\n/dv check", id="C05-details-nested"),
        pytest.param("<div>\n\n/dv check", id="C05-div"),
        pytest.param("try /dv check", id="C06"),
        pytest.param("please,/dv check", id="C06-glued"),
        pytest.param("\\/dv check", id="escaped"),
        pytest.param("# /dv check", id="heading"),
        pytest.param("/dv check\n---", id="heading-by-line-below"),
        pytest.param("- /dv check", id="list"),
        pytest.param("1. a\n\n   /dv check", id="list-paragraph"),
        pytest.param("- a\n/dv check", id="list-lazy"),
        pytest.param("/dv check | b\n--- | ---\nc | d", id="table-head"),
        pytest.param("a | b\n--- | ---\n/dv check | d", id="table-row"),
        pytest.param("|a|\n|-|\n/dv check", id="table-one-column"),
        pytest.param("[a\n/dv check\nb](c)", id="link-text"),
        pytest.param("[a]: b '\n/dv check\n'", id="link-title"),
        pytest.param("/dvx check", id="longer-prefix"),
        pytest.param("/ dv check", id="blank-in-prefix"),
        pytest.param("@deja-viewer check", id="another-login"),
        pytest.param("/\u0501v check", id="C19-cyrillic"),
        pytest.param("/d\u200bv check", id="C19-zero-width"),
        pytest.param("\u200b/dv check", id="C19-zero-width-before"),
        pytest.param("\uff0fdv check", id="C19-full-width"),
        pytest.param("@deja-v\u0131ew check", id="C19-dotless"),
        pytest.param("", id="empty"),
    ],
)
def test_what_only_looks_like_a_command_is_none(text):
    assert find_calls(text, SLUG) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "/dv check\n\nOn Mon, 5 Jan 2026 at 10:00, Bob <b@x> wrote:\n\n> /dv help\n\n/dv help",
            ["/dv check"],
        ),
        ("/dv check\n\nOn Mon, 5 Jan 2026 at 10:00,\nBob <b@x> wrote:\n\n/dv help", ["/dv check"]),
        ("/dv check\n\nOn Mon, 5 Jan 2026 at 10:00, Bob Bobson <b@x>\nwrote:\n\n/dv help", ["/dv check"]),
        ("/dv check\r\n\r\n-----Original Message-----\r\nFrom: Bob\r\n\r\n/dv help", ["/dv check"]),
        ("/dv check\n\n________________________________\nFrom: Bob\n\n/dv help", ["/dv check"]),
        ("/dv check\n-- \nBob\n\n/dv help", ["/dv check"]),
        ("/dv check\n\nReply to this email directly or view it on GitHub\n\n/dv help", ["/dv check"]),
        ("On Monday it broke.\n/dv check", ["/dv check"]),
        ("Bob wrote:\n> it broke\n\n/dv check", ["/dv check"]),
    ],
)
def test_of_a_mail_only_what_was_written_counts(text, expected):  # C29
    assert raws(text) == expected


def test_a_letter_that_only_lower_case_makes_ours_is_another():
    assert find_calls("@kit check", "Kit")
    assert not find_calls("@\u212ait check", "Kit")  # C19, the sign for kelvin


def test_many_commands_are_found_and_the_first_are_run():  # C16
    assert len(raws("/dv check\n" * 200)) == 200
    assert MAX_CALLS == 3


def test_a_line_is_kept_short():
    (call,) = find_calls("/dv why " + "x" * 6_000, SLUG)
    assert len(call.raw) == MAX_RAW
    with pytest.raises(TellError):
        parse(call, "ann/b", 1)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param("hello", "hello\n/dv check", ["/dv check"], id="C07-added"),
        pytest.param("/dv check", "typo\n\n/dv  check", [], id="C28-same"),
        pytest.param("/dv why #1", "/dv why #2", ["/dv why #2"], id="changed"),
        pytest.param("`/dv check`", "/dv check", ["/dv check"], id="was-code"),
        pytest.param("/dv check", "", [], id="taken-back"),
    ],
)
def test_of_an_edit_only_new_commands_count(before, after, expected):
    assert [call.raw for call in changed_calls(before, after, SLUG)] == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("/dv", Command("help")),
        ("/dv help", Command("help")),
        ("/dv check", Command("check")),
        ("/dv similar", Command("similar", limit=5, state="all")),
        ("/dv similar 10 state:OPEN", Command("similar", limit=10, state="open")),
        ("/dv similar state:closed 1", Command("similar", limit=1, state="closed")),
        ("/dv why #12", Command("why", 12)),
        ("/dv why 12", Command("why", 12)),
        ("/dv duplicate of #12", Command("duplicate", 12)),
        ("/dv duplicate #12", Command("duplicate", 12)),
        ("/dv duplicate of ann/B.C#12", Command("duplicate", 12)),
        ("/dv duplicate of https://github.com/ANN/b.c/issues/12", Command("duplicate", 12)),
        ("/dv duplicate of #2147483647", Command("duplicate", 2147483647)),
        ("/dv not-duplicate", Command("not-duplicate")),
        ("/dv not-duplicate of #12", Command("not-duplicate", 12)),
        ("/dv index", Command("index", action="status")),
        ("/dv index Refresh", Command("index", action="refresh")),
        ("/dv pause", Command("pause")),
        ("/dv pause 365D", Command("pause", days=365)),
        ("/dv resume", Command("resume")),
        pytest.param("/dv duplicate of #12 @org/team", Command("duplicate", 12), id="C17"),
    ],
)
def test_a_command_is_understood(line, expected):
    assert understood(line) == expected


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        pytest.param("/dv duplicate", "Exactly one", id="C10"),
        pytest.param("/dv duplicate of", "has to be named", id="C10-of"),
        pytest.param("/dv why", "Exactly one", id="C10-why"),
        pytest.param("/dv duplicate of #0", "not the number", id="C11-zero"),
        pytest.param("/dv duplicate of #-1", "not the number", id="C11-negative"),
        pytest.param("/dv duplicate of #999999999999999999999", "not the number", id="C11-huge"),
        pytest.param("/dv duplicate of #2147483648", "no issue with that number", id="C11-large"),
        pytest.param("/dv duplicate of #１２", "not the number", id="C11-full-width"),
        pytest.param("/dv duplicate of #1e3", "not the number", id="C11-exponent"),
        pytest.param("/dv duplicate of ##1", "not the number", id="C11-twice"),
        pytest.param("/dv duplicate of #99", "itself", id="C12"),
        pytest.param("/dv duplicate of other/repo#5", "Only an issue of this repository", id="C13"),
        pytest.param(
            "/dv duplicate of https://github.com/other/repo/issues/5", "Only an issue of this", id="C13-url"
        ),
        pytest.param(
            "/dv duplicate of https://evil.example/ann/b.c/issues/5", "Only an issue of this", id="C13-host"
        ),
        pytest.param(
            "/dv duplicate of https://github.com.evil.example/ann/b.c/issues/5",
            "Only an issue",
            id="C13-suffix",
        ),
        pytest.param(
            "/dv duplicate of https://githubxcom/ann/b.c/issues/5", "Only an issue of this", id="C13-dot"
        ),
        pytest.param(
            "/dv duplicate of http://github.com/ann/b.c/issues/5", "Only an issue of this", id="C13-http"
        ),
        pytest.param(
            "/dv duplicate of https://github.com/ann/b.c/pull/5", "Only an issue of this", id="C14-pull"
        ),
        pytest.param("/dv duplicate of " + " ".join(f"#{n}" for n in range(1, 51)), "Exactly one", id="C15"),
        pytest.param('/dv duplicate of "; DROP TABLE', "Exactly one", id="C20-sql"),
        pytest.param("/dv duplicate of $(id)", "not the number", id="C20-shell"),
        pytest.param("/dv duplicate of {{7*7}}", "not the number", id="C20-template"),
        pytest.param("/dv duplicate of %00", "not the number", id="C20-nul"),
        pytest.param("/dv frobnicate", "no such command", id="unknown"),
        pytest.param("/dv why of #1", "Exactly one", id="why-of"),
        pytest.param("/dv similar 0", "1 to 10", id="similar-0"),
        pytest.param("/dv similar 11", "1 to 10", id="similar-11"),
        pytest.param("/dv similar " + "9" * 5_000, "1 to 10", id="similar-huge"),
        pytest.param("/dv similar ٣", "not understood", id="similar-arabic"),
        pytest.param("/dv similar 3 4", "not understood", id="similar-twice"),
        pytest.param("/dv similar state:merged", "not understood", id="similar-state"),
        pytest.param("/dv similar repo:org", "Only this repository", id="similar-repo"),
        pytest.param("/dv index rebuild", "not understood", id="index"),
        pytest.param("/dv index status refresh", "not understood", id="index-two"),
        pytest.param("/dv pause 0d", "1d to 365d", id="pause-none"),
        pytest.param("/dv pause 366d", "1d to 365d", id="pause-long"),
        pytest.param("/dv pause 7", "1d to 365d", id="pause-unit"),
        pytest.param("/dv pause 7d 8d", "1d to 365d", id="pause-two"),
        pytest.param("/dv resume now", "takes nothing", id="resume-more"),
        pytest.param("/dv check #1", "takes nothing", id="check"),
        pytest.param("/dv help me", "takes nothing", id="help"),
    ],
)
def test_a_command_that_breaks_a_rule_is_explained_and_not_echoed(line, rule):
    markdown = told(line)
    assert rule in markdown
    assert find_calls(markdown, SLUG) == []  # C08: our own words are no command
    assert not re.search(r"#\d|@|^/", markdown, re.MULTILINE)
    assert not set(markdown) & set('<>{}$%";')


SILENCING = ("pause", "resume")
OTHERS = ("similar", "check", "why", "duplicate", "not-duplicate", "index", "frobnicate")


@pytest.mark.parametrize("role", [Role.TRIAGE, Role.WRITE, Role.MAINTAIN, Role.ADMIN])
@pytest.mark.parametrize("name", [*USAGE, "frobnicate"])
def test_triage_may_do_all_but_silence_the_bot(name, role):
    assert may(name, role, Config(), is_author=False) is (name not in SILENCING or role >= Role.MAINTAIN)


@pytest.mark.parametrize("role", [Role.NONE, Role.READ])
@pytest.mark.parametrize(
    ("name", "stranger", "author"),
    [
        ("help", True, True),
        ("similar", False, True),
        ("check", False, True),
        ("why", False, False),
        ("duplicate", False, True),
        ("not-duplicate", False, True),
        ("index", False, False),
        ("pause", False, False),
        ("resume", False, False),
        ("frobnicate", False, False),
    ],
)
def test_what_others_may(name, role, stranger, author):  # C02, C24
    assert may(name, role, Config(), is_author=False) is stranger
    assert may(name, role, Config(), is_author=True) is author


def test_similar_may_be_opened_to_anyone():
    opened = Config(commands=Commands(allow=Allow(similar="anyone")))
    assert may("similar", Role.NONE, opened, is_author=False)
    assert not may("check", Role.NONE, opened, is_author=False)


HOSTILE = {
    "blanks": " " * 60_000,
    "blanks in a paragraph": "a\n" + " " * 60_000,
    "paragraphs": "a\n\n" * 20_000,
    "lines": "a\n" * 30_000,
    "newlines": "\n" * 65_000,
    "quotes": "> a\n" * 15_000,
    "nested quotes": "> > > > > > > > > > >a\n" * 2_800,
    "lists": "- a\n" * 15_000,
    "headings": "# a\n" * 15_000,
    "fences": "```\n" * 15_000,
    "definitions": "[a]: b\n" * 9_000,
    "table": "|a" * 200 + "\n" + "|-" * 200 + "\n" + "|\n" * 20_000,
    "wide table": "|a" * 15_000 + "\n" + "|-" * 15_000 + "\n",
    "brackets": "/dv a\n" + "[" * 60_000,
    "images": "/dv a\n" + "![" * 3_000,
    "code spans": "/dv a\n" + "`a``b" * 1_500,
    "comments": "/dv a\n" + "<!-- " * 1_500,
    "tags": "/dv a\n" + "<a a='" * 1_200,
    "details": "<details>\n\n" * 5_500,
    "attributions": "wrote:\n" * 9_000,
    "mails": "On \n" * 16_000,
    "commands": "/dv a\n\n" * 9_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_comment_is_read_within_its_time(text):  # C18
    find_calls("/dv check", SLUG)  # the parser is made once
    whole = (text[: 65_536 - 11] + "\n/dv check").ljust(65_536)
    times = []
    for _ in range(3):
        began = time.perf_counter()
        find_calls(whole, SLUG)
        times.append(time.perf_counter() - began)
    # Without the budgets these take 200 to 800 ms on a quiet machine.
    assert min(times) < allowed(0.05)


def test_a_log_in_a_fence_does_not_use_up_the_lines():
    assert raws("```\n" + "at a.b.c(d.java:1)\n" * 3_000 + "```\n\n/dv check") == ["/dv check"]


def test_commands_before_the_budget_ends_count():
    assert raws("/dv check\n\n" + "a\n\n" * MAX_LINES + "/dv help") == ["/dv check"]


def test_text_beyond_what_github_allows_is_not_read():
    assert raws("```\n" + "x" * 70_000 + "\n```\n/dv check") == []


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="/dv \n\r\t`<>!-[]()|#*_~:\\@0a\u200b\u00a0", max_size=200))
def test_any_text_is_read_and_each_command_stands_at_the_start_of_its_line(text):
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for call in find_calls(text, SLUG):
        assert " ".join(lines[call.line - 1].split())[:MAX_RAW] == call.raw
