"""Named places at which a test ends the process, as a kill at that very line would. In production nobody listens."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

POINTS: Mapping[str, str] = MappingProxyType(
    {
        "delivery-written": "a delivery and its job are written, and not committed",
        "delivery-committed": "they are committed, and GitHub has no answer yet",
        "job-claimed": "a job is leased, and nothing of it was done",
        "issue-stored": "an issue is stored, and has no vectors",
        "issue-indexed": "its vectors are stored and in Chroma",
        "issue-ranked": "earlier issues are ranked, and nothing is recorded",
        "suggestion-recorded": "the suggestion is recorded, and nothing was said",
        "effect-wanted": "a comment is decided on, and has no row",
        "effect-intended": "its row says intent",
        "effect-sending": "its row says sending, and nothing was sent",
        "effect-posted": "GitHub has the comment, and its row does not know",
        "effect-done": "the row knows, and the rest of the job is not done",
        "effect-found": "the look-up found the comment of a lost answer, and its row does not know",
        "effect-missed": "the look-up found nothing, and nothing was sent again",
        "effect-edited": "GitHub has the new text of a comment, and its row does not know",
        "job-run": "a job did all it had to, and is still leased",
        "job-settled": "the job is done, and nobody has counted it",
    }
)
"""What is true at each place."""

hook: Callable[[str], None] | None = None
"""Called with the name of each place that is passed. Only tests set it."""


def point(name: str) -> None:
    """A place of `POINTS` is passed."""
    if hook is not None:
        hook(name)
