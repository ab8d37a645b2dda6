"""Discussions in GitHub's answers, for their numbers: no body is read."""

from collections.abc import Mapping
from typing import Any

from bot.core.payload import MAX_NAME, MAX_NUMBER, moment, text, whole
from bot.core.records import Discussion
from bot.github.answers import each

PAGE = 100
"""Discussions a page, the most that GitHub gives."""

MOST_PAGES = 20
"""Pages read for one question: somebody waits for its answer."""

LATEST = """
query($owner:String!,$name:String!,$first:Int!,$after:String){repository(owner:$owner,name:$name){
  discussions(first:$first,after:$after,orderBy:{field:CREATED_AT,direction:DESC}){
    pageInfo{endCursor hasNextPage}
    nodes{
      number title url createdAt upvoteCount
      author{login} category{name isAnswerable} answer{id} comments{totalCount}
    }
  }
}}
"""


def discussions_of(repository: Mapping[str, Any]) -> list[Discussion]:
    """The discussions on one page. Raises KeyError, TypeError for another shape; an odd row is left out."""
    return each((node for node in repository["discussions"]["nodes"] if node), discussion_from)


def discussion_from(node: Mapping[str, Any]) -> Discussion:
    """One discussion. Raises DeadError, LookupError, TypeError, ValueError where it is not as documented."""
    author = node["author"]
    return Discussion(
        number=whole(node["number"], "discussion.number", MAX_NUMBER),
        title=text(node["title"], "discussion.title"),
        url=text(node["url"], "discussion.url"),
        category=text(node["category"]["name"], "discussion.category")[:MAX_NAME],
        answerable=node["category"].get("isAnswerable") is True,
        answered=node["answer"] is not None,
        upvotes=max(int(node["upvoteCount"]), 0),
        comments=max(int(node["comments"]["totalCount"]), 0),
        author=None if author is None else text(author["login"], "discussion.author")[:MAX_NAME],
        created_at=moment(node["createdAt"], "discussion.createdAt"),
    )
