"""The GitHub Action: asks Deja View which issues are close to the one that was opened, and comments with them.

One file and the standard library of Python 3.8, as the oldest runners have it: nothing is installed when it runs.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPException
from typing import IO, Any
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

TEMPLATE = """\
### Similar issues

These issues are close to this one. They need not report the same problem.

{issues_table}

<sub>Deja View · automatic, may be wrong</sub>
"""

DEFAULTS = {
    "api-url": "https://deja-view.example.com",
    "api-key": "",
    "github-token": "",
    "comment": "true",
    "fail-on-error": "false",
    "similarity-threshold": "0.7",
    "max-similar-issues": "5",
    "index-on-run": "true",
    "max-issues": "200",
    "include-discussions": "false",
    "comment-template": TEMPLATE,
}
"""What an input that is empty counts as, as action.yml says it too."""

IGNORED = ("chroma-api-key", "chroma-tenant", "chroma-database")
"""Inputs of the parent's Action that mean nothing here."""

MOST_SIMILAR, MOST_INDEXED = 50, 1000
"""What the service takes."""

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
"""Where credentials may be sent without encryption: they do not leave the machine."""

APP_MARKER, OWN_MARKER = "<!-- deja-view:", "<!-- deja-view-action -->"
"""How the App's comments begin, and ours."""

INSIDERS = ("OWNER", "MEMBER", "COLLABORATOR")
"""Whose markers count beside those of bots: a stranger could copy one to keep us quiet."""

REPEATED = (429, 502, 503, 504)
"""Statuses after which the same request may succeed."""

DELAYS = (2.0, 5.0, 10.0)
"""Seconds before each further try, where the answer does not say how long."""

PATIENCE = 120.0
"""Seconds that all waiting together may take: each of them is paid for."""

TIMEOUT = 60.0
"""Seconds for an answer: the service waits half a minute for an index."""

LARGEST = 32 * 1024 * 1024
"""Bytes of an answer that are read."""

PAGES = 10
"""Pages of 100 comments that are searched for a marker."""


class WorkflowError(Exception):
    """The workflow file is wrong: the step fails, whatever `fail-on-error` says."""


class ServiceError(Exception):
    """The service, or GitHub, did not do its part."""


# --- inputs


@dataclass(frozen=True)
class Inputs:
    """What the workflow file says."""

    api_url: str
    api_key: str = field(repr=False)
    github_token: str = field(repr=False)
    comment: bool
    fail_on_error: bool
    threshold: float
    most: int
    index: bool
    max_issues: int
    discussions: bool
    template: str


def inputs_of(environ: Mapping[str, str]) -> Inputs:
    """The inputs. Raises WorkflowError for one that means nothing."""
    given = {name: environ.get(variable(name), "").strip() or default for name, default in DEFAULTS.items()}
    return Inputs(
        api_url=address(given["api-url"]),
        api_key=secret("api-key", given),
        github_token=secret("github-token", given),
        comment=flag("comment", given),
        fail_on_error=flag("fail-on-error", given),
        threshold=share("similarity-threshold", given),
        most=whole("max-similar-issues", given, MOST_SIMILAR),
        index=flag("index-on-run", given),
        max_issues=whole("max-issues", given, MOST_INDEXED),
        discussions=flag("include-discussions", given),
        template=given["comment-template"],
    )


def variable(name: str) -> str:
    """Where action.yml puts an input."""
    return "INPUT_" + name.upper().replace("-", "_")


def address(text: str) -> str:
    """The service's address. Raises WorkflowError."""
    wrong = WorkflowError("api-url is not an address such as https://host")
    try:
        parts = urlsplit(text)
        host = parts.hostname
        parts.port  # noqa: B018  # raises for a wrong one
    except ValueError:
        raise wrong from None
    if not re.fullmatch(r"https?://[!-~]+", text) or not host or parts.query or parts.fragment or "@" in text:
        raise wrong
    if parts.scheme == "http" and host not in LOCAL_HOSTS:
        raise WorkflowError("api-url must begin with https://: credentials are sent there")
    return text.rstrip("/")


def secret(name: str, given: Mapping[str, str]) -> str:
    """A credential as a header can hold it. Raises WorkflowError."""
    if not re.fullmatch("[!-~]*", given[name]):
        raise WorkflowError(f"{name} has characters that no credential has")
    return given[name]


def flag(name: str, given: Mapping[str, str]) -> bool:
    """True or false. What is neither is false, as the parent took it, and is told."""
    value = given[name].lower()
    if value not in ("true", "false"):
        say("warning", f"{name} is neither true nor false: it counts as false")
    return value == "true"


