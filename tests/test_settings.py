import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bot import settings
from bot.__main__ import main
from bot.core.errors import SettingsError
from bot.settings import load


def new_key():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


PEM, OTHER_PEM = new_key(), new_key()
SECRET, JWT = "4f9a" + "0123456789abcdef" * 3, "b7c1" + "fedcba9876543210" * 3
KEY = "q83vEjRWeJASNFZ4kKvN7wEjRWeJq83vEjRWeJASNFY"
PRODUCTION = {
    "DATABASE_URL": "postgresql://u:hunter22@127.0.0.1:1/x",
    "GITHUB_WEBHOOK_SECRET": SECRET,
    "JWT_SECRET": JWT,
    "GITHUB_APP_ID": "4711",
    "GITHUB_APP_PRIVATE_KEY": PEM,
}

REFUSED = {
    **{
        f"{name}-{kind}": (name, value, name, words)
        for name in ("GITHUB_WEBHOOK_SECRET", "JWT_SECRET", "ENCRYPTION_KEYS")
        for kind, value, words in [
            ("missing", None, "is missing"),
            ("empty", "", "is missing"),
            ("blank", "  ", "is missing"),
            ("short", "0123456789abcdef0123456789abcde", "too short"),
            ("padded", f"{'0123456789abcdef'} {' ' * 40}", "too short"),
            ("second-short", f"{SECRET},abc", "too short"),
            ("second-empty", f"{SECRET},", "too short"),
            ("placeholder", "change-me-change-me-change-me-change-me", "placeholder"),
            ("changeme", "CHANGEME0123456789abcdefghijklmnop", "placeholder"),
            ("your-secret", "your-secret-goes-right-here-1234567", "placeholder"),
            ("angle", "<a secret of at least 32 characters>", "placeholder"),
            ("one-letter", "a" * 64, "placeholder"),
            ("seven-letters", "abcdefg" * 9, "placeholder"),
        ]
        if name != "ENCRYPTION_KEYS" or kind not in ("missing", "empty")  # nobody signs in: nothing to seal
    },
    "database-of-another-kind": ("DATABASE_URL", "mysql://x", "DATABASE_URL", "postgresql://"),
    "app-missing": ("GITHUB_APP_ID", None, "GITHUB_APP_ID", "missing or not a number"),
    "app-name": ("GITHUB_APP_ID", "deja-view", "GITHUB_APP_ID", "not a number"),
    "app-zero": ("GITHUB_APP_ID", "0", "GITHUB_APP_ID", "not a number"),
    "app-negative": ("GITHUB_APP_ID", "-1", "GITHUB_APP_ID", "not a number"),
    "app-other-digits": ("GITHUB_APP_ID", "４７", "GITHUB_APP_ID", "not a number"),
    "app-large": ("GITHUB_APP_ID", str(2**63), "GITHUB_APP_ID", "not a number"),
    "key-missing": ("GITHUB_APP_PRIVATE_KEY", None, "GITHUB_APP_PRIVATE_KEY", "is missing"),
    "key-no-file": ("GITHUB_APP_PRIVATE_KEY", "/no/such/file.pem", "GITHUB_APP_PRIVATE_KEY", "neither PEM text nor the path"),
    "key-folder": ("GITHUB_APP_PRIVATE_KEY", "/", "GITHUB_APP_PRIVATE_KEY", "neither PEM text nor the path"),
    "key-nul": ("GITHUB_APP_PRIVATE_KEY", "a\0b", "GITHUB_APP_PRIVATE_KEY", "neither PEM text nor the path"),
    "key-long-garbage": ("GITHUB_APP_PRIVATE_KEY", "x" * 10_000, "GITHUB_APP_PRIVATE_KEY", "neither PEM text nor the path"),
    "key-cut": ("GITHUB_APP_PRIVATE_KEY", PEM[:200], "GITHUB_APP_PRIVATE_KEY", "no complete private key"),
    "key-public": ("GITHUB_APP_PRIVATE_KEY", "-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----", "GITHUB_APP_PRIVATE_KEY", "no complete private key"),
    "key-second-cut": ("GITHUB_APP_PRIVATE_KEY", PEM + PEM[:200], "GITHUB_APP_PRIVATE_KEY", "no complete private key"),
    "api-not-local": ("GITHUB_API_URL", "http://api.github.com", "GITHUB_API_URL", "https://"),
    "api-local-lookalike": ("GITHUB_API_URL", "http://localhost.evil.example", "GITHUB_API_URL", "https://"),
    "api-other-scheme": ("GITHUB_API_URL", "file:///etc/passwd", "GITHUB_API_URL", "not an address"),
    "api-bare": ("GITHUB_API_URL", "api.github.com", "GITHUB_API_URL", "not an address"),
    "api-with-password": ("GITHUB_API_URL", "https://u:hunter22@ghe.example", "GITHUB_API_URL", "not an address"),
    "api-with-query": ("GITHUB_API_URL", "https://ghe.example?x=1", "GITHUB_API_URL", "not an address"),
    "api-with-fragment": ("GITHUB_API_URL", "https://ghe.example#x", "GITHUB_API_URL", "not an address"),
    "api-broken-host": ("GITHUB_API_URL", "https://[::1", "GITHUB_API_URL", "not an address"),
    "api-bad-port": ("GITHUB_API_URL", "https://ghe.example:99999", "GITHUB_API_URL", "not an address"),
    "api-with-password-alone": ("GITHUB_API_URL", "https://:hunter22@ghe.example", "GITHUB_API_URL", "not an address"),
    "database-broken-host": ("DATABASE_URL", "postgresql://[::1/x", "DATABASE_URL", "not an address"),
    "database-bad-port": ("DATABASE_URL", "postgresql://u:hunter22@h:http/x", "DATABASE_URL", "not an address"),
    "app-endless": ("GITHUB_APP_ID", "9" * 5_000, "GITHUB_APP_ID", "not a number"),
    "chroma-bare": ("CHROMA_URL", "chroma:8000", "CHROMA_URL", "not an address"),
    "port-name": ("PORT", "http", "PORT", "not a port"),
    "port-large": ("PORT", "65536", "PORT", "not a port"),
    "port-negative": ("PORT", "-1", "PORT", "not a port"),
    "port-other-digits": ("PORT", "８０", "PORT", "not a port"),
    "port-endless": ("PORT", "9" * 5_000, "PORT", "not a port"),
    "metrics-port": ("METRICS_PORT", "x", "METRICS_PORT", "not a port"),
    "public-bare": ("PUBLIC_URL", "deja-view.example", "PUBLIC_URL", "not an address"),
    "public-not-local": ("PUBLIC_URL", "http://deja-view.example", "PUBLIC_URL", "https://"),
    "public-with-path": ("PUBLIC_URL", "https://deja-view.example/app", "PUBLIC_URL", "has a path"),
    "issuer-not-local": ("OIDC_ISSUER", "http://issuer.example", "OIDC_ISSUER", "https://"),
    "issuer-bare": ("OIDC_ISSUER", "issuer", "OIDC_ISSUER", "not an address"),
    "client-alone": ("GITHUB_CLIENT_ID", "Iv23liABCDEF", "GITHUB_CLIENT_SECRET", "is missing"),
    "client-secret-alone": ("GITHUB_CLIENT_SECRET", SECRET, "GITHUB_CLIENT_ID", "is missing"),
    "client-quoted": ("GITHUB_CLIENT_ID", "'Iv23li'", "GITHUB_CLIENT_ID", "is missing or none"),
    "header-with-colon": ("CLIENT_ADDRESS_HEADER", "Fly-Client-IP:", "CLIENT_ADDRESS_HEADER", "not the name"),
    "header-with-line-end": ("CLIENT_ADDRESS_HEADER", "Fly-Client-IP\n", "CLIENT_ADDRESS_HEADER", "not the name"),
    "header-that-anybody-sends": ("CLIENT_ADDRESS_HEADER", "X-Forwarded-For", "CLIENT_ADDRESS_HEADER", "your proxy replaces"),
    "header-forwarded": ("CLIENT_ADDRESS_HEADER", "forwarded", "CLIENT_ADDRESS_HEADER", "your proxy replaces"),
    "tier": ("DEFAULT_TIER", "gold", "DEFAULT_TIER", "free, pro, enterprise"),
    "log-format": ("LOG_FORMAT", "xml", "LOG_FORMAT", "json, console"),
}  # fmt: skip
"""What may be wrong: the setting, its value, and what the one line names and says."""

