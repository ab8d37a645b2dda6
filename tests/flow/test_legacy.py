"""The parent's API, asked by a client that was written from the page about it alone."""

import io
from dataclasses import replace
from datetime import timedelta

import aiohttp
import pytest

from bot.core.access import NewApiKey
from bot.core.api_keys import digest, mint
from bot.core.principal import Scope
from bot.core.records import RepositoryState
from bot.web import legacy
from storage.accounts import Accounts
from storage.api_keys import ApiKeys
from tests.flow.conftest import REPORTS
from tests.legacy_client import Client, RefusedError


@pytest.fixture
async def session():
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=100)) as session:
        yield session


@pytest.fixture
async def stage(open_stage):
    stage = await open_stage()
    await stage.install(stage.new_repository())
    return stage


async def client_of(stage, session, scope=Scope.ADMIN, account_id=None, repository_id=None):
    """A client with a new API key; the service is one whose model is loaded."""
    text = mint()
    new = NewApiKey(text.id, "test", digest(text.secret), scope, repository_id)
    await ApiKeys(stage.database).add(account_id or stage.repository.owner.id, new)
    await stage.until(lambda: stage.process.search.loaded is not None, "the model")
    return Client(session, f"http://127.0.0.1:{stage.process.port}", text.text)


async def refused(call):
    """The error of a call that is not answered with 200."""
    with pytest.raises(RefusedError) as caught:
        await call
    return caught.value


async def test_a_morning_with_the_parents_api(stage, session):
    client = await client_of(stage, session)
    await stage.github.hooks.settled()
    assert await Client(session, client.url).health() == {
        "status": "healthy",
        "version": (await client.health())["version"],
        "service": "github-issues-similarity",
    }
    assert (await client.welcome())["docs"] == "/docs"

    stage.github.seed_issue(stage.repository, f"{REPORTS[0][0]} again", REPORTS[0][1], labels=["bug"])
    found = await client.index("octo", "app", max_issues=200, include_discussions=True)
    assert (found["indexed"], found["issues"], found["discussions"], found["batches"]) == (11, 11, 0, 1)
    assert found["repository"] == "octo/app"
    assert found["message"].startswith("Successfully indexed 11 issues")

    found = await client.find_similar("OCTO", "App", "1", top_k=3)
    assert found["query_issue"]["url"].endswith("/octo/app/issues/1")
    assert found["count"] == 3
    first = found["similar_issues"][0]
    assert (first["number"], first["labels"], first["type"]) == (11, ["bug"], "issue")  # a newer one
    assert first["similarity"] > 0.8
    vectors = [(await stage.stored(number)).text_vector for number in (1, 11)]
    assert first["similarity"] == pytest.approx(float(vectors[0] @ vectors[1]), abs=1e-3)
    similarities = [item["similarity"] for item in found["similar_issues"]]
    assert similarities == sorted(similarities, reverse=True)
    only = await client.find_similar("octo", "app", 1, min_similarity=first["similarity"] - 0.01)
    assert [item["number"] for item in only["similar_issues"]] == [11]

    unknown = stage.github.seed_issue(stage.repository, f"{REPORTS[1][0]} too", is_pull_request=True)
    found = await client.find_similar("octo", "app", unknown.number, top_k=1)
    assert [item["number"] for item in found["similar_issues"]] == [2], (
        "asked of GitHub, as it is not indexed"
    )
    assert await stage.stored(unknown.number) is None
    assert await client.stats() == {"total_issues": 11, "repositories": ["octo/app"]}
    assert (await client.clear())["message"]
    assert await client.stats() == {"total_issues": 0, "repositories": []}
    assert (await refused(client.find_similar("octo", "app", 1))).status == 403
    assert (await stage.row()).state is RepositoryState.INACTIVE
    assert (await client.index("octo", "app"))["indexed"] == 11
    assert (await client.find_similar("octo", "app", 1))["count"] == 10


