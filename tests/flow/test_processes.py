"""Two processes on one embedded data folder: the second is refused, and the first does not notice."""

import os
import subprocess
import sys

import pytest

from bot.app import owned
from bot.core.errors import SettingsError


def run(*command, data, model_dir):
    environ = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    return subprocess.run(
        [sys.executable, "-m", "bot", *command, "--data-dir", str(data)],
        env=environ | {"MODEL_DIR": str(model_dir)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("command", [("run", "--port", "0"), ("worker",), ("doctor",), ("migrate",)])
def test_a_second_process_is_refused_in_one_line(tmp_path, model_dir, command):
    with owned(tmp_path):
        done = run(*command, data=tmp_path, model_dir=model_dir)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"deja-view: another Deja View works on {tmp_path}")


def test_the_folder_is_free_when_its_owner_is_gone(tmp_path):
    with owned(tmp_path):
        pass
    with owned(tmp_path), pytest.raises(SettingsError), owned(tmp_path):
        pass
