import asyncio
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from bot.core.errors import BotError
from bot.similarity import embedder as module
from bot.similarity.embedder import CHUNK, MAX_TOKENS, READ, Embedder, chunks_of
from bot.similarity.model import ensure


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    ensure(folder)
    return folder


@pytest.fixture(scope="module")
def loaded(folder):
    embedder = Embedder.load(folder, threads=1)
    yield embedder
    embedder.close()


@pytest.fixture
def embedder(loaded):
    """An embedder of its own for each test, on the one model."""
    embedder = Embedder(loaded.model, loaded._tokenizer, loaded._session)
    yield embedder
    embedder.close()


TEXTS = [f"{'word ' * (n * 7 % 50)}crash number {n} in the parser" for n in range(3 * CHUNK + 1)]


def is_unit(vectors):
    return np.isfinite(vectors).all() and np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-5


async def test_the_order_is_that_of_the_texts_whatever_shares_a_batch(embedder):
    together = await embedder.embed(TEXTS)
    assert (together.shape, together.dtype) == ((len(TEXTS), 384), np.float32)
    assert is_unit(together)
    for text, vector in zip(TEXTS, together, strict=True):
        alone = (await embedder.embed([text]))[0]
        assert np.abs(alone - vector).max() < 1e-5


async def test_like_texts_are_near(embedder):
    asked, same, other = await embedder.embed(
        [
            "App crashes on startup",
            "The application dies when it is launched",
            "Add a dark theme to the editor",
        ]
    )
    assert asked @ same > 0.6
    assert asked @ other < 0.2


async def test_matches_the_published_model(embedder):
    # The first numbers of the model card's example, as sentence-transformers gives them.
    vector = (await embedder.embed(["This is an example sentence"]))[0]
    assert vector[:4] == pytest.approx([0.0676569, 0.0634959, 0.0487131, 0.0793049], abs=1e-5)


async def test_reads_the_first_tokens_only(embedder):
    words = ["one", "two", "three", "four"] * MAX_TOKENS
    whole, read, less = await embedder.embed(
        [" ".join(words[:size]) for size in (800, MAX_TOKENS - 2, MAX_TOKENS - 3)]
    )
    assert np.abs(whole - read).max() < 1e-5
    assert np.abs(whole - less).max() > 1e-4


@pytest.mark.parametrize(
    "text", ["", " \n\t", "\0", "lone \ud800 surrogate", "\U0001f600" * 500, "a" * 200_000, "\u0301" * 1_000, "漢字" * 3_000, "[PAD]" * 5]
)  # fmt: skip
async def test_any_text_has_a_unit_vector(embedder, text):
    assert is_unit(await embedder.embed([text, "another"], urgent=True))


async def test_no_texts_have_no_vectors(embedder):
    assert (await embedder.embed([])).shape == (0, 384)


class Session:
    """Stands in for the model where it misbehaves."""

    def __init__(self, yields):
        self.yields = yields

    def run(self, _, inputs):
        return [np.tile(self.yields, (len(inputs["input_ids"]), 1))]


@pytest.mark.parametrize(
    "yields",
    [np.zeros(384, np.float32), np.full(384, np.nan, np.float32), np.ones(384, np.float32), np.eye(1, 383, dtype=np.float32)[0]],
)  # fmt: skip
async def test_what_is_no_unit_vector_never_leaves(embedder, yields):
    good, embedder._session = embedder._session, Session(yields)
    with pytest.raises(ArithmeticError):
        await embedder.embed(TEXTS)
    embedder._session = good
    assert is_unit(await embedder.embed(["still works"]))


class Gate:
    """Holds the worker in its turn until it is opened, and notes what each turn read."""

    def __init__(self, embedder):
        self.encode, self.entered, self.opened, self.turns = (
            embedder._encode,
            threading.Event(),
            threading.Event(),
            [],
        )
        embedder._encode = self

    def __call__(self, texts):
        self.turns.append(texts[0])
        self.entered.set()
        assert self.opened.wait(10)
        return self.encode(texts)


async def test_urgent_texts_go_before_those_that_wait(embedder):
    gate = Gate(embedder)
    long = asyncio.create_task(embedder.embed(["long"] * 5 * CHUNK))
    await asyncio.to_thread(gate.entered.wait)
    second = asyncio.create_task(embedder.embed(["second"]))
    urgent = asyncio.create_task(embedder.embed(["urgent"], urgent=True))
    await asyncio.sleep(0.05)
    gate.opened.set()
    await asyncio.gather(long, second, urgent)
    assert gate.turns == ["long", "urgent", *["long"] * 4, "second"]


