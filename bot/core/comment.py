"""Everything we say on GitHub, as Markdown: fixed sentences, in which foreign text is inert.

Each text begins with its marker. Commands stand in code spans, so that no bot, ours included, takes them for given.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from bot.core.calibration import word
from bot.core.decision import Decision
from bot.core.inert import code, inert
from bot.core.marker import marker
from bot.core.ports import StoredBacktest
from bot.core.records import Candidate, Explained, Issue, LeftOut, Repository, RepositoryState
from bot.core.scoring import parts, values_of, weights_for

LONGEST = 60_000
"""Code points of a comment; GitHub takes 65,536 of something between bytes and characters."""

SAME_TITLE = 0.6
"""Share of a title's own BM25 score from which titles are called almost the same."""

MOST_REASONS = 2
"""Reasons given with a candidate in a comment."""

LINES_SHOWN = 10
"""Pieces of what was left out that `why` prints."""

FOOTER = "<sub>Deja View · automatic, may be wrong · nothing is closed automatically · `/dejaview help`</sub>"

COMMAND_TABLE = (
    (
        "`/dejaview similar [N] [state:open]`",
        "show up to N (at most 10) similar earlier issues",
        "triage, author",
    ),
    ("`/dejaview check`", "look for earlier reports again, now", "triage, author"),
    ("`/dejaview why #N`", "explain the score of one earlier issue", "triage"),
    ("`/dejaview duplicate of #N`", "label and close this issue as a duplicate", "triage, author"),
    (
        "`/dejaview not-duplicate [of #N]`",
        "it is something else; you will not be asked again",
        "triage, author",
    ),
    ("`/dejaview index status`", "what is indexed", "triage"),
    ("`/dejaview index refresh`", "index the repository anew", "admin"),
    ("`/dejaview pause [DAYSd]`", "decide and record, but post nothing by itself", "maintain"),
    ("`/dejaview resume`", "comment again, whatever the back-test says", "maintain"),
    ("`/dejaview help`", "this list", "anyone"),
)

FEATURE_WORDS = {
    "cos_title": "titles mean the same",
    "cos_text": "texts mean the same",
    "whitened_title": "titles mean the same, for this repository",
    "whitened_text": "texts mean the same, for this repository",
    "bm25_title_self": "titles share words",
    "bm25_z": "texts share words that others do not",
    "log_age": "age (logarithm of days)",
    "same_author": "opened by the same person",
    "rare_tokens": "rare words in common",
}
"""What each feature of the score is called for people."""


def compose(head: str, *paragraphs: str) -> str:
    """Marker, paragraphs, footer."""
    return "\n\n".join([head, *(text for text in paragraphs if text), FOOTER])[:LONGEST]


def suggestion_comment(
    key: bytes, repository: Repository, issue: Issue, decision: Decision, web_url: str
) -> str:
    """The one comment under an issue that was very likely reported before."""
    shown = (*decision.likely, *decision.also)
    head = marker(key, repository.id, issue.number, "suggestion", [item.number for item in shown])
    first = decision.likely[0]
    return compose(
        head,
        "This looks like it may already be reported:",
        "\n".join(likely_line(repository, item, web_url) for item in decision.likely),
        f"{same_problem(first)}\n**Different?** 👎 this comment or `/dejaview not-duplicate`: you will not be asked again.",
        folded("Also looked at", repository, decision.also, web_url),
    )


def likely_line(repository: Repository, item: Candidate, web_url: str) -> str:
    """A candidate with how sure we are and the reasons."""
    sure = "" if item.chance is None else f" · {word(item.chance)} match"
    return f"- #{item.number} {inert(item.issue.title)} · {status(repository, item, web_url)}{sure}{best_reasons(item)}"


