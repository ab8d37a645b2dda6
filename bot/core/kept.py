"""What PostgreSQL keeps of an issue beside its text, so that a history is loaded without reading every text again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bot.core.boilerplate import Keys, keys_of
from bot.core.lexical import PACKED, Packed, bag_of, packed_of
from bot.core.records import Issue, StoredIssue
from bot.core.text import too_thin

Matrix = npt.NDArray[np.float32]

LINE = np.dtype("<u4")


@dataclass(frozen=True, slots=True)
class Words:
    """Of one issue's text: its terms and lines as hashes, and whether it says too little to be compared."""

    terms: bytes
    lines: bytes
    thin: bool


@dataclass(frozen=True, slots=True)
class Kept:
    """Issues with their words and vectors, one after the other in each column."""

    numbers: Sequence[int]
    created: Sequence[float]  # seconds since 1970
    authors: Sequence[int]  # 0 for a ghost
    asks: Sequence[bool]
    digests: Sequence[bytes]
    terms: Packed  # of all issues
    term_counts: Sequence[int]
    lines: Keys  # of all issues
    line_counts: Sequence[int]
    titles: Matrix
    texts: Matrix


@dataclass(frozen=True, slots=True)
class Batch:
    """Some issues in the order of their revisions; those whose words were not kept come as they are stored."""

    kept: Kept | None
    others: Mapping[int, StoredIssue]
    revision: int  # the last one


def words_of(issue: Issue) -> Words:
    """What is kept of an issue's text."""
    bag, thin = bag_of(issue.title, issue.body), too_thin(issue.title, issue.body) is not None
    return Words(packed_of(bag).tobytes(), keys_of(issue.body).astype(LINE).tobytes(), thin)


def asks_of(issue: Issue) -> bool:
    """Whether the bot would ever comment on an issue: no bot's, no pull request, no placeholder."""
    return not (issue.author_is_bot or issue.is_pull_request or too_thin(issue.title, issue.body))


def terms_in(data: bytes) -> Packed:
    """The reverse of `Words.terms`, of many issues in a row."""
    return np.frombuffer(data, PACKED)


def lines_in(data: bytes) -> Keys:
    """The reverse of `Words.lines`, of many issues in a row."""
    return np.frombuffer(data, LINE).astype(np.uint32, copy=False)
