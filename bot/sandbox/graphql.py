"""The part of GitHub's GraphQL schema that Deja View asks, run by a real GraphQL engine: a misspelt field is an error."""

from typing import Any

from aiohttp import web
from graphql import GraphQLError, build_schema, graphql_sync

from bot.sandbox.access import github_of, require_token
from bot.sandbox.rest import body_of
from bot.sandbox.state import Comment, Discussion, Issue, NoSuchError, Repository
from bot.sandbox.tokens import Token

SCHEMA = build_schema(
    """
    type Query { repository(owner: String!, name: String!, followRenames: Boolean): Repository }
    type Repository {
      id: ID!
      databaseId: Int
      nameWithOwner: String!
      issues(states: [IssueState!], first: Int, after: String, orderBy: IssueOrder): IssueConnection!
      pullRequests: Connection!
      discussions(first: Int, after: String, orderBy: DiscussionOrder): DiscussionConnection!
      issue(number: Int!): Issue
    }
    type Connection { totalCount: Int! }
    type IssueConnection { totalCount: Int!, pageInfo: PageInfo!, nodes: [Issue] }
    type PageInfo { endCursor: String, hasNextPage: Boolean! }
    input IssueOrder { field: IssueOrderField!, direction: OrderDirection! }
    enum IssueOrderField { CREATED_AT UPDATED_AT COMMENTS }
    type DiscussionConnection { totalCount: Int!, pageInfo: PageInfo!, nodes: [Discussion] }
    input DiscussionOrder { field: DiscussionOrderField!, direction: OrderDirection! }
    enum DiscussionOrderField { CREATED_AT UPDATED_AT }
    type DiscussionCategory { name: String!, isAnswerable: Boolean! }
    type DiscussionComment { id: ID!, body: String! }
    type Discussion {
      number: Int!
      title: String!
      url: String!
      createdAt: String!
      upvoteCount: Int!
      author: Actor
      category: DiscussionCategory!
      answer: DiscussionComment
      comments: Connection!
    }
    enum OrderDirection { ASC DESC }
    enum IssueState { OPEN CLOSED }
    enum CommentAuthorAssociation { OWNER MEMBER COLLABORATOR CONTRIBUTOR NONE }
    enum IssueTimelineItemsItemType { MARKED_AS_DUPLICATE_EVENT UNMARKED_AS_DUPLICATE_EVENT CLOSED_EVENT }
    interface Actor { login: String! }
    type User implements Actor { login: String! }
    type Bot implements Actor { login: String! }
    type IssueComment { body: String!, authorAssociation: CommentAuthorAssociation!, author: Actor }
    type IssueCommentConnection { nodes: [IssueComment] }
    type MarkedAsDuplicateEvent { canonical: IssueOrPullRequest, isCrossRepository: Boolean! }
    type UnmarkedAsDuplicateEvent { isCrossRepository: Boolean! }
    type PullRequest { number: Int!, merged: Boolean!, repository: Repository! }
    type PullRequestConnection { nodes: [PullRequest] }
    type Milestone { title: String! }
    union IssueOrPullRequest = Issue | PullRequest
    union IssueTimelineItems = MarkedAsDuplicateEvent | UnmarkedAsDuplicateEvent
    type IssueTimelineItemsConnection { nodes: [IssueTimelineItems] }
    enum IssueClosedStateReason { COMPLETED NOT_PLANNED DUPLICATE }
    type Issue {
      id: ID!
      number: Int!
      state: IssueState!
      stateReason: String
      repository: Repository!
      comments(first: Int, last: Int): IssueCommentConnection!
      milestone: Milestone
      closedByPullRequestsReferences(first: Int, includeClosedPrs: Boolean): PullRequestConnection
      timelineItems(first: Int, last: Int, itemTypes: [IssueTimelineItemsItemType!]): IssueTimelineItemsConnection!
    }
    input CloseIssueInput { issueId: ID!, stateReason: IssueClosedStateReason, duplicateIssueId: ID, clientMutationId: String }
    type CloseIssuePayload { issue: Issue, clientMutationId: String }
    type Mutation { closeIssue(input: CloseIssueInput!): CloseIssuePayload }
    """
)