cases = pytest.mark.parametrize(("name", "value", "named", "words"), REFUSED.values(), ids=REFUSED)


def with_setting(name, value):
    changed = PRODUCTION | {name: value}
    return {key: text for key, text in changed.items() if text is not None}


@cases
def test_a_wrong_setting_stops_the_start_with_one_line_that_names_it(tmp_path, name, value, named, words):
    with pytest.raises(SettingsError) as caught:
        load(with_setting(name, value), tmp_path)
    message = str(caught.value)
    assert message.startswith(named)
    assert words in message
    assert "\n" not in message
    assert len(message) < 200
    assert not value or len(value) < 8 or value not in message
    assert "hunter22" not in message


@cases
@pytest.mark.parametrize("command", ["run", "migrate"])
def test_the_command_line_tells_it_in_one_line_too(
    tmp_path, monkeypatch, capsys, command, name, value, named, words
):
    monkeypatch.setattr(os, "environ", with_setting(name, value))
    assert main([command, "--data-dir", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith(f"deja-view: {named}")
    assert "Traceback" not in captured.err


def test_production_is_what_was_set(tmp_path):
    loaded = load(PRODUCTION, tmp_path)
    assert loaded.database_url == PRODUCTION["DATABASE_URL"]
    assert loaded.github is not None
    assert (loaded.github.app_id, loaded.github.private_keys, loaded.github.api_url) == (
        4711,
        (PEM,),
        settings.PUBLIC_API,
    )
    assert loaded.webhook_secrets == (SECRET.encode(),)
    assert (loaded.port, loaded.metrics_port, loaded.default_tier, loaded.log_format) == (
        8080,
        None,
        "free",
        "json",
    )
    assert loaded.web_url == "https://github.com"
    assert list(tmp_path.iterdir()) == []  # production writes no secrets


def test_a_password_is_known_as_it_stands_and_as_it_is_meant(tmp_path):
    loaded = load(PRODUCTION | {"DATABASE_URL": "postgresql://u:p%40ss%20word@h/x"}, tmp_path)
    assert {"p%40ss%20word", "p@ss word"} <= set(loaded.secrets())


def test_no_secret_is_in_the_repr(tmp_path):
    environ = (
        PRODUCTION
        | {"CHROMA_API_KEY": "ck-secretsecret", "CHROMA_TENANT": "t", "CHROMA_DATABASE": "d"}
        | CLIENT
    )
    loaded = load(environ, tmp_path)
    shown = repr(loaded) + str(loaded) + repr(loaded.github) + repr(loaded.chroma)
    hidden = [
        "hunter22",
        SECRET,
        JWT,
        KEY,
        "c0ffee",
        "BEGIN",
        PEM[100:140],
        "ck-secretsecret",
        repr(loaded.marker_key),
    ]
    assert [text for text in hidden if text in shown] == []
    assert set(loaded.secrets()) == {SECRET, JWT, KEY, "c0ffee" * 7, "hunter22", "ck-secretsecret"}


def test_the_marker_key_is_derived_from_the_oldest_secret(tmp_path):
    old = load(PRODUCTION, tmp_path).marker_key
    assert len(old) == 32
    assert load(PRODUCTION | {"JWT_SECRET": f"{SECRET},{JWT}"}, tmp_path).marker_key == old
    assert load(PRODUCTION | {"JWT_SECRET": SECRET}, tmp_path).marker_key != old
    assert settings.derived(JWT, "marker") != settings.derived(JWT, "else")


def test_a_webhook_secret_can_be_rotated(tmp_path):
    loaded = load(PRODUCTION | {"GITHUB_WEBHOOK_SECRET": f"{SECRET} , {JWT}"}, tmp_path)
    assert loaded.webhook_secrets == (SECRET.encode(), JWT.encode())


# --- the private key


@pytest.mark.parametrize(
    ("value", "keys"),
    [
        pytest.param(PEM, (PEM,), id="text"),
        pytest.param(PEM.replace("\n", "\\n"), (PEM,), id="escaped-new-lines"),
        pytest.param(PEM.replace("\n", "\r\n"), (PEM,), id="crlf"),
        pytest.param(f"  {PEM}\n\n", (PEM,), id="white-space"),
        pytest.param(PEM + OTHER_PEM, (PEM, OTHER_PEM), id="two"),
        pytest.param(f"{PEM}\n\n{OTHER_PEM}", (PEM, OTHER_PEM), id="two-apart"),
        pytest.param((PEM + OTHER_PEM).replace("\n", "\\n"), (PEM, OTHER_PEM), id="two-escaped"),
        pytest.param(PEM.strip() + OTHER_PEM.strip(), (PEM, OTHER_PEM), id="two-without-a-line-between"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", ["text", "file"])
def test_how_a_key_may_be_given(tmp_path, value, keys, where):
    if where == "file":
        file = tmp_path / "key.pem"
        file.write_bytes(value.encode())
        value = str(file)
    loaded = load(PRODUCTION | {"GITHUB_APP_PRIVATE_KEY": value}, tmp_path)
    assert loaded.github.private_keys == keys


def test_a_file_that_is_no_text_is_no_key(tmp_path):
    file = tmp_path / "key.der"
    file.write_bytes(b"\x30\x82\xff\xfe")
    with pytest.raises(SettingsError, match="neither PEM text nor the path"):
        load(PRODUCTION | {"GITHUB_APP_PRIVATE_KEY": str(file)}, tmp_path)


# --- the embedded mode


def test_generated_secrets_are_made_once_and_are_private(tmp_path):
    folder = tmp_path / "data"
    first = load({}, folder)
    file = folder / "secrets.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [len(value) for value in json.loads(file.read_text()).values()] == [64, 64, 64]
    assert [path.name for path in folder.iterdir()] == ["secrets.json"]
    again = load({}, folder)
    assert first == again
    other = load({}, tmp_path / "other")
    assert other.webhook_secrets != first.webhook_secrets
    assert other.marker_key != first.marker_key
    assert other.jwt_secrets != first.jwt_secrets
    assert other.encryption_keys != first.encryption_keys
    assert len({*first.jwt_secrets, *first.encryption_keys, first.webhook_secrets[0].decode()}) == 3
    assert first.github is None


def test_what_is_set_wins_over_what_was_generated(tmp_path):
    load({}, tmp_path)
    assert load({"GITHUB_WEBHOOK_SECRET": SECRET}, tmp_path).webhook_secrets == (SECRET.encode(),)
    with pytest.raises(SettingsError, match="GITHUB_WEBHOOK_SECRET is too short"):
        load({"GITHUB_WEBHOOK_SECRET": "short"}, tmp_path)


OLD_FILE = {"GITHUB_WEBHOOK_SECRET": SECRET, "JWT_SECRET": JWT, "kept": "as it is"}
"""What the first version made, and what somebody wrote beside it."""


def old_folder(folder):
    file = folder / "secrets.json"
    file.write_text(json.dumps(OLD_FILE))
    file.chmod(0o600)
    return file


def test_a_folder_of_an_earlier_version_gets_the_secret_that_it_lacks(tmp_path):
    file = old_folder(tmp_path)
    first = load({}, tmp_path)
    kept = json.loads(file.read_text())
    assert kept == OLD_FILE | {"ENCRYPTION_KEYS": first.encryption_keys[0]}
    assert (first.jwt_secrets, first.webhook_secrets) == ((JWT,), (SECRET.encode(),))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secrets.json"]
    assert load({}, tmp_path) == first


def test_processes_that_add_a_secret_at_once_agree_on_it(tmp_path):
    old_folder(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        keys = {loaded.encryption_keys for loaded in pool.map(lambda _: load({}, tmp_path), range(32))}
    assert len(keys) == 1


@pytest.mark.parametrize("half", ["GITHUB_APP_ID", "GITHUB_APP_PRIVATE_KEY"])
def test_half_an_app_is_refused_in_the_embedded_mode_too(tmp_path, half):
    with pytest.raises(SettingsError, match="is missing"):
        load({half: PRODUCTION[half]}, tmp_path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o777])
def test_secrets_that_others_can_read_are_refused(tmp_path, mode):
    load({}, tmp_path)
    file = tmp_path / "secrets.json"
    file.chmod(mode)
    with pytest.raises(SettingsError, match="can be read by others: run `chmod 600"):
        load({}, tmp_path)
    file.chmod(0o600)
    load({}, tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"null", b"{", b"\xff", b'{"JWT_SECRET": "x"}', b'"x"']
)
def test_a_damaged_file_is_told_and_kept(tmp_path, content):
    file = tmp_path / "secrets.json"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(SettingsError, match=r"secrets\.json cannot be used"):
        load({}, tmp_path)
    assert file.read_bytes() == content


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot be used"):
        load({}, tmp_path / "file" / "data")


def test_a_rest_of_a_start_that_died_is_no_obstacle(tmp_path):
    (tmp_path / f".secrets.json.{os.getpid()}").write_text("half")
    load({}, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["secrets.json"]


def test_the_first_of_two_processes_wins(tmp_path):
    file = tmp_path / "secrets.json"
    settings.write_once(file, "first")
    settings.write_once(file, "second")
    assert file.read_text() == "first"


def test_one_that_lost_the_race_leaves_the_winners_file(tmp_path, monkeypatch):
    file = tmp_path / "secrets.json"
    file.write_text("winner")
    monkeypatch.setattr(type(file), "exists", lambda _: False)
    settings.write_once(file, "loser")
    assert file.read_text() == "winner"
    assert [path.name for path in tmp_path.iterdir()] == ["secrets.json"]


@pytest.mark.parametrize(
    "url",
    [
        "postgres://h/x",
        "postgresql:///x",
        "postgresql:///x?host=/run/postgresql",
        "postgresql://u@h/x?sslmode=require",
        "postgresql://u:p%40s:s@h:5432/x",
        "postgresql://u:p@[::1]:5432/x",
        "postgresql://u:p@a:1,b:2/x",
        "postgresql://h",
        "postgresql://u:p@ss@h:5432/x",
    ],
)
def test_addresses_of_postgresql(tmp_path, url):
    assert load(PRODUCTION | {"DATABASE_URL": url}, tmp_path).database_url == url


# --- sign-in, tokens, and what proxies say

CLIENT = {"GITHUB_CLIENT_ID": "Iv23liABCDEF", "GITHUB_CLIENT_SECRET": "c0ffee" * 7, "ENCRYPTION_KEYS": KEY}


def test_what_sign_in_needs(tmp_path):
    loaded = load(PRODUCTION | CLIENT, tmp_path)
    assert (loaded.sign_in.client_id, loaded.sign_in.client_secret) == ("Iv23liABCDEF", "c0ffee" * 7)
    assert loaded.encryption_keys == (KEY,)
    assert load(PRODUCTION | CLIENT | {"ENCRYPTION_KEYS": f"{SECRET} ,{KEY}"}, tmp_path).encryption_keys == (
        SECRET,
        KEY,
    )
    without = load(PRODUCTION, tmp_path)
    assert (without.sign_in, without.encryption_keys) == (None, ())
    assert load(PRODUCTION | {"ENCRYPTION_KEYS": KEY}, tmp_path).encryption_keys == (KEY,)


@pytest.mark.parametrize("missing", CLIENT)
def test_half_of_a_client_is_refused(tmp_path, missing):
    for environ in (PRODUCTION | CLIENT, {} if missing == "ENCRYPTION_KEYS" else CLIENT):
        given = {name: value for name, value in environ.items() if name != missing}
        if environ:
            with pytest.raises(SettingsError, match=f"^{missing} is missing"):
                load(given, tmp_path)


def test_the_first_jwt_secret_signs(tmp_path):
    assert load(PRODUCTION | {"JWT_SECRET": f"{SECRET} , {JWT}"}, tmp_path).jwt_secrets == (SECRET, JWT)


@pytest.mark.parametrize(
    ("given", "public", "audience"),
    [
        ({}, None, None),
        ({"PUBLIC_URL": "https://dv.example/"}, "https://dv.example", "https://dv.example"),
        ({"PUBLIC_URL": "http://localhost:8080"}, "http://localhost:8080", "http://localhost:8080"),
        ({"PUBLIC_URL": "https://dv.example", "OIDC_AUDIENCE": "dv"}, "https://dv.example", "dv"),
    ],
)  # fmt: skip
def test_where_we_are(tmp_path, given, public, audience):
    loaded = load(PRODUCTION | given, tmp_path)
    assert (loaded.public_url, loaded.oidc_audience) == (public, audience)
    assert loaded.oidc_issuer == "https://token.actions.githubusercontent.com"
    issuer = "https://ghe.example/_services/token"
    assert load(PRODUCTION | {"OIDC_ISSUER": issuer}, tmp_path).oidc_issuer == issuer


def test_whose_address_counts(tmp_path):
    assert load(PRODUCTION, tmp_path).client_address_header is None
    given = PRODUCTION | {"CLIENT_ADDRESS_HEADER": "Fly-Client-IP"}
    assert load(given, tmp_path).client_address_header == "Fly-Client-IP"


# --- addresses, ports, folders


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"CHROMA_API_KEY": "k"}, "CHROMA_TENANT"),
        ({"CHROMA_API_KEY": "k", "CHROMA_TENANT": "t"}, "CHROMA_DATABASE"),
        ({"CHROMA_API_KEY": "k", "CHROMA_DATABASE": "d"}, "CHROMA_TENANT"),
        ({"CHROMA_API_KEY": "k", "CHROMA_TENANT": "", "CHROMA_DATABASE": "d"}, "CHROMA_TENANT"),
    ],
)
def test_half_of_chroma_clouds_credentials_is_refused(tmp_path, given, missing):
    with pytest.raises(SettingsError, match=f"^{missing} is missing"):
        load(PRODUCTION | given, tmp_path)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (None, None, None, None)),
        ({"CHROMA_URL": "http://chroma:8000/"}, ("http://chroma:8000", None, None, None)),
        ({"CHROMA_API_KEY": "k", "CHROMA_TENANT": "t", "CHROMA_DATABASE": "d"}, (None, "k", "t", "d")),
    ],
)
def test_which_chroma(tmp_path, given, expected):
    chroma = load(PRODUCTION | given, tmp_path).chroma
    assert (chroma.url, chroma.api_key, chroma.tenant, chroma.database) == expected


