import re
from dataclasses import replace
from datetime import UTC, datetime
from itertools import combinations

import pytest
from hypothesis import given, settings

from bot.core import comment
from bot.core.decision import Decision
from bot.core.marker import Marker, read
from bot.core.records import (
    Candidate,
    Closing,
    Explained,
    Features,
    Issue,
    LeftOut,
    Ranking,
    Repository,
    RepositoryState,
)
from bot.core.repo_config import MAX_PROBLEMS
from tests.gfm import judge
from tests.hostile import titles

KEY = b"k" * 32
NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
REPOSITORY = Repository(
    id=7, account_id=1, installation_id=2, owner="ann", name="tool", private=False, collection="c",
    state=RepositoryState.ACTIVE, reason=None, indexed_at=NOW, issues_total=3_000_000, issues_indexed=12, revision=1,
    threshold=8.5, threshold_model="m", config_notice=None,
)  # fmt: skip
STATES = [("open", None), ("open", "reopened"), ("closed", "completed"), ("closed", "not_planned"), ("closed", "duplicate"), ("closed", None)]  # fmt: skip
FEATURES = Features(0.5, 0.6, 0.7, 3.0, 10.0, same_author=False)
WHITE = replace(FEATURES, whitened_title=0.3, whitened_text=0.4, rare_tokens=1.5, bm25_title_self=0.1)
PUBLIC = "https://github.com"


def issue(number=12, title="Harmless", state="open", state_reason=None, reactions=0):
    return Issue(
        7, number, 100 + number, title, "", state, state_reason, "ann", 1, False, (), False, False, reactions, NOW, NOW
    )  # fmt: skip


def candidate(number=3, title="Harmless", terms=(), features=FEATURES, state=("open", None), reactions=0):
    return Candidate(number, 9.1, features, issue(number, title, *state, reactions), terms)


def known(text):
    """A candidate with every kind of evidence, all of it `text`."""
    shared = dict.fromkeys(("shared_error", "shared_label", "shared_prefix"), text or "x")
    return replace(candidate(3, text, (text, "plain"), WHITE), chance=0.31, **shared)


def explained(item, left_out=(), degraded=None):
    pieces = tuple(LeftOut("links", text) for text in left_out)
    return Explained(Ranking((item,), 99, "m", degraded), pieces)


def decision(likely, also=()):
    return Decision(True, "because", 8.0, tuple(likely), tuple(also))


def suggestion(text, state=("open", None), web_url=PUBLIC):
    """A suggestion in which every foreign text is `text`."""
    likely = [
        candidate(n, text, (text, "plain"), features, state, n) for n, features in ((3, FEATURES), (4, WHITE))
    ]
    also = [candidate(n, text, (text,), state=state, reactions=2) for n in (5, 6)]
    return comment.suggestion_comment(KEY, REPOSITORY, issue(title=text), decision(likely, also), web_url)


WRITERS = {
    **{f"suggestion-{state}-{reason}": (lambda text, pair=(state, reason): suggestion(text, pair), {3, 4}) for state, reason in STATES},
    "suggestion-of-one": (lambda text: comment.suggestion_comment(KEY, REPOSITORY, issue(), decision([candidate(3, text)]), PUBLIC), {3}),
    "refused": (lambda _: comment.refused_comment(KEY, REPOSITORY, 12), set()),
    "similar": (lambda text: comment.similar_comment(KEY, REPOSITORY, issue(title=text), [candidate(n, text, (text,)) for n in (3, 4)], PUBLIC), set()),
    "similar-none": (lambda text: comment.similar_comment(KEY, REPOSITORY, issue(title=text), [], PUBLIC), set()),
    "help": (lambda _: comment.help_reply(KEY, REPOSITORY, 12, "reply:1"), set()),
    "nothing": (lambda text: comment.nothing_reply(KEY, REPOSITORY, 12, "reply:1", text), set()),
    "why": (lambda text: comment.why_reply(KEY, REPOSITORY, 12, "reply:1", explained(known(text), (text,) * 12), 8.0, "Chroma unavailable"), {3}),
    "why-degraded": (lambda text: comment.why_reply(KEY, REPOSITORY, 12, "reply:1", explained(candidate(3, text, (text,), WHITE), (), "embedding model unavailable"), None), {3}),
    "suggestion-of-evidence": (lambda text: comment.suggestion_comment(KEY, REPOSITORY, issue(), decision([known(text), replace(known(text), number=4, via=5)]), PUBLIC), {3, 4}),
    "index": (lambda _: comment.index_reply(KEY, REPOSITORY, 12, "reply:1", 1_000), set()),
    "error": (lambda text: comment.error_reply(KEY, REPOSITORY, 12, "reply:1", text or "ann", text, "I do not know that."), set()),
    "error-of-a-ghost": (lambda text: comment.error_reply(KEY, REPOSITORY, 12, "reply:1", None, text, "No."), set()),
    "config": (lambda text: comment.config_issue(KEY, REPOSITORY, "config:1", [text, "line 3: unknown key"])[1], set()),
}  # fmt: skip
"""Every text that the bot writes: how to write it with a foreign text, and which issues it may refer to."""

