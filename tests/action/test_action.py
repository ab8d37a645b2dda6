"""The Action as workflows run it, against a running service and the sandbox."""

import re
from datetime import UTC, datetime

import yaml

from bot.core.access import NewApiKey
from bot.core.api_keys import digest, mint
from bot.core.principal import Scope
from bot.sandbox.faults import Fault
from bot.sandbox.state import Comment
from storage.accounts import Accounts
from storage.api_keys import ApiKeys
from tests.action.conftest import ALL
from tests.action.test_docs import WORKFLOWS, steps

OLD_WORKFLOW = """
name: Find Similar Issues
on:
  issues:
    types: [opened]
jobs:
  find-similar:
    runs-on: ubuntu-latest
    permissions:
      issues: write
      contents: read
    steps:
      - name: Find Similar Issues
        uses: bdougie/deja-view@v1
        with:
          chroma-api-key: ${{ secrets.CHROMA_API_KEY }}
          chroma-tenant: ${{ secrets.CHROMA_TENANT }}
          chroma-database: ${{ secrets.CHROMA_DATABASE }}
          github-token: ${{ secrets.GITHUB_TOKEN }}
          max-issues: 200
          similarity-threshold: 0.7
          max-similar-issues: 5
          include-discussions: false
          index-on-run: true
"""
"""A workflow as the parent's users have it: the inputs of its documentation, word for word."""

CHROMA = {"CHROMA_API_KEY": "ck-canary-7Qz", "CHROMA_TENANT": "tenant-canary-7Qz", "CHROMA_DATABASE": ""}
AT = datetime(2025, 1, 1, tzinfo=UTC)
COMMENTS = r"/issues/\d+/comments$"


async def api_key(work, scope=Scope.READ):
    text = mint()
    await ApiKeys(work.stage.database).add(
        work.repository.owner.id, NewApiKey(text.id, "workflow", digest(text.secret), scope, None)
    )
    return text.text


async def test_a_workflow_of_the_parent_needs_a_new_address_and_one_permission(work):
    (job,) = yaml.safe_load(OLD_WORKFLOW)["jobs"].values()
    (given,) = (item["with"] for item in job["steps"])
    issue = await work.open()
    before = await work.run_with(issue, given | {"api-url": work.gate.url}, job["permissions"], CHROMA)
    assert before.status == 1
    assert "id-token: write" in before.errors[0]

    ended = await work.run_with(
        issue, given | {"api-url": work.gate.url}, job["permissions"] | {"id-token": "write"}, CHROMA
    )
    assert (ended.status, ended.outputs) == (0, {"similar-issues-found": "1", "commented": "true"})
    assert ended.told == [
        ("notice", "ignored, since the service needs no Chroma of yours: chroma-api-key, chroma-tenant")
    ]
    assert "canary" not in ended.log
    (body,) = work.written(issue)
    url = f"{work.github.url}/octo/app/issues/1"
    assert re.search(
        rf"^\| \[#1\]\({url}\) \| Crash when opening the settings dialog on Wayland \| \d\d\.\d% \| open \| Issue \|$",
        body,
        re.MULTILINE,
    )

    # Others have filled the first page meanwhile.
    person = work.github.world.account("talkative")
    issue.comments[:0] = [Comment(n, person, f"{n}", AT, AT) for n in range(100)]
    again = await work.run(issue)
    assert again.outputs == {"similar-issues-found": "1", "commented": "false"}
    assert again.told == [
        ("notice", "this Action has commented on the issue before: there is no second comment")
    ]
    assert len(work.written(issue)) == 1
    # Tokens were hidden before anything else could be logged: GitHub's word for the job, and the service's token for it.
    assert len(ended.masked) == 2
    assert all(mask.startswith("eyJ") for mask in ended.masked)
    assert "eyJ" not in ended.open_log


async def test_the_workflows_to_copy_work(work):
    key = await api_key(work)
    for n, workflow in enumerate(WORKFLOWS):
        issue = await work.open(n)
        (only,) = steps(workflow)
        given = only["with"] | {"api-url": work.gate.url}
        ended = await work.run_with(issue, given, workflow["permissions"], {"DEJA_VIEW_KEY": key})
        assert (ended.told, ended.outputs) == ([], {"similar-issues-found": "1", "commented": "true"})
        assert (key in ended.masked) == ("api-key" in given)


async def test_the_identity_is_for_this_service_and_asks_for_no_more_than_it_needs(work):
    issue = await work.open()
    await work.run(issue, index_on_run=False)
    await work.run(issue, api_url=f"{work.gate.url}/")
    first, second = work.gate.asked("/v1/token")
    assert (first["scope"], second["scope"]) == ("read", "write")
    assert [body["min_similarity"] for body in work.gate.asked("/find_similar")] == [0.7, 0.7]
    elsewhere = await work.run(issue, api_url=work.gate.behind)
    assert elsewhere.errors == [
        "the service does not let this workflow in (401: the workflow identity token is refused: it was made for another audience)"
    ]


