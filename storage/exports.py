"""Files of an export: lines read with every length bounded, and a file that appears complete and private or not at all."""

import contextlib
import gzip
import io
import os
import re
import stat
import sys
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO

from bot.core.errors import SettingsError
from bot.core.exchange import MAX_LINE

MOST_UNPACKED = 512 * 1024 * 1024
"""Bytes that a compressed file may unpack to: some 100,000 issues. A bomb makes a gigabyte of a megabyte."""

GZIP = b"\x1f\x8b"
BEGINNINGS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
    b"{\x00": "utf-16-le",
    b"\x00{": "utf-16-be",
}
"""How a file begins that is not plain UTF-8: with a mark, or with its first brace in two bytes."""

NOT_UTF_8 = re.compile("[\udc80-\udcff]")
"""What a byte becomes that is none of UTF-8 (`surrogateescape`); no text has it otherwise."""

TOO_LONG = f"it has more than {MAX_LINE} characters"
STDIN = "-"


class Unpacked(io.RawIOBase):
    """Unpacked bytes, with an error in place of those beyond the cap."""

    def __init__(self, packed: BinaryIO, most: int) -> None:
        """`most` is in bytes."""
        super().__init__()
        self._file, self._left, self._most = gzip.GzipFile(fileobj=packed), most, most

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Raises SettingsError at the cap, and where the packed bytes are damaged."""
        try:
            data = self._file.read(len(buffer))
        except (OSError, EOFError, zlib.error):
            raise SettingsError("the compressed file is damaged, or cut off") from None
        self._left -= len(data)
        if self._left < 0:
            raise SettingsError(
                f"the file unpacks to more than {self._most >> 20} MiB: unpack it yourself first"
            )
        buffer[: len(data)] = data
        return len(data)


def lines(
    name: str, most_unpacked: int = MOST_UNPACKED
) -> Generator[tuple[int, str | None, str], None, None]:
    """(number from 1, text or None, what is wrong with it) of each line that is not blank; `-` is standard input.

    Lines end as on any system. Raises SettingsError for what is no readable file.
    """
    with opened(name) as file:
        unpacked = file
        if file.peek(2)[:2] == GZIP:
            unpacked = io.BufferedReader(Unpacked(file, most_unpacked))
        start = unpacked.peek(4)[:4]
        encoding = next((name for mark, name in BEGINNINGS.items() if start.startswith(mark)), "utf-8")
        errors = "surrogateescape" if encoding.startswith("utf-8") else "replace"
        text = io.TextIOWrapper(unpacked, encoding=encoding, errors=errors, newline=None)
        try:
            yield from numbered(text)
        finally:
            text.detach()


def numbered(text: IO[str]) -> Iterator[tuple[int, str | None, str]]:
    """The lines of a text; of one that is too long the rest is read over."""
    number = 0
    while line := text.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            while line and not line.endswith("\n"):
                line = text.readline(MAX_LINE)
            yield number, None, TOO_LONG
        elif NOT_UTF_8.search(line):
            yield number, None, "it is not UTF-8"
        elif line.strip():
            yield number, line.rstrip("\n"), ""


@contextlib.contextmanager
def opened(name: str) -> Iterator[io.BufferedReader]:
    """A file's bytes. Raises SettingsError for what is missing, not ours to read, or no file: a device could have no end."""
    if name == STDIN:
        yield sys.stdin.buffer  # type: ignore[misc]  # a BufferedReader wherever there is a standard input
        return
    try:
        # Asked before it is opened: a pipe that nobody writes to would never open.
        if not stat.S_ISREG(Path(name).stat().st_mode):
            raise SettingsError(f"{name} is not a file")
        with Path(name).open("rb") as file:
            yield file
    except OSError as error:
        raise SettingsError(f"{name} cannot be read: {error.strerror}") from None


@contextlib.contextmanager
def private_file(path: Path) -> Iterator[IO[str]]:
    """A file to write, readable by its owner alone, that takes its name when it is complete. Raises SettingsError."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}") from None
