"""Whether the bot speaks about an issue, and of which earlier ones: a pure function, with its reason in words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bot.core.records import Candidate, Issue, Ranking
from bot.core.repo_config import Config
from bot.core.series import same_series
from bot.core.text import letters, linked_numbers, too_thin

COLD_THRESHOLD = 7.0
WHITENED_THRESHOLD = 8.0
"""z from which the bot speaks while it knows too little of a repository, for each set of weights (docs/retrieval.md)."""

DEGRADED_MARGIN = 1.0
"""How much more z a ranking must have in which a part was missing."""

MOST_ALSO = 5
NEAR = 4.0
"""z below the threshold at which an earlier issue is still worth a look, once the bot speaks."""


@dataclass(frozen=True, slots=True)
class Question:
    """All that a decision depends on."""

    issue: Issue
    full_name: str  # of the repository, to read references to its issues
    ranking: Ranking
    threshold: float | None  # calibrated for the ranking's model; None where there is none
    refused: frozenset[int | None]  # candidates people rejected; None in it means the whole suggestion
    config: Config


@dataclass(frozen=True, slots=True)
class Decision:
    """What the bot does about an issue. `likely` and `also` are what it would show, even where it stays silent."""

    speak: bool
    reason: str
    threshold: float
    likely: tuple[Candidate, ...] = ()
    also: tuple[Candidate, ...] = ()


def decide(question: Question) -> Decision:
    """Speak where an earlier issue reaches the threshold and nothing rules a suggestion out."""
    threshold = threshold_of(question)
    if (reason := ruled_out(question)) is not None:
        return Decision(False, reason, threshold)
    eligible = candidates_of(question)
    most = question.config.max_results
    likely = tuple(item for item in eligible if item.score >= threshold)[:most]
    if not likely:
        return Decision(False, silence(question, eligible, threshold), threshold)
    also = also_near(eligible[len(likely) :], threshold, most - len(likely))
    best = f"#{likely[0].number} scores {likely[0].score:.1f}, the threshold is {threshold:.1f}"
    if question.config.mode == "shadow":
        return Decision(False, f"{best}, but this repository is in shadow mode", threshold, likely, also)
    return Decision(True, best, threshold, likely, also)


def threshold_of(question: Question) -> float:
    """The score to reach: the repository's own, or a careful one where there is none; more where a part was missing."""
    threshold = question.threshold
    if threshold is None or math.isnan(threshold):
        threshold = cold_threshold(question.ranking.candidates)
    return threshold + (DEGRADED_MARGIN if question.ranking.degraded else 0.0)


def cold_threshold(candidates: Sequence[Candidate]) -> float:
    """The threshold before calibration, for the weights that the candidates were scored with."""
    whitened = any(item.features.whitened_text is not None for item in candidates)
    return WHITENED_THRESHOLD if whitened else COLD_THRESHOLD


def ruled_out(question: Question) -> str | None:
    """Why nothing may be said about this issue, whatever its candidates; None where something may."""
    issue = question.issue
    if question.config.mode == "off":
        return "suggestions are switched off for this repository"
    if issue.is_pull_request:
        return "pull requests get no suggestions"
    if issue.author_is_bot:
        return "the issue was opened by a bot"
    if None in question.refused:
        return "somebody said that this is no duplicate"
    return ruled_out_by_config(issue, question.config) or too_thin(issue.title, issue.body)


def ruled_out_by_config(issue: Issue, config: Config) -> str | None:
    """Which wish of the repository an issue runs against."""
    if is_ignored(issue, config):
        return "issues of this author or with this label are ignored here"
    if shares_label(issue, config.gate.labels_none):
        return "it has a label under which nothing is suggested here"
    if letters(issue.title) + letters(issue.body) < config.gate.min_chars:
        return "the text is shorter than this repository asks for"
    return None


def is_ignored(issue: Issue, config: Config) -> bool:
    """Whether an issue is left out on both sides: it gets no suggestion and is named in none."""
    authors = {author.casefold() for author in config.ignore.authors}
    return (issue.author or "").casefold() in authors or shares_label(issue, config.ignore.labels)


def shares_label(issue: Issue, labels: Sequence[str]) -> bool:
    """Whether an issue has one of these labels, whose case does not count on GitHub either."""
    return not {label.casefold() for label in labels}.isdisjoint(label.casefold() for label in issue.labels)


def candidates_of(question: Question) -> list[Candidate]:
    """The earlier issues that may be named, best first: not those people rejected, the author points at, the config
    ignores, or the author opened in the same series.

    A bot's issue may be named to a person; a bot's own issue gets no suggestion (`ruled_out`), so bots never name each other.
    """
    issue = question.issue
    known = linked_numbers(f"{issue.title}\n{issue.body}", question.full_name)
    return [
        item
        for item in sorted(
            question.ranking.candidates,
            key=lambda item: -item.score if item.score == item.score else math.inf,
        )
        if item.number < issue.number
        and item.number not in question.refused
        and item.number not in known
        and not is_ignored(item.issue, question.config)
        and not same_series(issue, item.issue)
    ]


def silence(question: Question, eligible: Sequence[Candidate], threshold: float) -> str:
    """Why no candidate was good enough."""
    if not eligible:
        return (
            "no earlier issue left to name"
            if question.ranking.candidates
            else "no earlier issue shares anything with it"
        )
    return f"the best candidate #{eligible[0].number} scores {eligible[0].score:.1f}, below {threshold:.1f}"


def also_near(rest: Sequence[Candidate], threshold: float, fill: int) -> tuple[Candidate, ...]:
    """The next candidates near the threshold: `fill` of them complete the list, more come only where they reach it."""
    near = [item for item in rest if item.score >= threshold - NEAR]
    above = sum(item.score >= threshold for item in near)
    return tuple(near[: min(max(above, fill), MOST_ALSO)])


def budget_threshold(top_scores: Sequence[float], budget: float) -> float:
    """The score that a share `budget` of these exceeds at most: their (1 - budget) quantile, rounded up to the next one.

    `top_scores` holds the best score of each issue of the past; an issue without a candidate counts as minus infinity.
    """
    ordered = sorted((value for value in top_scores if not math.isnan(value)), reverse=True)
    allowed = int(budget * len(ordered))
    if not ordered or allowed >= len(ordered):
        return -math.inf if ordered and budget >= 1 else math.inf
    return math.nextafter(ordered[allowed], math.inf)