async def test_suggestions_and_their_labels(stage, session, monkeypatch):
    client = await client_of(stage, session)
    ask = stage.github.seed_issue(stage.repository, "RFC: a new file format", "I propose to use another one.")
    how = stage.github.seed_issue(stage.repository, "How do I export a calendar?", "")
    body = stage.github.seed_issue(stage.repository, "Calendars", "Is there a way to export them all?")
    pull = stage.github.seed_issue(stage.repository, "RFC: a pull request", is_pull_request=True)
    await client.index("octo", "app")
    found = await client.suggest_discussions("octo", "app")
    assert [item["number"] for item in found["suggestions"]] == [ask.number, how.number, body.number]
    assert (found["total_analyzed"], found["total_suggestions"]) == (13, 3)
    assert (found["dry_run"], found["min_score"]) == (True, 0.5)
    assert pull.number not in [item["number"] for item in found["suggestions"]]
    one = await client.suggest_discussions("octo", "app", max_suggestions=1, min_score=0.9)
    assert [item["number"] for item in one["suggestions"]] == [ask.number]
    await client.suggest_discussions("octo", "app", add_labels=True)
    assert ask.labels == how.labels == []

    found = await client.suggest_discussions("octo", "app", add_labels=True, dry_run=False)
    assert found["labels_applied"] is True
    assert found["labeled_issues"][0] == {
        "number": ask.number,
        "labels": ["should-be-discussion"],
        "confidence": "high",
    }
    assert (ask.labels, how.labels, body.labels) == (["should-be-discussion"], ["discussion"], ["discussion"])
    await stage.until(lambda: labelled(stage, body.number), "the label in the index")
    again = await client.suggest_discussions("octo", "app", add_labels=True, dry_run=False)
    assert (again["labeled_issues"], again["labels_applied"]) == ([], False)

    gone = stage.github.seed_issue(stage.repository, "RFC: gone")
    new = stage.github.seed_issue(stage.repository, "RFC: new")
    await client.index("octo", "app")
    stage.repository.gone.add(gone.number)
    with monkeypatch.context() as patched:
        patched.setattr(legacy, "LABEL_WAIT", -1.0)
        late = await client.suggest_discussions("octo", "app", add_labels=True, dry_run=False)
    assert late["labels_applied"] is False
    assert late["message"].endswith("2 labels are still to be written: ask again")
    found = await client.suggest_discussions("octo", "app", add_labels=True, dry_run=False)
    assert [item["number"] for item in found["labeled_issues"]] == [new.number]


async def labelled(stage, number):
    return "discussion" in (await stage.stored(number)).issue.labels


async def test_metrics_of_discussions(stage, session):
    client = await client_of(stage, session, Scope.READ)
    seed, now = stage.github.seed_discussion, stage.github.clock()
    first = seed(stage.repository, "How?", "ann", category="Q&A", answerable=True, upvotes=3)
    seed(stage.repository, "Why?", category="Q&A", answerable=True, answer="So.", created_at=now - timedelta(days=9))  # fmt: skip
    seed(stage.repository, "Ideas", None, category="Ideas", upvotes=8, created_at=now - timedelta(days=20))
    seed(stage.repository, "Old", created_at=now - timedelta(days=100))
    granted = stage.installation.permissions.pop("discussions")
    assert (await refused(client.discussions_metrics("octo", "app"))).status == 403
    stage.installation.permissions["discussions"] = granted
    found = await client.discussions_metrics("octo", "app")
    assert (found["total_discussions"], found["discussions_this_week"], found["discussions_last_week"]) == (3, 1, 1)  # fmt: skip
    assert (found["answer_rate"], found["avg_upvotes"], found["total_unanswered_qa"]) == (50.0, 4.0, 1)
    assert found["category_breakdown"] == {"Q&A": 2, "Ideas": 1}
    assert [item["number"] for item in found["unanswered_qa"]] == [first.number]
    assert [item["upvoteCount"] for item in found["top_upvoted"]] == [8, 3, 1]
    short = await client.discussions_metrics("octo", "app", 1, by_path=True)
    assert (short["total_discussions"], short["week_over_week_change"]) == (1, 0)
    assert await client.discussions_metrics("octo", "app", 4, by_path=True) == found
    error = await refused(client.discussions_metrics("octo", "app", 53, by_path=True))
    assert (error.status, error.detail[0]["loc"]) == (422, ["query", "weeks_back"])


