"""One repository on GitHub, by the documented REST and GraphQL calls.

Addresses hold the repository's name, because GitHub documents no others, and redirects are never followed. Each token is
scoped to the repository's id, so that a name which somebody else took since opens nothing.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog

from bot.core.errors import GitHubError, InvalidRequestError, NotFoundError, PermissionMissingError
from bot.core.pace import Kind
from bot.core.payload import comment_from, issue_from, repository_name_from
from bot.core.ports import ConfigFile, Written
from bot.core.records import (
    AppIdentity,
    Closing,
    Comment,
    Discussion,
    Issue,
    Repository,
    RepositoryName,
    Role,
)
from bot.github.access import Access
from bot.github.answers import config_file_from, each, part, role_from, usable
from bot.github.client import NOTHING, Answer, Request
from bot.github.closings import closings_of, closings_query
from bot.github.discussions import LATEST, MOST_PAGES, discussions_of
from bot.github.discussions import PAGE as DISCUSSIONS_PAGE
from bot.github.errors import UnsupportedQueryError
from bot.github.marks import CLOSED, PAGE, marks_of
from bot.github.pages import pages
from bot.github.tokens import Purpose

log = structlog.get_logger()

CONFIG_PATH = ".github/deja-view.yml"

ISSUE = "/issues/{number}"
COMMENT = "/issues/comments/{comment}"

NO_GRAPHQL = (404, 405, 501)
"""Statuses of a server, or a proxy before it, that has no GraphQL at all: GraphQL's own errors come with 200."""

COUNT_ISSUES = "query($owner:String!,$name:String!){repository(owner:$owner,name:$name){issues{totalCount}}}"
COUNT_ALL = (
    "query($owner:String!,$name:String!)"
    "{repository(owner:$owner,name:$name){issues{totalCount} pullRequests{totalCount}}}"
)
NODE_IDS = (
    "query($owner:String!,$name:String!,$number:Int!,$of:Int!)"
    "{repository(owner:$owner,name:$name){issue(number:$number){id} of:issue(number:$of){id}}}"
)
CLOSE = (
    "mutation($issue:ID!,$of:ID!)"
    "{closeIssue(input:{issueId:$issue,stateReason:DUPLICATE,duplicateIssueId:$of}){issue{id}}}"
)


