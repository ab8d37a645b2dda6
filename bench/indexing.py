"""Issues embedded a second, against Chroma's default embedding function on the same texts and the same weights.

An issue is two texts, its title and its title with its body. Texts with body alone are compared too.

Chroma downloads its ONNX file when it is first used. Here its own class runs on our file, whose last hidden state is made
an output; tokenising, padding to 256 tokens, batches of 32 and pooling are Chroma's own code. Both take all cores.
"""

import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from chromadb.utils.embedding_functions.onnx_mini_lm_l6_v2 import ONNXMiniLM_L6_V2
from onnx import TensorProto, helper

from bench.measure import Result, folder, median, model_dir, say
from bench.texts import issues
from bot.core.text import clean
from bot.similarity.embedder import Embedder
from bot.similarity.graph import HIDDEN
from bot.similarity.model import ensure

LEAST = 2.5
"""How many times Chroma's rate ours is to be."""


class Session:
    """Chroma's inputs and outputs on our file, which has no segments and gives the pooled vector first."""

    def __init__(self, path: Path) -> None:
        """Options as Chroma sets them."""
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(self, _names: None, inputs: dict[str, Any]) -> list[Any]:
        """The last hidden state."""
        asked = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        return list(self._session.run([HIDDEN], asked))


def chromas(data: Path) -> ONNXMiniLM_L6_V2:
    """Chroma's default embedding function."""
    files = ensure(model_dir())
    model = onnx.load(str(files.onnx))
    model.graph.output.append(helper.make_tensor_value_info(HIDDEN, TensorProto.FLOAT, ("n", "tokens", 384)))
    onnx.save(model, str(data / "model.onnx"))
    found = ONNXMiniLM_L6_V2(preferred_providers=["CPUExecutionProvider"])
    tokenizer = found.Tokenizer.from_file(str(files.tokenizer))
    tokenizer.enable_truncation(max_length=256)
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]", length=256)  # noqa: S106  # no password
    found.__dict__.update(tokenizer=tokenizer, model=Session(data / "model.onnx"))
    return found


async def run(*, quick: bool) -> Result:
    """Both in turns on the same texts; the ratio of the medians, and how near the vectors are."""
    rounds, size = (1, 8) if quick else (4, 160)
    pairs = list(issues(rounds * size))
    embedder = await asyncio.to_thread(Embedder.load, model_dir())
    ours: list[float] = []
    theirs: list[float] = []
    issues_ours: list[float] = []
    issues_theirs: list[float] = []
    nearest = 1.0
    with folder() as data:
        rival = await asyncio.to_thread(chromas, data)
        for start in range(0, len(pairs), size):
            batch = pairs[start : start + size]
            texts = [clean(title, body) or "-" for title, body in batch]
            began = time.perf_counter()
            mine = await embedder.embed(texts)
            ours.append(size / (time.perf_counter() - began))
            began = time.perf_counter()
            his = await asyncio.to_thread(rival._forward, texts)  # noqa: SLF001  # what its __call__ does, without its checks
            theirs.append(size / (time.perf_counter() - began))
            titles = [title for title, _ in batch]
            began = time.perf_counter()
            await embedder.embed(titles + texts)
            issues_ours.append(size / (time.perf_counter() - began))
            began = time.perf_counter()
            await asyncio.to_thread(rival._forward, titles)  # noqa: SLF001  # as above
            issues_theirs.append(1 / (1 / theirs[-1] + (time.perf_counter() - began) / size))
            nearest = min(nearest, float(np.sum(mine * his, axis=1).min()))
            say(f"  issues/s: ours {issues_ours[-1]:.1f}, Chroma's {issues_theirs[-1]:.1f}")
    embedder.close()
    ratio, texts_ratio = median(issues_ours) / median(issues_theirs), median(ours) / median(theirs)
    says = (
        f"{median(issues_ours):.1f} issues/s, Chroma's default {median(issues_theirs):.1f}/s: {ratio:.1f} times; texts with "
        f"body alone {median(ours):.1f}/s and {median(theirs):.1f}/s: {texts_ratio:.1f} times; least cosine {nearest:.6f}"
    )
    details = {"ours": issues_ours, "chroma": issues_theirs, "texts": texts_ratio, "least_cosine": nearest}
    return Result("indexing", says, ratio, f"at least {LEAST} times", ratio >= LEAST, details)
