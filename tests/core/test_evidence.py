import time

import pytest

from bot.core.evidence import prefixes, shared_label, shared_prefix
from bot.core.text import MAX_TEXT
from tests.pace import allowed


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (("wayland",), ("Wayland",), "wayland"),
        (("bug", "area/net"), ("area/net", "bug"), "area/net"),
        (("A-borrow-checker", "C-bug"), ("C-bug", "A-borrow-checker"), "A-borrow-checker"),
        (("e-mail",), ("e-mail",), "e-mail"),
        (("component: ui",), ("component: ui",), "component: ui"),
        (("日本語入力",), ("日本語入力",), "日本語入力"),
        (("wayland",), ("x11",), None),
        ((), ("x11",), None),
    ],
)
def test_labels_that_both_have(ours, theirs, expected):
    assert shared_label(ours, theirs) == expected


@pytest.mark.parametrize(
    "label",
    ["bug", "Bug", "🐛 bug", "kind/bug", "type: Feature Request", "priority/high", "P1", "p-2", "sev-1", "S-needs-repro", "C-bug", "help wanted",
     "good-first-issue", "possible-duplicate", "dup", "status:in-progress", "needs-triage", "3", "🔥", "area: bug", "", " "],
)  # fmt: skip
def test_labels_that_say_nothing_about_the_problem(label):
    assert shared_label((label,), (label,)) is None


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("[ui] Button is gone", ["ui"]),
        ("[Bug][UI] Button is gone", ["UI"]),
        ("[Bug] net/http: hangs", ["net/http"]),
        ("ui: button is gone", ["ui"]),
        ("fix(ui): button", ["ui"]),
        ("@scope/pkg: fails", ["@scope/pkg"]),
        ("[a] [b] c: d", ["a", "b", "c"]),
        ("[印刷] 用紙がない", ["印刷"]),
        ("Button is gone", []),
        ("[Bug]: button", []),
        ("Bug: button", []),
        ("Feature Request: button", []),
        ("TypeError: undefined", []),
        ("java.lang.Exception: x", []),
        ("v1.2: fails", []),
        ("[1.2.3] fails", []),
        ("12: fails", []),
        ("https://example.org fails", []),
        ("[] empty", []),
        ("[never closed", []),
        ("std::vector: x", []),
        ("a word before ui: button", []),
        ("", []),
    ],
)
def test_how_a_title_begins(title, expected):
    assert list(prefixes(title)) == expected


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("[ui] Button", "ui: Menu", "ui"),
        ("UI: Button", "[bug][ui] Menu", "UI"),
        ("ui: Button", "net: Menu", None),
        ("[bug] Button", "[bug] Menu", None),
        ("Button", "[ui] Menu", None),
    ],
)
def test_prefixes_that_both_have(one, other, expected):
    assert shared_prefix(one, other) == expected


@pytest.mark.parametrize(
    "unit", ["[", "[a]", "[a] ", "a", "a/", "(", "a(", " ", ":", "p", "-", "_", "/", "🔥", "a: "]
)
def test_hostile_titles_and_labels_take_linear_time(unit):
    text = (unit * MAX_TEXT)[:MAX_TEXT]
    assert min(timed(text) for _ in range(3)) < allowed(0.05)


def timed(text):
    start = time.thread_time()
    shared_prefix(text, text)
    shared_label((text,), (text,))
    return time.thread_time() - start
