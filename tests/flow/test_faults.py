import shutil
from contextlib import asynccontextmanager
from datetime import timedelta

import aiohttp
import asyncpg
import pytest

import bot.app
from bot.core.marker import read
from bot.core.reconcile import verify_job
from bot.sandbox.faults import Fault
from bot.similarity import service
from bot.similarity.embedder import Embedder
from handlers import writing
from storage.jobs import Jobs

from .conftest import REPORTS

COMMENTS = r"/issues/\d+/comments$"


@pytest.fixture
def soon(monkeypatch):
    """A write whose reply was lost may be looked for at once."""
    monkeypatch.setattr(writing, "LOOK_UP_AFTER", timedelta(0))


async def settle(stage):
    """Let what failed be tried again at once, until nothing waits."""

    async def done():
        await stage.make_due("delivery")
        return "delivery" not in {job[0] for job in await stage.jobs()}

    await stage.until(done, "the end of all deliveries")
    await stage.quiet()


async def reported(stage, n=0):
    """A known problem reported again, with whatever goes wrong meanwhile."""
    title, body = REPORTS[n]
    issue = stage.github.open_issue(stage.repository, "rita", f"{title} again", body)
    await stage.github.hooks.settled()
    await stage.until(lambda: stage.suggestion(issue.number), "a decision")
    return issue


async def test_an_accepted_comment_whose_reply_is_lost_is_not_doubled(stage, soon):
    stage.sandbox.faults.append(Fault("POST", COMMENTS, hang_up=True, accepted=True))
    issue = await reported(stage)
    await stage.quiet_but_for("delivery")
    assert len(stage.ours(issue)) == 1
    assert (await stage.effect(issue.number)).state.value == "sending"
    await stage.make_due("delivery")
    await stage.quiet()
    (comment,) = stage.ours(issue)
    effect = await stage.effect(issue.number)
    assert (effect.state.value, effect.github_id) == ("done", comment.id)


async def test_a_comment_that_was_lost_on_its_way_is_posted_once(stage, soon):
    stage.sandbox.faults.append(Fault("POST", COMMENTS, hang_up=True))
    issue = await reported(stage)
    await stage.quiet_but_for("delivery")
    assert stage.ours(issue) == []
    await stage.make_due("delivery")
    await stage.quiet()
    assert len(stage.ours(issue)) == 1


async def test_an_edit_that_failed_is_made_later(stage):
    issue = await reported(stage)
    await stage.quiet()
    stage.sandbox.faults.append(Fault("PATCH", r"/issues/comments/\d+$", status=502, times=9))
    stage.github.edit_issue(stage.repository, issue, title=REPORTS[3][0], body=REPORTS[3][1])
    await stage.quiet_but_for("look_again")
    stage.sandbox.faults.clear()
    await settle(stage)
    (comment,) = stage.ours(issue)
    assert "#4 " in comment.body


async def test_an_issue_that_stays_missing_is_given_up(stage):
    fault = Fault("GET", r"/issues/\d+$", status=404, body='{"message": "Not Found"}', times=99)
    stage.sandbox.faults.append(fault)
    issue = await reported(stage)
    await settle(stage)
    assert stage.ours(issue) == []
    (_, state, reason) = (await stage.ended())[-1]
    assert (state, reason) == ("done", "NotFoundError: 404 Not Found")


async def test_a_strangers_copy_is_not_taken_for_the_comment_that_was_lost(stage, soon):
    stage.sandbox.faults.append(Fault("POST", COMMENTS, hang_up=True))
    issue = await reported(stage)
    await stage.quiet_but_for("delivery")
    copied = (await stage.effect(issue.number)).body
    stage.github.comment(stage.repository, issue, "mallory", copied)
    await settle(stage)
    (comment,) = stage.ours(issue)
    assert (await stage.effect(issue.number)).github_id == comment.id


@pytest.mark.parametrize(
    "fault",
    [
        Fault("POST", COMMENTS, status=502, body="<html>Bad Gateway</html>"),
        Fault("POST", COMMENTS, status=529, body="{}"),
        Fault("POST", COMMENTS, status=201, body='{"id": 12, "bod'),
        Fault("GET", r"/issues/\d+$", status=404, body='{"message": "Not Found"}', times=3),
        Fault("GET", r"/issues/\d+$", status=500, times=3),
        Fault("POST", "/access_tokens$", status=503, times=3),
    ],
    ids=["html", "529", "truncated", "replica", "500", "token"],
)
async def test_what_passes_is_waited_out(stage, soon, fault):
    if fault.path == "/access_tokens$":
        stage.github.tokens.revoke(stage.installation.id)
    stage.sandbox.faults.append(fault)
    issue = await reported(stage)
    await settle(stage)
    assert len(stage.ours(issue)) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, '{"message": "Unable to create comment because issue is locked."}'),
        (410, '{"message": "Issues are disabled for this repo"}'),
        (451, '{"message": "Repository access blocked"}'),
        (422, '{"message": "Validation Failed"}'),
    ],
)
async def test_what_does_not_pass_is_not_tried_again(stage, status, body):
    fault = Fault("POST", COMMENTS, status=status, body=body, times=9)
    stage.sandbox.faults.append(fault)
    issue = await reported(stage)
    await stage.quiet()
    assert fault.times == 8
    assert stage.ours(issue) == []
    stage.sandbox.faults.clear()
    other = await stage.report_again(1)
    assert len(stage.ours(other)) == 1