BODIES = {
    "/index": {},
    "/find_similar": {"issue_number": 1},
    "/suggest_discussions": {},
    "/discussions_metrics": {},
}


ODD = (
    b"", b"null", b"[]", b"1", b'"x"', b"\xff\xfe", b'{"owner":"\\ud800","repo":"\\u0000","issue_number":1}', b'{"owner":"' + b"x" * 100_000 + b'","repo":"y"}',
    b'{"owner":"octo","repo":"app","issue_number":' + b"9" * 5_000 + b"}", b'{"owner":"octo","owner":"cat","repo":"app","issue_number":1}',
    b'{"owner":"octo","repo":"app","issue_number":NaN}', b'{"owner":"octo","repo":"app","issue_number":1e999}', b"[" * 50_000, b'{"owner":["octo"],"repo":{}}',
    b'{"owner":"octo","repo":"app","issue_number":1,"min_similarity":"nan","min_score":"nan","weeks_back":"x","max_issues":null}',
)  # fmt: skip


async def every_odd_body_is_refused(client, session):
    headers = {"Authorization": f"Bearer {client.credential}", "Content-Type": "application/json"}
    for path in BODIES:
        for raw in ODD:
            async with session.post(client.url + path, data=raw, headers=headers) as answer:
                assert answer.status in (404, 422), (path, raw[:80], answer.status)
                assert "detail" in await answer.json()
        async with session.post(client.url + path, data=b"owner=octo", headers=headers | {"Content-Type": "text/plain"}) as answer:  # fmt: skip
            assert (answer.status, (await answer.json())["detail"][0]["loc"]) == (422, ["body"])
        async with session.post(
            client.url + path, data=io.BytesIO(b" " * (2**20 + 1)), headers=headers
        ) as answer:
            assert (answer.status, "detail" in await answer.json()) == (413, True)
    for path in (
        "%00/%ff",
        "a%2Fb/c",
        "..%2F/x",
        "octo/app?weeks_back=1&weeks_back=2",
        "octo/app?weeks_back=%00",
    ):
        async with session.get(f"{client.url}/discussions_metrics/{path}", headers=headers) as answer:
            assert answer.status in (200, 404, 422), path


async def test_every_way_to_be_refused(stage, session):
    reader = await client_of(stage, session, Scope.READ)
    writer = await client_of(stage, session, Scope.WRITE)
    nobody, wrong = replace(reader, credential=None), replace(reader, credential="djv_x")
    named = {"owner": "octo", "repo": "app"}
    for route in legacy.ROUTES:
        path = route.path.replace("{owner}", "octo").replace("{repo}", "app")
        body = named | BODIES[path] if route.body else None
        for client in (nobody, wrong):
            error = await refused(client.call(route.method, path, body))
            assert (error.status, "WWW-Authenticate" in error.headers) == (401, True), path
        if route.scope > Scope.READ:
            assert (await refused(reader.call(route.method, path, body))).status == 403
    labels = {"add_labels": True, "dry_run": False}
    assert (await refused(reader.suggest_discussions("octo", "app", **labels))).status == 403
    assert (await refused(writer.clear())).status == 403
    assert (await refused(reader.find_similar("octo", "app", 99))).detail == "Issue #99 not found in octo/app"
    stage.repository.gone.add(98)
    for number in (0, -1, 98, 2**31, 10**30):
        assert (await refused(reader.find_similar("octo", "app", number))).status == 404
    error = await refused(writer.index("octo", "app", issue_state="sleeping"))
    assert (error.status, "open, closed, all" in error.detail) == (400, True)
    for body, loc in (
        ({"owner": "octo"}, ["body", "repo"]),
        (named | {"max_issues": 0}, ["body", "max_issues"]),
        (["octo"], ["body"]),
    ):
        error = await refused(writer.call("POST", "/index", body))
        assert (error.status, error.detail[0]["loc"]) == (422, loc)
    assert error.headers["X-RateLimit-Limit"] == "1000"
    await every_odd_body_is_refused(writer, session)
    for raw, kind in ((b"{", "json_invalid"), (b"owner=octo", "json_invalid")):
        headers = {"Authorization": f"Bearer {writer.credential}", "Content-Type": "application/json"}
        async with session.post(f"{writer.url}/index", data=raw, headers=headers) as answer:
            told = await answer.json()
            assert (answer.status, told["detail"][0]["type"]) == (422, kind)
    stage.github.suspend(stage.installation)
    await stage.quiet()
    assert (await refused(writer.index("octo", "app"))).status == 403


