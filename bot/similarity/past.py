"""A repository's past, asked again issue by issue, without holding anybody up who asks about the present."""

import asyncio

from bot.core.ports import Past
from bot.core.records import Repository
from bot.similarity.histories import Histories
from bot.similarity.replay import LOWEST, Replay

CHUNK = 200
"""Issues handed to a replay at a time, so that new issues are ranked in between."""


async def replayed(histories: Histories, repository: Repository) -> Past:
    """What would have been found for each of the latest issues when it was new."""
    async with histories.use(repository) as history:
        numbers = history.numbers()
    replay = Replay(len(numbers))
    for start in range(0, len(numbers), CHUNK):
        async with histories.use(repository) as history:
            entries = await asyncio.to_thread(history.entries, numbers[start : start + CHUNK])
        await asyncio.to_thread(replay.feed, entries)
    return Past(tuple(replay.shown), LOWEST, replay.careful())
