"""Runs the Dockerfile's build stage in a clean folder, without Docker, and starts what it built as an ordinary user would.

It knows the instructions that the Dockerfile uses and refuses any other, so that none is skipped in silence.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START_LIMIT = 60.0
"""Seconds for the built service to answer."""


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Instructions with their arguments."""
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, rest = line.partition(" ")
            yield name, rest


def stages(text: str) -> list[list[tuple[str, str]]]:
    """The instructions of each stage."""
    found: list[list[tuple[str, str]]] = []
    for name, rest in instructions(text):
        if name == "FROM":
            found.append([])
        found[-1].append((name, rest))
    return found


def build(steps: list[tuple[str, str]], app: Path) -> None:
    """Run the first stage with `app` in place of /app."""
    for name, rest in steps:
        print(f"{name} {rest}", flush=True)
        match name:
            case "FROM" if not rest.startswith("python:3.11-slim"):
                raise SystemExit(f"an unknown base: {rest}")
            case "FROM" | "WORKDIR":
                app.mkdir(exist_ok=True)
            case "COPY":
                copy(shlex.split(rest), app)
            case "RUN":
                run(re.sub(r"(?<![\w.])/app\b", str(app), rest), app)
            case _:
                raise SystemExit(f"an instruction that this script does not know: {name}")


def copy(words: list[str], app: Path) -> None:
    """COPY from the project's folder; only what git tracks, as a clone would have it."""
    *sources, target = words
    for source in sources:
        tracked = subprocess.run(
            ["git", "ls-files", "-z", "--", source], cwd=ROOT, check=True, capture_output=True
        ).stdout
        for name in filter(None, tracked.decode().split("\0")):
            place = app / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, place)
        if not tracked:
            raise SystemExit(f"COPY {source} {target}: nothing there")


def run(command: str, app: Path) -> None:
    """RUN, with the Python that this script has in place of the base image's."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("PIP_") or name in ("HOME", "LANG")
    }
    clean["PATH"] = f"{Path(sys.base_prefix) / 'bin'}:/usr/bin:/bin"
    command = re.sub(r"^python ", f"{Path(sys.base_prefix) / 'bin' / 'python3'} ", command)
    subprocess.run(["sh", "-ec", command], cwd=app, check=True, env=clean)


def check_last(steps: list[tuple[str, str]]) -> None:
    """The image that runs: as an ordinary user, with nothing but what the first stage made."""
    names = [name for name, _ in steps]
    users = [rest for name, rest in steps if name == "USER"]
    if not users or users[-1] in ("root", "0") or names.index("USER") > names.index("CMD"):
        raise SystemExit("the image would run as root")
    for name, rest in steps:
        if name == "COPY" and rest != "--from=build /app /app":
            raise SystemExit(f"the last stage copies {rest}")
        if name == "RUN" and not rest.startswith("useradd "):
            raise SystemExit(f"the last stage runs {rest}")


def start(app: Path, data: Path) -> None:
    """Start the service and ask for its health; then end it as the platform does."""
    environ = {"PATH": "/usr/bin:/bin", "MODEL_DIR": str(app / "model"), "HOME": str(data)}
    command = [str(app / ".venv/bin/deja-view"), "run", "--port", "18431", "--data-dir", str(data)]
    process = subprocess.Popen(command, env=environ, cwd=data)
    try:
        deadline = time.monotonic() + START_LIMIT
        while not healthy():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("what the Dockerfile builds does not start")
            time.sleep(0.2)
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(30)
    if code != 0:
        raise SystemExit(f"it ended with {code} after SIGTERM")


def healthy() -> bool:
    """Whether it answers."""
    try:
        with urllib.request.urlopen("http://127.0.0.1:18431/healthz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def main() -> None:
    """Build, check, start."""
    first, last = stages((ROOT / "Dockerfile").read_text(encoding="utf-8"))
    check_last(last)
    with tempfile.TemporaryDirectory() as folder:
        app, data = Path(folder) / "app", Path(folder) / "data"
        data.mkdir()
        build(first, app)
        start(app, data)
    print("the Dockerfile's steps build a service that starts and stops")


if __name__ == "__main__":
    main()
