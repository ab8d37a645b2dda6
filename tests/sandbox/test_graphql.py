import pytest

COUNT = """query($owner: String!, $name: String!) {
  repository(owner: $owner, name: $name) {
    databaseId all: issues { totalCount } open: issues(states: [OPEN]) { totalCount } pullRequests { totalCount }
  }
}"""
CLOSE = """mutation($issue: ID!, $reason: IssueClosedStateReason, $of: ID) {
  closeIssue(input: {issueId: $issue, stateReason: $reason, duplicateIssueId: $of}) { issue { number state stateReason } }
}"""
FIND = 'query($n: Int!) { repository(owner: "ann", name: "tool") { issue(number: $n) { id number state } } }'


async def ask(play, query, token=None, **variables):
    status, body, _ = await play.call("POST", "/graphql", token, {"query": query, "variables": variables})
    assert status == 200  # errors too, as GitHub's
    return body


@pytest.fixture
def issues(play):
    seed = play.github.seed_issue
    return [
        seed(play.open, "a"),
        seed(play.open, "b", state="closed"),
        seed(play.open, "c", is_pull_request=True),
    ]


async def test_issues_are_counted_without_pull_requests(play, issues):
    found = (await ask(play, COUNT, owner="ann", name="tool"))["data"]["repository"]
    assert (found["all"]["totalCount"], found["open"]["totalCount"], found["pullRequests"]["totalCount"]) == (
        2,
        1,
        1,
    )
    assert found["databaseId"] is None  # as GitHub's, where the id does not fit GraphQL's Int


@pytest.mark.parametrize("name", ["none", "secret", "other"])
async def test_what_the_token_does_not_see_is_not_found(play, name):
    body = await ask(play, COUNT, owner="ann", name=name)
    assert body["data"] == {"repository": None}
    assert [error["type"] for error in body["errors"]] == ["NOT_FOUND"]


@pytest.mark.parametrize("number", [3, 9])
async def test_only_issues_are_found_by_number(play, issues, number):
    body = await ask(play, FIND, n=number)
    assert [error["type"] for error in body["errors"]] == ["NOT_FOUND"]
    assert (await ask(play, FIND, n=1))["data"]["repository"]["issue"]["id"] == issues[0].node_id


async def test_an_issue_is_closed_as_a_duplicate(play, issues):
    first, second, _ = issues
    variables = {"issue": first.node_id, "reason": "DUPLICATE", "of": second.node_id}
    body = await ask(play, CLOSE, **variables)
    assert body["data"]["closeIssue"]["issue"] == {"number": 1, "state": "CLOSED", "stateReason": "DUPLICATE"}
    assert (first.state, first.state_reason, first.duplicate_of) == ("closed", "duplicate", 2)
    assert ("issues", "closed") in await play.sent()


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"issue": "I_1"}, "NOT_FOUND"),
        ({"of": "I_1"}, "NOT_FOUND"),
        ({"reason": "COMPLETED"}, "UNPROCESSABLE"),
        ({"reason": None}, "UNPROCESSABLE"),
    ],
)
async def test_a_close_that_github_refuses_changes_nothing(play, issues, change, kind):
    variables = {"issue": issues[0].node_id, "reason": "DUPLICATE", "of": issues[1].node_id} | change
    body = await ask(play, CLOSE, **variables)
    assert [error["type"] for error in body["errors"]] == [kind]
    assert (issues[0].state, issues[0].duplicate_of) == ("open", None)


async def test_a_close_needs_the_permission(play, issues):
    body = await ask(play, CLOSE, play.token(issues="read"), issue=issues[0].node_id)
    assert [error["type"] for error in body["errors"]] == ["FORBIDDEN"]
    assert issues[0].state == "open"


async def test_an_issue_outside_the_token_cannot_be_closed(play):
    hidden = play.github.seed_issue(play.secret, "hidden")
    body = await ask(play, CLOSE, issue=hidden.node_id)
    assert [error["type"] for error in body["errors"]] == ["NOT_FOUND"]
    assert hidden.state == "open"


@pytest.mark.parametrize(
    "query",
    ['{ repository(owner: "ann", name: "tool") { issueCount } }', "{", "", "mutation { deleteIssue }"],
)
async def test_a_misspelt_query_is_an_error(play, query):
    body = await ask(play, query)
    assert body["data"] is None
    assert "type" not in body["errors"][0]
    assert body["errors"][0]["message"]


async def test_nobody_asks_without_a_token(play):
    assert await play.status("POST", "/graphql", "", {"query": "{ x }"}) == 401
    assert await play.status("POST", "/graphql", play.jwt(), {"query": "{ x }"}) == 401


TALKS = """query($after: String) { repository(owner: "ann", name: "tool") {
  discussions(first: 2, after: $after, orderBy: {field: CREATED_AT, direction: DESC}) {
    totalCount pageInfo { endCursor hasNextPage } nodes { number title category { name isAnswerable } answer { id } author { login } } } } }"""


async def test_discussions_need_their_permission(play):
    body = await ask(play, TALKS, play.token(issues="write"))
    assert [error["type"] for error in body["errors"]] == ["FORBIDDEN"]


async def test_discussions_come_latest_first(play):
    for n in range(3):
        play.github.seed_discussion(play.open, f"Talk {n}", category="Q&A", answerable=True)
    first = (await ask(play, TALKS))["data"]["repository"]["discussions"]
    assert (first["totalCount"], first["pageInfo"]["hasNextPage"]) == (3, True)
    assert [node["title"] for node in first["nodes"]] == ["Talk 2", "Talk 1"]
    rest = (await ask(play, TALKS, after=first["pageInfo"]["endCursor"]))["data"]["repository"]["discussions"]
    assert rest["nodes"] == [
        {"number": 1, "title": "Talk 0", "category": {"name": "Q&A", "isAnswerable": True}, "answer": None, "author": {"login": "someone"}}
    ]  # fmt: skip
    assert rest["pageInfo"]["hasNextPage"] is False