async def test_nothing_is_sent_in_a_pause_that_github_asked_for(stage):
    headers = {"Retry-After": "600", "X-RateLimit-Remaining": "4771"}
    body = '{"message": "You have exceeded a secondary rate limit."}'
    stage.sandbox.faults.append(Fault("POST", COMMENTS, status=403, headers=headers, body=body))
    issue = await reported(stage)
    await stage.quiet_but_for("delivery")
    calls = len(stage.sandbox.calls)
    await stage.make_due("delivery")
    other = stage.github.open_issue(stage.repository, "ron", "Add a Basque translation", "It lacks one")
    await stage.quiet_but_for("delivery")
    assert len(stage.sandbox.calls) == calls
    assert (stage.ours(issue), stage.ours(other)) == ([], [])


async def test_a_name_that_somebody_took_gets_no_foreign_comment(stage):
    title, body = REPORTS[0]
    stage.sandbox.faults.append(Fault("GET", r"/issues/\d+$", delay=0.5, passes=True))
    issue = stage.github.open_issue(stage.repository, "rita", f"{title} again", body)
    await stage.github.hooks.settled()
    stage.github.rename_repository(stage.repository, "moved", told=False)
    squatter = stage.github.create_repository("octo", "app")
    for n in range(issue.number):
        stage.github.seed_issue(squatter, f"Something else {n}")
    await stage.github.hooks.settled()
    await stage.until(lambda: stage.suggestion(issue.number), "a decision")
    await stage.until(lambda: done(stage, issue), "the end of the delivery")
    assert all(item.comments == [] for item in squatter.issues.values())
    again = await stage.report_again(1)
    assert len(stage.ours(again)) == 1
    assert all(item.comments == [] for item in squatter.issues.values())


async def done(stage, issue):
    async with stage.database.system() as connection:
        row = await connection.fetchrow(
            "SELECT state, reason FROM jobs WHERE serial LIKE $1", f"issue:%:{issue.number}"
        )
    return row["state"] in ("done", "dead") or row["reason"]


async def test_without_its_collection_the_bot_goes_on_and_makes_it_anew(stage):
    folder = stage.process.base.settings.data_dir / "chroma"
    for path in folder.rglob("*.bin"):
        path.unlink()
    for path in [item for item in folder.rglob("*-*-*-*-*") if item.is_dir()]:
        shutil.rmtree(path)
    issue = await stage.report_again(0)
    await stage.quiet()
    assert len(stage.ours(issue)) == 1
    again = await stage.report_again(1)
    assert len(stage.ours(again)) == 1


async def test_a_markers_signature_is_ours_alone(stage):
    issue = await stage.report_again(0)
    body = stage.ours(issue)[0].body
    assert read(b"another key", body, stage.repository.id, issue.number) is None


async def retried(stage, kind, times):
    """Let jobs of a kind fail that many times more; gives those that wait: (attempts that counted, reason)."""
    for _ in range(times):
        await stage.make_due(kind)
        async with stage.database.system() as connection:
            await connection.execute("SELECT pg_notify('deja_view_jobs', '')")
        await stage.until(lambda: waiting(stage, kind), f"a {kind} that failed again")
    return await waiting(stage, kind)


async def waiting(stage, kind):
    """Jobs of a kind, as soon as none of them is due or runs."""
    async with stage.database.system() as connection:
        rows = await connection.fetch(
            "SELECT attempt, reason, state = 'ready' AND run_at > now() AS later FROM jobs "
            "WHERE kind = $1 AND state IN ('ready', 'running')",
            kind,
        )
    return [(row["attempt"], row["reason"]) for row in rows] if all(row["later"] for row in rows) else []


async def test_github_may_be_down_for_longer_than_a_job_has_attempts(stage):
    down = [Fault(method, "", status=502, body="<html>Bad Gateway</html>", times=10**6) for method in ("GET", "POST", "PATCH")]  # fmt: skip
    stage.github.tokens.revoke(stage.installation.id)
    stage.sandbox.faults.extend(down)
    title, body = REPORTS[0]
    issue = stage.github.open_issue(stage.repository, "rita", f"{title} again", body)
    await stage.github.hooks.settled()
    ((attempt, reason),) = await retried(stage, "delivery", 10)
    assert (attempt, reason.partition(":")[0]) == (0, "GitHubUnavailableError")
    assert sum(fault.times for fault in down) <= 3 * 10**6 - 10
    stage.sandbox.faults.clear()
    await settle(stage)
    assert len(stage.ours(issue)) == 1


