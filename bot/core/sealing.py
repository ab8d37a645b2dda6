"""Encryption of what we keep for others (their GitHub tokens): AES-256-GCM, bound to the row that it stands in.

A sealed value is a version byte, eight bytes that name the key, a random nonce of 96 bits, and the ciphertext with its
tag. Moved to another row, column or table it does not open.
"""

import base64
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bot.core.errors import SealError

VERSION = b"\x01"
KEY_BYTES, KEY_ID_BYTES, NONCE_BYTES, TAG_BYTES = 32, 8, 12, 16
HEAD_BYTES = len(VERSION) + KEY_ID_BYTES

RAW_KEY = re.compile(r"[A-Za-z0-9_-]{43}=?")
"""32 bytes in base64url."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sealed value stands; part of what the tag proves."""

    table: str
    column: str
    row: str

    @property
    def bound(self) -> bytes:
        """The place as bytes, no two alike."""
        return json.dumps([self.table, self.column, self.row]).encode()


class Sealer:
    """Seals with the first key and opens with any of them."""

    def __init__(self, secrets: Sequence[str]) -> None:
        """`secrets` as in ENCRYPTION_KEYS; none where nothing needs sealing: then `seal` raises SealError."""
        self._keys = {key_id(key): AESGCM(key) for key in map(key_of, secrets)}
        self._first = next(iter(self._keys), b"")

    def seal(self, plain: bytes, place: Place) -> bytes:
        """Encrypt for that place. Raises SealError where there is no key."""
        if not self._keys:
            raise SealError("ENCRYPTION_KEYS is missing: nothing can be sealed")
        head, nonce = VERSION + self._first, os.urandom(NONCE_BYTES)
        return head + nonce + self._keys[self._first].encrypt(nonce, plain, head + place.bound)

    def open(self, sealed: bytes, place: Place) -> bytes:
        """Decrypt what was sealed for that place. Raises SealError for anything else, without saying what it held."""
        head, nonce = sealed[:HEAD_BYTES], sealed[HEAD_BYTES : HEAD_BYTES + NONCE_BYTES]
        if len(sealed) < HEAD_BYTES + NONCE_BYTES + TAG_BYTES:
            raise SealError("this is no sealed value")
        key = self._keys.get(head[len(VERSION) :])
        if key is None:
            raise SealError("no key of ENCRYPTION_KEYS has sealed this")
        try:
            return key.decrypt(nonce, sealed[HEAD_BYTES + NONCE_BYTES :], head + place.bound)
        except InvalidTag:
            raise SealError(
                f"this was not sealed for {place.table}.{place.column}, or it was changed"
            ) from None

    def needs_resealing(self, sealed: bytes) -> bool:
        """Whether another key than today's first has sealed it."""
        return sealed[:HEAD_BYTES] != VERSION + self._first


def key_of(secret: str) -> bytes:
    """The 256-bit key that a secret stands for: 32 bytes in base64url as they are, anything else through HKDF."""
    if RAW_KEY.fullmatch(secret):
        return base64.urlsafe_b64decode(secret.rstrip("=") + "=")
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=b"deja-view sealing").derive(secret.encode())


def key_id(key: bytes) -> bytes:
    """Eight bytes that name a key without telling it."""
    return sha256(b"deja-view key id" + key).digest()[:KEY_ID_BYTES]
