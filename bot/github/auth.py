"""Who we are to GitHub: the App's private keys, and the JSON web tokens signed with them."""

import base64
import hashlib
import time
from collections.abc import Callable, Sequence

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from gidgethub.apps import get_jwt

from bot.core.errors import SettingsError

LIFETIME = 540
"""Seconds between a token's `iat`, which lies a minute back, and its `exp`; GitHub takes ten minutes at most."""

RENEW_AFTER = 420.0
"""Seconds for which one token is used: it lives 480 more when it is made."""


class AppKeys:
    """The App's id and its private keys; there are two while a key is being replaced.

    The first key signs until GitHub refuses it, then the next one does.
    """

    def __init__(
        self,
        app_id: int | str,
        private_keys: Sequence[str | bytes],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`private_keys` are PEM texts, RSA. Raises SettingsError where one is not."""
        if not private_keys:
            raise SettingsError("GITHUB_APP_PRIVATE_KEY is empty")
        self.fingerprints = tuple(fingerprint(key) for key in private_keys)
        self._app_id, self._keys, self._clock = str(app_id), tuple(private_keys), clock
        self._current = 0
        self._token, self._renew_at = "", 0.0

    def __len__(self) -> int:
        """How many keys there are."""
        return len(self._keys)

    def token(self) -> str:
        """A JSON web token that speaks for the App for the next minutes."""
        if not self._token or self._clock() >= self._renew_at:
            self._token = get_jwt(
                app_id=self._app_id, private_key=self._keys[self._current], expiration=LIFETIME
            )
            self._renew_at = self._clock() + RENEW_AFTER
        return self._token

    def refused(self, token: str) -> None:
        """GitHub did not take this token: sign with the next key, unless somebody else already moved on."""
        if token == self._token:
            self._current = (self._current + 1) % len(self._keys)
            self._token = ""


def fingerprint(private_key: str | bytes) -> str:
    """The key's SHA-256 as GitHub's settings page shows it, to compare without showing the key."""
    pem = private_key.encode() if isinstance(private_key, str) else private_key
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        raise SettingsError(
            "GITHUB_APP_PRIVATE_KEY is not a private key in PEM form without a password"
        ) from None
    if not isinstance(key, RSAPrivateKey):
        raise SettingsError("GITHUB_APP_PRIVATE_KEY is not an RSA key")
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return "SHA256:" + base64.b64encode(hashlib.sha256(public).digest()).decode()
