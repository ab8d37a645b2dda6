import resource
from pathlib import Path

import bot.app


def resident():
    """MB of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def test_what_is_free_is_given_back():
    blocks = [bytes(2_000) for _ in range(50_000)]
    last = blocks[-1]  # above the others: without being asked, the allocator keeps what lies below it
    del blocks
    before = resident()
    bot.app.give_memory_back()
    assert resident() < before - 50
    assert last
