"""A runner that does a step as action.yml says, and a gate before the service at which things go wrong."""

import asyncio
import json
import os
import re
import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
import yaml
from aiohttp import web

from bot.sandbox import views
from bot.sandbox.oauth import ID_TOKEN_PATH
from tests.flow.conftest import REPORTS, logs, open_stage  # noqa: F401  # fixtures

FOLDER = Path(__file__).parent.parent.parent / "action"
ACTION = yaml.safe_load((FOLDER / "action.yml").read_text(encoding="utf-8"))
EXPRESSION = re.compile(r"\$\{\{ *([\w.-]+)( != '')? *\}\}")
SILENT = b"mode: shadow\n"
ALL = {"id-token": "write", "issues": "write"}


def evaluated(text, values):
    """A text with the values of its expressions; those that a workflow may have and this does not know fail."""

    def value(match):
        found = values[match[1]]
        return str(found != "").lower() if match[2] else found

    shown = EXPRESSION.sub(value, text)
    assert "${{" not in shown
    return shown


def scalar(value):
    """A value of a workflow file as GitHub hands it to an action."""
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass
class Ended:
    """What a step did."""

    status: int
    log: str
    outputs: dict

    @property
    def told(self):
        """Notices, warnings and errors, as (kind, text)."""
        return re.findall(r"^::(notice|warning|error) title=Deja View::(.*)$", self.log, re.MULTILINE)

    @property
    def errors(self):
        return [text for kind, text in self.told if kind == "error"]

    @property
    def masked(self):
        return re.findall(r"^::add-mask::(.*)$", self.log, re.MULTILINE)

    @property
    def open_log(self):
        """What people can read: a runner hides what it was told to."""
        shown = re.sub(r"^::add-mask::.*$", "", self.log, flags=re.MULTILINE)
        for mask in self.masked:
            shown = shown.replace(mask, "***")
        return shown


