import gc

import pytest

from bot.github import configs
from bot.sandbox.faults import Fault

from .conftest import REPORTS

PATH = ".github/deja-view.yml"


async def installed(open_stage, config):
    stage = await open_stage()
    await stage.install(stage.new_repository(config=config))
    return stage


def notices(stage):
    """Issues that the App opened."""
    return [issue for issue in stage.repository.issues.values() if issue.app_id is not None]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (b"treshold: 0.8\nmode: loud\n", "the key treshold does not exist"),
        (b"&a [*a]", "anchors and aliases are not allowed"),
        (b"[" * 2_000, "nested deeper"),
        (b"mode: off\n" + b"#" * 1_000_000, "larger than 64 KiB"),
        (b"budget: '0.8'\n", "budget must be"),
        (b"\xff\xfe", "not UTF\\-8"),
    ],
    ids=["unknown", "alias", "depth", "size", "type", "encoding"],
)
async def test_an_invalid_file_is_told_once_and_changes_nothing(open_stage, config, said):
    stage = await installed(open_stage, config)
    await stage.quiet()
    issue = await stage.report_again(0)
    assert len(stage.ours(issue)) == 1
    (notice,) = notices(stage)
    assert notice.title == "Deja View: .github/deja-view.yml is not valid"
    assert said.replace("\\", "") in notice.body.replace("\\", "")


async def test_another_invalid_file_is_told_too(open_stage):
    stage = await installed(open_stage, b"treshold: 1\n")
    await stage.quiet()
    stage.repository.files[PATH] = b"mode: loud\n"
    await forget_configs(stage)
    await stage.report_again(0)
    await stage.report_again(1)
    assert len(notices(stage)) == 2


async def forget_configs(stage):
    """A minute passes for the bot's memory of configs."""
    for known in [item for item in gc.get_objects() if isinstance(item, configs.Configs)]:
        known._known.clear()


@pytest.mark.parametrize("mode", ["off", "shadow"])
async def test_a_mode_without_comments(open_stage, mode):
    stage = await installed(open_stage, f"mode: {mode}\n".encode())
    issue = await stage.report_again(0)
    assert stage.ours(issue) == []
    decided = await stage.suggestion(issue.number)
    assert not decided.spoken
    assert ("shadow" in decided.reason) is (mode == "shadow")
    reactions, replies = await stage.command(issue, "tess", "/dejaview why #1")
    assert (reactions[-1], len(replies)) == ("+1", 1)


async def test_how_many_are_named(open_stage):
    stage = await open_stage()
    reports = [
        REPORTS[0],
        (f"{REPORTS[0][0]} too", REPORTS[0][1]),
        (f"{REPORTS[0][0]} also", REPORTS[0][1]),
        *REPORTS[1:],
    ]
    await stage.install(stage.new_repository(reports=reports, config=b"max_results: 1\n"))
    issue = await stage.report_again(0)
    assert stage.ours(issue)[0].body.count("\n- #") == 1


async def test_contents_that_may_not_be_read_mean_the_defaults(stage):
    stage.github.tokens.revoke(stage.installation.id)
    stage.installation.permissions = {"issues": "write", "metadata": "read", "pull_requests": "read"}
    await forget_configs(stage)
    issue = await stage.report_again(0)
    assert len(stage.ours(issue)) == 1


async def test_a_file_too_large_to_be_given_means_the_defaults(stage):
    body = '{"message": "This API returns blobs up to 1 MB in size.", "errors": [{"code": "too_large"}]}'
    stage.sandbox.faults.append(Fault("GET", "/contents/", times=9, status=403, body=body))
    await forget_configs(stage)
    issue = await stage.report_again(0)
    assert len(stage.ours(issue)) == 1


async def test_the_config_is_read_with_a_token_for_nothing_else(stage):
    await stage.report_again(0)
    scopes = {tuple(sorted(token.permissions.items())) for token in stage.github.tokens.issued}
    reading = (("contents", "read"), ("metadata", "read"))
    assert reading in scopes
    assert all(("contents", "read") not in scope or scope == reading for scope in scopes)
    assert all(token.repository_ids == {stage.repository.id} for token in stage.github.tokens.issued)
