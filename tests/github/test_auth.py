import hashlib
import subprocess
import time
from base64 import b64encode

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from bot.core.errors import CredentialsError, SettingsError
from bot.github.access import AppAccess
from bot.github.auth import AppKeys, fingerprint
from bot.github.client import Wire, get
from bot.github.pace import MemoryPauses

from .conftest import APP_ID, Reply


def claims(token, pem):
    return jwt.decode(token, load_pem_private_key(pem.encode(), None).public_key(), ["RS256"])


def test_a_token_says_who_and_for_how_long(pem):
    told = claims(AppKeys(APP_ID, [pem]).token(), pem)
    assert told["iss"] == str(APP_ID)
    assert told["iat"] <= time.time() - 59
    assert told["exp"] <= time.time() + 600
    assert told["exp"] - told["iat"] <= 600


def test_a_token_is_kept_and_renewed_before_it_ends(pem, monkeypatch):
    moment = [0.0]
    keys = AppKeys(APP_ID, [pem], lambda: moment[0])
    first = keys.token()
    moment[0] = 419.0
    assert keys.token() is first
    moment[0] = 421.0
    later = time.time() + 421
    monkeypatch.setattr("gidgethub.apps.time.time", lambda: later)
    assert keys.token() != first


def test_the_next_key_signs_after_a_refusal(pem, other_pem):
    keys = AppKeys(APP_ID, [pem, other_pem])
    first = keys.token()
    keys.refused(first)
    keys.refused(first)  # a second request that used the same token does not move on again
    assert claims(keys.token(), other_pem)


def test_fingerprint_is_what_github_shows(pem, tmp_path):
    path = tmp_path / "key.pem"
    path.write_text(pem)
    der = subprocess.run(
        ["openssl", "rsa", "-in", path, "-pubout", "-outform", "DER"], capture_output=True, check=True
    ).stdout
    assert fingerprint(pem) == "SHA256:" + b64encode(hashlib.sha256(der).digest()).decode()


def test_a_key_that_is_none_is_not_told(pem):
    curve = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    )
    for wrong in (pem[:200], "ghs_secret", b"\xff", curve):
        with pytest.raises(SettingsError, match="GITHUB_APP_PRIVATE_KEY") as raised:
            AppKeys(APP_ID, [wrong])
        assert "secret" not in str(raised.value)
        assert "\n" not in str(raised.value)
        assert raised.value.__cause__ is None
    with pytest.raises(SettingsError):
        AppKeys(APP_ID, [])


async def test_a_key_is_replaced_without_a_failed_call(server, session, api, pem, other_pem):
    server.on(
        "GET", "/app", Reply(401, {"message": "A JSON web token could not be decoded"}), Reply(body={"id": 1})
    )
    app = AppAccess(Wire(session, api, MemoryPauses()), AppKeys(APP_ID, [pem, other_pem]))
    assert (await app.send(get("app"))).data == {"id": 1}
    await app.send(get("app"))
    assert claims(server.seen[0].token, pem)
    assert claims(server.seen[1].token, other_pem)
    assert len(server.seen) == 3


async def test_keys_that_are_all_refused(server, session, api, pem, other_pem):
    server.on("GET", "/app", Reply(401, {"message": "Integration not found"}))
    app = AppAccess(Wire(session, api, MemoryPauses()), AppKeys(APP_ID, [pem, other_pem]))
    with pytest.raises(CredentialsError):
        await app.send(get("app"))
    assert len(server.seen) == 2
