"""The Action's file by itself: its inputs, what it makes of answers, and what it needs to run."""

import ast
import http.server
import json
import sys
import threading
from itertools import pairwise
from urllib.parse import quote

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from action import deja_view
from action.deja_view import (
    DEFAULTS,
    Answer,
    Patience,
    ServiceError,
    Similar,
    Target,
    WorkflowError,
    escaped,
    inert,
    inputs_of,
    pause_after,
    repository_url_of,
    said_in,
    similar_in,
    table,
    target_of,
    variable,
)
from bot.core import inert as ours
from bot.core.redaction import without_secrets
from tests.action.conftest import ACTION, FOLDER, step
from tests.gfm import judge
from tests.hostile import FRAGMENTS, titles

SOURCE = (FOLDER / "deja_view.py").read_text(encoding="utf-8")
URL = "https://redirect.github.com/octo/app"
OPENED = {"action": "opened", "issue": {"number": 7}, "repository": {"full_name": "octo/app"}}


# --- what it needs to run


def test_it_is_python_of_2019_with_its_standard_library_alone():
    tree = ast.parse(SOURCE, feature_version=(3, 8))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module] if isinstance(node, ast.ImportFrom) else [item.name for item in node.names]
        )
    }
    assert imported <= sys.stdlib_module_names


def test_action_yml_and_the_file_know_the_same_inputs():
    (only,) = ACTION["runs"]["steps"]
    assert {variable(name) for name in ACTION["inputs"]} == only["env"].keys()
    assert {variable(name) for name in (*DEFAULTS, *deja_view.IGNORED)} == only["env"].keys()
    for name, spec in ACTION["inputs"].items():
        value = f"${{{{ inputs.{name} }}}}" if name in DEFAULTS else f"${{{{ inputs.{name} != '' }}}}"
        assert only["env"][variable(name)] == value
        assert spec["default"] == {"github-token": "${{ github.token }}"}.get(name, DEFAULTS.get(name, ""))
        assert spec["required"] is False
    assert "${{" not in only["run"]


def test_outputs_are_those_of_the_parent():
    assert ACTION["outputs"].keys() == {"similar-issues-found", "commented"}


def test_by_default_the_service_is_that_of_the_manifest():
    manifest = yaml.safe_load((FOLDER.parent / "app.yml").read_text(encoding="utf-8"))
    assert manifest["hook_attributes"]["url"].startswith(f"{DEFAULTS['api-url']}/")


# --- inputs


def environ(**changes):
    return {variable(name.replace("_", "-")): value for name, value in changes.items()}


def test_empty_inputs_have_their_defaults():
    assert inputs_of(environ(api_url="", max_issues=" ", comment_template="")) == inputs_of({})
    found = inputs_of({})
    assert (found.threshold, found.most, found.max_issues) == (0.7, 5, 200)
    assert (found.comment, found.index, found.discussions, found.fail_on_error) == (True, True, False, False)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"api_url": "deja-view.example.com"}, "api-url is not an address such as https://host"),
        ({"api_url": "https://"}, "api-url is not an address such as https://host"),
        ({"api_url": "https://host:port"}, "api-url is not an address such as https://host"),
        ({"api_url": "https://[::1"}, "api-url is not an address such as https://host"),
        ({"api_url": "https://me:secret@host"}, "api-url is not an address such as https://host"),
        ({"api_url": "https://host/?key=1"}, "api-url is not an address such as https://host"),
        ({"api_url": "https://ho st"}, "api-url is not an address such as https://host"),
        ({"api_url": "https://host\nX: 1"}, "api-url is not an address such as https://host"),
        ({"api_url": "file:///etc/passwd"}, "api-url is not an address such as https://host"),
        ({"api_url": "http://host"}, "api-url must begin with https://: credentials are sent there"),
        ({"api_key": "djv_x\r\nX: 1"}, "api-key has characters that no credential has"),
        ({"github_token": "ghs_é"}, "github-token has characters that no credential has"),
        ({"similarity_threshold": "70"}, "similarity-threshold is not a number from 0 to 1"),
        ({"similarity_threshold": "nan"}, "similarity-threshold is not a number from 0 to 1"),
        ({"similarity_threshold": "0,7"}, "similarity-threshold is not a number from 0 to 1"),
        ({"max_similar_issues": "0"}, "max-similar-issues is not a whole number from 1 to 50"),
        ({"max_similar_issues": "five"}, "max-similar-issues is not a whole number from 1 to 50"),
        ({"max_issues": "-1"}, "max-issues is not a whole number from 1 to 1000"),
        ({"max_issues": "9" * 5_000}, "max-issues is not a whole number from 1 to 1000"),
    ],
)
def test_an_input_that_means_nothing_is_named(given, said):
    with pytest.raises(WorkflowError) as caught:
        inputs_of(environ(**given))
    assert str(caught.value) == said


