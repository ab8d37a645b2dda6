"""Retrieval quality on labelled trackers, by the code that serves production (layout and metrics: docs/retrieval.md).

Issues are streamed in order of creation: each is compared with those before it, judged, and only then added.
"""

import asyncio
import gzip
import json
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from bot.core.calibration import probability
from bot.core.decision import Question, budget_threshold, decide
from bot.core.ports import Embedder
from bot.core.records import Candidate, Issue, Ranking
from bot.core.repo_config import Config
from bot.core.scoring import SCORER, WHITENING_FROM
from bot.core.text import clean, sanitise
from bot.similarity.histories import entry_of
from bot.similarity.history import Entry, History, Scored
from bot.similarity.replay import LATEST, LEAST, LOWEST

DEPTH = 100
SHOWN = 3
BUDGET = 0.1
RECALIBRATE = 100
"""Issues between two replays, as the service asks for them."""

EMBED_BATCH = 512
CHANCES = (0.0, 0.1, 0.2, 0.35, 0.5, 0.65, 1.0)
"""Bounds of the reliability table's rows."""

PREVALENCE = 0.1
"""Share of duplicates to which the reliability table is weighted: queries hold more of them than new issues do."""

FALSE_ALARMS = (0.01, 0.02, 0.05, 0.1, 0.2)


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found and decided for one query."""

    duplicate: bool
    top: float  # the best score, minus infinity where nothing was found
    first_right: int | None  # rank from 0 of the first right issue
    spoke: bool
    showed_right: bool  # among the issues that the comment names
    chance: float | None = None  # calibrated, that the best one is right; None before there is a threshold


def evaluate(
    directory: Path, embedder: Embedder, project: str | None = None, run_out: Path | None = None
) -> dict[str, dict[str, Any]]:
    """Metrics by project of a directory; `run_out` gets the ranked lists, one JSON object a query."""
    projects = (
        [project] if project else sorted(path.parent.name for path in directory.glob("*/queries.jsonl"))
    )
    with run_out.open("w", encoding="utf-8") if run_out else nullcontext() as out:
        return {name: asyncio.run(measure(directory / name, embedder, out)) for name in projects}


async def measure(folder: Path, embedder: Embedder, out: TextIO | None) -> dict[str, Any]:
    """Stream one project."""
    raw, queries, issues = read(folder)
    stream, answers = Stream(), list[Answer]()
    async for issue, entry in embedded(issues, embedder, stream.history):
        found = stream.ask(entry)
        query = queries.get(raw[issue.number - 1]["id"])
        if query is not None:
            ranked = [(raw[item.number - 1]["id"], item.score) for item in found]
            answers.append(
                stream.answer(
                    issue, found, [key in query["relevant"] for key, _ in ranked], query["duplicate"]
                )
            )
            if out is not None:
                out.write(json.dumps({"project": folder.name, "id": query["id"], "ranked": ranked}) + "\n")
        stream.add(issue, entry)
    return metrics(answers)


def read(folder: Path) -> tuple[list[dict[str, Any]], dict[Any, dict[str, Any]], list[Issue]]:
    """A project's lines as they stand, its queries by id, and its issues, oldest first."""
    with gzip.open(folder / "issues.jsonl.gz", "rt", encoding="utf-8") as lines:
        raw = [json.loads(line) for line in lines]
    with (folder / "queries.jsonl").open(encoding="utf-8") as lines:
        queries = {query["id"]: query for query in map(json.loads, lines)}
    return raw, queries, [issue_of(item, number) for number, item in enumerate(raw, 1)]


async def embedded(
    issues: Sequence[Issue], embedder: Embedder, history: History
) -> AsyncIterator[tuple[Issue, Entry]]:
    """Issues with their entries. Texts are embedded ahead in batches, which tells an earlier issue nothing of a later one."""
    for start in range(0, len(issues), EMBED_BATCH):
        batch = issues[start : start + EMBED_BATCH]
        titles = [issue.title for issue in batch]
        vectors = await embedder.embed(
            titles + [clean(issue.title, issue.body, history.boilerplate) for issue in batch]
        )
        for issue, title, text in zip(batch, vectors[: len(batch)], vectors[len(batch) :], strict=True):
            yield issue, entry_of(history, issue, title, text)


