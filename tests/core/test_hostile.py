"""Strangers' text in everything that we write, judged on the rendered HTML; `HOSTILE=10000` judges as many."""

import json
import os
import re
import time
from functools import partial

import pytest

from bot.core import boilerplate, commands, inert, lexical, repo_config, signatures, text, tokens
from bot.core.comment import config_issue
from tests.core.test_comment import KEY, REPOSITORY, WRITERS
from tests.gfm import Page
from tests.hostile import FRAGMENTS, LONG, texts
from tests.pace import allowed

COUNT = int(os.environ.get("HOSTILE") or 400)
SEED = 7

ADDRESS = re.compile(r"https://redirect\.github\.com/ann/tool/(?:issues/\d|pull/\d+)")


def config_file(title):
    """The issue about a config file whose keys, labels and values are somebody's."""
    value = json.dumps(title)
    content = f"budget: {value}\nlabels:\n  possible: {value}\n  {value}: 1\n{value}: {value}\n"
    outcome = repo_config.parse(content.encode())
    problems = outcome.problems if isinstance(outcome, repo_config.ConfigInvalid) else ["no problem"]
    return config_issue(KEY, REPOSITORY, "config:1", problems)[1]


PLACES = {**WRITERS, "config-file": (config_file, set())}
"""Every text that the bot writes, and which issues it may tell."""


def elements(page):
    """What the page is built of: elements with their attributes, addresses aside."""
    return [
        (tag, [(name, None if name == "href" else value) for name, value in attrs])
        for tag, attrs in page.elements
    ]


def wrong(page, harmless, mine):
    """What foreign text did to a page; nothing, where it is only text."""
    found = [*page.active, *page.declarations]
    if elements(page) != harmless:
        found.append("built otherwise")
    if page.references - mine:
        found.append(f"references {page.references - mine}")
    if len(page.comments) != 1 or not page.comments[0].startswith(" deja-view:v1 "):
        found.append(f"comments {page.comments}")
    links = [value for tag, attrs in page.elements if tag == "a" for name, value in attrs if name == "href"]
    return found + [link for link in links if not ADDRESS.fullmatch(link or "")]


def test_ten_thousand_texts_are_only_text():
    harmless = {name: elements(Page(write("Harmless"))) for name, (write, _) in PLACES.items()}
    names = list(PLACES)
    bad = {}
    for n, title in enumerate(texts(SEED, COUNT)):
        name = names[n % len(names)]
        write, mine = PLACES[name]
        page = Page(write(title))
        # How many problems a file has is the file's: only what they are built of is ours.
        built = elements(page) if name == "config-file" else harmless[name]
        if found := wrong(page, built, mine):
            bad[name, title] = found
    assert bad == {}


def test_a_file_of_hostile_values_is_a_list_of_sentences():
    for title in texts(SEED + 1, COUNT // 10):
        assert {tag for tag, _ in Page(config_file(title)).elements} <= {
            "p", "/p", "ul", "/ul", "li", "/li", "code", "/code", "sub", "/sub",
        }  # fmt: skip


@pytest.mark.parametrize(
    ("markdown", "said"),
    [
        ("@octocat", "mention: '@o'"),
        ("x octo/app#1", "reference elsewhere: 'o/app#1'"),
        ("fixes #1", "closing keyword: 'fixes #1'"),
        ("see #99", "references {99}"),
        ("![x](https://evil.example)", "built otherwise"),
        ("<img src=x>", "built otherwise"),
        ("<details>", "built otherwise"),
        ("# x", "built otherwise"),
        ("<!-- x -->", "comments"),
        ("[x](https://evil.example)", "https://evil.example"),
        ("www.evil.example", "address: 'www.e'"),
    ],
)
def test_the_judge_sees_what_text_may_do(markdown, said):
    found = wrong(
        Page(f"<!-- deja-view:v1 x -->\n\n{markdown}"), elements(Page("<!-- x -->\n\nHarmless")), {3}
    )
    assert any(item.startswith(said) for item in found)


# --- time

SIZE = 65_536
PROSE = "The dialog closes at once and #12 says why. In `main.c` line 7:\n\n    at app.main(App.java:12)\n\n> quoted\n"
READERS = {
    "sanitise": text.sanitise,
    "clean": partial(text.clean, "A title"),
    "lexical": text.lexical_body,
    "thin": partial(text.too_thin, "A title"),
    "linked": lambda body: text.linked_numbers(body, "ann/tool"),
    "tokens": tokens.tokens,
    "bag": partial(lexical.bag_of, "A title"),
    "signatures": signatures.signatures,
    "lines": boilerplate.keys_of,
    "commands": lambda body: commands.find_calls(f"/dejaview help\n\n{body}", "deja-view"),
    "config": lambda body: repo_config.parse(body.encode("utf-8", "replace")),
    "inert": inert.inert,
    "code": inert.code,
}
"""What reads a stranger's whole text between two awaits."""

TIMES = 50
"""How many times the CPU time of plain prose of the same size a hostile text may take."""

LEAST = 0.002
"""CPU seconds below which prose is no measure."""


def cpu(read, body):
    """CPU seconds of this thread, the better of two."""
    taken = []
    for _ in range(2):
        started = time.thread_time()
        read(body)
        taken.append(time.thread_time() - started)
    return min(taken)


@pytest.mark.parametrize("name", READERS)
def test_no_text_holds_up_the_event_loop(name):
    read = READERS[name]
    most = TIMES * max(allowed(LEAST), cpu(read, PROSE * (SIZE // len(PROSE))))
    patterns = [*texts(SEED + 2, 20), *FRAGMENTS[:: 1 if COUNT > 400 else 7], *LONG]
    slow = {}
    for pattern in filter(None, patterns):
        body = (pattern * (SIZE // len(pattern) + 1))[:SIZE]
        if (taken := cpu(read, body)) > most:
            slow[pattern[:40]] = taken / most
    assert slow == {}