def test_inputs_that_the_parent_took_are_taken(capsys):
    found = inputs_of(environ(max_issues="5000", max_similar_issues="100", index_on_run="no", comment="TRUE"))
    assert (found.max_issues, found.most, found.index, found.comment) == (1000, 50, False, True)
    assert capsys.readouterr().out.splitlines() == [
        "::notice title=Deja View::max-similar-issues is 50 at the most",
        "::warning title=Deja View::index-on-run is neither true nor false: it counts as false",
        "::notice title=Deja View::max-issues is 1000 at the most",
    ]


def test_credentials_are_in_no_trace():
    found = inputs_of(environ(api_key="djv_canary", github_token="ghs_canary"))
    assert "canary" not in repr(found)


# --- the event


@pytest.mark.parametrize(
    ("event", "target"),
    [
        (OPENED, Target("octo", "app", 7)),
        (OPENED | {"action": "edited"}, None),
        (OPENED | {"issue": {"number": 7, "pull_request": {"url": "x"}}}, None),
        ({"action": "opened", "pull_request": {"number": 7}, "repository": {"full_name": "octo/app"}}, None),
        ({"schedule": "0 0 * * *"}, None),
    ],
)
def test_only_an_issue_that_was_opened_is_looked_at(event, target):
    assert target_of(event) == target


@pytest.mark.parametrize(
    "event",
    [
        [],
        None,
        OPENED | {"issue": {"number": "7"}},
        OPENED | {"issue": {"number": True}},
        OPENED | {"issue": {"number": 0}},
        OPENED | {"repository": None},
        OPENED | {"repository": {"full_name": "octo/app/.."}},
        OPENED | {"repository": {"full_name": "octo/app?x"}},
    ],
)
def test_an_odd_event_is_told(event):
    with pytest.raises(WorkflowError):
        target_of(event)


# --- what the runner is told


@pytest.mark.parametrize(
    "text", ["a\n::add-path::/x", "a\r::add-path::/x", "100%0A::add-path::/x", "x ##[add-path]/x"]
)
def test_no_text_becomes_a_command(text, capsys):
    deja_view.say("error", text)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("::error title=Deja View::")
    assert "##[" not in line
    assert "%0A::add-path" not in line.replace("%250A", "").replace("a%0A", "")
    assert escaped("plain, 1.5: x") == "plain, 1.5: x"


# --- patience


@pytest.mark.parametrize(
    ("answer", "repeats", "seconds"),
    [
        (None, True, 2.0),
        (None, False, None),
        (Answer(200, None, {}), True, None),
        (Answer(401, None, {}), True, None),
        (Answer(403, None, {}), True, None),
        (Answer(403, "9", {}), False, 9.0),
        (Answer(429, None, {}), False, 2.0),
        (Answer(429, "30", {}), True, 30.0),
        (Answer(429, "Wed, 21 Oct 2026 07:28:00 GMT", {}), True, 2.0),
        (Answer(429, "-1", {}), True, 2.0),
        (Answer(500, "5", {}), True, None),
        (Answer(502, None, {}), False, None),
        (Answer(503, "5", {}), True, 5.0),
        (Answer(503, "9" * 5_000, {}), True, 2.0),
    ],
)
def test_what_may_succeed_later_is_repeated(answer, repeats, seconds):
    assert pause_after(answer, 2.0, repeats=repeats) == seconds


def test_patience_ends():
    slept = []
    patience = Patience(100.0, slept.append)
    assert [patience.wait(seconds) for seconds in (60, 60, 40, 1)] == [True, False, True, False]
    assert slept == [60, 40]


class Odd(http.server.BaseHTTPRequestHandler):
    """A server that answers as it was told, and notes what it was asked."""

    def do_POST(self):  # the name that http.server wants
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        self.wfile.write(self.server.answer)
        self.close_connection = True

    do_GET = do_POST  # noqa: N815  # the name that http.server wants

    def log_message(self, *_):
        pass


