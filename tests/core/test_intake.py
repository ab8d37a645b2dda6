from uuid import uuid4

import pytest

from bot.core.intake import ignored, job_for, serial_of
from bot.core.records import Lane

OURS = 77
OUR_COMMENT = {"performed_via_github_app": {"id": OURS}}


@pytest.mark.parametrize(
    ("event", "payload", "expected"),
    [
        ("issues", {"issue": {"number": 5}}, "issue:9:5"),
        ("issue_comment", {"issue": {"number": 5}}, "issue:9:5"),
        ("issues", {"issue": {"number": True}}, None),
        ("issues", {"issue": {"number": "5"}}, None),
        ("issues", {"issue": None}, None),
        ("installation", {}, "installation:3"),
        ("repository", {}, "installation:3"),
        ("installation_repositories", {}, "installation:3"),
        ("ping", {}, None),
    ],
)
def test_what_runs_one_after_the_other(event, payload, expected):
    assert serial_of(event, payload, 3, 9) == expected


def test_without_ids_nothing_waits_for_anything():
    assert serial_of("issues", {"issue": {"number": 5}}, None, None) is None
    assert serial_of("installation", {}, None, None) is None


@pytest.mark.parametrize(
    ("event", "lane"),
    [("issues", Lane.WEBHOOK), ("installation", Lane.WEBHOOK), ("issue_comment", Lane.COMMAND)],
)
def test_commands_wait_for_webhooks(event, lane):
    delivery = uuid4()
    job = job_for(event, {"issue": {"number": 1}}, 3, 9, delivery)
    assert (job.lane, job.delivery_id, job.kind) == (lane, delivery, "delivery")


@pytest.mark.parametrize(
    ("event", "payload", "is_ignored"),
    [
        ("issue_comment", {"sender": {"type": "Bot"}}, True),
        ("issues", {"issue": {"performed_via_github_app": {"id": OURS}}}, True),
        ("issues", {"issue": {"performed_via_github_app": {"id": 1}}}, False),
        ("issues", {"issue": {"performed_via_github_app": None}, "sender": {"type": "Bot"}}, False),
        (
            "issue_comment",
            {"sender": {"type": "User"}, "comment": {"performed_via_github_app": {"id": OURS}}},
            True,
        ),
        (
            "issue_comment",
            {"sender": {"type": "User"}, "comment": {"performed_via_github_app": {"id": 1}}},
            False,
        ),
        ("issue_comment", {"sender": {"type": "User"}, "comment": {"performed_via_github_app": None}}, False),
        ("issue_comment", {"sender": None, "comment": None}, False),
        # Deleting our comment is a refusal, unless we did it. What others delete is not kept.
        ("issue_comment", {"action": "deleted", "sender": {"type": "User"}, "comment": OUR_COMMENT}, False),
        ("issue_comment", {"action": "deleted", "sender": {"type": "Bot"}, "comment": OUR_COMMENT}, True),
        ("issue_comment", {"action": "deleted", "sender": {"type": "User"}, "comment": {}}, True),
        # A bot that closes or labels an issue changes what candidates are shown as.
        ("issues", {"sender": {"type": "Bot"}}, False),
        ("installation", {"sender": {"type": "Bot"}}, False),
    ],
)
def test_bots_are_not_answered(event, payload, is_ignored):
    assert (ignored(event, payload, OURS) is not None) is is_ignored