def status(repository: Repository, item: Candidate, web_url: str) -> str:
    """What became of an issue, how many people have it, and through which of its duplicates it was found."""
    said = [state_words(item.issue) + closed_by(repository, item, web_url)]
    if item.closing is not None and item.closing.milestone and item.issue.state == "closed":
        said.append(f"milestone {inert(item.closing.milestone, 40)}")
    if item.issue.reactions:
        said.append(f"{item.issue.reactions} 👍")
    if item.via is not None:
        # Not linked: nobody looks there any more.
        said.append(f"also reported as {code(f'#{item.via}')}")
    return " · ".join(said)


def state_words(issue: Issue) -> str:
    """Open, or how it was closed."""
    words = {
        "completed": "closed as completed",
        "not_planned": "declined (not planned)",
        "duplicate": "closed as a duplicate",
    }
    return "open" if issue.state == "open" else words.get(issue.state_reason or "", "closed")


def closed_by(repository: Repository, item: Candidate, web_url: str) -> str:
    """By which pull request an issue was closed, where GitHub says so."""
    if item.closing is None or item.closing.pull_request is None or item.issue.state == "open":
        return ""
    number = item.closing.pull_request
    return f" by [PR {number}]({address(repository, 'pull', number, web_url)})"


def same_problem(item: Candidate) -> str:
    """What to do if it is the same: never to move to an issue where nobody looks any more."""
    if item.issue.state == "open":
        return f"**Same problem?** 👍 #{item.number} and close this one, or comment `/dejaview duplicate of #{item.number}`."
    if item.issue.state_reason == "completed":
        return f"**Same problem?** #{item.number} was closed as completed: if it still happens, say here in which version, since it may be back."
    return f"**Same problem?** #{item.number} is closed: what was said there may help; if it does not, say here what is different."


def best_reasons(item: Candidate) -> str:
    """The strongest reasons, on a line of their own."""
    said = list(islice(reasons(item), MOST_REASONS))
    if not said:
        return ""
    # What was compared is the duplicate, not the original that stands for it.
    with_whom = "" if item.via is None else f"{code(f'#{item.via}')}: "
    return f"\n  {with_whom}{' '.join(said)}"


def reasons(item: Candidate) -> Iterator[str]:
    """What a person can check, strongest first."""
    if item.shared_error:
        yield f"Same error line {code(item.shared_error, 80)}."
    if item.features.bm25_title_self >= SAME_TITLE:
        yield "Almost the same title."
    if item.shared_terms:
        yield f"Both mention {', '.join(code(term, 40) for term in item.shared_terms)}."
    if item.shared_label:
        yield f"Both are labelled {code(item.shared_label, 50)}."
    if item.shared_prefix:
        yield f"Both titles begin with {code(item.shared_prefix, 40)}."


def folded(summary: str, repository: Repository, items: Sequence[Candidate], web_url: str) -> str:
    """Less likely ones, collapsed, linked so that they are not told that we named them."""
    if not items:
        return ""
    lines = "\n".join(linked_line(repository, item, web_url) for item in items)
    return f"<details><summary>{summary} ({len(items)})</summary>\n\n{lines}\n</details>"


def linked_line(repository: Repository, item: Candidate, web_url: str) -> str:
    """A candidate without a back-reference."""
    link = f"[#{item.number}]({address(repository, 'issues', item.number, web_url)})"
    return f"- {link} {inert(item.issue.title)} · {status(repository, item, web_url)}"


def address(repository: Repository, kind: str, number: int, web_url: str) -> str:
    """Where an issue ("issues") or a pull request ("pull") is read.

    github.com has a second name whose links make no entry in the history of what they lead to.
    """
    host = web_url.rstrip("/").replace("https://github.com", "https://redirect.github.com")
    return f"{host}/{repository.full_name}/{kind}/{number}"


def refused_comment(key: bytes, repository: Repository, number: int) -> str:
    """What the comment becomes when there is nothing left to suggest."""
    head = marker(key, repository.id, number, "suggestion")
    return f"{head}\n<sub>Deja View: the suggestion that stood here was withdrawn. Nobody needs to do anything.</sub>"