def share(name: str, given: Mapping[str, str]) -> float:
    """A number from 0 to 1. Raises WorkflowError."""
    try:
        value = float(given[name])
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise WorkflowError(f"{name} is not a number from 0 to 1")
    return value


def whole(name: str, given: Mapping[str, str], most: int) -> int:
    """A whole number from 1; more than `most` is that. Raises WorkflowError."""
    if not re.fullmatch("0*[1-9][0-9]{0,8}", given[name]):
        raise WorkflowError(f"{name} is not a whole number from 1 to {most}")
    if int(given[name]) > most:
        say("notice", f"{name} is {most} at the most")
    return min(int(given[name]), most)


# --- what the runner is told


def say(kind: str, text: str) -> None:
    """A notice, warning or error on the page of the run; what the text holds cannot become another command."""
    print(f"::{kind} title=Deja View::{escaped(text)}", flush=True)


def mask(text: str) -> None:
    """Have the runner hide a secret in every log from here on."""
    if text:
        print(f"::add-mask::{escaped(text)}", flush=True)


def escaped(text: str) -> str:
    """Text as a workflow command holds it. The runner finds its old commands, `##[…]`, anywhere in a line."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A").replace("##[", "## [")


def write_outputs(path: str | None, similar: int, *, commented: bool) -> None:
    """Set the outputs of the step, where there is a runner to read them."""
    if path:
        with open(path, "a", encoding="utf-8") as file:  # noqa: PTH123  # as short as it gets
            file.write(f"similar-issues-found={similar}\ncommented={str(commented).lower()}\n")


# --- the issue


@dataclass(frozen=True)
class Target:
    """The issue that was opened."""

    owner: str
    repo: str
    number: int

    @property
    def full_name(self) -> str:
        """`owner/repo`."""
        return f"{self.owner}/{self.repo}"


def target_of(event: Any) -> Target | None:
    """The issue that an event tells of; None where no issue was opened. Raises WorkflowError for what is no event of GitHub's."""
    if not isinstance(event, dict):
        raise WorkflowError("the event is not one of GitHub's")
    issue = event.get("issue")
    if event.get("action") != "opened" or not isinstance(issue, dict) or issue.get("pull_request"):
        return None
    repository = event.get("repository")
    name = repository.get("full_name") if isinstance(repository, dict) else None
    found = re.fullmatch(r"([\w.-]+)/([\w.-]+)", name, re.ASCII) if isinstance(name, str) else None
    number = issue.get("number")
    if found is None or type(number) is not int or number < 1:
        raise WorkflowError("the event does not name its issue")
    return Target(found[1], found[2], number)


def event_of(path: str | None) -> Any:
    """The event that started the workflow. Raises WorkflowError where there is none."""
    try:
        with open(path or "", encoding="utf-8") as file:  # noqa: PTH123  # as short as it gets
            return json.load(file)
    except (OSError, ValueError, RecursionError):
        raise WorkflowError("there is no event to read: this runs as a step of a workflow") from None


# --- requests


@dataclass(frozen=True)
class Answer:
    """An answer, with the JSON of its body, None where it has none."""

    status: int
    retry_after: str | None
    json: Any

    @property
    def ok(self) -> bool:
        """Whether what was asked for was done."""
        return 200 <= self.status < 300

    @property
    def reason(self) -> str:
        """What was wrong, in the words of whoever answered: `detail` or `message`, one short line."""
        said = self.json.get("detail", self.json.get("message")) if isinstance(self.json, dict) else None
        return (
            f"{self.status}: {one_line(said)[:200]}" if isinstance(said, str) and said else str(self.status)
        )


class NoRedirects(HTTPRedirectHandler):
    """A redirect is an answer like others: followed, it would take the credential along."""

    def redirect_request(self, *_: Any) -> None:
        """Not followed."""


OPENER = build_opener(NoRedirects)


def send(request: Request) -> Answer | None:
    """The answer; None where there was none."""
    try:
        try:
            with OPENER.open(request, timeout=TIMEOUT) as response:
                return answer_of(response.status, response.headers, response)
        except HTTPError as error:
            with error:
                return answer_of(error.code, error.headers, error)
    except (OSError, HTTPException):
        return None


def answer_of(status: int, headers: Message, body: IO[bytes]) -> Answer:
    """An answer, read."""
    try:
        value = json.loads(body.read(LARGEST))
    except (ValueError, RecursionError):
        value = None
    return Answer(status, headers.get("Retry-After"), value)