every_writer = pytest.mark.parametrize(("write", "mine"), WRITERS.values(), ids=WRITERS)


@every_writer
@given(text=titles)
@settings(max_examples=30, deadline=None)
def test_foreign_text_changes_nothing_but_the_text(write, mine, text):
    judged = judge(write(text))
    assert judged.skeleton == judge(write("Harmless")).skeleton
    assert judged.references <= mine
    assert judged.active == ()
    assert (judged.images, judged.foreign_html) == ((), ())
    assert all(
        re.fullmatch(r"https://redirect\.github\.com/ann/tool/issues/[3-6]", link) for link in judged.links
    )


@every_writer
@pytest.mark.parametrize(
    "text", ["x" * 10_000, "[" * 10_000, "@a " * 5_000, "\u0301" * 10_000, "`" * 10_000, "<" * 10_000, ""]
)
def test_every_text_is_marked_short_and_ends_with_the_footer(write, mine, text):
    body = write(text)
    assert len(body) <= comment.LONGEST
    first, _, rest = body.partition("\n")
    number = 0 if "effect=config" in first else 12
    found = read(KEY, body, 7, number)
    assert found is not None
    assert found.effect_key in ("suggestion", "reply:1", "config:1")
    assert read(KEY, body, 8, number) is None
    assert read(KEY, body, 7, number + 1) is None
    assert read(b"o" * 32, body, 7, number) is None
    assert "<!--" not in rest
    assert comment.visible(body) == rest.strip()
    assert rest.strip().endswith("</sub>")


def test_a_suggestion_names_its_candidates_in_order():
    body = suggestion("Harmless")
    assert read(KEY, body, 7, 12) == Marker("suggestion", (3, 4, 5, 6))
    judged = judge(body)
    assert judged.references == {3, 4}  # those behind links get no entry in their history
    assert [link.rsplit("/", 1)[1] for link in judged.links] == ["5", "6"]


@pytest.mark.parametrize(
    ("web_url", "start"),
    [
        ("https://github.com", "https://redirect.github.com/ann/tool/issues/5"),
        ("https://github.com/", "https://redirect.github.com/ann/tool/issues/5"),
        ("https://ghe.example", "https://ghe.example/ann/tool/issues/5"),
        ("http://127.0.0.1:81", "http://127.0.0.1:81/ann/tool/issues/5"),
    ],
)
def test_where_links_lead(web_url, start):
    assert judge(suggestion("Harmless", web_url=web_url)).links[0] == start


@pytest.mark.parametrize(
    ("state", "line", "advice"),
    [
        (("open", None), "open · 3 👍", "#3 and close this one, or comment"),
        (("open", "reopened"), "open · 3 👍", "#3 and close this one, or comment"),
        (("closed", "completed"), "closed as completed · 3 👍", "closed as completed: if it still happens, say here in which version"),
        (("closed", "not_planned"), "declined (not planned) · 3 👍", "#3 is closed: what was said there may help"),
        (("closed", "duplicate"), "closed as a duplicate · 3 👍", "#3 is closed: what was said there may help"),
        (("closed", None), "closed · 3 👍", "#3 is closed: what was said there may help"),
    ],
)  # fmt: skip
def test_nobody_is_sent_to_an_issue_where_nobody_looks(state, line, advice):
    shown = judge(suggestion("Harmless", state)).shown
    assert f"#3 Harmless · {line}" in shown
    assert advice in shown
    assert ("close this one" in shown) == (state[0] == "open")


def test_reasons_are_what_a_reader_can_check():
    body = suggestion("Harmless")
    assert body.count("Almost the same title.") == 1
    assert "Both mention `Harmless`, `plain`." in body
    assert "👍" not in comment.state_words(issue())
    assert comment.best_reasons(candidate(features=WHITE)) == ""