@pytest.fixture
def odd():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Odd)
    server.asked, server.answer = [], b""
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def raw(status, body=b"", **headers):
    headers = {"Content_Length": len(body)} | headers
    lines = [
        f"HTTP/1.1 {status} X",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0\1\2",
        raw(200, b'{"a": 1', Content_Length=10),
        raw(200, b"5\r\n{}", Transfer_Encoding="chunked"),
    ],
)
def test_an_answer_that_breaks_off_is_none(odd, answer):
    odd.answer = answer
    found = deja_view.send(deja_view.request_of("POST", odd.url, "x", {}))
    assert found is None or found.json is None


@pytest.mark.parametrize("body", [b"<html>", b"\xff", b"[" * 100_000, b""])
def test_a_body_that_is_no_json_is_no_body(odd, body):
    odd.answer = raw(200, body)
    assert deja_view.send(deja_view.request_of("POST", odd.url, "x", {})) == Answer(200, None, None)


def test_only_so_much_of_an_answer_is_read(odd, monkeypatch):
    monkeypatch.setattr(deja_view, "LARGEST", 10)
    odd.answer = raw(200, b'{"a": 1}  {"b": 2}')
    assert deja_view.send(deja_view.request_of("POST", odd.url, "x", {})).json == {"a": 1}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_credential_follows_no_redirect(odd, status):
    odd.answer = raw(status, Location=f"{odd.url}/elsewhere")
    found = deja_view.send(deja_view.request_of("POST", f"{odd.url}/here", "secret", {}))
    assert found.status == status
    assert odd.asked == [("/here", "Bearer secret")]


# --- a service that is away


async def ask(folder, url, **given):
    inputs = {"api-url": url, "api-key": "djv_key"} | {
        name.replace("_", "-"): value for name, value in given.items()
    }
    return await step(folder, inputs, OPENED, {}, {"github.token": "ghs_token"})


@pytest.mark.parametrize(("strict", "status"), [(False, 0), (True, 1)])
async def test_a_service_that_is_away_fails_nothing_unless_that_is_wanted(odd, tmp_path, strict, status):
    odd.answer = raw(503, b'{"detail": "the database\\n::does not answer"}', Retry_After="86400")
    ended = await ask(tmp_path, odd.url, fail_on_error=strict)
    assert (ended.status, ended.outputs) == (status, {"similar-issues-found": "0", "commented": "false"})
    assert ended.told == [
        ("error", "the service did not tell similar issues (503: the database ::does not answer)")
    ]
    assert odd.asked == [("/find_similar", "Bearer djv_key")]  # a day is not waited for


def test_nobody_at_all_is_told_after_a_few_tries(odd, monkeypatch):
    slept = []
    with pytest.raises(ServiceError, match=r"\(no answer\)"):
        asked_of(odd, slept.append).similar()
    assert len(odd.asked) == 1 + len(slept) == 4
    assert all(first < second for first, second in pairwise(slept))


def asked_of(odd, sleep):
    inputs = inputs_of(environ(api_url=odd.url, api_key="djv_key"))
    service = deja_view.Service(inputs, Target("octo", "app", 7), Patience(sleep=sleep))
    service.sign_in({})
    return service


def test_github_is_asked_for_an_identity_for_this_service(odd):
    odd.answer = raw(200, b'{"value": "eyJ.x.y", "access_token": "eyJ.a.b"}')
    service = deja_view.Service(
        inputs_of(environ(api_url=f"{odd.url}/a&b=c")), Target("octo", "app", 7), Patience(sleep=None)
    )
    given = {"URL": f"{odd.url}/id?api-version=2.0", "TOKEN": "request"}
    service.sign_in({f"ACTIONS_ID_TOKEN_REQUEST_{name}": value for name, value in given.items()})
    audience = quote(f"{odd.url}/a&b=c", safe="")
    assert odd.asked == [
        (f"/id?api-version=2.0&audience={audience}", "Bearer request"),
        ("/a&b=c/v1/token", None),
    ]


def test_no_more_is_named_than_was_asked_for(odd):
    body = {
        "similar_issues": [vars(Similar(n, "x", 0.9, "open", "")) | {"type": "issue"} for n in range(1, 9)]
    }
    odd.answer = raw(200, json.dumps(body).encode())
    assert [item.number for item in asked_of(odd, None).similar()] == [1, 2, 3, 4, 5]


