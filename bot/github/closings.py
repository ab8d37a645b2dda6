"""How issues were closed, in GitHub's answers."""

from collections.abc import Mapping, Sequence
from typing import Any

from bot.core.records import Closing
from bot.core.text import sanitise

FIELDS = (
    "number milestone{title} "
    "closedByPullRequestsReferences(first:1,includeClosedPrs:false){nodes{number merged repository{nameWithOwner}}}"
)


def closings_query(numbers: Sequence[int]) -> str:
    """One query about several issues, each under an alias."""
    asked = " ".join(f"i{number}:issue(number:{number}){{{FIELDS}}}" for number in numbers)
    return f"query($owner:String!,$name:String!){{repository(owner:$owner,name:$name){{{asked}}}}}"


def closings_of(repository: Mapping[str, Any], full_name: str) -> dict[int, Closing]:
    """What GitHub says of each issue, those left out of which it says nothing."""
    found = {int(node["number"]): closing_of(node, full_name) for node in repository.values() if node}
    return {number: closing for number, closing in found.items() if closing != Closing(None, None)}


def closing_of(node: Mapping[str, Any], full_name: str) -> Closing:
    """The merged pull request of the same repository, and the milestone."""
    merged = [item for item in node["closedByPullRequestsReferences"]["nodes"] if item and item.get("merged")]
    own = [item for item in merged if item["repository"]["nameWithOwner"].casefold() == full_name.casefold()]
    milestone = (node.get("milestone") or {}).get("title")
    return Closing(int(own[0]["number"]) if own else None, sanitise(milestone) if milestone else None)