async def test_a_model_that_fails_for_a_while_holds_new_issues_up_and_loses_none(stage, monkeypatch):
    def fail(self, texts):
        raise MemoryError("no memory for the model")

    with monkeypatch.context() as fault:
        fault.setattr(Embedder, "_encode", fail)
        title, body = REPORTS[0]
        issue = stage.github.open_issue(stage.repository, "rita", f"{title} again", body)
        await stage.github.hooks.settled()
        ((attempt, reason),) = await retried(stage, "delivery", 10)
        assert (attempt, reason) == (0, "ModelUnavailableError: the embedding model failed: MemoryError")
        assert stage.ours(issue) == []
        stage.github.comment(stage.repository, issue, "will", "/dejaview similar 3")
        await stage.until(lambda: stage.ours(issue), "an answer from words alone")
        assert "candidates=1," in stage.ours(issue)[0].body
        assert await stage.suggestion(issue.number) is None
    await settle(stage)
    assert (await stage.suggestion(issue.number)).spoken
    assert len(stage.ours(issue)) == 1


FULL_DISK = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION full_disk();
"""


@asynccontextmanager
async def full_disk(stage, table):
    """Nothing can be written to that table."""
    owner = await asyncpg.connect(stage.process.base.url)
    await owner.execute(FULL_DISK.format(table=table))
    yield
    await owner.execute("DROP FUNCTION full_disk CASCADE")
    await owner.close()


async def test_a_full_disk_holds_jobs_up_and_loses_none(stage):
    async with full_disk(stage, "issues"):
        title, body = REPORTS[0]
        issue = stage.github.open_issue(stage.repository, "rita", f"{title} again", body)
        await stage.github.hooks.settled()
        ((attempt, reason),) = await retried(stage, "delivery", 10)
        assert (attempt, reason) == (0, "StorageUnavailableError: PostgreSQL does not answer: DiskFullError")
    await settle(stage)
    assert len(stage.ours(issue)) == 1


async def test_a_disk_too_full_for_the_queue_itself_is_outlived_by_the_worker(stage, tmp_path):
    log = tmp_path / "service.log"
    async with full_disk(stage, "jobs"):
        title, body = REPORTS[0]
        issue = stage.github.open_issue(stage.repository, "rita", f"{title} again", body)
        await stage.github.hooks.settled()
        refused = stage.github.hooks.attempts[-1]
        assert refused.status_code == 503
        await stage.until(lambda: "claim_failed" in log.read_text(encoding="utf-8"), "a claim that fails")
    assert not stage.process.worker.done()
    stage.github.hooks.redeliver(stage.app, refused.id)
    await stage.quiet()
    assert len(stage.ours(issue)) == 1


async def verify(stage):
    """Have the collection compared with PostgreSQL; gives the kinds of jobs that are done."""
    await Jobs(stage.database).enqueue(verify_job(await stage.row()))
    await stage.quiet()
    return [kind for kind, state, _ in await stage.ended() if state == "done"]


async def test_a_collection_that_differs_without_an_error_is_found_and_made_anew(stage, monkeypatch):
    monkeypatch.setattr(service, "SECOND_LOOK", 0.0)
    assert (await verify(stage)).count("rebuild_collection") == 0
    async with stage.database.account((await stage.row()).account_id) as connection:
        await connection.execute("UPDATE issues SET text_vector = title_vector")
    assert (await verify(stage)).count("rebuild_collection") == 1
    done = await verify(stage)
    assert (done.count("rebuild_collection"), done.count("verify_collection")) == (1, 3)


async def readiness(stage):
    """Status of `GET /readyz`, and what it says of GitHub, as soon as the worker has begun."""
    url = f"http://127.0.0.1:{stage.process.port}/readyz"

    async def told():
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            said = response.status, (await response.json())["parts"].get("github", "not asked")
        return said if said[1] not in ("not asked", await bot.app.still_waiting()) else None

    return await stage.until(told, "what GitHub is said to be")


async def test_readiness_asks_github_once_in_a_while(open_stage):
    stage = await open_stage()
    await readiness(stage)
    assert [await readiness(stage) for _ in range(5)] == [(200, "ok")] * 5
    asked = [call for call in stage.sandbox.calls if call.path == "/app"]
    assert len(asked) == 2, "at the start who we are, then once"


async def test_readiness_tells_what_github_answers_now(open_stage, monkeypatch):
    monkeypatch.setattr(bot.app, "ASK_GITHUB_EVERY", 0.0)
    stage = await open_stage()
    assert await readiness(stage) == (200, "ok")
    stage.sandbox.faults.append(Fault("GET", "^/app$", status=502, times=99))
    status, said = await readiness(stage)
    assert (status, said.split(":")[0]) == (503, "failed")
    stage.sandbox.faults[:] = [Fault("GET", "^/app$", status=429, headers={"Retry-After": "1"})]
    for _ in range(2):
        status, said = await readiness(stage)
        assert (status, said.split(":")[0]) == (200, "limited"), "it answers, and no part has failed"
    assert [call.status for call in stage.sandbox.calls if call.path == "/app"].count(429) == 1