def test_what_a_service_says_is_told_in_a_short_line():
    answer = Answer(400, None, {"detail": "long\n" * 1_000})
    assert answer.reason == "400: " + ("long " * 40)
    assert [Answer(400, None, body).reason for body in (None, [], {"detail": [1]}, {"message": "no"})] == [
        "400", "400", "400", "400: no",
    ]  # fmt: skip


async def test_what_a_checkout_holds_is_not_run(odd, tmp_path):
    odd.answer = raw(200, b'{"similar_issues": []}')
    (tmp_path / "json.py").write_text("raise SystemExit(9)")
    inputs = {"api-url": odd.url, "api-key": "djv_key"}
    ended = await step(tmp_path, inputs, OPENED, {"PYTHONPATH": str(tmp_path)}, {"github.token": "ghs_token"})
    assert (ended.status, ended.told) == (0, [])


async def test_a_comment_needs_a_token(odd, tmp_path):
    ended = await ask(tmp_path, odd.url, github_token="")
    assert (ended.status, odd.asked) == (1, [])
    assert ended.errors == ["github-token is empty: a comment cannot be written without one"]


async def test_another_website_is_not_taken_for_the_service(odd, tmp_path):
    odd.answer = raw(200, b"<html></html>")
    ended = await ask(tmp_path, odd.url)
    assert ended.errors == ["the answer is not that of a Deja View service: is api-url right?"]


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"similar_issues": 1},
        {"similar_issues": [{}]},
        {"similar_issues": [{"number": "x", "title": "", "similarity": 1, "state": "", "type": ""}]},
    ],
)
def test_an_answer_of_another_shape_is_refused(body):
    with pytest.raises(ServiceError):
        similar_in(body)


# --- the comment


@given(title=titles)
@settings(max_examples=300, deadline=None)
def test_titles_are_made_harmless_as_in_the_apps_comments(title):
    if without_secrets(title) == title:
        assert inert(title, 60) == ours.inert(title, 60)


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_hostile_titles_are_only_text_in_the_table(fragment):
    judged, plain = (
        judge(table([Similar(12, text, 0.9, text, "issue")], URL)) for text in (fragment, "Harmless")
    )
    assert judged.skeleton == plain.skeleton
    assert (judged.active, judged.references) == ((), set())
    assert (judged.links, judged.images, judged.foreign_html) == ((f"{URL}/issues/12",), (), ())


@given(found=st.lists(titles, min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_any_titles_keep_the_table(found):
    rows = table([Similar(n, title, 0.7, "open", "issue") for n, title in enumerate(found, start=1)], URL)
    assert len(rows.split("\n")) == 2 + len(found)
    assert judge(rows).links == tuple(f"{URL}/issues/{n}" for n in range(1, len(found) + 1))


def test_a_row():
    found = [
        Similar(3, "Crash | boom", 0.83456, "closed", "pull_request"),
        Similar(4, "", 0.7, "open", "new"),
    ]
    assert table(found, URL).split("\n")[2:] == [
        rf"| [#3]({URL}/issues/3) | Crash \| boom | 83.5% | closed | Pull request |",
        f"| [#4]({URL}/issues/4) | (no title) | 70.0% | open | Issue |",
    ]


def test_links_leave_no_entry_in_the_issues_they_lead_to():
    target = Target("octo", "app", 7)
    assert repository_url_of("https://github.com/", target) == URL
    assert repository_url_of("https://github.acme.example", target) == "https://github.acme.example/octo/app"


BOT, PERSON = {"type": "Bot"}, {"type": "User"}
APP_MARK, OWN_MARK = "<!-- deja-view:v1 issue=7", "<!-- deja-view-action -->\nx"


@pytest.mark.parametrize(
    ("comment", "said"),
    [
        ({"body": APP_MARK, "user": BOT}, deja_view.APP_SAID),
        ({"body": APP_MARK, "user": PERSON, "author_association": "OWNER"}, None),
        ({"body": f"> {APP_MARK}", "user": BOT}, None),
        ({"body": OWN_MARK, "user": BOT}, deja_view.OWN_SAID),
        ({"body": OWN_MARK, "user": PERSON, "author_association": "MEMBER"}, deja_view.OWN_SAID),
        ({"body": OWN_MARK, "user": PERSON, "author_association": "NONE"}, None),
        ({"body": OWN_MARK, "user": None}, None),
        ({"body": None, "user": BOT}, None),
        ("x", None),
    ],
)
def test_nobody_can_keep_it_quiet_with_a_copied_marker(comment, said):
    assert said_in(comment) == said
