"""What all benches share: results beside their limits, quantiles, the parts of a service."""

import asyncio
import contextlib
import json
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from bot.settings import load

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Result:
    """One claim. `good` says whether the number keeps to its limit; details are for whoever wants to know more."""

    bench: str
    says: str
    value: float
    limit: str
    good: bool
    details: dict[str, Any]

    def line(self) -> str:
        """For people."""
        return f"{'ok  ' if self.good else 'MISS'} {self.bench}: {self.says} ({self.limit})"

    def as_json(self) -> str:
        """For programs."""
        return json.dumps(asdict(self))


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which a share of the values lies (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def model_dir() -> Path:
    """Where the benches keep the model's file, so that it is built once."""
    return Path(os.environ.get("MODEL_DIR") or ".demo/model").resolve()


@contextlib.contextmanager
def folder() -> Any:
    """A folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="deja-view-bench-") as name:
        yield Path(name)


def environment(url: str, app: Any, secret: str) -> dict[str, str]:
    """The settings of an App that is registered at a sandbox."""
    return {
        "GITHUB_API_URL": url,
        "GITHUB_APP_ID": str(app.id),
        "GITHUB_APP_PRIVATE_KEY": app.private_key,
        "GITHUB_WEBHOOK_SECRET": secret,
        "DEFAULT_TIER": "enterprise",
        "MODEL_DIR": str(model_dir()),
        "PORT": "0",
    }


def settings(url: str, app: Any, secret: str, data: Path) -> Any:
    """Those settings, loaded."""
    return load(environment(url, app, secret), data_dir=data)


def a_secret() -> str:
    """A webhook secret."""
    return secrets.token_hex(32)


async def until(ask: Callable[[], Awaitable[T | None]], limit: float, every: float = 0.05) -> T:
    """Ask again until there is an answer. Raises TimeoutError."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        if (found := await ask()) is not None:
            return found
        await asyncio.sleep(every)
    raise TimeoutError(f"nothing happened within {limit:.0f} s")


def say(text: str) -> None:
    """Progress, on the other stream than results."""
    print(text, file=sys.stderr, flush=True)


Bench = Callable[[bool], Awaitable[Result]]
Opened = AsyncIterator[Any]
