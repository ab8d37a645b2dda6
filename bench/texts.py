"""Issues to index: the packaged tracker, and as many more as a bench needs, made of its sentences."""

import random
import re
from collections.abc import Iterator

from bot.sandbox.tracker import packaged

SENTENCES = 6
"""Sentences of an invented body; real ones have about as many."""


def issues(wanted: int, seed: int = 7) -> Iterator[tuple[str, str]]:
    """Titles and bodies: real ones first, then invented ones that resemble no other more than real ones do."""
    reports = [*packaged().history, *packaged().opened]
    yield from ((report.title, report.body) for report in reports[:wanted])
    rng = random.Random(seed)
    titles = [report.title.split() for report in reports]
    sentences = [item for report in reports for item in re.split(r"(?<=[.!?:])\s", report.body) if item]
    for _ in range(wanted - len(reports)):
        one, other = rng.choice(titles), rng.choice(titles)
        title = " ".join([*one[: len(one) // 2], *other[len(other) // 2 :]])
        yield title, "\n".join(rng.choices(sentences, k=SENTENCES))


def near_duplicate(title: str, body: str, rng: random.Random) -> tuple[str, str]:
    """The same report in slightly other words."""
    kept = [word for word in body.split() if rng.random() > 0.1]
    return f"{title} again", " ".join(kept) or body