class Stream:
    """A repository as it grows: what production would know and say at each issue."""

    def __init__(self) -> None:
        self.history = History()
        self._issues: dict[int, Issue] = {}
        self._top_scores: list[float] = []
        self._threshold: float | None = None

    def ask(self, entry: Entry) -> list[Scored]:
        """Rank the issues so far; the threshold is renewed now and then, from scores of earlier issues alone."""
        self.history.refit()
        if len(self.history) >= LEAST and len(self.history) % RECALIBRATE == 0:
            self._threshold = max(LOWEST, budget_threshold(self._top_scores[-LATEST:], BUDGET))
        found = self.history.search(entry, limit=DEPTH)
        if entry.asks and len(self.history) >= WHITENING_FROM:
            self._top_scores.append(found[0].score if found else -math.inf)
        return found

    def answer(self, issue: Issue, found: Sequence[Scored], right: Sequence[bool], duplicate: bool) -> Answer:  # noqa: FBT001 — a label, not a switch
        """What the bot would do, and whether that was right; `right` says so of each found issue."""
        best = [
            Candidate(item.number, item.score, item.features, self._issues[item.number])
            for item in found[:SHOWN]
        ]
        ranking = Ranking(tuple(best), len(self.history), SCORER)
        decision = decide(Question(issue, "", ranking, self._threshold, frozenset(), Config()))
        shown = {item.number for item in (*decision.likely, *decision.also)}
        return Answer(
            duplicate=duplicate,
            top=found[0].score if found else -math.inf,
            first_right=right.index(True) if True in right else None,
            spoke=decision.speak,
            chance=None
            if self._threshold is None or not found
            else probability(found[0].score, self._threshold, BUDGET),
            showed_right=any(hit and item.number in shown for item, hit in zip(found, right, strict=True)),
        )

    def add(self, issue: Issue, entry: Entry) -> None:
        """The issue is history now."""
        self._issues[issue.number] = issue
        self.history.put(entry)


def metrics(answers: Sequence[Answer]) -> dict[str, Any]:
    """Recall of the ranking, and the decision at fixed false-alarm rates and at the replayed comment budget."""
    duplicates = [item for item in answers if item.duplicate]
    others = [item for item in answers if not item.duplicate]

    def recall(depth: int) -> float:
        return share([item.first_right is not None and item.first_right < depth for item in duplicates])

    return {
        "duplicate_queries": len(duplicates),
        "other_queries": len(others),
        "R@1": recall(1),
        "R@5": recall(5),
        "R@10": recall(10),
        "MRR": sum(1 / (item.first_right + 1) for item in duplicates if item.first_right is not None)
        / max(len(duplicates), 1),
        "AUC": auc([item.top for item in duplicates], [item.top for item in others]),
        "reliability": reliability(duplicates, others),
        "decision": {f"fa<={rate:g}": at_rate(duplicates, others, rate) for rate in FALSE_ALARMS},
        "budget": {
            "budget": BUDGET,
            "fa": share([item.spoke for item in others]),
            "comment": share([item.spoke for item in duplicates]),
            "hit": share([item.spoke and item.showed_right for item in duplicates]),
        },
    }


def reliability(duplicates: Sequence[Answer], others: Sequence[Answer]) -> list[dict[str, float]]:
    """Rows of how probable the best candidates were said to be, beside how often they were right, at `PREVALENCE`."""
    weighted = [
        (item.chance, item.first_right == 0, weight / max(len(items), 1))
        for items, weight in ((duplicates, PREVALENCE), (others, 1 - PREVALENCE))
        for item in items
        if item.chance is not None
    ]
    rows = []
    for low, high in pairwise(CHANCES):
        row = [item for item in weighted if low <= item[0] < high]
        total = sum(weight for _, _, weight in row)
        if row:
            said = sum(chance * weight for chance, _, weight in row) / total
            held = sum(weight for _, right, weight in row if right) / total
            rows.append({"queries": len(row), "said": said, "right": held})
    return rows


def at_rate(duplicates: Sequence[Answer], others: Sequence[Answer], rate: float) -> dict[str, float]:
    """The decision at the smallest threshold that keeps false alarms at this rate on these very queries."""
    threshold = budget_threshold([item.top for item in others], rate)
    right = [item.first_right is not None and item.first_right < SHOWN for item in duplicates]
    return {
        "threshold": threshold,
        "fa": share([item.top >= threshold for item in others]),
        "hit": share([item.top >= threshold and hit for item, hit in zip(duplicates, right, strict=True)]),
    }


def auc(positive: Sequence[float], negative: Sequence[float]) -> float | None:
    """How often a duplicate's best score is above another issue's, ties counted half; None where a class is empty."""
    if not positive or not negative:
        return None
    ordered = np.sort(np.array(negative))
    below = np.searchsorted(ordered, positive, "left") + np.searchsorted(ordered, positive, "right")
    return float(below.mean() / 2 / len(ordered))


def share(values: Sequence[bool]) -> float:
    """The share of those that hold; 0 of none."""
    return sum(values) / max(len(values), 1)


def issue_of(item: Mapping[str, Any], number: int) -> Issue:
    """A line of a tracker as an issue; numbered by its place, since not every tracker's ids rise with time."""
    created = datetime.fromisoformat(item["created_at"])
    return Issue(
        repository_id=1,
        number=number,
        github_id=number,
        title=sanitise(item["title"]),
        body=sanitise(item["body"]),
        state="open",
        state_reason=None,
        author=item["author"],
        author_id=int(item["author"], 16) if item["author"] else None,
        author_is_bot=False,
        labels=(),
        is_pull_request=False,
        locked=False,
        reactions=0,
        created_at=created,
        updated_at=created,
    )