REASONS = {
    "shared_error": ("KeyError: 'a'", "Same error line `KeyError: 'a'`."),
    "features": (FEATURES, "Almost the same title."),
    "shared_terms": (("jetty", "CVE"), "Both mention `jetty`, `CVE`."),
    "shared_label": ("area/net", "Both are labelled `area/net`."),
    "shared_prefix": ("ui", "Both titles begin with `ui`."),
}
"""How each kind of evidence is told, strongest first."""


@pytest.mark.parametrize(
    "kinds",
    [kinds for size in range(len(REASONS) + 1) for kinds in combinations(REASONS, size)],
    ids=lambda kinds: "+".join(kinds) or "nothing",
)
def test_the_two_strongest_reasons_stand_on_one_line_and_why_gives_all(kinds):
    item = replace(candidate(features=WHITE), **{kind: REASONS[kind][0] for kind in kinds})
    said = [REASONS[kind][1] for kind in kinds]
    assert list(comment.reasons(item)) == said
    assert comment.best_reasons(item) == (f"\n  {' '.join(said[:2])}" if said else "")
    why = comment.why_reply(KEY, REPOSITORY, 12, "reply:1", explained(item), 8.0)
    assert all(f"\n- {sentence}" in why for sentence in said)


def test_what_a_marked_duplicate_shares_is_not_said_of_its_original():
    assert comment.best_reasons(replace(candidate(), via=5)) == "\n  `#5`: Almost the same title."
    assert comment.best_reasons(replace(candidate(features=WHITE), via=5)) == ""


@pytest.mark.parametrize(
    ("chance", "line", "sentence"),
    [
        (None, "- #3 Harmless · open\n", "How probable that makes it is not calibrated yet."),
        (0.124, "- #3 Harmless · open · possible match\n", "The same problem with about 12 % probability (possible)."),
        (0.5, "- #3 Harmless · open · likely match\n", "The same problem with about 50 % probability (likely)."),
    ],
)  # fmt: skip
def test_a_word_in_the_comment_and_the_number_in_why_alone(chance, line, sentence):
    item = replace(candidate(), chance=chance)
    body = comment.suggestion_comment(
        KEY, REPOSITORY, issue(), decision([item], [replace(item, number=4)]), PUBLIC
    )
    assert line in body
    assert "%" not in body
    assert body.count(" match") == (chance is not None)
    assert sentence in comment.why_reply(KEY, REPOSITORY, 12, "reply:1", explained(item), 8.0)


@pytest.mark.parametrize(
    ("now", "then", "said"),
    [
        (None, None, ""),
        ("no model", None, "Compared with a part missing: no model."),
        (None, "Chroma unavailable", "My last decision here was made with a part missing: Chroma unavailable."),
        ("no model", "no model", "Compared with a part missing: no model. So was my last decision here: no model."),
    ],
)  # fmt: skip
def test_what_was_missing_is_said(now, then, said):
    assert comment.missing_sentence(now, then) == said
    body = comment.why_reply(KEY, REPOSITORY, 12, "reply:1", explained(candidate(), (), now), 8.0, then)
    assert said in body
    assert ("missing" in body) == bool(said)


def test_what_was_left_out_is_counted_and_its_first_pieces_are_shown():
    pieces = (LeftOut("check boxes", "- [x] I searched"), *(LeftOut("links", f"L{n}") for n in range(1, 13)))
    part = comment.left_out_part(pieces)
    assert part.startswith(
        "Left out of this issue's text before its meaning was compared: check boxes 1, links 12.\n"
    )
    assert (
        "<summary>What was left out (13)</summary>\n\n- check boxes: `- [x] I searched`\n- links: `L1`\n"
        in part
    )
    assert part.endswith("- links: `L9`\n- and 3 more\n</details>")
    assert "and" not in comment.left_out_part(pieces[:10])
    assert comment.left_out_part(()) == "Nothing was left out of this issue's text."


@pytest.mark.parametrize(
    ("degraded", "said"), [(None, ""), ("Chroma unavailable", "A part was missing: Chroma unavailable.")]
)
def test_an_answer_of_nothing_says_what_was_missing(degraded, said):
    body = comment.visible(comment.nothing_reply(KEY, REPOSITORY, 12, "reply:1", "because", degraded))
    assert body.removesuffix(comment.FOOTER).split("\n\n")[1:] == [*filter(None, [said]), ""]