async def test_anothers_repository_is_as_if_there_were_none(stage, session):
    foreign = stage.github.create_repository("cat", "secret", private=True)
    stage.github.seed_issue(foreign, "CANARY", "CANARY")
    stage.github.install(stage.app, foreign.owner, [foreign])
    await stage.indexed(foreign)
    mine = await client_of(stage, session)
    bound = await client_of(stage, session, repository_id=stage.repository.id)
    for route in legacy.ROUTES:
        if not route.about_repository:
            continue
        answers = []
        for owner, repo in (("cat", "secret"), ("cat", "nobody"), ("octo", "nobody"), ("", ""), ("..", "x")):
            path = route.path.replace("{owner}", owner or "-").replace("{repo}", repo or "-")
            body = {"owner": owner, "repo": repo, **BODIES[path]} if route.body else None
            if route.by_path and owner == "..":
                continue
            error = await refused(mine.call(route.method, path, body))
            told = error.detail.replace(
                f"{owner or ('-' if route.by_path else '')}/{repo or ('-' if route.by_path else '')}", "NAME"
            )
            answers.append((error.status, told))
        assert set(answers) == {(404, "Repository NAME not found")}, route.path
    assert (await mine.stats())["repositories"] == ["octo/app"]
    assert (await refused(bound.clear())).status == 403
    await mine.clear()
    theirs = await client_of(stage, session, account_id=foreign.owner.id)
    assert await theirs.stats() == {"total_issues": 1, "repositories": ["cat/secret"]}


async def test_a_key_of_one_repository_reaches_no_other(open_stage, session):
    stage = await open_stage()
    app, lib = stage.new_repository(), stage.new_repository("lib")
    await stage.install(app, lib)
    client = await client_of(stage, session, repository_id=lib.id)
    assert (await client.find_similar("octo", "lib", 1))["count"] == 9
    assert (await refused(client.find_similar("octo", "app", 1))).status == 404
    assert (await client.stats())["repositories"] == ["octo/lib"]


async def test_free_has_room_for_three_repositories_and_ten_calls(open_stage, session):
    stage = await open_stage("free")
    repositories = [stage.new_repository(f"app{n}", reports=REPORTS[:2]) for n in range(4)]
    stage.repository = repositories[0]
    stage.installation = stage.github.install(stage.app, repositories[0].owner, repositories)
    await stage.quiet()
    client = await client_of(stage, session)
    states = {item.name: (await stage.row(item)).state for item in repositories}
    [out] = [name for name, state in states.items() if state is RepositoryState.INACTIVE]
    error = await refused(client.index("octo", out))
    assert (error.status, "3" in error.detail) == (403, True)
    assert (await refused(client.find_similar("octo", out, 1))).status == 403
    for _ in range(8):
        await client.stats()
    error = await refused(client.stats())
    assert (error.status, int(error.headers["Retry-After"]) > 0) == (429, True)
    assert (
        await Accounts(stage.database, default_tier="free").tier(stage.repository.owner.id)
    ).api_calls == 10


async def test_an_empty_repository_has_nothing_to_index(open_stage, session, monkeypatch):
    stage = await open_stage()
    await stage.install(stage.new_repository(reports=[]))
    client = await client_of(stage, session)
    assert await client.index("octo", "app") == {"indexed": 0, "repository": "octo/app"}
    assert (await client.suggest_discussions("octo", "app"))["message"] == "No issues found to analyze"
    assert (await client.discussions_metrics("octo", "app"))["total_discussions"] == 0
    monkeypatch.setattr(legacy, "INDEX_WAIT", -1.0)
    found = await client.index("octo", "app")
    assert found["message"] == "Indexing goes on in the background; 0 issues are indexed so far"
    await stage.quiet()