def request_of(method: str, url: str, token: str, body: Any = None) -> Request:
    """A request with a credential; the credential goes into no other place."""
    headers = {
        "Accept": "application/json",
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "User-Agent": "deja-view-action",
    }
    data = None if body is None else json.dumps(body).encode()
    return Request(url, data, headers, method=method)  # noqa: S310  # `address` and the runner see to the scheme


class Patience:
    """How long may still be waited."""

    def __init__(self, seconds: float = PATIENCE, sleep: Callable[[float], None] = time.sleep) -> None:
        """`sleep` is another one in tests."""
        self._left, self._sleep = seconds, sleep

    def wait(self, seconds: float) -> bool:
        """Wait; False, at once, where that would be too long."""
        if seconds > self._left:
            return False
        self._left -= seconds
        self._sleep(seconds)
        return True

    def ask(self, request: Request, *, repeats: bool = True) -> Answer | None:
        """The answer to a request, which is repeated while that may help; None where there was none.

        Without `repeats` only where it certainly had no effect.
        """
        for delay in DELAYS:
            answer = send(request)
            pause = pause_after(answer, delay, repeats=repeats)
            if pause is None or not self.wait(pause):
                return answer
        return send(request)


def pause_after(answer: Answer | None, delay: float, *, repeats: bool) -> float | None:
    """Seconds until a request is sent again, `delay` where nobody says another number; None where it is not."""
    if answer is None:
        return delay if repeats else None
    told = answer.retry_after
    # GitHub says 403 for its limits too, and then how long to wait.
    limited = answer.status == 429 or (answer.status == 403 and told is not None)
    if not limited and not (repeats and answer.status in REPEATED):
        return None
    return float(told) if told is not None and re.fullmatch("[0-9]{1,6}", told) else delay


# --- the service


@dataclass(frozen=True)
class Similar:
    """A similar issue."""

    number: int
    title: str
    similarity: float
    state: str
    kind: str


class Service:
    """Deja View, asked about one issue."""

    def __init__(self, inputs: Inputs, target: Target, patience: Patience) -> None:
        """Nothing is asked yet."""
        self._inputs, self._target, self._patience = inputs, target, patience
        self._token = ""

    def sign_in(self, environ: Mapping[str, str]) -> None:
        """Prove who we are: by GitHub's word for this job, otherwise by the API key. Raises WorkflowError, ServiceError."""
        url, token = (environ.get(f"ACTIONS_ID_TOKEN_REQUEST_{name}") for name in ("URL", "TOKEN"))
        key = self._inputs.api_key
        if not (url and token) and not key:
            raise WorkflowError(
                "there is no credential: give the job `permissions: id-token: write` (and `issues: write`), or the step an api-key"
            )
        try:
            self._token = self._exchanged(self._identity(url, token)) if url and token else key
        except ServiceError as error:
            if not key:
                raise
            say("notice", f"{error}; the api-key is used")
            self._token = key

    def _identity(self, url: str, token: str) -> str:
        """What GitHub says about this job, signed. Raises ServiceError."""
        joined = f"{url}{'&' if '?' in url else '?'}audience={quote(self._inputs.api_url, safe='')}"
        answer = self._patience.ask(request_of("GET", joined, token))
        found = text_in(answer, "value")
        if found is None:
            raise ServiceError(f"GitHub gave no identity token ({reason(answer)})")
        mask(found)
        return found

    def _exchanged(self, identity: str) -> str:
        """A token of the service's. Raises ServiceError."""
        wanted = {"id_token": identity, "scope": "write" if self._inputs.index else "read"}
        url = f"{self._inputs.api_url}/v1/token"
        # The identity stands in the body; a header would be a second credential.
        request = request_of("POST", url, "", wanted)
        request.remove_header("Authorization")
        answer = self._patience.ask(request)
        found = text_in(answer, "access_token")
        if found is None:
            raise ServiceError(f"the service does not let this workflow in ({reason(answer)})")
        mask(found)
        return found

    def similar(self) -> list[Similar]:
        """The issues that are close to it, closest first. Raises ServiceError."""
        answer = self._find()
        if self._inputs.index and answer is not None and answer.status == 403:
            self._index()
            answer = self._find()
        if answer is None or not answer.ok:
            raise ServiceError(f"the service did not tell similar issues ({reason(answer)})")
        return similar_in(answer.json)[: self._inputs.most]

    def _find(self) -> Answer | None:
        inputs = self._inputs
        asked = {
            "issue_number": self._target.number,
            "top_k": inputs.most,
            "min_similarity": inputs.threshold,
        }
        return self._post("find_similar", asked)

    def _index(self) -> None:
        """Have an inactive repository indexed; webhooks keep the index of an active one current. Raises ServiceError."""
        print("The service does not search this repository yet: asking for an index.", flush=True)
        inputs = self._inputs
        asked = {"max_issues": inputs.max_issues, "include_discussions": inputs.discussions}
        answer = self._post("index", asked)
        if answer is None or not answer.ok:
            raise ServiceError(f"the service did not index the repository ({reason(answer)})")

    def _post(self, path: str, asked: Mapping[str, Any]) -> Answer | None:
        body = {"owner": self._target.owner, "repo": self._target.repo, **asked}
        url = f"{self._inputs.api_url}/{path}"
        return self._patience.ask(request_of("POST", url, self._token, body))


