import pytest

from bot.github.marks import marks_of
from bot.sandbox.github import GitHub
from bot.sandbox.server import Sandbox, serve

from .conftest import Reply


def comment(body, association="MEMBER", kind="User"):
    return {"body": body, "authorAssociation": association, "author": {"__typename": kind}}


def mark(number, home="octo/hello", kind="Issue"):
    canonical = {"__typename": kind, "number": number, "repository": {"nameWithOwner": home}}
    return {"__typename": "MarkedAsDuplicateEvent", "canonical": canonical}


UNMARK = {"__typename": "UnmarkedAsDuplicateEvent"}


def page(*nodes, cursor="c", more=False):
    info = {"endCursor": cursor, "hasNextPage": more}
    return {"nameWithOwner": "octo/hello", "issues": {"pageInfo": info, "nodes": list(nodes)}}


def node(number=5, events=(), comments=()):
    return {"number": number, "timelineItems": {"nodes": list(events)}, "comments": {"nodes": list(comments)}}


@pytest.mark.parametrize(
    ("events", "comments", "expected"),
    [
        ([], [], {}),
        ([mark(3)], [], {5: 3}),
        ([mark(3), mark(4)], [], {5: 4}),
        ([mark(3), UNMARK], [comment("Duplicate of #3")], {}),
        ([mark(3, "OCTO/Hello")], [], {5: 3}),
        ([mark(3, "other/repo")], [], {}),
        ([mark(3, kind="PullRequest")], [], {}),
        ([mark(5)], [], {}),
        ([{"__typename": "MarkedAsDuplicateEvent", "canonical": None}], [], {}),
        ([], [comment("Duplicate of #3")], {5: 3}),
        ([], [comment("Duplicate of #3"), comment("Thanks!")], {5: 3}),
        ([], [comment("Duplicate of #3"), comment("Duplicate of #4")], {5: 4}),
        ([], [comment("Duplicate of #3", "NONE")], {}),
        ([], [comment("Duplicate of #3", "CONTRIBUTOR")], {}),
        ([], [comment("Duplicate of #3", kind="Bot")], {}),
        ([], [{"body": "Duplicate of #3", "authorAssociation": "OWNER", "author": None}], {5: 3}),
        ([None], [None], {}),
    ],
)
def test_marks_of(events, comments, expected):
    assert marks_of(page(node(5, events, comments), None)) == expected


async def test_pages_are_followed(server, repository):
    first = page(node(5, [mark(3)]), cursor="one", more=True)
    last = page(node(6, [mark(3)]), cursor="two")
    server.on("POST", "/graphql", *(Reply(body={"data": {"repository": item}}) for item in (first, last)))
    found = [item async for item in repository.duplicate_marks()]
    assert found == [("one", {5: 3}), ("two", {6: 3})]
    assert [seen.data["variables"]["after"] for seen in server.work] == [None, "one"]


async def test_the_sandbox_knows_the_query(app_at):
    sandbox = Sandbox(GitHub())
    async with serve(sandbox) as url:
        home = sandbox.github.create_repository("octo", "hello")
        home.roles["ann"] = "triage"
        for n in range(120):
            sandbox.github.seed_issue(home, f"Issue {n}", state="closed")
        home.issues[7].duplicate_of = 3
        sandbox.github.comment(home, home.issues[100], "ann", "Duplicate of #9")
        sandbox.github.comment(home, home.issues[101], "bob", "Duplicate of #9")
        repository = await app_at(sandbox, url, home)
        marks = {
            number: original
            async for _, found in repository.duplicate_marks()
            for number, original in found.items()
        }
    assert marks == {7: 3, 100: 9}
    assert sandbox.unknown == []
