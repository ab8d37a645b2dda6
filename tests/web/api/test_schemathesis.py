"""The description is true: what schemathesis makes of `/v1/openapi.json`, the service answers as it says (issue 5's bad input)."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from bot.web.api import gate
from bot.web.api.routes import ROUTES
from tests.web.api.conftest import MINE, limits, serve_world

EXAMPLES, SEED = os.environ.get("SCHEMATHESIS_EXAMPLES", "8"), os.environ.get("SCHEMATHESIS_SEED")
"""Cases of each operation beside those that are always tried, the same each time; by hand there are more, and others."""


@pytest.fixture
def boundless(monkeypatch):
    """No limit hides a finding."""
    for name in ("FAILURES", "ANONYMOUS_CALLS", "EXCHANGES", "PAGES"):
        monkeypatch.setattr(gate, name, 1_000_000)


@pytest.mark.timeout(900)
async def test_the_api_is_what_its_description_says(postgres, template, model_dir, tmp_path, boundless):
    async with serve_world(postgres, template, model_dir, tmp_path) as world:
        await limits(world, enterprise=1_000_000)
        key = await world.key(MINE)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "run"),
            *(f"{world.url}/v1/openapi.json", "--checks", "all", "--max-examples", EXAMPLES),
            *(["--seed", SEED] if SEED else ["--generation-deterministic"]),
            *("--no-color", "--request-timeout", "100"),
            *("--header", f"Authorization: Bearer {key}", "--warnings", "off", "--continue-on-failure"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=tmp_path,
            env=os.environ
            | {"SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(Path(__file__).parent)},
        )
        told, _ = await process.communicate()
    text = told.decode()[-60_000:]
    assert process.returncode == 0, text
    assert f"Tested: {len(ROUTES)}" in text
