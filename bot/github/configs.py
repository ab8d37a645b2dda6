"""The repositories' own configs, read from GitHub and remembered for a minute."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable

from bot.core.ports import GitHub, LoadedConfig
from bot.core.records import Repository
from bot.core.repo_config import ConfigAbsent, ConfigInvalid, parse

REMEMBERED = 60.0
"""Seconds for which a config is not asked for again: a push takes effect within that."""

CAPACITY = 1_000
"""Repositories whose config is remembered."""


class Configs:
    """Loads, parses and remembers `.github/deja-view.yml`, by repository id."""

    def __init__(self, github: GitHub, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is in seconds and never goes back."""
        self._github, self._clock = github, clock
        self._known: OrderedDict[int, tuple[float, LoadedConfig]] = OrderedDict()

    async def of(self, repository: Repository) -> LoadedConfig:
        """The config on the default branch. Raises GitHubError where it cannot be asked for."""
        known = self._known.get(repository.id)
        if known is not None and self._clock() - known[0] < REMEMBERED:
            return known[1]
        loaded = await self._load(repository)
        self._known[repository.id] = (self._clock(), loaded)
        self._known.move_to_end(repository.id)
        while len(self._known) > CAPACITY:
            self._known.popitem(last=False)
        return loaded

    async def _load(self, repository: Repository) -> LoadedConfig:
        file = await self._github.repository(repository).config_file()
        if file is None:
            return LoadedConfig("", ConfigAbsent())
        if file.problem is not None:
            return LoadedConfig(file.sha, ConfigInvalid([file.problem]))
        # A hostile file costs time before it is refused; that time is not the event loop's.
        return LoadedConfig(file.sha, await asyncio.to_thread(parse, file.content))
