import random
import time

import numpy as np
import pytest

from bot.core.boilerplate import AUTHORS, LEAST, MOST_LINES, NOTHING, key_of, keys_of, learn
from bot.core.text import MAX_TEXT, clean
from tests.pace import allowed

TEMPLATE = "### Что произошло\n{}\n### Wersja produktu\n{}\nI searched the existing issues."


def learned(bodies, authors=None):
    return learn([keys_of(body) for body in bodies], authors or list(range(1, len(bodies) + 1)))


def bodies(count):
    return [TEMPLATE.format(f"The thing number {n} broke", f"{n}.{n}") for n in range(count)]


def test_a_template_is_learned_and_taken_out_and_nothing_else():
    found = learned(bodies(60))
    assert clean("T", bodies(60)[7], found).splitlines() == ["T", "The thing number 7 broke", "7.7"]


@pytest.mark.parametrize(
    ("count", "total", "expected"),
    [(LEAST - 1, 100, False), (LEAST, 100, True), (LEAST, 251, False), (6, 300, True), (0, 0, False)],
)
def test_how_often_a_line_must_recur(count, total, expected):
    texts = [f"own words {n}\n" + ("Same line" if n < count else "") for n in range(total)]
    assert (key_of("Same line") in learned(texts)) == expected


@pytest.mark.parametrize(
    ("authors", "expected"),
    [([1, 2] * 10, False), ([1, 2, 3] + [1] * 17, True), ([0] * 20, True), ([7] * 20, False), ([7] * 18 + [0, 0], True)],
)  # fmt: skip
def test_one_person_s_habit_is_no_template(authors, expected):
    assert AUTHORS == 3
    assert bool(learned([f"Hello\nproblem {n}" for n in range(20)], authors)) == expected


def test_an_error_that_many_people_paste_is_no_boilerplate():
    body = "mine {}\n```\nerror: cannot open display\n```"
    assert learned([body.format(n) for n in range(50)]) == NOTHING
    said = learned([f"error: cannot open display\n{n}" for n in range(50)])
    assert clean("T", body.format(7), said).splitlines() == ["T", "mine 7", "error: cannot open display"]


def test_the_order_makes_no_difference():
    texts = bodies(80)
    shuffled = texts.copy()
    random.Random(3).shuffle(shuffled)
    assert learned(texts) == learned(shuffled) != NOTHING


@pytest.mark.parametrize(
    "text", ["每次启动都会崩溃", "Приложение падает", "يتعطل التطبيق", "🔥🔥🔥", "落ちる。"]
)
def test_other_languages_lose_nothing_that_does_not_recur_whole(text):
    found = learned([f"{text} {n}" for n in range(50)])
    assert found == NOTHING
    assert text in clean("T", f"{text} 3", found)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("## Steps  to reproduce:", "**steps to reproduce**", True),
        ("Version: 1", "Version: 2", False),
        ("ШАГИ", "шаги", True),
        ("step", "steps", False),
    ],
)
def test_which_lines_are_the_same(one, other, same):
    assert (key_of(one) == key_of(other)) == same


@pytest.mark.parametrize("line", ["", "---", "***", "# ", " : "])
def test_a_line_that_says_nothing_has_no_key(line):
    assert key_of(line) == 0


@pytest.mark.parametrize(
    "line", ["a", "a" * MAX_TEXT, "\n" * MAX_TEXT, "```\n" * 20_000, "\ud800", "x\n" * 30_000]
)
def test_hostile_bodies_cost_little(line):
    start = time.thread_time()
    keys = keys_of(line)
    assert time.thread_time() - start < allowed(0.2)
    assert len(keys) <= MOST_LINES
    assert keys.dtype == np.uint32
