"""Logs: one JSON object (or one coloured line) an event, without secrets, control characters or foreign layout."""

import logging
import math
import re
import sys
import traceback
from collections.abc import Iterable, Mapping, MutableMapping
from types import TracebackType
from typing import Any, TextIO

import structlog

from bot.core.redaction import HIDDEN, without_secrets

SECRET_NAMES = re.compile(
    r"secret|token|passw|pwd|private.?key|api.?key|encryption.?key|credential|authorization|cookie|signature|jwt",
    re.IGNORECASE,
)
IN_PLACE = re.compile(
    r"(?<=://)[^/\s:@]{0,200}:[^/\s]{1,200}(?=@)|(?i:(?<=bearer ))[\w.~+/=-]{16,}", re.ASCII
)
"""What is a secret by where it stands: passwords inside addresses, and what follows "Bearer"."""

NAMED = re.compile(
    r"((?i:passw(?:or)?d|pwd|secret|token|api_?key)(?:=|\\?['\"]\s?[:=]\s?)(?:\\?['\"])?)[^\s'\"\\&;,)}]{4,}",
    re.ASCII,
)
"""What stands behind such a name inside a text: in a query, a form, an address of a database, JSON, or the repr of a dict."""

UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters, line ends that JSON leaves alone, marks that turn the reading direction, halves of characters.

New lines and tabs stay: tracebacks have them.
"""

LONGEST = 8_000
"""Characters of one value."""

DEEPEST = 10
"""Containers in containers that are looked into: one that holds itself has no end."""

SHORTEST_KNOWN = 8
"""Characters of a known secret that is looked for: shorter ones stand in words."""

Event = MutableMapping[str, Any]


class Redactor:
    """Takes secrets out of values: known ones wherever they stand, others by their name or shape.

    It fails closed: a value that cannot be looked at is dropped, and the rest of its event is shown.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """`secrets` are those of this process."""
        known = sorted((item for item in secrets if len(item) >= SHORTEST_KNOWN), key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known)) or r"(?!)")

    def __call__(self, _logger: Any, _method: str, event: Event) -> Event:
        """The last processor before rendering."""
        shown = {self.text(str(name)): self._item(name, item, DEEPEST) for name, item in event.items()}
        shown["event"] = str(shown.get("event", "")).replace("\n", "\\n")  # the console prints it as it is
        return shown

    def value(self, value: Any, depth: int = DEEPEST) -> Any:
        """A value as it may be shown; what is neither text, number nor container is shown by its type alone."""
        try:
            return self._shown(value, depth)
        except Exception:  # noqa: BLE001  # a value that breaks while it is looked at hides itself, not the event
            return f"<{type(value).__name__}: not shown>"

    def text(self, text: str, longest: int = LONGEST) -> str:
        """A text without secrets, cut, with control characters as escapes."""
        # Looked at beyond the cut, so that no half of a secret stands before it.
        shown = without_secrets(self._known.sub(HIDDEN, text[: 2 * longest]))
        shown = NAMED.sub(rf"\1{HIDDEN}", IN_PLACE.sub(HIDDEN, shown))
        return UNPRINTABLE.sub(escaped, shown[:longest])

    def _item(self, name: Any, item: Any, depth: int) -> Any:
        """What stands under a name, which may say that it is a secret."""
        return HIDDEN if SECRET_NAMES.search(str(name)) else self.value(item, depth)

    def _shown(self, value: Any, depth: int) -> Any:
        match value:
            case str():
                return self.text(value)
            case float():
                return value if math.isfinite(value) else str(value)  # JSON has no other numbers
            case bool() | int() | None:
                return value
            case Mapping() if depth:
                return {
                    self.text(str(name)): self._item(name, item, depth - 1) for name, item in value.items()
                }
            case list() | tuple() | set() | frozenset() if depth:
                return [self.value(item, depth - 1) for item in value]
            case _:
                return self.text(str(value)) if isinstance(value, Exception) else f"<{type(value).__name__}>"


def escaped(match: re.Match[str]) -> str:
    """A character that would do something, as the text that names it."""
    return f"\\u{ord(match[0]):04x}"


class Output(logging.StreamHandler[TextIO]):
    """A stream of lines."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        """Tell of a record that cannot be formatted by its template: Python would print its arguments as they are."""
        told = logging.LogRecord(
            record.name,
            record.levelno,
            record.pathname,
            record.lineno,
            "not formatted: %r",
            (record.msg,),
            None,
        )
        try:
            self.stream.write(self.format(told) + self.terminator)
        except Exception:  # noqa: BLE001  # the stream is closed, or nothing at all can be formatted
            return


def configure(
    log_format: str = "json",
    stream: TextIO | None = None,
    level: int = logging.INFO,
    secrets: Iterable[str] = (),
) -> None:
    """Send structlog's and everybody else's records through one pipeline to `stream` (stderr), without these secrets."""
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
    redactor = Redactor(secrets)
    handler = Output(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redactor, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("httpx", "chromadb", "aiohttp.access", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    tell_crashes(redactor)


def tell_crashes(redactor: Redactor | None = None) -> None:
    """Let an error that ends the process be printed without secrets."""
    shown = redactor or Redactor()

    def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        text = "".join(traceback.format_exception(kind, error, trace))
        sys.stderr.write(shown.text(text, longest=10 * LONGEST))

    sys.excepthook = tell