@dataclass(frozen=True, slots=True)
class GitHubRepository:
    """One repository, through tokens scoped to its id; `identity` says who we are. See `ports.RepositoryGitHub`."""

    access: Access
    repository: Repository
    identity: Callable[[], Awaitable[AppIdentity]]

    async def issue(self, number: int) -> Issue:
        """One issue, fresh."""
        answer = await self._get(ISSUE, number=number)
        return usable(lambda: issue_from(answer.data, self.repository.id))

    async def issues(self, *, state: str, page: int) -> AsyncIterator[tuple[int, list[Issue]]]:
        """Issues and, where the installation lets us see them, pull requests, most recently updated first."""
        values = {"state": state, "sort": "updated", "direction": "desc"}
        path = self._path("/issues{?state,sort,direction,per_page,page,after}")
        async for number, rows in pages(self._history, path, self._values(**values), first=page):
            yield number, list(each(rows, lambda row: issue_from(row, self.repository.id)))

    async def issues_since(self, since: datetime | None) -> AsyncIterator[list[Issue]]:
        """What changed since then, least recently first: what changes meanwhile comes again at the end."""
        values = {"state": "all", "sort": "updated", "direction": "asc"} | (
            {"since": stamp(since)} if since else {}
        )
        path = self._path("/issues{?state,sort,direction,since,per_page,page,after}")
        async for _, rows in pages(self._history, path, self._values(**values)):
            yield list(each(rows, lambda row: issue_from(row, self.repository.id)))

    async def issue_count(self, *, pull_requests: bool) -> int:
        """How many issues (and pull requests, where we may see them) the repository has in all."""
        if pull_requests:
            try:
                return await self._count(COUNT_ALL, "issues", "pullRequests", purpose=Purpose.HISTORY)
            except PermissionMissingError:
                pass  # an installation that has not granted it still has issues
        return await self._count(COUNT_ISSUES, "issues", purpose=Purpose.WORK)

    async def comment(self, number: int, body: str) -> int:
        """Post a comment; returns its id."""
        answer = await self._write("POST", ISSUE + "/comments", {"body": body}, Kind.COMMENT, number=number)
        return usable(lambda: int(answer.data["id"]), sent=True)

    async def edit_comment(self, comment_id: int, body: str) -> None:
        """Replace a comment's body."""
        await self._write("PATCH", COMMENT, {"body": body}, comment=comment_id)

    async def own_comments(self, number: int, since: datetime) -> list[Written]:
        """Comments that our App wrote, or changed, on an issue since then."""
        path = self._path(ISSUE + "/comments{?since,per_page,page,after}")
        return await self._written(path, "id", self._values(number=number, since=stamp(since)))

    async def open_issue(self, title: str, body: str) -> int:
        """Open an issue; returns its number."""
        answer = await self._write("POST", "/issues", {"title": title, "body": body}, Kind.COMMENT)
        return usable(lambda: int(answer.data["number"]), sent=True)

    async def own_issues(self, since: datetime) -> list[Written]:
        """Issues that our App opened, and that changed since then."""
        path = self._path("/issues{?creator,state,since,per_page,page,after}")
        creator = (await self.identity()).login
        return await self._written(
            path, "number", self._values(creator=creator, state="all", since=stamp(since))
        )

    async def get_comment(self, comment_id: int) -> Comment:
        """One comment, fresh."""
        answer = await self._get(COMMENT, comment=comment_id)
        return usable(lambda: comment_from(answer.data))

    async def react(self, comment_id: int, content: str) -> None:
        """Add a reaction to a comment; fine where it is there already."""
        await self._write("POST", COMMENT + "/reactions", {"content": content}, comment=comment_id)

    async def thumbs_down(self, comment_id: int) -> list[tuple[int, str]]:
        """Who gave 👎 to a comment: (user id, login), bots and deleted users left out."""
        path = self._path(COMMENT + "/reactions{?content,per_page,page,after}")
        people: list[tuple[int, str]] = []
        async for _, rows in pages(self.access.send, path, self._values(comment=comment_id, content="-1")):
            # Servers that do not know the filter give all reactions.
            users = [
                row["user"]
                for row in rows
                if row.get("content") == "-1" and isinstance(row.get("user"), dict)
            ]
            people += each((user for user in users if user.get("type") != "Bot"), person_from)
        return people

    async def role(self, login: str) -> Role:
        """What a person may do here, asked of GitHub now."""
        try:
            answer = await self._get("/collaborators/{login}/permission", login=login)
        except NotFoundError:
            return Role.NONE
        return role_from(answer.data)

    async def add_labels(self, number: int, labels: Sequence[str]) -> None:
        """Add labels, keeping the others."""
        await self._write("POST", ISSUE + "/labels", {"labels": list(labels)}, number=number)

    async def remove_label(self, number: int, label: str) -> None:
        """Take one label off; fine where it is not there."""
        with suppress(NotFoundError):
            await self._write("DELETE", ISSUE + "/labels/{label}", number=number, label=label)

    async def close_as_duplicate(self, number: int, of: int) -> None:
        """Close with the reason duplicate, marked as a duplicate of `of` where the server knows such a mark.

        Older Enterprise Servers know neither the mark nor the reason: there it is closed as not planned.
        """
        try:
            ids = await self._graphql(Kind.READ, NODE_IDS, self._names(number=number, of=of))
            found = {
                "issue": part(ids, "repository", "issue", "id"),
                "of": part(ids, "repository", "of", "id"),
            }
            await self._graphql(Kind.WRITE, CLOSE, found)
        except GitHubError as error:
            if not isinstance(error, UnsupportedQueryError) and error.status not in NO_GRAPHQL:
                raise
            await self._close(number)

    async def discussions(self, since: datetime) -> AsyncIterator[list[Discussion]]:
        """Discussions created since then, latest first, a page at a time, `MOST_PAGES` at the most."""
        following: str | None = None
        for _ in range(MOST_PAGES):
            variables = {**self._names(), "first": DISCUSSIONS_PAGE, "after": following}
            data = await self._graphql(Kind.READ, LATEST, variables, Purpose.DISCUSSIONS)
            found = part(data, "repository")
            info = part(found, "discussions", "pageInfo")
            page = usable(partial(discussions_of, found))
            yield [item for item in page if item.created_at >= since]
            following = info.get("endCursor")
            if not info.get("hasNextPage") or not following or (page and page[-1].created_at < since):
                return
        log.warning("discussions_cut", repository_id=self.repository.id, pages=MOST_PAGES)

    async def duplicate_marks(self, after: str | None = None) -> AsyncIterator[tuple[str, dict[int, int]]]:
        """What people marked among closed issues, latest first, from that cursor on: (next cursor, marks)."""
        following: str | None = after
        while True:
            variables = {**self._names(), "first": PAGE, "after": following}
            found = part(await self._graphql(Kind.READ, CLOSED, variables, Purpose.HISTORY), "repository")
            info = part(found, "issues", "pageInfo")
            following = info.get("endCursor") or ""
            yield following, usable(partial(marks_of, found))
            if not info.get("hasNextPage") or not following:
                return

    async def closings(self, numbers: Sequence[int]) -> dict[int, Closing]:
        """By which pull request, or under which milestone, issues were closed."""
        if not numbers:
            return {}
        data = await self._graphql(Kind.READ, closings_query(numbers), self._names(), Purpose.HISTORY)
        return usable(partial(closings_of, part(data, "repository"), self.repository.full_name))

    async def config_file(self) -> ConfigFile | None:
        """The repository's config on its default branch, read with a token for that alone; None if absent."""
        request = Request(Kind.READ, "GET", self._path("/contents/" + CONFIG_PATH), self._values())
        try:
            answer = await self.access.send(request, Purpose.CONFIG)
        except NotFoundError:
            return None
        return usable(lambda: config_file_from(answer.data))

    async def name(self) -> RepositoryName:
        """What the repository is called now: the one that a token scoped to its id lists.

        Raises NotFoundError where the installation sees it no more.
        """
        answer = await self.access.send(
            Request(Kind.READ, "GET", "installation/repositories"), Purpose.LISTING
        )
        names = each(part(answer.data, "repositories"), repository_name_from)
        for name in names:
            if name.id == self.repository.id:
                return name
        raise NotFoundError("the installation does not see the repository any more")

    async def _get(self, path: str, **values: str | int) -> Answer:
        return await self.access.send(Request(Kind.READ, "GET", self._path(path), self._values(**values)))

    async def _write(
        self, method: str, path: str, data: Any = NOTHING, kind: Kind = Kind.WRITE, /, **values: str | int
    ) -> Answer:
        return await self.access.send(Request(kind, method, self._path(path), self._values(**values), data))

    async def _history(self, request: Request) -> Answer:
        """Read with the right to see pull requests too, without it where the installation has not granted it."""
        try:
            return await self.access.send(request, Purpose.HISTORY)
        except PermissionMissingError:
            return await self.access.send(request)

    async def _written(self, path: str, key: str, values: dict[str, str | int]) -> list[Written]:
        app = await self.identity()
        written: list[Written] = []
        async for _, rows in pages(self.access.send, path, values):
            ours = (row for row in rows if wrote(app, row))
            written += each(ours, lambda row: Written(int(row[key]), row.get("body") or ""))
        return written

    async def _count(self, query: str, *kinds: str, purpose: Purpose) -> int:
        data = await self._graphql(Kind.READ, query, self._names(), purpose)
        return usable(lambda: sum(int(part(data, "repository", kind, "totalCount")) for kind in kinds))

    async def _close(self, number: int) -> None:
        closed = {"state": "closed", "state_reason": "duplicate"}
        try:
            await self._write("PATCH", ISSUE, closed, number=number)
        except InvalidRequestError:
            await self._write("PATCH", ISSUE, closed | {"state_reason": "not_planned"}, number=number)

    async def _graphql(
        self, kind: Kind, query: str, variables: dict[str, Any], purpose: Purpose = Purpose.WORK
    ) -> Any:
        """The `data` of GraphQL's answer; an answer with errors is raised as one before it gets here."""
        body = {"query": query, "variables": variables}
        answer = await self.access.send(
            Request(kind, "POST", self.access.wire.api.graphql_url, data=body), purpose
        )
        return part(answer.data, "data")

    def _names(self, **more: int) -> dict[str, Any]:
        return {"owner": self.repository.owner, "name": self.repository.name, **more}

    def _values(self, **more: str | int) -> dict[str, str | int]:
        return {"owner": self.repository.owner, "repo": self.repository.name, **more}

    @staticmethod
    def _path(rest: str) -> str:
        return "repos/{owner}/{repo}" + rest


def stamp(moment: datetime) -> str:
    """A time as GitHub's `since` takes it; rounded down, so that nothing is missed."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def wrote(app: AppIdentity, row: Any) -> bool:
    """Whether our App wrote a comment or an issue.

    GitHub does not fill in `performed_via_github_app` everywhere; nobody else can have a login with `[bot]` in it.
    """
    via, user = row.get("performed_via_github_app"), row.get("user")
    if isinstance(via, dict) and via.get("id") is not None:
        return bool(via["id"] == app.id)
    return isinstance(user, dict) and user.get("login") == app.login


def person_from(user: Any) -> tuple[int, str]:
    """The id and the login of a user."""
    return int(user["id"]), str(user["login"])
