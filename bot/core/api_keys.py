"""The text of an API key: `djv_<id>_<secret>_<checksum>`. The id may be shown and logged, the secret never.

The checksum tells a mistyped or cut key from a real one before any database is asked, and lets scanners of
leaked secrets know ours with next to no false alarms (github.blog, "Behind GitHub's new authentication token formats").
"""

import hmac
import re
import secrets
import string
from dataclasses import dataclass, field
from hashlib import sha256
from zlib import crc32

PREFIX = "djv"
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
ID_LENGTH, SECRET_LENGTH, CHECKSUM_LENGTH = 12, 43, 6
"""Digits of base 62: 43 of them are 256 bits, and six hold any CRC-32."""

PATTERN = (
    rf"{PREFIX}_[0-9A-Za-z]{{{ID_LENGTH}}}_[0-9A-Za-z]{{{SECRET_LENGTH}}}_[0-9A-Za-z]{{{CHECKSUM_LENGTH}}}"
)
"""What a scanner of leaked secrets looks for."""

KEY = re.compile(PATTERN.replace("_[", "_([").replace("}", "})"))


@dataclass(frozen=True, slots=True)
class ApiKeyText:
    """A key in its parts."""

    id: str
    secret: str = field(repr=False)

    @property
    def text(self) -> str:
        """The whole key, as it is shown once and sent ever after."""
        rest = f"{PREFIX}_{self.id}_{self.secret}"
        return f"{rest}_{checksum(rest)}"


def mint() -> ApiKeyText:
    """A new key from the system's source of randomness."""
    return ApiKeyText(random_digits(ID_LENGTH), random_digits(SECRET_LENGTH))


def parse(text: str) -> ApiKeyText | None:
    """The parts of a key, None where it is none of ours or its checksum is wrong."""
    match = KEY.fullmatch(text)
    if match is None or checksum(text.rpartition("_")[0]) != match[3]:
        return None
    return ApiKeyText(match[1], match[2])


def digest(secret: str) -> bytes:
    """What is stored of a secret: SHA-256. 256 random bits need neither salt nor slowness."""
    return sha256(secret.encode()).digest()


def is_secret(secret: str, stored: bytes) -> bool:
    """Whether that digest is of this secret, in constant time."""
    return hmac.compare_digest(digest(secret), stored)


def random_digits(length: int) -> str:
    """Random digits of base 62."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def checksum(rest: str) -> str:
    """CRC-32 of everything before it, in base 62, zeros in front."""
    value, digits = crc32(rest.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        value, digit = divmod(value, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits
