"""What was promised, what stands, and what follows from both: the set checker of `bench.chaos`.

It knows nothing of logs or of how anything was written: it compares the answers that the service gave to webhooks with
the comments that stand on GitHub and the jobs that stand in PostgreSQL at the end.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields
from typing import Any

from bot.core.marker import LINE
from bot.sandbox.state import Repository

Key = tuple[int, str]
"""One comment that may be written: the issue's number, and the suggestion or the reply to a comment of that id."""

STORED = ("stored", "known")
"""What the service says of a delivery that it keeps; any other acknowledgement says that there is nothing to do."""


@dataclass(frozen=True, slots=True)
class History:
    """One run, as it looks from outside."""

    deserved: Mapping[Key, str]  # what deserves a comment, with the delivery that tells of it
    acknowledged: AbstractSet[str]  # deliveries that were answered with 2xx
    kept: AbstractSet[str]  # those of them that the service said it keeps
    standing: Mapping[Key, int]  # our comments
    jobs: Mapping[str, Sequence[str]]  # the states of the jobs of each delivery in PostgreSQL


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong; every list is empty where nothing is."""

    lost: tuple[Key, ...]  # deserved and acknowledged, and nothing stands there
    doubled: tuple[Key, ...]  # more than one comment
    unasked: tuple[Key, ...]  # a comment that nothing deserves
    unprocessed: tuple[str, ...]  # kept deliveries without a job that ended well
    repeated: tuple[str, ...]  # deliveries with more than one job

    @property
    def wrong(self) -> dict[str, Sequence[object]]:
        """What is wrong, by kind."""
        return {item.name: found for item in fields(self) if (found := getattr(self, item.name))}


def check(history: History) -> Verdict:
    """Compare what was acknowledged with what stands."""
    promised = [key for key, guid in history.deserved.items() if guid in history.acknowledged]
    return Verdict(
        lost=tuple(sorted(key for key in promised if not history.standing.get(key))),
        doubled=tuple(sorted(key for key, count in history.standing.items() if count > 1)),
        unasked=tuple(sorted(history.standing.keys() - history.deserved.keys())),
        unprocessed=tuple(sorted(guid for guid in history.kept if "done" not in history.jobs.get(guid, ()))),
        repeated=tuple(sorted(guid for guid, states in history.jobs.items() if len(states) > 1)),
    )


def standing(repository: Repository) -> Counter[Key]:
    """The App's comments under each issue, by what their markers say they are."""
    return Counter(
        (number, purpose_of(comment.body))
        for number, issue in repository.issues.items()
        for comment in issue.comments
        if comment.app_id is not None
    )


def purpose_of(body: str) -> str:
    """`suggestion`, `reply:` with the id of the comment that is answered, or that there is no marker."""
    match = LINE.match(body)
    return ":".join(match[2].split(":")[:2]) if match else "unmarked"


async def jobs_of(connection: Any) -> dict[str, list[str]]:
    """The states of the jobs of every stored delivery."""
    rows = await connection.fetch(
        "SELECT deliveries.id, array_remove(array_agg(jobs.state::text), NULL) AS states FROM deliveries "
        "LEFT JOIN jobs ON jobs.delivery_id = deliveries.id GROUP BY deliveries.id"
    )
    return {str(row["id"]): list(row["states"]) for row in rows}


@dataclass(frozen=True, slots=True)
class Answer:
    """What one attempt of a delivery was answered; status 0 where there was no answer."""

    guid: str
    status: int
    text: str

    @property
    def is_acknowledged(self) -> bool:
        """Whether GitHub would not deliver it again."""
        return 200 <= self.status < 300

    @property
    def is_kept(self) -> bool:
        """Whether the service said that it keeps the delivery."""
        return self.is_acknowledged and json.loads(self.text).get("outcome") in STORED


def acknowledged(answers: Iterable[Answer]) -> set[str]:
    """Deliveries of which an attempt was acknowledged."""
    return {item.guid for item in answers if item.is_acknowledged}


def kept(answers: Iterable[Answer]) -> set[str]:
    """Deliveries of which an attempt was kept."""
    return {item.guid for item in answers if item.is_kept}
