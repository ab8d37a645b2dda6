import time

import pytest

from bot.core.signatures import MOST, Signature, shared_error, signatures
from bot.core.text import MAX_TEXT
from tests.pace import allowed

PYTHON = """Traceback (most recent call last):
  File "/home/me/app/main.py", line 12, in run
    go()
  File "/home/me/app/deep.py", line 99, in go
    raise KeyError(3)
KeyError: 'user 17 at 0x7f3a'"""
JAVA = """Exception in thread "main" java.lang.IllegalStateException: pool of 5 is closed
\tat org.apache.Pool.get(Pool.java:17)
\tat org.apache.Main.main(Main.java:3)"""
JS = """Uncaught TypeError: Cannot read properties of undefined (reading 'map')
    at Object.render (/srv/app/list.js:10:5)
    at async run (main.js:1:1)"""
RUST = """thread 'main' panicked at 'index out of bounds: the len is 3', src/main.rs:4:5
   0: std::panicking::begin_panic
   1: app::run"""
RUST_NEW = "thread 'main' (17) panicked at src/main.rs:4:5:\nindex out of bounds"
GO = """panic: runtime error: index out of range [5] with length 3

goroutine 1 [running]:
main.readAll(0xc000, 0x3)
\t/home/me/main.go:10 +0x1d
main.main()"""
SHARP = """Unhandled exception. System.NullReferenceException: Object reference not set
   at App.Program.Main(String[] args) in /src/Program.cs:line 7"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PYTHON, ("KeyError", "'user # at #'", ("deep.py:go", "main.py:run"))),
        (JAVA, ("IllegalStateException", "pool of # is closed", ("org.apache.Pool.get", "org.apache.Main.main"))),
        (JS, ("TypeError", "Cannot read properties of undefined (reading 'map')", ("Object.render", "run"))),
        (RUST, ("panic", "index out of bounds: the len is #", ("std::panicking::begin_panic", "app::run"))),
        (RUST_NEW, ("panic", "at main.rs", ())),
        (GO, ("panic", "runtime error: index out of range [#] with length #", ("main.readAll", "main.main"))),
        (SHARP, ("NullReferenceException", "Object reference not set", ("App.Program.Main",))),
        ("error[E0308]: mismatched types", ("e0308", "mismatched types", ())),
        ("error: linking with /usr/bin/cc failed", ("error", "linking with cc failed", ())),
        ("ERROR: Could not find a version", ("error", "Could not find a version", ())),
        ("java.lang.NullPointerException", ("NullPointerException", "", ())),
    ],
)  # fmt: skip
def test_what_is_found(text, expected):
    assert signatures(f"Something breaks.\n\n```\n{text}\n```\nThanks!") == (Signature(*expected),)


@pytest.mark.parametrize(
    "text",
    ["", "🔥🔥", "It fails with an error sometimes", "Errors happen at night", "at home", "error: aborting due to 3 previous errors",
     "崩溃了", "1: first step", "NotAnErrorReally: x", "call foo(bar)"],
)  # fmt: skip
def test_prose_is_no_error(text):
    assert signatures(text) == ()


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (PYTHON, PYTHON.replace("17", "18").replace("/home/me", "/root"), "KeyError: 'user # at #'"),
        (JAVA, JAVA.replace("closed", "full"), None),
        ("java.lang.NullPointerException", "java.lang.NullPointerException", None),  # everybody has that
        (f"java.lang.NullPointerException\n{JAVA.split('closed')[1]}",) * 2 + ("NullPointerException",),
        ("KeyError: 'a'", "KeyError: 'a'", None),  # one letter says nothing
        ("error: cannot open display", "error: cannot open display", "error: cannot open display"),
        ("", "error: cannot open display", None),
    ],
)
def test_shared_errors_in_words(one, other, expected):
    assert shared_error(signatures(one), signatures(other)) == expected


@pytest.mark.parametrize(
    "unit",
    ["a", "at ", "at a.", "a.", 'File "', "Caused by: ", "error: ", "E" * 61, "XError: \n", "at x\n", "0: a\n", "thread '", "/", "0x1 ",
     'Exception in thread "', "main.f(", "a(b)\n", "\n", "🔥", " ", "A1Error", "\\", "panicked at ", "thread 'a' panicked at 'b', "],
)  # fmt: skip
def test_hostile_text_takes_linear_time(unit):
    text = (unit * MAX_TEXT)[:MAX_TEXT]
    took = min(timed(text) for _ in range(3))
    assert took < allowed(0.05)
    assert len(signatures(text)) <= MOST


def timed(text):
    start = time.thread_time()
    signatures(text)
    return time.thread_time() - start