def similar_comment(
    key: bytes, repository: Repository, issue: Issue, wanted: Sequence[Candidate], web_url: str
) -> str:
    """The one comment, with the nearest earlier issues that somebody asked for."""
    head = marker(key, repository.id, issue.number, "suggestion", [item.number for item in wanted])
    if not wanted:
        return compose(head, "No earlier issue of this repository is similar to this one.")
    lines = "\n".join(linked_line(repository, item, web_url) for item in wanted)
    return compose(
        head, "The most similar earlier issues, nearest first; they need not report the same problem:", lines
    )


def help_reply(key: bytes, repository: Repository, number: int, effect_key: str) -> str:
    """The commands."""
    rows = [f"| {command} | {effect} | {who} |" for command, effect, who in COMMAND_TABLE]
    table = "\n".join(["| Command | What it does | Who |", "| --- | --- | --- |", *rows])
    return compose(marker(key, repository.id, number, effect_key), table, "`/dv` is short for `/dejaview`.")


def nothing_reply(
    key: bytes, repository: Repository, number: int, effect_key: str, reason: str, degraded: str | None = None
) -> str:
    """Why `check` leads to no suggestion. `reason` is the decision's own sentence."""
    head = marker(key, repository.id, number, effect_key)
    missing = f"A part was missing: {inert(degraded, 100)}." if degraded else ""
    return compose(head, f"I looked again and suggest nothing: {inert(reason, 200)}.", missing)


def why_reply(
    key: bytes,
    repository: Repository,
    number: int,
    effect_key: str,
    explained: Explained,
    threshold: float | None,
    decided_without: str | None = None,
) -> str:
    """One candidate's score: its parts, how probable it makes it, what both share, and what was not compared.

    `threshold` is None where none belongs to this ranking; `decided_without` is what was missing at the last decision.
    """
    item = explained.candidate
    bar = "no threshold is calibrated for it yet" if threshold is None else f"I speak from {threshold:.2f}"
    checks = "\n".join(f"- {reason}" for reason in reasons(item))
    return compose(
        marker(key, repository.id, number, effect_key),
        f"#{item.number} {inert(item.issue.title)} scores **{item.score:.2f}**; {bar}. {chance_sentence(item)}",
        missing_sentence(explained.ranking.degraded, decided_without),
        checks,
        score_table(item),
        left_out_part(explained.left_out),
    )


def chance_sentence(item: Candidate) -> str:
    """How probable it is that the candidate is the same problem: in percent only here."""
    if item.chance is None:
        return "How probable that makes it is not calibrated yet."
    return f"The same problem with about {100 * item.chance:.0f} % probability ({word(item.chance)})."


def missing_sentence(now: str | None, then: str | None) -> str:
    """Which part is missing in this comparison, and which was at the decision."""
    said = [f"Compared with a part missing: {inert(now, 100)}."] if now else []
    if then:
        said.append(
            f"So was my last decision here: {inert(then, 100)}."
            if now
            else f"My last decision here was made with a part missing: {inert(then, 100)}."
        )
    return " ".join(said)


def score_table(item: Candidate) -> str:
    """The parts of a score, and their sum."""
    values, gains = values_of(item.features), parts(item.features)
    return "\n".join(
        [
            "| Part | Value | Adds |",
            "| --- | ---: | ---: |",
            f"| start value | | {weights_for(item.features).bias:+.2f} |",
            *(
                f"| {FEATURE_WORDS[name]} | {values[name]:.2f} | {gain:+.2f} |"
                for name, gain in gains.items()
            ),
            f"| **score** | | **{item.score:.2f}** |",
        ]
    )


def left_out_part(pieces: Sequence[LeftOut]) -> str:
    """What of the new issue was not compared: how many of each kind, and the first few, folded."""
    if not pieces:
        return "Nothing was left out of this issue's text."
    counts = Counter(piece.kind for piece in pieces)
    lines = "\n".join(f"- {piece.kind}: {code(piece.text, 80)}" for piece in pieces[:LINES_SHOWN])
    more = f"\n- and {len(pieces) - LINES_SHOWN:,} more" if len(pieces) > LINES_SHOWN else ""
    told = ", ".join(f"{kind} {count:,}" for kind, count in counts.items())
    folded_lines = (
        f"<details><summary>What was left out ({len(pieces):,})</summary>\n\n{lines}{more}\n</details>"
    )
    return f"Left out of this issue's text before its meaning was compared: {told}.\n\n{folded_lines}"