def failure(kind: str, message: str) -> GraphQLError:
    """An error with GitHub's `type` beside its message."""
    return GraphQLError(message, extensions={"type": kind})


class Root:
    """Resolves the fields of both root types for one token."""

    def __init__(self, request: web.Request, token: Token) -> None:
        """Everything is seen through the token."""
        self._github, self._token = github_of(request), token

    def repository(self, _info: Any, owner: str, name: str, **_: Any) -> dict[str, Any]:
        """A repository by name."""
        found = self._github.world.named(f"{owner}/{name}")
        if found is None or not self._token.sees(found.id):
            raise failure("NOT_FOUND", f"Could not resolve to a Repository with the name '{owner}/{name}'.")
        return {
            "id": f"R_{found.id}",
            "databaseId": None if found.id >= 2**31 else found.id,
            "nameWithOwner": found.full_name,
            "issues": lambda _info, **asked: connection(found, **asked),
            "pullRequests": {"totalCount": sum(item.is_pull_request for item in found.issues.values())},
            "discussions": lambda _info, **asked: self._discussions(found, **asked),
            "issue": lambda _info, number: self._issue(found, number),
        }

    def _discussions(
        self, repository: Repository, first: int = 0, after: str | None = None, **_: Any
    ) -> dict[str, Any]:
        if not self._token.allows("discussions", "read"):
            raise failure("FORBIDDEN", "Resource not accessible by integration")
        listed = sorted(repository.discussions, key=lambda item: (item.created_at, item.number), reverse=True)
        start = int(after) if after else 0
        page = listed[start : start + first]
        address = f"{self._github.url}/{repository.full_name}/discussions"
        return {
            "totalCount": len(listed),
            "pageInfo": {"endCursor": str(start + len(page)), "hasNextPage": start + len(page) < len(listed)},
            "nodes": [discussed(item, address) for item in page],
        }

    def _issue(self, repository: Repository, number: int) -> dict[str, Any]:
        issue = repository.issues.get(number)
        if issue is None or issue.is_pull_request:
            raise failure("NOT_FOUND", f"Could not resolve to an Issue with the number of {number}.")
        return shown(repository, issue)

    def closeIssue(self, _info: Any, input: dict[str, Any]) -> dict[str, Any]:  # noqa: A002, N802  # GitHub's names
        """Close an issue, as a duplicate of another one where that is said."""
        repository, issue = self._find(input["issueId"])
        if not self._token.allows("issues", "write"):
            raise failure("FORBIDDEN", "Resource not accessible by integration")
        reason = str(input.get("stateReason") or "COMPLETED").lower()
        if input.get("duplicateIssueId"):
            if reason != "duplicate":
                raise failure("UNPROCESSABLE", "duplicateIssueId needs the state reason DUPLICATE")
            issue.duplicate_of = self._find(input["duplicateIssueId"])[1].number
        self._github.close_issue(repository, issue, self._token.installation.app.bot, reason)
        return {"issue": shown(repository, issue)}

    def _find(self, node_id: str) -> tuple[Repository, Issue]:
        try:
            repository, issue = self._github.world.issue_by_node(node_id)
        except NoSuchError:
            raise failure(
                "NOT_FOUND", f"Could not resolve to a node with the global id of '{node_id}'"
            ) from None
        if not self._token.sees(repository.id):
            raise failure("NOT_FOUND", f"Could not resolve to a node with the global id of '{node_id}'")
        return repository, issue


