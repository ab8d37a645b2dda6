"""Texts to vectors on the CPU: one worker thread, short turns, urgent texts first."""

import asyncio
import itertools
import os
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from tokenizers import Tokenizer

from bot.core.text import sanitise
from bot.similarity.model import ensure

Matrix = npt.NDArray[np.float32]

DIMENSION = 384
MAX_TOKENS = 256
"""`max_seq_length` in the model's `sentence_bert_config.json`."""

CHUNK = 2
"""Texts in one turn of the worker: an urgent one waits for one turn, and larger turns pad more. Four took over twice as long as two on
average, and embedded no more texts a second (measured)."""

UNEVEN = 2
"""How many times as long the longest text of a turn may be as its shortest."""

READ = 4 * MAX_TOKENS
"""Characters of a text of which the model reads no more, or little more."""

HELD = 0.15
"""Seconds after an urgent turn in which no other one begins: whoever has the vectors goes on to rank, and wants the cores for it."""

HELD_AT_MOST = 1.0
"""Seconds without a turn after which one that is not urgent is held back no longer."""

TOLERANCE = 1e-3
"""How far from 1 the length of a vector may be: float32 alone stays within 1e-6."""


@dataclass(order=True, slots=True)
class Turn:
    """What the worker does at a time; the least one goes first."""

    urgency: int  # 0 is urgent
    order: int  # of arrival
    texts: list[str] = field(compare=False)
    result: Future[Matrix] = field(compare=False, default_factory=Future)


class Embedder:
    """Implements `ports.Embedder`."""

    def __init__(self, model: str, tokenizer: Tokenizer, session: onnxruntime.InferenceSession) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._session = session
        self._turns: queue.PriorityQueue[Turn] = queue.PriorityQueue()
        self._arrivals = itertools.count()
        self._arrived = threading.Event()  # an urgent turn, while others are held back
        self._held_until = self._last_calm = 0.0  # monotonic seconds
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="embedder")

    @classmethod
    def load(cls, folder: Path, *, threads: int | None = None) -> "Embedder":
        """Load the model, whose ONNX file is kept in `folder`, for `threads` cores (None: all we may use).

        Raises SettingsError where the model is not installed or not whole.
        """
        files = ensure(folder)
        tokenizer = Tokenizer.from_file(str(files.tokenizer))
        tokenizer.enable_truncation(MAX_TOKENS)
        tokenizer.enable_padding()
        return cls(files.id, tokenizer, open_session(files.onnx, threads or len(os.sched_getaffinity(0))))

    @property
    def model(self) -> str:
        """Name and revision of the model."""
        return self._model

    async def embed(self, texts: Sequence[str], urgent: bool = False) -> Matrix:  # noqa: FBT001, FBT002 — as in the port
        """Unit vectors, (n, 384), in the order of the texts; of each the first 256 tokens. `urgent` texts go first.

        Raises ArithmeticError where the model yields something that is not a unit vector.
        """
        result = np.empty((len(texts), DIMENSION), np.float32)
        chunks = chunks_of([len(text) for text in texts])
        turns = [self._submit([sanitise(texts[i]) for i in chunk], urgent=urgent) for chunk in chunks]
        try:
            for chunk, turn in zip(chunks, turns, strict=True):
                vectors: Matrix = await asyncio.wrap_future(turn)
                result[chunk] = vectors
        finally:
            for turn in turns:
                turn.cancel()
        return result

    def close(self) -> None:
        """Finish the turn that runs and cancel the others."""
        self._worker.shutdown(cancel_futures=True)
        while not self._turns.empty():
            self._turns.get_nowait().result.cancel()

    def _submit(self, texts: list[str], *, urgent: bool) -> Future[Matrix]:
        turn = Turn(0 if urgent else 1, next(self._arrivals), texts)
        self._turns.put(turn)
        if urgent:
            self._arrived.set()
        self._worker.submit(self._take_turn)
        return turn.result

    def _take_turn(self) -> None:
        """Do the most urgent turn there is: as many are submitted as are queued, so there is one."""
        turn = self._next_turn()
        if not turn.result.set_running_or_notify_cancel():
            return
        try:
            vectors = self._encode(turn.texts)
        except Exception as error:  # noqa: BLE001 — it belongs to whoever waits for the result
            turn.result.set_exception(error)
            return
        if turn.urgency:
            self._last_calm = time.monotonic()
        else:
            self._held_until = min(time.monotonic() + HELD, self._last_calm + HELD_AT_MOST)
        turn.result.set_result(vectors)

    def _next_turn(self) -> Turn:
        """The most urgent turn there is; one that is not urgent when it is held back no longer."""
        turn = self._turns.get_nowait()
        while turn.urgency and (left := self._held_until - time.monotonic()) > 0:
            self._turns.put(turn)
            self._arrived.wait(left)
            self._arrived.clear()
            turn = self._turns.get_nowait()
        return turn

    def _encode(self, texts: list[str]) -> Matrix:
        encodings = self._tokenizer.encode_batch(texts)
        inputs = {
            "input_ids": np.array([encoding.ids for encoding in encodings], np.int64),
            "attention_mask": np.array([encoding.attention_mask for encoding in encodings], np.int64),
        }
        vectors: Matrix = self._session.run(None, inputs)[0]
        lengths = np.linalg.norm(vectors, axis=1)
        if vectors.shape != (len(texts), DIMENSION) or not np.all(np.abs(lengths - 1) <= TOLERANCE):
            raise ArithmeticError("the embedding model yields something that is not a unit vector")
        return vectors


def chunks_of(lengths: Sequence[int]) -> list[list[int]]:
    """Which texts share a turn, by their lengths in characters: those of about one, since all are padded to the longest.

    A title beside its long text would cost as much as the text once more.
    """
    chunks: list[list[int]] = []
    shortest = 0
    for length, index in sorted((min(length, READ), index) for index, length in enumerate(lengths)):
        if not chunks or len(chunks[-1]) == CHUNK or length > UNEVEN * shortest:
            chunks.append([])
            shortest = length
        chunks[-1].append(index)
    return chunks


def open_session(onnx: Path, threads: int) -> onnxruntime.InferenceSession:
    """The model, ready to run on that many cores."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # The web server shares these cores: threads that wait shall sleep.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(onnx), options, providers=["CPUExecutionProvider"])