async def test_inputs_reach_the_service_and_the_comment(work):
    issue = await work.open()
    none = await work.run(issue, similarity_threshold=1)
    assert (none.status, none.outputs) == (0, {"similar-issues-found": "0", "commented": "false"})
    quiet = await work.run(issue, similarity_threshold=0, max_similar_issues=3, comment=False)
    assert quiet.outputs == {"similar-issues-found": "3", "commented": "false"}
    assert work.written(issue) == []

    said = await work.run(
        issue, similarity_threshold=0, max_similar_issues=2, comment_template="Seen?\n\n{issues_table}\n"
    )
    assert said.outputs == {"similar-issues-found": "2", "commented": "true"}
    (body,) = work.written(issue)
    assert body.startswith("<!-- deja-view-action -->\nSeen?\n\n| # | Title |")
    assert body.count("\n| [#") == 2


async def test_where_the_app_has_commented_the_action_does_not(open_work):
    work = await open_work()
    issue = await work.open()
    assert len(work.stage.ours(issue)) == 1
    ended = await work.run(issue)
    assert ended.outputs == {"similar-issues-found": "1", "commented": "false"}
    assert ended.told == [("notice", "the App has commented on the issue: there is no second comment")]
    assert work.written(issue) == []


async def test_an_api_key_does_where_a_job_has_no_identity(work):
    issue, key = await work.open(), await api_key(work)
    ended = await work.run(issue, {"issues": "write"}, {"KEY": key}, api_key="${{ secrets.KEY }}")
    assert (ended.status, ended.outputs["commented"]) == (0, "true")
    assert ended.masked == [key]
    assert key not in ended.open_log
    assert work.gate.asked("/v1/token") == []

    wrong = await work.run(issue, {"issues": "write"}, api_key=f"{key[:-8]}00000000")
    assert (wrong.status, wrong.outputs["similar-issues-found"]) == (0, "0")
    assert wrong.errors[0].startswith("the service did not tell similar issues (401: ")

    # Where the service takes no workflow's word the key is used.
    work.gate.fail("/v1/token", 401, body='{"detail": "no"}')
    both = await work.run(issue, ALL, api_key=key)
    assert both.outputs["similar-issues-found"] == "1"
    assert ("notice", "the service does not let this workflow in (401: no); the api-key is used") in both.told


async def test_an_inactive_repository_is_indexed_where_that_is_wanted(work):
    issue = await work.open()
    await Accounts(work.stage.database).deactivate(*work.stage.key())
    left = await work.run(issue, index_on_run=False, fail_on_error=True)
    assert left.status == 1
    assert "inactive" in left.errors[0]
    assert work.gate.asked("/index") == []

    done = await work.run(issue, max_issues=50, include_discussions=True)
    assert done.outputs == {"similar-issues-found": "1", "commented": "true"}
    assert work.gate.asked("/index") == [
        {"owner": "octo", "repo": "app", "max_issues": 50, "include_discussions": True}
    ]


async def test_a_comment_whose_answer_is_lost_is_not_written_twice(work):
    issue = await work.open()
    fault = Fault("POST", COMMENTS, status=502, accepted=True)
    work.stage.sandbox.faults.append(fault)
    ended = await work.run(issue)
    assert fault.times == 0
    assert (ended.errors, ended.outputs["commented"]) == ([], "true")
    assert len(work.written(issue)) == 1


async def test_what_github_refuses_is_told(work):
    issue = await work.open()
    ended = await work.run(issue, {"id-token": "write", "issues": "read"}, fail_on_error=True)
    assert (ended.status, ended.outputs) == (1, {"similar-issues-found": "1", "commented": "false"})
    assert ended.errors == [
        "GitHub did not take the comment (403: Resource not accessible by integration); it needs `permissions: issues: write`"
    ]
    work.stage.sandbox.faults.append(Fault("POST", COMMENTS, status=403, headers={"Retry-After": "1"}))
    waited = await work.run(issue)
    assert (waited.errors, waited.outputs["commented"]) == ([], "true")


async def test_a_service_that_is_busy_is_asked_again(work):
    issue = await work.open()
    work.gate.fail("/v1/token", 503, Retry_After="1")
    work.gate.fail("/find_similar", 429, Retry_After="1")
    ended = await work.run(issue)
    assert (ended.errors, ended.outputs["commented"]) == ([], "true")
    assert [status for path, status, _ in work.gate.calls if path == "/find_similar"] == [429, 200]