def index_reply(
    key: bytes,
    repository: Repository,
    number: int,
    effect_key: str,
    count: int,
    backtest: StoredBacktest | None = None,
    wish: str | None = None,
) -> str:
    """What is indexed, what the repository's own past says, and what was commanded against that (`Repository.wish`)."""
    head = marker(key, repository.id, number, effect_key)
    sentences = " ".join(index_sentences(repository, count))
    return compose(head, sentences, backtest_sentence(backtest), wish_sentence(repository, wish))


def wish_sentence(repository: Repository, wish: str | None) -> str:
    """What `pause` or `resume` left in force."""
    if wish == "shadow":
        until = repository.override_until
        end = "`/dejaview resume`" if until is None else f"{until:%Y-%m-%d %H:%M} UTC"
        return f"Paused by command until {end}: I decide and record, and post nothing by myself."
    return "By command I comment by myself, whatever the back-test says." if wish else ""


def backtest_sentence(backtest: StoredBacktest | None) -> str:
    """Whether the bot comments by itself, and why; nothing before the first back-test."""
    if backtest is None:
        return ""
    does = {"comment": "I comment by myself", "shadow": "I decide and record, and post nothing by myself"}[
        backtest.verdict
    ]
    reason = inert(str(backtest.report.get("reason", "")), 300)
    return f"Back-test of {backtest.made_at:%Y-%m-%d}: {does}, unless the config says otherwise. {reason}."


def index_sentences(repository: Repository, count: int) -> Iterable[str]:
    """State, size, what is left out, and from which score the bot speaks."""
    state = {
        RepositoryState.PENDING: "The first index waits for its turn.",
        RepositoryState.INDEXING: "The first index is being made.",
        RepositoryState.ACTIVE: "The index is complete.",
        RepositoryState.INACTIVE: "This repository is not indexed.",
    }
    yield state[repository.state]
    yield f"It holds {count:,} issues."
    if repository.issues_total is not None and repository.issues_total > count:
        yield f"{repository.issues_total - count:,} of the repository's {repository.issues_total:,} are left out (plan or config)."
    if repository.indexed_at is not None:
        yield f"Last complete: {repository.indexed_at:%Y-%m-%d %H:%M} UTC."
    if repository.threshold is not None:
        yield f"I speak from a score of {repository.threshold:.2f}."


def error_reply(
    key: bytes,
    repository: Repository,
    number: int,
    effect_key: str,
    author: str | None,
    raw: str,
    markdown: str,
) -> str:
    """What was wrong with a command; `markdown` is ours, `raw` is what the person wrote."""
    head = marker(key, repository.id, number, effect_key)
    name = f"{code(author, 39)}: " if author else ""
    quoted = f"<details><summary>The command</summary>\n\n{code(raw, 200)}\n</details>"
    return compose(head, f"{name}{markdown}", quoted)


def config_issue(
    key: bytes, repository: Repository, effect_key: str, problems: Sequence[str]
) -> tuple[str, str]:
    """Title and body of the one issue about an invalid config file."""
    listed = "\n".join(f"- {inert(problem, 300)}" for problem in problems)
    body = compose(
        marker(key, repository.id, 0, effect_key),
        "Deja View could not use `.github/deja-view.yml` and works with its default settings until the file is corrected:",
        listed,
        "You can close this issue; it is opened once for each version of the file.",
    )
    return "Deja View: .github/deja-view.yml is not valid", body


def visible(body: str) -> str:
    """A comment of ours without its marker: what a person sees."""
    return body.partition("-->")[2].strip() if body.startswith("<!--") else body.strip()
