"""Which issues people marked as duplicates of which, and where such marks lead."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from bot.core.records import Candidate, Issue
from bot.core.text import MAX_TEXT, outside_code

LONGEST_CHAIN = 50
"""Duplicates of duplicates that are followed; real chains have three or four."""

STATEMENT = re.compile(
    r"\b(?:duplicates?|dupe?|dup)\s+of\s|\bduplicates\s|\b(?:closing|closed)\s+(?:this\s+)?(?:in\s+favou?r\s+of|as\s+(?:a\s+)?dup(?:licate|e)?\s+of)\s"
    r"|\bmerged?\s+into\s",
    re.IGNORECASE,
)
"""How people say that an issue is a duplicate."""

DOUBT = re.compile(
    r"\b(?:not|n't|never|might|may|maybe|perhaps|possibl[ey]|probably|could|if|unless|related|similar|partial(?:ly)?|un?sure|think|seems?|looks?)\b|\?",
    re.IGNORECASE,
)
"""Words with which a sentence no longer says so for sure."""

NUMBER = re.compile(r"#(\d{1,9})(?!\w)|/issues/(\d{1,9})(?!\w)")
FOREIGN = re.compile(r"([\w.-]{1,100}/[\w.-]{1,100})(?:#|/issues/)(?=\d)")


def marked_original(text: str, full_name: str) -> int | None:
    """The issue of `full_name` that a comment says this one is a duplicate of; None where it does not say so plainly.

    Only a sentence without doubt that names one issue of the repository counts; code and quoted lines do not.
    """
    found: set[int] = set()
    for line in outside_code(text[:MAX_TEXT]).splitlines():
        if line.lstrip().startswith(">"):
            continue
        for sentence in re.split(r"(?<=[.!;])\s|$", line[:1_000]):
            found |= originals_in(sentence, full_name)
    return found.pop() if len(found) == 1 else None


def originals_in(sentence: str, full_name: str) -> set[int]:
    """The one number that a sentence states as the original, if it does."""
    if not STATEMENT.search(sentence) or DOUBT.search(sentence):
        return set()
    owners = {name.casefold() for name in FOREIGN.findall(sentence)}
    if any(not name.endswith(full_name.casefold()) for name in owners):
        return set()
    numbers = {int(first or second) for first, second in NUMBER.findall(sentence)} - {0}
    return numbers if len(numbers) == 1 else set()


def chain(marks: Mapping[int, int], number: int) -> list[int]:
    """The issue and what it leads to, mark by mark, its original last.

    A circle of marks has no original: there, the oldest issue of the circle stands for all.
    """
    seen = [number]
    while (following := marks.get(seen[-1])) is not None and len(seen) < LONGEST_CHAIN:
        if following in seen:
            start = seen.index(following)
            return [*seen[:start], min(seen[start:])]
        seen.append(following)
    return seen


def same_problem(marks: Mapping[int, int]) -> dict[int, frozenset[int]]:
    """By number, the whole group of issues that marks connect, for every issue that has a part in a mark."""
    return connected(marks.items())


def connected(pairs: Iterable[tuple[int, int]]) -> dict[int, frozenset[int]]:
    """By number, everything that pairs connect it with, itself too, for every number that has a part in a pair."""
    parent: dict[int, int] = {}

    def root(number: int) -> int:
        while (above := parent.setdefault(number, number)) != number:
            parent[number] = parent[above]  # halves the path for the next look
            number = above
        return number

    for number, other in pairs:
        parent[root(number)] = root(other)
    groups: dict[int, set[int]] = defaultdict(set)
    for number in list(parent):
        groups[root(number)].add(number)
    return {number: group for group in map(frozenset, groups.values()) for number in group}


def canonical(marks: Mapping[int, int], number: int, before: int | None, known: Collection[int]) -> int:
    """The issue to name instead of `number` to somebody who opened `before`: the furthest along its marks that is known
    and older than `before` (None: than nothing yet filed).
    """
    usable = [item for item in chain(marks, number) if (before is None or item < before) and item in known]
    return usable[-1] if usable else number


def redirected(
    candidates: Sequence[Candidate], marks: Mapping[int, int], known: Mapping[int, Issue], before: int | None
) -> tuple[Candidate, ...]:
    """Candidates, best first, each replaced by the issue that stands for it; of several that lead to one, the best."""
    found: dict[int, Candidate] = {}
    for item in candidates:
        number = canonical(marks, item.number, before, known.keys())
        moved = (
            item
            if number == item.number
            else replace(item, number=number, issue=known[number], via=item.number)
        )
        found.setdefault(number, moved)
    return tuple(found.values())


def would_circle(marks: Mapping[int, int], number: int, original: int) -> bool:
    """Whether marking `number` as a duplicate of `original` would lead back to it."""
    return number in chain(marks, original)