def reason(answer: Answer | None) -> str:
    """Why something was not done."""
    return "no answer" if answer is None else answer.reason


def text_in(answer: Answer | None, name: str) -> str | None:
    """A credential in an answer, None where there is none."""
    if answer is None or not answer.ok or not isinstance(answer.json, dict):
        return None
    found = answer.json.get(name)
    return found if isinstance(found, str) and re.fullmatch("[!-~]+", found) else None


def similar_in(body: Any) -> list[Similar]:
    """The issues of an answer. Raises ServiceError where it has another shape."""
    try:
        return [
            Similar(
                number=int(item["number"]),
                title=str(item["title"]),
                similarity=float(item["similarity"]),
                state=str(item["state"]),
                kind=str(item["type"]),
            )
            for item in body["similar_issues"]
        ]
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ServiceError("the answer is not that of a Deja View service: is api-url right?") from None


# --- the comment

KINDS = {"issue": "Issue", "pull_request": "Pull request", "discussion": "Discussion"}

APP_SAID = "the App has commented on the issue"
OWN_SAID = "this Action has commented on the issue before"


def table(found: Sequence[Similar], repository_url: str) -> str:
    """The table of similar issues."""
    rows = [
        f"| [#{item.number}]({repository_url}/issues/{item.number}) | {inert(item.title)} "
        f"| {item.similarity:.1%} | {inert(item.state)} | {KINDS.get(item.kind, 'Issue')} |"
        for item in found
    ]
    return "\n".join(["| # | Title | Similarity | State | Type |", "| --- | --- | ---: | --- | --- |", *rows])


def repository_url_of(server_url: str, target: Target) -> str:
    """Where people read the repository. Links by github.com's second name leave no entry in the issues that they lead to."""
    server = server_url.rstrip("/")
    if server == "https://github.com":
        server = "https://redirect.github.com"
    return f"{server}/{target.full_name}"


class Comments:
    """The comments of one issue on GitHub."""

    def __init__(self, api_url: str, token: str, target: Target, patience: Patience) -> None:
        """Nothing is asked yet."""
        self._token, self._patience = token, patience
        self._url = f"{api_url.rstrip('/')}/repos/{target.full_name}/issues/{target.number}/comments"

    def add_once(self, body: str) -> str | None:
        """Comment, unless that was done before; then says so. Raises ServiceError.

        A comment whose answer was lost is looked for before it is sent again.
        """
        said = self._said()
        for delay in DELAYS:
            if said is not None:
                return said
            answer = self._patience.ask(
                request_of("POST", self._url, self._token, {"body": body}), repeats=False
            )
            if answer is not None and answer.ok:
                return None
            uncertain = answer is None or answer.status >= 500
            if not uncertain or not self._patience.wait(delay):
                break
            said = self._said()
            if said == OWN_SAID:
                return None
        raise ServiceError(
            f"GitHub did not take the comment ({reason(answer)}); it needs `permissions: issues: write`"
        )

    def _said(self) -> str | None:
        """What was said there already. Raises ServiceError."""
        for page in range(1, PAGES + 1):
            url = f"{self._url}?per_page=100&page={page}"
            answer = self._patience.ask(request_of("GET", url, self._token))
            if answer is None or not answer.ok or not isinstance(answer.json, list):
                raise ServiceError(f"GitHub did not tell the issue's comments ({reason(answer)})")
            said = next(filter(None, map(said_in, answer.json)), None)
            if said is not None or len(answer.json) < 100:
                return said
        return None


def said_in(comment: Any) -> str | None:
    """What a comment is, where it is one of the App's or ours."""
    body = comment.get("body") if isinstance(comment, dict) else None
    if not isinstance(body, str):
        return None
    user = comment.get("user")
    is_bot = isinstance(user, dict) and user.get("type") == "Bot"
    if body.startswith(APP_MARKER) and is_bot:
        return APP_SAID
    if body.startswith(OWN_MARKER) and (is_bot or comment.get("author_association") in INSIDERS):
        return OWN_SAID
    return None