@pytest.mark.parametrize(
    ("given", "api", "web"),
    [
        ("https://api.github.com/", "https://api.github.com", "https://github.com"),
        ("https://ghe.example/api/v3", "https://ghe.example/api/v3", "https://ghe.example"),
        ("http://127.0.0.1:8123", "http://127.0.0.1:8123", "http://127.0.0.1:8123"),
        ("http://localhost:1", "http://localhost:1", "http://localhost:1"),
        ("http://[::1]:1", "http://[::1]:1", "http://[::1]:1"),
    ],
)
def test_where_github_is(tmp_path, given, api, web):
    loaded = load(PRODUCTION | {"GITHUB_API_URL": given}, tmp_path)
    assert (loaded.github.api_url, loaded.web_url) == (api, web)


@pytest.mark.parametrize(("value", "port"), [("", 8080), ("1", 1), ("65535", 65535), ("0", 0), ("080", 80)])
def test_ports(tmp_path, value, port):
    assert load(PRODUCTION | {"PORT": value}, tmp_path).port == port


def test_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load(PRODUCTION).data_dir == tmp_path / ".data"
    assert load(PRODUCTION | {"DATA_DIR": "x"}).data_dir == tmp_path / "x"
    assert load(PRODUCTION | {"DATA_DIR": "x"}, tmp_path / "y").data_dir == tmp_path / "y"
    assert load(PRODUCTION, tmp_path / "y").model_dir == tmp_path / "y" / "model"
    assert load(PRODUCTION | {"MODEL_DIR": "m"}, tmp_path / "y").model_dir == tmp_path / "m"
