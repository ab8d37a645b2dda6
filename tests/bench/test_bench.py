import json
import math

import pytest

from bench import (
    acknowledge,
    api,
    flood,
    indexing,
    memory,
    neighbours,
    opened_to_comment,
    similarity,
    vector_query,
)
from bench.__main__ import BENCHES, main
from bench.measure import Result, quantile

QUICK = {
    "acknowledge": acknowledge.run,
    "flood": flood.run,
    "indexing": indexing.run,
    "vector-query": vector_query.run,
    "new-issue": similarity.run_new,
    "cold-start": similarity.run_cold,
    "back-test": similarity.run_backtest,
    "words-in-memory": similarity.run_words,
    "api-gate": api.run_gate,
    "api-similar": api.run_similar,
    "api-tenants": api.run_tenants,
}


def test_every_bench_is_on_the_command_line():
    assert set(BENCHES) == {*QUICK, "opened-to-comment", "neighbours", "memory"}


@pytest.mark.parametrize("name", sorted(QUICK))
async def test_a_quick_run_gives_a_number(name, model_dir, monkeypatch):
    monkeypatch.setenv("MODEL_DIR", str(model_dir))
    result = await QUICK[name](quick=True)
    assert result.bench == name
    assert math.isfinite(result.value)
    assert result.value > 0
    assert json.loads(result.as_json())["limit"] in result.line()


async def test_a_comment_is_waited_for(model_dir, monkeypatch):
    monkeypatch.setenv("MODEL_DIR", str(model_dir))
    result = await opened_to_comment.run(quick=True)
    assert result.details["comments"] > 0
    assert 0 < result.details["p50"] <= result.details["p95"]


async def test_a_flood_counts_what_was_not_taken_and_what_is_not_stored(model_dir, monkeypatch):
    monkeypatch.setenv("MODEL_DIR", str(model_dir))
    whole = flood.deliveries

    async def one_is_lost(scene, count):
        return (await whole(scene, count))[:-1]

    monkeypatch.setattr(flood, "deliveries", one_is_lost)
    result = await flood.run(quick=True)
    assert not result.good
    assert result.details["answers"] == {202: 39}
    assert result.details["wrong"] == 1


async def test_the_memory_of_another_process_is_read(model_dir, monkeypatch):
    monkeypatch.setenv("MODEL_DIR", str(model_dir))
    result = await memory.run(quick=True)
    assert result.details["decided"] == 2
    assert 50 < result.details["pss"] <= result.details["rss"]


@pytest.mark.parametrize(("good", "quick", "code"), [(True, [], 0), (False, [], 1), (False, ["--quick"], 0)])
def test_a_missed_limit_fails_a_full_run(good, quick, code, monkeypatch, tmp_path, capsys):
    async def run(*, quick):
        return Result("acknowledge", "1/s", 1.0, "at least 2", good, {})

    monkeypatch.setitem(BENCHES, "acknowledge", run)
    monkeypatch.setattr("bench.__main__.configure", lambda *_: None)  # the logs of the tests that follow
    out = tmp_path / "results.json"
    assert main(["acknowledge", "--json", str(out), *quick]) == code
    assert json.loads(out.read_text()) == {
        "bench": "acknowledge", "says": "1/s", "value": 1.0, "limit": "at least 2", "good": good, "details": {},
    }  # fmt: skip
    assert capsys.readouterr().out.startswith("ok" if good else "MISS")


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 3), (0.99, 5), (1.0, 5)])
def test_quantiles(share, value):
    assert quantile([5, 1, 3, 2, 4], share) == value


@pytest.mark.parametrize(
    ("busy", "ratio", "good"),
    [([0.15] * 20, 1.5, True), ([0.15] * 18 + [0.3] * 2, 3.0, False), ([0.25] * 20, 2.5, False)],
)
def test_the_worse_of_both_ratios_counts_for_neighbours(busy, ratio, good):
    result = neighbours.result([0.1] * 20, busy, 3.0)
    assert result.value == pytest.approx(ratio)
    assert result.good is good