def connection(
    repository: Repository,
    states: list[str] | None = None,
    first: int = 0,
    after: str | None = None,
    orderBy: dict[str, str] | None = None,  # noqa: N803  # GitHub's name
) -> dict[str, Any]:
    """Issues, the latest first where that is asked, from behind a cursor."""
    wanted = [state.lower() for state in states or ("OPEN", "CLOSED")]
    listed = [
        item for item in repository.issues.values() if item.state in wanted and not item.is_pull_request
    ]
    listed.sort(key=lambda item: item.number, reverse=(orderBy or {}).get("direction") == "DESC")
    start = int(after) if after else 0
    page = listed[start : start + first]
    return {
        "totalCount": len(listed),
        "pageInfo": {"endCursor": str(start + len(page)), "hasNextPage": start + len(page) < len(listed)},
        "nodes": [shown(repository, item) for item in page],
    }


def shown(repository: Repository, issue: Issue) -> dict[str, Any]:
    """An issue as GraphQL names its fields."""
    return {
        "__typename": "Issue",
        "id": issue.node_id,
        "number": issue.number,
        "state": issue.state.upper(),
        "stateReason": (issue.state_reason or "").upper() or None,
        "repository": {"nameWithOwner": repository.full_name},
        "milestone": {"title": issue.milestone} if issue.milestone else None,
        "closedByPullRequestsReferences": lambda _info, **_: {"nodes": closers(repository, issue)},
        "comments": lambda _info, last=0, **_: {
            "nodes": [said(repository, item) for item in issue.comments[-last:]]
        },
        "timelineItems": lambda _info, **_: {"nodes": marked(repository, issue)},
    }


def discussed(item: Discussion, address: str) -> dict[str, Any]:
    """A discussion as GraphQL names its fields."""
    return {
        "number": item.number,
        "title": item.title,
        "url": f"{address}/{item.number}",
        "createdAt": item.created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "upvoteCount": item.upvotes,
        "author": {"__typename": "User", "login": item.author.login} if item.author else None,
        "category": {"name": item.category, "isAnswerable": item.answerable},
        "answer": {"id": f"DC_{item.id}", "body": item.answer} if item.answer is not None else None,
        "comments": {"totalCount": item.comments},
    }


def closers(repository: Repository, issue: Issue) -> list[dict[str, Any]]:
    """The merged pull request that closed an issue."""
    if issue.closed_by is None:
        return []
    return [
        {"number": issue.closed_by, "merged": True, "repository": {"nameWithOwner": repository.full_name}}
    ]


def said(repository: Repository, comment: Comment) -> dict[str, Any]:
    """A comment, with what its author is to the repository."""
    author = comment.author
    role = repository.roles.get(author.login, "none") if author else "none"
    association = (
        "OWNER" if role == "admin" else "COLLABORATOR" if role in ("triage", "write", "maintain") else "NONE"
    )
    kind = "Bot" if author and author.kind == "Bot" else "User"
    shown_author = {"__typename": kind, "login": author.login} if author else None
    return {"body": comment.body, "authorAssociation": association, "author": shown_author}


def marked(repository: Repository, issue: Issue) -> list[dict[str, Any]]:
    """The mark as a duplicate, where there is one."""
    original = repository.issues.get(issue.duplicate_of or 0)
    if original is None:
        return []
    canonical = {
        "__typename": "Issue",
        "number": original.number,
        "repository": {"nameWithOwner": repository.full_name},
    }
    return [{"__typename": "MarkedAsDuplicateEvent", "canonical": canonical, "isCrossRepository": False}]


async def graphql(request: web.Request) -> web.Response:
    """`POST /graphql`: errors come with status 200, as GitHub's do."""
    token, body = require_token(request), await body_of(request)
    result = graphql_sync(
        SCHEMA, str(body.get("query", "")), Root(request, token), variable_values=body.get("variables") or {}
    )
    answer: dict[str, Any] = {"data": result.data}
    if result.errors:
        answer["errors"] = [formatted(error) for error in result.errors]
    return web.json_response(answer)


def formatted(error: GraphQLError) -> dict[str, Any]:
    """GitHub puts its `type` beside the message, and `extensions.code` on errors of the query itself."""
    kind = (error.extensions or {}).get("type")
    more = {"type": kind} if kind else {"extensions": {"code": "undefinedField"}}
    return {"message": error.message, **more}
