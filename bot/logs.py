"""Logs: one JSON object (or one coloured line) an event, without secrets, control characters or foreign layout."""

import logging
import math
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import structlog

SECRET_NAMES = re.compile(
    r"secret|token|password|private_key|api_key|authorization|cookie|signature", re.IGNORECASE
)
SECRET_SHAPES = re.compile(
    r"gh[a-z]_[A-Za-z0-9_]{16,}"
    r"|github_pat_\w{16,}"
    r"|eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"
    r"|(?:sk|rk|pk)_(?:live|test)_\w{8,}"
    r"|whsec_\w{8,}"
    r"|-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^-]{0,20000}(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?"
    r"|(?<=://)[^/\s:@]{0,200}:[^/\s]{1,200}(?=@)"
    r"|(?i:(?<=bearer ))[\w.~+/=-]{16,}"
)
"""Tokens of GitHub and Stripe, JSON web tokens, private keys, passwords inside addresses, and what follows "Bearer"."""

HIDDEN = "***"
UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters, line ends that JSON leaves alone, marks that turn the reading direction, halves of characters.

New lines and tabs stay: tracebacks have them.
"""

LONGEST = 8_000
"""Characters of one value."""

Event = MutableMapping[str, Any]


def redacted(value: Any) -> Any:
    """A value without secrets, at any depth; what is neither text, number nor container is shown by its type alone."""
    match value:
        case str():
            # Looked at beyond the cut, so that no half of a secret stands before it.
            shown = SECRET_SHAPES.sub(HIDDEN, value[: 2 * LONGEST])[:LONGEST]
            return UNPRINTABLE.sub("\ufffd", shown)
        case float():
            return value if math.isfinite(value) else str(value)  # JSON has no other numbers
        case bool() | int() | None:
            return value
        case Mapping():
            return {
                redacted(str(key)): HIDDEN if SECRET_NAMES.search(str(key)) else redacted(item)
                for key, item in value.items()
            }
        case list() | tuple() | set() | frozenset():
            return [redacted(item) for item in value]
        case _:
            return redacted(str(value)) if isinstance(value, Exception) else f"<{type(value).__name__}>"


def redact(_logger: Any, _method: str, event: Event) -> Event:
    """The last processor before rendering."""
    shown = dict(redacted(event))
    shown["event"] = str(shown.get("event", "")).replace("\n", "\\n")  # the console prints it as it is
    return shown


def configure(log_format: str = "json", stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Send structlog's and everybody else's records through one pipeline to `stream` (stderr)."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # Plain text: a traceback that shows local variables would show what is in them.
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )
    renderer = (
        structlog.dev.ConsoleRenderer()
        if log_format == "console"
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("httpx", "chromadb", "aiohttp.access", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