# --- foreign text made harmless: as bot/core/inert.py, which a test compares

JOINER = "\u2060"
ISOLATE, END_ISOLATE = "\u2068", "\u2069"
SPECIAL = re.compile(r"[\\`*_{}\[\]()#!|~$]")
OPENING = re.compile(r"^(\d*)([-+=.])")
COMMIT = re.compile(r"[0-9a-fA-F]{4}(?=[0-9a-fA-F]{3})")
BREAKABLE = re.compile(r"(?<=[@＠#])|(?<=[gG][hH]-)|(?<=[wW]{3})(?=\.)|(?<=:)(?=/)|(?<=:)(?=[\w+-]+:)")  # noqa: RUF001  # the full-width sign is meant
MODIFIERS = "\u200d\ufe0e\ufe0f\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"


def inert(text: str, limit: int = 60) -> str:
    """One line of at most `limit` characters as Markdown that shows this text: it pings nobody, links nowhere, breaks no table."""
    shown = cut(one_line(text[: 4 * limit]), limit)
    if not shown:
        return "(no title)"
    broken = BREAKABLE.sub(JOINER, COMMIT.sub(r"\g<0>" + JOINER, shown))
    marked = OPENING.sub(r"\1\\\2", SPECIAL.sub(r"\\\g<0>", broken))
    marked = marked.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    turned = any(unicodedata.bidirectional(char) in ("R", "AL", "RLE", "RLO") for char in shown)
    return f"{ISOLATE}{marked}{END_ISOLATE}" if turned else marked


def one_line(text: str) -> str:
    """The text without what cannot be seen, every run of white space as one space."""
    return " ".join("".join(map(visible_or_space, text)).split())


def visible_or_space(char: str) -> str:
    """A character as it may be shown."""
    category = unicodedata.category(char)
    if category == "Cf":
        return char if char == "\u200d" else ""
    if category in ("Cc", "Zl", "Zp"):
        return " "
    return "\ufffd" if category in ("Cs", "Co", "Cn") else char


def cut(text: str, limit: int) -> str:
    """At most `limit` characters, with an ellipsis for the rest; no accent or joined emoji is torn apart."""
    if len(text) <= limit:
        return text
    end = limit - 1
    while end and (
        unicodedata.combining(text[end]) > 0 or text[end] in MODIFIERS or text[end - 1] == "\u200d"
    ):
        end -= 1
    return text[:end].rstrip() + "…"


# --- the step


@dataclass
class Result:
    """What the step did."""

    similar: int = 0
    commented: bool = False


def act(environ: Mapping[str, str], inputs: Inputs, result: Result) -> None:
    """Look, and comment. Raises WorkflowError, ServiceError; `result` has what was done until then."""
    target = target_of(event_of(environ.get("GITHUB_EVENT_PATH")))
    if target is None:
        say("notice", "this runs where an issue was opened, and does nothing elsewhere")
        return
    if inputs.comment and not inputs.github_token:
        raise WorkflowError("github-token is empty: a comment cannot be written without one")
    patience = Patience()
    service = Service(inputs, target, patience)
    service.sign_in(environ)
    found = service.similar()
    result.similar = len(found)
    print(
        f"Similar to #{target.number}: {', '.join(f'#{item.number}' for item in found) or 'nothing'}",
        flush=True,
    )
    if not found or not inputs.comment:
        return
    shown = table(found, repository_url_of(environ.get("GITHUB_SERVER_URL", "https://github.com"), target))
    body = f"{OWN_MARKER}\n{inputs.template.replace('{issues_table}', shown)}"
    api_url = environ.get("GITHUB_API_URL", "https://api.github.com")
    said = Comments(api_url, inputs.github_token, target, patience).add_once(body)
    if said is not None:
        say("notice", f"{said}: there is no second comment")
    result.commented = said is None


def main(environ: Mapping[str, str]) -> int:
    """The step; gives its exit status."""
    result, status = Result(), 0
    strict = False
    try:
        ignored = [name for name in IGNORED if environ.get(variable(name)) == "true"]
        if ignored:
            say("notice", f"ignored, since the service needs no Chroma of yours: {', '.join(ignored)}")
        mask(environ.get(variable("api-key"), "").strip())
        inputs = inputs_of(environ)
        strict = inputs.fail_on_error
        act(environ, inputs, result)
    except WorkflowError as error:
        say("error", str(error))
        status = 1
    except ServiceError as error:
        say("error", str(error))
        status = int(strict)
    write_outputs(environ.get("GITHUB_OUTPUT"), result.similar, commented=result.commented)
    return status


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]  # Windows has others
    sys.exit(main(os.environ))
