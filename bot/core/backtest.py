"""What the bot would have done in a repository's past, and from which score it may speak there: pure functions."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bot.core.decision import budget_threshold
from bot.core.duplicates import same_problem
from bot.core.repo_config import Config

BUDGETS = (0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.2)
"""Shares of issues that get a comment, for which the curve is told."""

ENOUGH_MARKED = 20
ENOUGH_SHARE = 0.01
"""Marked duplicates, in number and as a share of the issues replayed, from which their absence means something."""

FEWEST_COMMENTS = 5
"""Comments that a stricter threshold must leave for its precision to be worth a look."""

EXAMPLES = 10
SHOWN = 3
Z95 = 1.96


@dataclass(frozen=True, slots=True)
class Asked:
    """One issue of the past, asked again as when it was new."""

    number: int
    shown: tuple[
        tuple[int, float], ...
    ]  # the best earlier issues with their scores, best first, at most three
    originals: frozenset[int]  # earlier issues that people marked as the same problem

    @property
    def top(self) -> float:
        """The best score, minus infinity where nothing was found."""
        return self.shown[0][1] if self.shown else -math.inf

    @property
    def right(self) -> bool:
        """Whether a right issue would have been among those shown."""
        return any(number in self.originals for number, _ in self.shown[:SHOWN])


@dataclass(frozen=True, slots=True)
class Point:
    """The past at one threshold. Precision is a lower bound: people do not mark every duplicate."""

    threshold: float
    comments: int
    comments_per_100: float
    right: int
    precision: float | None  # None without a comment
    recall: float | None  # None without a marked duplicate


@dataclass(frozen=True, slots=True)
class Example:
    """What it would have said about one issue."""

    number: int
    named: tuple[int, ...]
    score: float
    marked: bool  # whether people marked the issue as a duplicate
    right: bool


@dataclass(frozen=True, slots=True)
class Report:
    """A back-test."""

    asked: int
    marked: int
    budget: float
    precision_target: float
    points: tuple[Point, ...]  # by rising share of comments
    threshold: float
    verdict: str  # "comment" or "shadow"
    reason: str
    examples: tuple[Example, ...]

    def as_json(self) -> dict[str, Any]:
        """The report as JSON takes it: a threshold that nothing reaches is null."""
        report: dict[str, Any] = finite(asdict(self))
        return report


def backtest(past: Sequence[Asked], *, budget: float, precision_target: float, lowest: float) -> Report:
    """Judge a repository's past. `lowest` is the score below which nothing is worth a comment, whatever the budget."""
    tops = [item.top for item in past]
    curve = tuple(point(past, max(lowest, budget_threshold(tops, share))) for share in BUDGETS)
    own = point(past, max(lowest, budget_threshold(tops, budget)))
    marked = sum(bool(item.originals) for item in past)
    chosen, verdict, reason = judged(own, curve, marked, len(past), precision_target)
    return Report(
        len(past),
        marked,
        budget,
        precision_target,
        curve,
        chosen.threshold,
        verdict,
        reason,
        examples(past, chosen.threshold),
    )


def judge(past: Sequence[Asked], lowest: float, careful: float | None, config: Config) -> Report:
    """Judge by what the repository asks for; `careful` is the threshold where its history is too short, else None."""
    wanted = {"budget": config.budget, "precision_target": config.precision_target}
    return backtest(past, lowest=lowest, **wanted) if careful is None else too_short(careful, **wanted)


def too_short(careful: float, *, budget: float, precision_target: float) -> Report:
    """The report where there is too little history: a careful threshold, until there is more."""
    reason = "too few issues to replay: a careful threshold holds until there are more"
    return Report(0, 0, budget, precision_target, (), careful, "comment", reason, ())


def asked_of(
    shown: Iterable[tuple[int, tuple[tuple[int, float], ...]]], marks: Mapping[int, int]
) -> list[Asked]:
    """The issues of the past with what people marked: of each, the earlier issues of its group."""
    groups = same_problem(marks)
    return [
        Asked(number, best, frozenset(item for item in groups.get(number, ()) if item < number))
        for number, best in shown
    ]


def point(past: Sequence[Asked], threshold: float) -> Point:
    """Count what would have been said from that score on."""
    spoken = [item for item in past if item.top >= threshold]
    marked = sum(bool(item.originals) for item in past)
    right = sum(item.right for item in spoken)
    return Point(
        threshold=threshold,
        comments=len(spoken),
        comments_per_100=100 * len(spoken) / max(len(past), 1),
        right=right,
        precision=right / len(spoken) if spoken else None,
        recall=right / marked if marked else None,
    )


def judged(
    own: Point, curve: Sequence[Point], marked: int, asked: int, target: float
) -> tuple[Point, str, str]:
    """The point to work at, whether to comment, and why, in words."""
    if marked < ENOUGH_MARKED or marked < ENOUGH_SHARE * asked:
        return (
            own,
            "comment",
            f"{marked} of the last {asked} issues are marked as duplicates: too few to judge by, so the budget decides",
        )
    told = f"{own.right} of {own.comments} comments would have named a marked duplicate"
    if upper_bound(own.right, own.comments) >= target:
        return own, "comment", f"{told}; the target is {target:.0%}"
    # Among several thresholds one looks good by chance: a stricter one has to reach the target, not only be able to.
    for item in reversed(curve):
        if (
            item.threshold > own.threshold
            and item.comments >= FEWEST_COMMENTS
            and (item.precision or 0) >= target
        ):
            reached = f"at a stricter threshold {item.right} of {item.comments} would"
            return item, "comment", f"{told}, below the target of {target:.0%}; {reached}"
    advice = "nothing is posted until the target is lowered, the mode is set, or more duplicates are marked"
    return own, "shadow", f"only {told}, too few for the target of {target:.0%}: {advice}"


def upper_bound(right: int, comments: int) -> float:
    """The upper end of Wilson's 95 % interval for a share: what few comments cannot rule out. 1 of none."""
    if comments == 0:
        return 1.0
    share, square = right / comments, Z95**2
    centre = share + square / (2 * comments)
    spread = Z95 * math.sqrt(share * (1 - share) / comments + square / (4 * comments**2))
    return (centre + spread) / (1 + square / comments)


def examples(past: Sequence[Asked], threshold: float) -> tuple[Example, ...]:
    """The latest issues that it would have spoken about."""
    spoken = [item for item in past if item.top >= threshold][-EXAMPLES:]
    return tuple(
        Example(
            item.number,
            tuple(number for number, _ in item.shown[:SHOWN]),
            item.top,
            bool(item.originals),
            item.right,
        )
        for item in reversed(spoken)
    )


def finite(value: Any) -> Any:
    """A value with null for every number that JSON has no word for."""
    match value:
        case float() if not math.isfinite(value):
            return None
        case Mapping():
            return {key: finite(item) for key, item in value.items()}
        case list() | tuple():
            return [finite(item) for item in value]
    return value
