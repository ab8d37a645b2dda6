"""How long something may take in a test: a bar against work without bound, not a measurement."""

import sys

BUSY, TRACED = 10, 60
"""Times slower that a busy machine, and line tracing for coverage besides, may make it."""


def allowed(seconds):
    """The bar for what takes at most that long on a quiet machine."""
    return seconds * (TRACED if sys.gettrace() else BUSY)
