from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from bot.sandbox import github as sandbox
from bot.web.server import HOOK_PATH
from bot.web.sign_in import CALLBACK_PATH
from handlers import ROUTED_EVENTS

ROOT = Path(__file__).parent.parent

PERMISSIONS = {
    "issues": "write",
    "metadata": "read",
    "pull_requests": "read",
    "discussions": "read",
    "contents": "read",
    "members": "read",
}
"""What Deja View asks for, and nothing else."""

EVENTS = {"issues", "issue_comment", "repository", "installation_target"}
EVERY_APP = {"installation", "installation_repositories"}
"""What each App is sent, and what a manifest may not list."""


@pytest.fixture(scope="module")
def manifest():
    return yaml.safe_load((ROOT / "app.yml").read_text(encoding="utf-8"))


def test_permissions_are_the_least(manifest):
    assert manifest["default_permissions"] == PERMISSIONS


def test_events_are_those_that_are_handled(manifest):
    handled = {event for event, _ in ROUTED_EVENTS}
    assert set(manifest["default_events"]) == EVENTS == handled - EVERY_APP
    assert len(manifest["default_events"]) == len(EVENTS)


def test_the_sandbox_plays_an_app_of_this_manifest(manifest):
    assert manifest["default_permissions"] == sandbox.PERMISSIONS
    assert set(manifest["default_events"]) == set(sandbox.EVENTS)


def test_webhooks_go_to_the_route_that_takes_them(manifest):
    address = urlsplit(manifest["hook_attributes"]["url"])
    assert (address.scheme, address.path) == ("https", HOOK_PATH)
    assert manifest["hook_attributes"]["active"] is True


def test_people_sign_in_with_us_and_not_by_installing(manifest):
    assert manifest["request_oauth_on_install"] is False
    (address,) = map(urlsplit, manifest["callback_urls"])
    assert (address.scheme, address.path) == ("https", CALLBACK_PATH)
