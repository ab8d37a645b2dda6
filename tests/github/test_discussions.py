from datetime import UTC, datetime, timedelta

import pytest

from bot.core.errors import GitHubUnavailableError, PermissionMissingError
from bot.github.discussions import MOST_PAGES
from bot.sandbox.github import GitHub
from bot.sandbox.server import Sandbox, serve

from .conftest import Reply

START = datetime(2025, 8, 1, tzinfo=UTC)


def node(number, day=1, **changes):
    values = {
        "number": number, "title": "t\x00", "url": f"https://x/{number}", "createdAt": f"2025-08-{day:02}T10:00:00Z", "upvoteCount": 3,
        "author": {"login": "ann"}, "category": {"name": "Q&A", "isAnswerable": True}, "answer": None, "comments": {"totalCount": 2},
    }  # fmt: skip
    return values | changes


def page(*nodes, cursor="c", more=False):
    info = {"endCursor": cursor, "hasNextPage": more}
    return Reply(body={"data": {"repository": {"discussions": {"pageInfo": info, "nodes": list(nodes)}}}})


async def pages_of(repository, since=START):
    return [[item.number for item in found] async for found in repository.discussions(since)]


async def test_pages_are_followed_until_one_is_older(server, repository):
    server.on("POST", "/graphql", page(node(9, 9), cursor="one", more=True), page(node(8, 8), node(7, 1), more=True), page(node(1)))  # fmt: skip
    assert await pages_of(repository, START + timedelta(days=5)) == [[9], [8]]
    assert [seen.data["variables"]["after"] for seen in server.work] == [None, "one"]
    assert server.minted[-1]["permissions"] == {"discussions": "read", "metadata": "read"}


async def test_pages_without_end_are_not_followed_for_ever(server, repository):
    server.on("POST", "/graphql", page(node(9), cursor="same", more=True))
    assert len(await pages_of(repository)) == MOST_PAGES


async def test_an_odd_row_is_left_out(server, repository):
    odd = (None, {}, node(0), node(2, author="ann"), node(3, createdAt="yesterday"), node(4, category=None))
    server.on("POST", "/graphql", page(*odd, node(5, author=None, answer={"id": "x"}, upvoteCount=-1)))
    [[found]] = [items async for items in repository.discussions(START)]
    assert (found.number, found.author, found.answered, found.upvotes, found.title) == (5, None, True, 0, "t\ufffd")  # fmt: skip


@pytest.mark.parametrize("answer", [{"data": {}}, {"data": {"repository": {"discussions": {"nodes": []}}}}])
async def test_another_answer_is_none(server, repository, answer):
    server.on("POST", "/graphql", Reply(body=answer))
    with pytest.raises(GitHubUnavailableError):
        await pages_of(repository)


async def test_the_sandbox_knows_the_query(app_at):
    sandbox = Sandbox(GitHub())
    async with serve(sandbox) as url:
        home = sandbox.github.create_repository("octo", "hello")
        for n in range(250):
            sandbox.github.seed_discussion(home, f"Talk {n}", created_at=START + timedelta(minutes=n))
        sandbox.github.seed_discussion(
            home, "Ask", None, category="Q&A", answerable=True, answer="So.", upvotes=7, comments=2
        )
        repository = await app_at(sandbox, url, home)
        found = [item async for items in repository.discussions(START) for item in items]
        assert len(found) == 251
        assert (found[0].title, found[0].author, found[0].answered, found[0].answerable) == ("Ask", None, True, True)  # fmt: skip
        assert (found[0].upvotes, found[0].comments, found[0].category) == (7, 2, "Q&A")
        assert found[0].url == f"{url}/octo/hello/discussions/251"
        later = [item async for items in repository.discussions(START + timedelta(minutes=200)) for item in items]  # fmt: skip
        assert len(later) == 51
    assert sandbox.unknown == []


async def test_without_the_permission_it_is_refused(app_at):
    sandbox = Sandbox(GitHub())
    async with serve(sandbox) as url:
        home = sandbox.github.create_repository("octo", "hello")
        repository = await app_at(sandbox, url, home)
        [installation] = sandbox.github.world.installations.values()
        del installation.permissions["discussions"]
        with pytest.raises(PermissionMissingError):
            await pages_of(repository)
