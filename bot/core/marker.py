"""The hidden first line of everything we write on GitHub: it says which effect the text is, and proves that we wrote it."""

import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

PREFIX = "<!-- deja-view:"
VERSION = "v1"

KEY = re.compile(r"[a-z0-9][a-z0-9:._-]{0,99}", re.ASCII)
LINE = re.compile(
    r"<!-- deja-view:v1 issue=(\d{1,10}) effect=([a-z0-9:._-]{1,100}) candidates=([\d,]{0,200}) sign=([0-9a-f]{32}) -->",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Marker:
    """What a marker of ours says."""

    effect_key: str
    candidates: tuple[int, ...]


def marker(
    key: bytes, repository_id: int, number: int, effect_key: str, candidates: Sequence[int] = ()
) -> str:
    """The marker of one effect; `key` signs it together with repository and issue, so that a copy elsewhere is worth nothing.

    Raises ValueError for an effect key that could end the HTML comment.
    """
    if not KEY.fullmatch(effect_key) or "--" in effect_key:
        raise ValueError("an effect key has small letters, digits and single : . _ -")
    listed = ",".join(map(str, candidates))
    signature = sign(key, repository_id, number, effect_key, listed)
    return f"{PREFIX}{VERSION} issue={number} effect={effect_key} candidates={listed} sign={signature} -->"


def read(key: bytes, body: str, repository_id: int, number: int) -> Marker | None:
    """The marker at the start of a body, where we made it for this issue of this repository; None otherwise."""
    match = LINE.match(body)
    if match is None or int(match[1]) != number:
        return None
    if not hmac.compare_digest(match[4], sign(key, repository_id, number, match[2], match[3])):
        return None
    return Marker(match[2], tuple(int(item) for item in match[3].split(",") if item))


def sign(key: bytes, repository_id: int, number: int, effect_key: str, candidates: str) -> str:
    """HMAC-SHA256, its first 128 bits in hex."""
    message = f"{VERSION}|{repository_id}|{number}|{effect_key}|{candidates}"
    return hmac.new(key, message.encode(), sha256).hexdigest()[:32]