def test_no_command_of_ours_is_one_for_a_bot():
    for write, _ in WRITERS.values():
        assert not re.search(r"(?m)^\s*/|^\s*@", comment.visible(write("/dejaview index refresh")))


@pytest.mark.parametrize(
    ("change", "sentences"),
    [
        ({}, ["The index is complete.", "It holds 1,000 issues.", "2,999,000 of the repository's 3,000,000 are left out (plan or config).", "Last complete: 2026-01-02 03:04 UTC.", "I speak from a score of 8.50."]),
        ({"state": RepositoryState.PENDING, "issues_total": None, "indexed_at": None, "threshold": None}, ["The first index waits for its turn.", "It holds 1,000 issues."]),
        ({"state": RepositoryState.INDEXING, "issues_total": 1_000, "indexed_at": None, "threshold": None}, ["The first index is being made.", "It holds 1,000 issues."]),
        ({"state": RepositoryState.INACTIVE, "issues_total": 0, "indexed_at": None, "threshold": None}, ["This repository is not indexed.", "It holds 1,000 issues."]),
    ],
)  # fmt: skip
def test_what_is_said_of_the_index(change, sentences):
    assert list(comment.index_sentences(replace(REPOSITORY, **change), 1_000)) == sentences


@pytest.mark.parametrize("features", [FEATURES, WHITE, replace(FEATURES, cos_title=0.0, cos_text=0.0)])
def test_the_parts_of_a_score_are_all_named_and_sum_to_it(features):
    body = comment.why_reply(KEY, REPOSITORY, 12, "reply:1", explained(candidate(features=features)), None)
    rows = re.findall(r"^\| ([^|*]+) \|[^|]*\| ([+-][\d.]+) \|$", body, re.MULTILINE)
    assert len(rows) == 1 + len(comment.weights_for(features).by_feature)
    total = comment.weights_for(features).bias + sum(comment.parts(features).values())
    assert sum(float(gain) for _, gain in rows) == pytest.approx(total, abs=0.05)
    assert "not calibrated yet" in body


def test_help_lists_every_command_in_code_spans():
    body = comment.help_reply(KEY, REPOSITORY, 12, "reply:1")
    assert all(
        command.startswith("`/dejaview ") and command.endswith("`") and command in body
        for command, _, _ in comment.COMMAND_TABLE
    )
    assert "table_opentable" in judge(body).skeleton


@given(titles)
@settings(max_examples=20, deadline=None)
def test_an_issue_about_the_most_problems_stays_whole(text):
    title, body = comment.config_issue(KEY, REPOSITORY, "config:1", [text] * MAX_PROBLEMS)
    assert title == "Deja View: .github/deja-view.yml is not valid"
    assert len(body) <= comment.LONGEST
    judged = judge(body)
    assert (judged.active, judged.references, judged.foreign_html) == ((), frozenset(), ())
    assert body.endswith(comment.FOOTER)


def test_what_is_too_long_is_cut():
    assert len(comment.compose("head", "x" * 100_000)) == comment.LONGEST


def test_a_body_without_marker_is_visible_as_it_is():
    assert comment.visible(" hello ") == "hello"


@pytest.mark.parametrize(
    ("state", "closing", "via", "said"),
    [
        (("closed", "completed"), Closing(91, "v1.4"), None, "closed as completed by [PR 91](https://redirect.github.com/ann/tool/pull/91) · milestone v1.4"),
        (("closed", "completed"), Closing(91, None), None, "closed as completed by [PR 91](https://redirect.github.com/ann/tool/pull/91)"),
        (("closed", "not_planned"), Closing(None, "later"), None, "declined (not planned) · milestone later"),
        (("closed", "completed"), None, 5, "closed as completed · also reported as `#5`"),
        (("open", None), Closing(91, "v1.4"), 5, "Harmless · open · also reported as `#5`"),
    ],
)  # fmt: skip
def test_what_became_of_a_candidate(state, closing, via, said):
    item = replace(candidate(3, state=state), closing=closing, via=via)
    body = comment.suggestion_comment(KEY, REPOSITORY, issue(), decision([item]), PUBLIC)
    assert said in body


@given(titles)
@settings(max_examples=100)
def test_a_hostile_milestone_is_inert(text):
    item = replace(candidate(3, state=("closed", "completed")), closing=Closing(91, text))
    found = judge(comment.suggestion_comment(KEY, REPOSITORY, issue(), decision([item]), PUBLIC))
    assert (found.active, found.images, found.foreign_html, found.references) == ((), (), (), {3})
