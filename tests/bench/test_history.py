import pytest

from bench.history import Answer, History, acknowledged, check, kept, purpose_of, standing
from bot.core.marker import marker
from bot.sandbox.github import GitHub

GOOD = {
    "deserved": {(5, "suggestion"): "a", (6, "reply:9"): "b"},
    "acknowledged": {"a", "b", "c"},
    "kept": {"a", "b"},
    "standing": {(5, "suggestion"): 1, (6, "reply:9"): 1},
    "jobs": {"a": ["done"], "b": ["done"]},
}


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({}, {}),
        ({"standing": {(5, "suggestion"): 1}}, {"lost": ((6, "reply:9"),)}),
        ({"standing": {(5, "suggestion"): 1, (6, "suggestion"): 1}}, {"lost": ((6, "reply:9"),), "unasked": ((6, "suggestion"),)}),
        ({"standing": {(5, "suggestion"): 2, (6, "reply:9"): 1}}, {"doubled": ((5, "suggestion"),)}),
        ({"standing": {}, "acknowledged": set(), "kept": set()}, {}),  # nobody promised anything
        ({"acknowledged": set(), "kept": set()}, {}),  # done, and the answer was lost
        ({"jobs": {"a": ["done"], "b": ["dead"]}}, {"unprocessed": ("b",)}),
        ({"jobs": {"a": ["done"], "b": ["ready"]}}, {"unprocessed": ("b",)}),
        ({"jobs": {"a": ["done"], "b": []}}, {"unprocessed": ("b",)}),
        ({"jobs": {"a": ["done"]}}, {"unprocessed": ("b",)}),
        ({"jobs": {"a": ["done"], "b": ["done", "done"]}}, {"repeated": ("b",)}),
    ],
)  # fmt: skip
def test_the_checker_finds_what_is_wrong(change, wrong):
    assert check(History(**(GOOD | change))).wrong == wrong


@pytest.mark.parametrize(
    ("status", "text", "is_acknowledged", "is_kept"),
    [
        (202, '{"outcome": "stored"}', True, True),
        (200, '{"outcome": "known"}', True, True),
        (202, '{"outcome": "ignored: a bot\'s comment"}', True, False),
        (503, '{"outcome": "not stored, deliver it again"}', False, False),
        (0, "", False, False),
    ],
)
def test_what_an_answer_promises(status, text, is_acknowledged, is_kept):
    answers = [Answer("a", 0, ""), Answer("a", status, text)]
    assert acknowledged(answers) == ({"a"} if is_acknowledged else set())
    assert kept(answers) == ({"a"} if is_kept else set())


def test_comments_are_counted_by_what_they_are():
    github = GitHub()
    repository = github.create_repository("octo", "app")
    issue = github.seed_issue(repository, "A title")
    app = github.create_app("deja-view", None, "secret")
    said = [
        marker(b"k", repository.id, issue.number, key) for key in ("suggestion", "reply:7:ab", "reply:7:ab")
    ]
    for body in [*said, "no marker"]:
        github.comment(repository, issue, app.bot, body, app)
    github.comment(repository, issue, "mallory", said[0])
    assert standing(repository) == {(1, "suggestion"): 1, (1, "reply:7"): 2, (1, "unmarked"): 1}
    assert purpose_of("") == "unmarked"
