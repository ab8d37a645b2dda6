"""Lines that a repository's template brings, learned from its own issues: whole lines that recur under several people.

Only counts decide, so that any language will do: nothing here knows a word. The order of the issues makes no difference.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from zlib import crc32

import numpy as np
import numpy.typing as npt

LEAST = 5
"""In how many issues a line must stand at least."""

SHARE = 0.02
"""Of all issues, in how many a line must stand."""

AUTHORS = 3
"""Different people who must have sent it, where it is known who did."""

MOST_LINES = 200
"""Lines of an issue that are counted."""

SPACES = re.compile(r"\s+")

Keys = npt.NDArray[np.uint32]
NOTHING: frozenset[int] = frozenset()


def key_of(line: str) -> int:
    """A line as 32 bits: case, spacing and Markdown's marks around it do not count. 0 where nothing is left."""
    bare = SPACES.sub(" ", line).strip(" #*_:-.").casefold()
    return crc32(bare.encode("utf-8", "replace")) if bare else 0


def keys_of(body: str) -> Keys:
    """The different lines of a body, sorted; the first `MOST_LINES` lines that say anything."""
    keys = filter(None, map(key_of, lines_of(body)))
    return np.unique(np.fromiter(islice(keys, MOST_LINES), np.uint32))


def lines_of(body: str) -> Iterator[str]:
    """The lines of a body, stripped. Those of fenced blocks are left out: an error that many people paste is no template."""
    fence = ""
    for line in body.splitlines():
        text = line.strip()
        if text[:3] in ("```", "~~~") and fence in ("", text[:3]):
            fence = "" if fence else text[:3]
        elif text and not fence:
            yield text


def learn(issues: Sequence[Keys], authors: Sequence[int]) -> frozenset[int]:
    """The keys of the lines that recur.

    `issues` holds the keys of each issue and `authors` who sent it, 0 where nobody knows: lines that nobody is known
    to have sent need no second author.
    """
    if len(issues) < LEAST:
        return NOTHING
    keys = np.concatenate(issues)
    senders = np.repeat(np.asarray(authors, np.int64), [len(item) for item in issues])
    found, count = np.unique(keys, return_counts=True)
    often = found[count >= max(LEAST, SHARE * len(issues))]
    return frozenset(key for key in often.tolist() if by_several(senders[keys == key]))


def by_several(senders: npt.NDArray[np.int64]) -> bool:
    """Whether enough different people sent a line; of those nobody knows, each may be another one."""
    return len(np.unique(senders[senders != 0])) + int((senders == 0).sum()) >= AUTHORS