async def step(folder, given, event, environ, values):
    """Do the steps of the action as a runner does; `given` is what stands under `with`."""
    inputs = {name: evaluated(spec["default"], values) for name, spec in ACTION["inputs"].items()}
    inputs |= {name: evaluated(scalar(value), values) for name, value in given.items()}
    assert inputs.keys() == ACTION["inputs"].keys()
    (only,) = ACTION["runs"]["steps"]
    known = values | {f"inputs.{name}": value for name, value in inputs.items()}
    event_path, output_path = folder / "event.json", folder / f"output-{secrets.token_hex(4)}"
    event_path.write_text(json.dumps(event), encoding="utf-8")
    output_path.touch()
    process = await asyncio.create_subprocess_exec(
        "bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", only["run"],
        env={
            "PATH": os.environ["PATH"],
            "GITHUB_ACTION_PATH": str(FOLDER),
            "GITHUB_EVENT_PATH": str(event_path),
            "GITHUB_OUTPUT": str(output_path),
            **environ,
            **{name: evaluated(value, known) for name, value in only["env"].items()},
        },
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    log, _ = await process.communicate()
    lines = output_path.read_text(encoding="utf-8").splitlines()
    outputs = {
        f"steps.{only['id']}.outputs.{name}": value for name, value in (line.split("=") for line in lines)
    }
    told = {name: evaluated(spec["value"], outputs) for name, spec in ACTION["outputs"].items()}
    return Ended(process.returncode, log.decode(), told)


@dataclass
class Gate:
    """Stands before a service under its public address, and answers in its place where a test wants it."""

    session: aiohttp.ClientSession
    url: str = ""
    behind: str | None = None
    faults: list = field(default_factory=list)  # (path, status, headers, body), each for one request
    calls: list = field(default_factory=list)  # (path, status, body)

    def fail(self, path, status, times=1, body="{}", **headers):
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        self.faults += [(path, status, given, body)] * times

    def asked(self, path):
        return [body for called, _, body in self.calls if called == path]

    async def handle(self, request):
        body = await request.read()
        fault = next((item for item in self.faults if item[0] == request.path), None)
        if fault is not None:
            self.faults.remove(fault)
            response = web.Response(status=fault[1], headers=fault[2], text=fault[3])
        else:
            response = await self.passed(request, body)
        self.calls.append((request.path, response.status, json.loads(body or b"null")))
        return response

    async def passed(self, request, body):
        headers = {name: value for name, value in request.headers.items() if name != "Host"}
        async with self.session.request(
            request.method, self.behind + request.path_qs, data=body, headers=headers, allow_redirects=False
        ) as answer:
            kept = {
                name: answer.headers[name]
                for name in ("Content-Type", "Retry-After")
                if name in answer.headers
            }
            return web.Response(status=answer.status, headers=kept, body=await answer.read())


@asynccontextmanager
async def open_gate():
    """A gate with nothing behind it yet."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=100)) as session:
        gate = Gate(session)
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", gate.handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            gate.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield gate
        finally:
            await runner.cleanup()


@dataclass
class Work:
    """A repository with the App, its workflows, and the service at its public address."""

    stage: object
    gate: Gate
    folder: Path
    actions: object  # GitHub's own App, whose tokens jobs get

    @property
    def github(self):
        return self.stage.github

    @property
    def repository(self):
        return self.stage.repository

    async def open(self, n=0, **more):
        """Somebody reports a known problem again; gives the issue when the App has decided."""
        return await self.stage.report_again(n, **more)

    async def run(self, issue, permissions=ALL, secrets=(), action="opened", **given):
        """A job with one step, the Action, started by that issue; `given` as under `with`, `_` for `-`."""
        with_ = {"api-url": self.gate.url} | {name.replace("_", "-"): value for name, value in given.items()}
        return await self.run_with(issue, with_, permissions, dict(secrets), action)

    async def run_with(self, issue, given, permissions, secrets=None, action="opened"):
        repository, url = self.repository, self.github.url
        scopes = {name: level for name, level in permissions.items() if name != "id-token"}
        token = self.github.tokens.issue(self.actions, frozenset({repository.id}), scopes).value
        environ = {"GITHUB_API_URL": url, "GITHUB_SERVER_URL": url, "GITHUB_REPOSITORY": repository.full_name}
        if permissions.get("id-token") == "write":
            environ |= {
                "ACTIONS_ID_TOKEN_REQUEST_URL": f"{url}{ID_TOKEN_PATH}?api-version=2.0",
                "ACTIONS_ID_TOKEN_REQUEST_TOKEN": self.github.actions.begin_job(repository),
            }
        event = {
            "action": action,
            "issue": views.issue(issue, repository, None, url),
            "repository": views.repository(repository, url),
        }
        values = {"github.token": token, "secrets.GITHUB_TOKEN": token}
        values |= {f"secrets.{name}": value for name, value in (secrets or {}).items()}
        ended = await step(self.folder, given, event, environ, values)
        assert token not in ended.log
        return ended

    def written(self, issue):
        """The Action's comments on an issue."""
        return [item.body for item in issue.comments if item.app_id == self.actions.app.id]


@pytest.fixture
async def gate():
    async with open_gate() as gate:
        yield gate


@pytest.fixture
async def open_work(open_stage, gate, tmp_path):  # noqa: F811  # the fixture of that name
    """Installs the App in a repository of ten reports with that config."""

    async def start(config=None):
        stage = await open_stage(environ=lambda url, _app: {"PUBLIC_URL": gate.url, "OIDC_ISSUER": url})
        gate.behind = f"http://127.0.0.1:{stage.process.port}"
        repository = stage.new_repository(config=config)
        await stage.install(repository)
        permissions = {"issues": "write", "metadata": "read", "contents": "read"}
        app = stage.github.create_app("github-actions", None, "", permissions, events=())
        return Work(stage, gate, tmp_path, stage.github.install(app, repository.owner, [repository]))

    return start


@pytest.fixture
async def work(open_work):
    """The same with an App that says nothing by itself."""
    return await open_work(SILENT)