async def test_after_an_urgent_turn_others_leave_the_cores_to_whoever_goes_on_with_it(embedder, monkeypatch):
    monkeypatch.setattr(module, "HELD", 3_600.0)
    monkeypatch.setattr(module, "HELD_AT_MOST", 1e9)
    gate = Gate(embedder)
    gate.opened.set()
    await embedder.embed(["urgent"], urgent=True)
    calm = asyncio.create_task(embedder.embed(["calm"]))
    await asyncio.sleep(0.2)  # it would have had its turn by now
    for _ in range(3):
        await embedder.embed(["urgent"], urgent=True)
    assert gate.turns == ["urgent"] * 4
    embedder._held_until = 0.0
    embedder._arrived.set()
    await calm
    assert gate.turns == [*["urgent"] * 4, "calm"]


async def test_urgent_turns_in_a_row_do_not_hold_the_others_back_for_ever(embedder, monkeypatch):
    monkeypatch.setattr(module, "HELD", 3_600.0)
    monkeypatch.setattr(module, "HELD_AT_MOST", 0.0)
    gate = Gate(embedder)
    gate.opened.set()
    await embedder.embed(["urgent"], urgent=True)
    await embedder.embed(["calm"])
    assert gate.turns == ["urgent", "calm"]


async def test_a_caller_that_leaves_takes_its_turns_along(embedder):
    gate = Gate(embedder)
    leaving = asyncio.create_task(embedder.embed(["leaving"] * 5 * CHUNK))
    await asyncio.to_thread(gate.entered.wait)
    staying = asyncio.create_task(embedder.embed(["staying"]))
    await asyncio.sleep(0.05)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    gate.opened.set()
    assert is_unit(await staying)
    assert gate.turns == ["leaving", "staying"]


async def test_the_loop_stays_free(embedder):
    work = asyncio.create_task(embedder.embed(["a text of some words " * 60] * 4 * CHUNK))
    slowest, began = 0.0, time.monotonic()
    while not work.done():
        before = time.monotonic()
        await asyncio.sleep(0.002)
        slowest = max(slowest, time.monotonic() - before)
    await work
    assert slowest < (time.monotonic() - began) / 2


async def test_closing_cancels_what_waits(embedder):
    gate = Gate(embedder)
    work = asyncio.create_task(embedder.embed(["text"] * 3 * CHUNK))
    await asyncio.to_thread(gate.entered.wait)
    closing = asyncio.create_task(asyncio.to_thread(embedder.close))
    await asyncio.sleep(0.05)
    gate.opened.set()
    await closing
    with pytest.raises(asyncio.CancelledError):
        await work
    assert gate.turns == ["text"]
    with pytest.raises(RuntimeError):
        await embedder.embed(["late"])


def test_names_its_model(loaded):
    assert loaded.model == "all-MiniLM-L6-v2@1110a243"


def test_a_wheel_that_is_missing_stops_the_start(tmp_path, monkeypatch):
    monkeypatch.setattr("bot.similarity.model.PACKAGE", "no_such_package")
    with pytest.raises(BotError, match="not installed"):
        Embedder.load(tmp_path)


def test_the_runtime_reports_nothing_and_keeps_no_device_id(tmp_path):
    """onnxruntime does both by default, and says so where it cannot write."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    done = subprocess.run(
        [sys.executable, "-c", "import bot.similarity.embedder"],
        env=environ | {"HOME": str(tmp_path)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=True,
    )
    assert (done.stderr, list(tmp_path.iterdir())) == (b"", [])


@pytest.mark.parametrize(
    ("lengths", "chunks"),
    [
        ([], []),
        ([60, 900], [[0], [1]]),  # a title is not padded to its text
        ([900, 60], [[1], [0]]),
        ([60, 120], [[0, 1]]),
        ([60, 121], [[0], [1]]),
        ([READ, 50 * READ], [[0, 1]]),  # of both the model reads as much
        ([5, 5, 5, 90, 90], [[0, 1], [2], [3, 4]]),
        ([0, 0, 1], [[0, 1], [2]]),
    ],
)
def test_texts_of_about_one_length_share_a_turn(lengths, chunks):
    assert chunks_of(lengths) == chunks


async def test_a_title_has_the_same_vector_beside_its_text_and_alone(embedder):
    texts = ["It crashes", "It crashes whenever the parser meets an empty line. " * 30]
    together, alone = await embedder.embed(texts), [await embedder.embed([text]) for text in texts]
    assert np.abs(together - np.concatenate(alone)).max() < 1e-5
