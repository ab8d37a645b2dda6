import pytest

from bot.core.errors import InvalidRequestError
from bot.core.records import Closing
from bot.github.closings import closings_of
from bot.sandbox.github import GitHub
from bot.sandbox.server import Sandbox, serve

from .conftest import Reply


def node(number, pull=None, milestone=None, *, home="octo/hello", merged=True):
    pulls = [{"number": pull, "merged": merged, "repository": {"nameWithOwner": home}}] if pull else []
    title = {"title": milestone} if milestone else None
    return {"number": number, "milestone": title, "closedByPullRequestsReferences": {"nodes": pulls}}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (node(5), {}),
        (node(5, 91), {5: Closing(91, None)}),
        (node(5, None, "v1.4"), {5: Closing(None, "v1.4")}),
        (node(5, 91, "v1.4"), {5: Closing(91, "v1.4")}),
        (node(5, 91, home="other/repo"), {}),
        (node(5, 91, merged=False), {}),
        (None, {}),
    ],
)
def test_closings_of(found, expected):
    assert closings_of({"i5": found}, "octo/hello") == expected


async def test_nothing_is_asked_about_nothing(server, repository):
    assert await repository.closings([]) == {}
    assert server.work == []


async def test_an_older_server_is_an_error(server, repository):
    errors = [{"message": "Field does not exist", "extensions": {"code": "undefinedField"}}]
    server.on("POST", "/graphql", Reply(body={"errors": errors}))
    with pytest.raises(InvalidRequestError):
        await repository.closings([5])


async def test_the_sandbox_knows_the_query(app_at):
    sandbox = Sandbox(GitHub())
    async with serve(sandbox) as url:
        home = sandbox.github.create_repository("octo", "hello")
        sandbox.github.seed_issue(home, "Fixed", state="closed", closed_by=91, milestone="v1.4")
        sandbox.github.seed_issue(home, "Open")
        repository = await app_at(sandbox, url, home)
        assert await repository.closings([1, 2]) == {1: Closing(91, "v1.4")}
