"""Duplicate marks in GitHub's answers: what people said with GitHub's own button, or in words under a closed issue."""

from collections.abc import Iterator, Mapping
from typing import Any

from bot.core.duplicates import marked_original
from bot.core.text import sanitise

PAGE = 50
"""Issues a page: with ten marks and five comments each it stays far below the 500,000 nodes that a query may touch."""

CLOSED = """
query($owner:String!,$name:String!,$first:Int!,$after:String){repository(owner:$owner,name:$name){
  nameWithOwner
  issues(first:$first,after:$after,states:[CLOSED],orderBy:{field:CREATED_AT,direction:DESC}){
    pageInfo{endCursor hasNextPage}
    nodes{
      number
      timelineItems(last:10,itemTypes:[MARKED_AS_DUPLICATE_EVENT,UNMARKED_AS_DUPLICATE_EVENT]){nodes{
        __typename
        ... on MarkedAsDuplicateEvent{canonical{__typename ... on Issue{number repository{nameWithOwner}}}}
      }}
      comments(last:5){nodes{body authorAssociation author{__typename}}}
    }
  }
}}
"""

TRUSTED = frozenset({"OWNER", "MEMBER", "COLLABORATOR"})
"""Whose words count. A private membership does not show, so some marks are missed; none is counted that should not be."""


def marks_of(repository: Mapping[str, Any]) -> dict[int, int]:
    """The marks on one page of closed issues: number -> original. Raises KeyError, TypeError for another shape."""
    full_name = str(repository["nameWithOwner"])
    found = (
        (int(node["number"]), original_of(node, full_name)) for node in repository["issues"]["nodes"] if node
    )
    return {number: original for number, original in found if original not in (None, number)}


def original_of(node: Mapping[str, Any], full_name: str) -> int | None:
    """What an issue is marked as a duplicate of: the last use of GitHub's button, else the last plain statement."""
    events = [event for event in node["timelineItems"]["nodes"] if event]
    if events:
        return canonical_of(events[-1], full_name)
    return next(stated(node["comments"]["nodes"], full_name), None)


def canonical_of(event: Mapping[str, Any], full_name: str) -> int | None:
    """The original of a mark; None where the mark was taken back, or leads elsewhere."""
    canonical = event.get("canonical") or {}
    if canonical.get("__typename") != "Issue":
        return None
    home = str((canonical.get("repository") or {}).get("nameWithOwner", ""))
    return int(canonical["number"]) if home.casefold() == full_name.casefold() else None


def stated(comments: list[Any], full_name: str) -> Iterator[int]:
    """Originals that people with rights in the repository named, the last statement first; bots' words do not count."""
    for comment in reversed([item for item in comments if item]):
        is_bot = (comment.get("author") or {}).get("__typename") == "Bot"
        if comment.get("authorAssociation") in TRUSTED and not is_bot:
            original = marked_original(sanitise(comment.get("body")), full_name)
            if original is not None:
                yield original
