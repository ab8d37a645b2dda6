"""An import into a running service: its worker embeds, its suggestions know, and nobody hears of it."""

from itertools import count

import pytest

from bot.carry import Wanted, bring_in, carry_out
from bot.core.reconcile import verify_job
from bot.core.records import RepositoryState
from storage.chroma import CollectionsSettings
from storage.jobs import Jobs
from storage.repositories import Repositories
from tests.parent import in_folder, record

LATER = "2999-01-01T00:00:00Z"


@pytest.fixture
def carry(tmp_path):
    async def carry(stage, items, **more):
        folder = in_folder(tmp_path / "parent", items)
        wanted = Wanted("octo", chroma=CollectionsSettings(folder), apply=True, **more)
        text, _ = await bring_in(stage.process.base.settings, wanted, lambda line: None)
        await stage.quiet()
        return text

    return carry


def silent(stage):
    return all(not stage.ours(issue) for issue in stage.repository.issues.values())


async def test_what_was_imported_is_found_and_nothing_is_said_of_it(stage, carry):
    title, body = (
        "Toolbar icons vanish after suspend",
        "Resume from sleep and the toolbar shows grey boxes: GL_CONTEXT_LOST.",
    )
    text = await carry(
        stage, [record(500, title, body), record(501, type="pull_request"), record(502, type="discussion")]
    )
    assert "1 imported" in text
    assert "left out: 1 pull requests, 1 discussions" in text
    stored = await stage.stored(500)
    assert stored.text_vector is not None
    assert (await stage.row()).issues_indexed == 11
    assert silent(stage)
    stage.repository.numbers = count(600)
    issue = stage.github.open_issue(stage.repository, "rita", f"{title} again", body)
    await stage.quiet()
    assert "500" in (await stage.suggestion(issue.number)).evidence


async def test_a_repositorys_config_says_what_is_taken(open_stage, carry):
    stage = await open_stage()
    await stage.install(stage.new_repository(config=b"include:\n  pull_requests: true\n  closed: false\n"))
    text = await carry(stage, [record(500, type="pull_request"), record(501, state="closed"), record(502)])
    assert "left out: 1 closed issues" in text
    assert [await stage.stored(number) is not None for number in (500, 501, 502)] == [True, False, True]


async def test_what_makes_room_leaves_the_collection(open_stage, carry):
    stage = await open_stage(tier="free")
    await stage.install(stage.new_repository())
    text = await carry(
        stage, [record(number, f"Report {number}", updated_at=LATER) for number in range(500, 595)]
    )
    assert "5 issues have no room" in text
    assert (await stage.count(), (await stage.row()).issues_indexed) == (100, 100)
    await Jobs(stage.database).enqueue(verify_job(await stage.row()))
    await stage.quiet()
    kinds = [kind for kind, _, _ in await stage.ended()]
    assert "verify_collection" in kinds
    assert "rebuild_collection" not in kinds
    assert silent(stage)


async def test_an_index_that_is_being_made_is_not_complete_for_an_import(stage, carry):
    await Repositories(stage.database).set_state(*stage.key(), RepositoryState.INDEXING)
    await carry(stage, [record(500)])
    assert (await stage.stored(500)).text_vector is not None
    assert (await stage.row()).state is RepositoryState.INDEXING
    assert "backtest" not in [kind for kind, _, _ in await stage.ended()]


async def test_nothing_is_embedded_of_a_repository_that_left(stage, carry, tmp_path):
    stage.github.remove_repositories(stage.installation, [stage.repository])
    await stage.quiet()
    folder = in_folder(tmp_path / "late", [record(500)])
    text, _ = await bring_in(
        stage.process.base.settings,
        Wanted("octo", chroma=CollectionsSettings(folder), apply=True),
        lambda line: None,
    )
    assert "octo/app: 1 rows refused" in text


async def test_an_export_beside_a_service_imports_into_another(stage, open_stage, tmp_path):
    issue = await stage.report_again()
    assert stage.ours(issue)
    out = tmp_path / "out.jsonl"
    await carry_out(stage.process.base.settings, "octo", None, out)
    other = await open_stage()
    await other.install(other.new_repository(reports=[]))
    text, well = await bring_in(
        other.process.base.settings, Wanted("octo", str(out), apply=True, strict=True), lambda line: None
    )
    assert (well, "11 imported" in text) == (True, True)
    await other.quiet()
    assert (await other.stored(issue.number)).text_vector is not None
    ours, theirs = await stage.suggestion(issue.number), await other.suggestion(issue.number)
    assert (theirs.likely, theirs.evidence) == (ours.likely, ours.evidence)
    assert silent(other)
