"""What the environment says, checked once at the start: a secret that is missing or weak stops it with one line.

`DATABASE_URL` decides between the two modes. With it this is production and every secret has to be given; without it
everything is embedded under the data folder, where the secrets are made once and kept, readable by their owner alone.
"""

import fcntl
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import digest
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from bot.core.errors import SettingsError

SHORTEST_SECRET = 32
"""Characters: 128 bits even where somebody typed hexadecimal digits."""

PLACEHOLDERS = re.compile(
    r"change.?me|place.?holder|your.?secret|example|replace|default|insecure|password|xxxx|<|\.\.\.",
    re.IGNORECASE,
)
PRIVATE_KEY = re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----[^-]+-----END \1-----")
"""One complete key in PEM form, without a password."""

HOSTS = re.compile(r"(?:.*@)?(?:(?:\[[0-9a-fA-F:.]+\]|[^\[\]:@,]*)(?::[0-9]{1,5})?(?:,|$))*")
"""User and password, then one host or several, as libpq takes them."""

TIERS = ("free", "pro", "enterprise")
LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
PUBLIC_API = "https://api.github.com"
ACTIONS_ISSUER = "https://token.actions.githubusercontent.com"
HTTPS_ONLY = {
    "GITHUB_API_URL": "tokens are sent there",
    "PUBLIC_URL": "people and programs send their credentials there",
    "OIDC_ISSUER": "who a workflow is stands there",
}
FIRST_SECRETS, LATER_SECRETS = ("GITHUB_WEBHOOK_SECRET", "JWT_SECRET"), ("ENCRYPTION_KEYS",)
"""What the embedded mode makes itself: from the beginning, and since a later version."""

LISTS_OF_ADDRESSES = ("x-forwarded-for", "forwarded")
"""Headers that proxies add to: what stands there first, the client chose."""
DEFAULT_DATA_DIR = Path(".data")
DEFAULT_PORT = 8080

Environ = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class GitHubSettings:
    """The App's credentials and where GitHub is."""

    app_id: int
    private_keys: tuple[str, ...] = field(repr=False)
    api_url: str


@dataclass(frozen=True, slots=True)
class SignInSettings:
    """The App's client, with which people sign in."""

    client_id: str
    client_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ChromaSettings:
    """Chroma Cloud where there is an API key, a server where there is a URL, else embedded under the data folder."""

    url: str | None
    api_key: str | None = field(repr=False)
    tenant: str | None
    database: str | None


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a process is told from outside."""

    data_dir: Path
    model_dir: Path
    database_url: str | None = field(repr=False)
    chroma: ChromaSettings
    github: (
        GitHubSettings | None
    )  # None until the App is registered: then webhooks are stored and nothing is done
    sign_in: SignInSettings | None  # None: nobody signs in
    webhook_secrets: tuple[bytes, ...] = field(repr=False)
    jwt_secrets: tuple[str, ...] = field(repr=False)  # the first signs, all verify
    encryption_keys: tuple[str, ...] = field(repr=False)  # the first seals, all open
    marker_key: bytes = field(repr=False)
    public_url: str | None  # where people and programs reach us; None where nobody said
    client_address_header: str | None  # None: whoever is at the other end is the client
    oidc_issuer: str
    oidc_audience: str | None  # None: no workflow is let in
    web_url: str
    port: int
    metrics_port: int | None
    default_tier: str
    log_format: str

    def secrets(self) -> tuple[str, ...]:
        """Every secret that stands here as it is, so that logs can leave each out, whatever it looks like."""
        found = [
            *(secret.decode() for secret in self.webhook_secrets),
            *self.jwt_secrets,
            *self.encryption_keys,
            self.chroma.api_key,
            self.sign_in and self.sign_in.client_secret,
            password := self.database_url and urlsplit(self.database_url).password,
            password and unquote(password),
        ]
        return tuple(secret for secret in found if secret)


def load(environ: Environ, data_dir: Path | None = None) -> Settings:
    """Read and check. Raises SettingsError in one line that names the setting."""
    folder = data_folder(environ, data_dir)
    embedded = not environ.get("DATABASE_URL")
    generated = generated_secrets(folder) if embedded else {}
    webhook_secrets = secret_list(environ, generated, "GITHUB_WEBHOOK_SECRET")
    jwt_secrets = secret_list(environ, generated, "JWT_SECRET")
    api_url = address(environ, "GITHUB_API_URL", PUBLIC_API)
    public_url = public_address(environ)
    client = sign_in(environ)
    keys_needed = embedded or client is not None or bool(environ.get("ENCRYPTION_KEYS"))
    return Settings(
        data_dir=folder,
        model_dir=model_folder(environ, folder),
        database_url=database_url(environ),
        chroma=chroma(environ),
        github=github(environ, api_url, required=not embedded),
        sign_in=client,
        webhook_secrets=tuple(secret.encode() for secret in webhook_secrets),
        jwt_secrets=tuple(jwt_secrets),
        encryption_keys=tuple(secret_list(environ, generated, "ENCRYPTION_KEYS")) if keys_needed else (),
        marker_key=derived(jwt_secrets[-1], "marker"),
        public_url=public_url,
        client_address_header=header_name(environ, "CLIENT_ADDRESS_HEADER"),
        oidc_issuer=address(environ, "OIDC_ISSUER", ACTIONS_ISSUER),
        oidc_audience=environ.get("OIDC_AUDIENCE") or public_url,
        web_url=web_address(api_url),
        port=DEFAULT_PORT if (given := port(environ, "PORT")) is None else given,
        metrics_port=port(environ, "METRICS_PORT"),
        default_tier=one_of(environ, "DEFAULT_TIER", TIERS, "free"),
        log_format=one_of(environ, "LOG_FORMAT", ("json", "console"), "json"),
    )


def data_folder(environ: Environ, data_dir: Path | None) -> Path:
    """Where everything embedded lives."""
    return (data_dir or Path(environ.get("DATA_DIR") or DEFAULT_DATA_DIR)).resolve()


def model_folder(environ: Environ, data_dir: Path | None) -> Path:
    """Where the model's ONNX file is kept: an image has it baked in and names the place in MODEL_DIR."""
    given = environ.get("MODEL_DIR")
    return Path(given).resolve() if given else data_folder(environ, data_dir) / "model"


def database_url(environ: Environ) -> str | None:
    """The address of PostgreSQL, None for the embedded one."""
    url = environ.get("DATABASE_URL") or None
    if url is None:
        return None
    scheme, _, rest = url.partition("://")
    if scheme not in ("postgres", "postgresql"):
        raise SettingsError("DATABASE_URL does not begin with postgresql://")
    if not HOSTS.fullmatch(re.split(r"[/?#]", rest)[0]):
        raise SettingsError(
            "DATABASE_URL is not an address such as postgresql://user:password@host:5432/name"
        )
    return url


def secret_list(environ: Environ, generated: Mapping[str, str], name: str) -> list[str]:
    """A secret, or several while it is being rotated. Raises SettingsError where one is missing, short or a placeholder."""
    given = [item.strip() for item in environ.get(name, generated.get(name, "")).split(",")]
    if given == [""]:
        raise SettingsError(f"{name} is missing: set it to at least {SHORTEST_SECRET} random characters")
    for secret in given:
        if len(secret) < SHORTEST_SECRET:
            raise SettingsError(f"{name} is too short: it needs at least {SHORTEST_SECRET} random characters")
        if PLACEHOLDERS.search(secret) or len(set(secret)) < 8:
            raise SettingsError(
                f"{name} looks like a placeholder: set it to at least {SHORTEST_SECRET} random characters"
            )
    return given


def generated_secrets(folder: Path) -> dict[str, str]:
    """The embedded mode's own secrets, made at the first start. Raises SettingsError where the file cannot be used."""
    path = folder / "secrets.json"
    made = {name: secrets.token_hex(32) for name in (*FIRST_SECRETS, *LATER_SECRETS)}
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_once(path, json.dumps(made, indent=2) + "\n")
        if path.stat().st_mode & 0o077:
            raise SettingsError(f"{path} can be read by others: run `chmod 600 {path}`")
        kept = with_later_secrets(path, made)
        return {name: str(kept[name]) for name in made}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(
            f"{path} cannot be used ({type(error).__name__}): correct it, or remove it to have new secrets made"
        ) from None


def write_once(path: Path, text: str) -> None:
    """Make the file complete and private, or leave the one there is: the first of several processes wins."""
    if path.exists():
        return
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    write_fresh(fresh, text)
    try:
        os.link(fresh, path)
    except FileExistsError:
        return
    finally:
        fresh.unlink()


def write_fresh(fresh: Path, text: str) -> None:
    """Write a file for its owner alone, down to the disk, in place of what a start that died has left."""
    fresh.unlink(missing_ok=True)
    with os.fdopen(
        os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def with_later_secrets(path: Path, made: Mapping[str, str]) -> dict[str, Any]:
    """What the file holds; a secret that an earlier version did not make is added, the others stay as they are."""
    kept = read_object(path)
    if not all(name in kept for name in FIRST_SECRETS) or all(name in kept for name in LATER_SECRETS):
        return kept
    with exclusively(path.parent):
        kept = read_object(path)  # another process may have been faster
        kept |= {name: made[name] for name in LATER_SECRETS if name not in kept}
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        write_fresh(fresh, json.dumps(kept, indent=2) + "\n")
        fresh.replace(path)
    return kept


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises ValueError for anything else."""
    kept = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(kept, dict):
        raise ValueError("no object")  # noqa: TRY004  # what the caller tells is the same
    return kept


@contextmanager
def exclusively(folder: Path) -> Iterator[None]:
    """One process at a time."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def derived(secret: str, purpose: str) -> bytes:
    """A key for one purpose, so that no secret is used for two."""
    return digest(secret.encode(), f"deja-view {purpose}".encode(), sha256)


def chroma(environ: Environ) -> ChromaSettings:
    """Which Chroma. Raises SettingsError for half of Chroma Cloud's credentials."""
    key, tenant, database = (
        environ.get(name) or None for name in ("CHROMA_API_KEY", "CHROMA_TENANT", "CHROMA_DATABASE")
    )
    if key and not (tenant and database):
        raise SettingsError(
            f"{'CHROMA_DATABASE' if tenant else 'CHROMA_TENANT'} is missing: Chroma Cloud needs it beside CHROMA_API_KEY"
        )
    url = address(environ, "CHROMA_URL", "") or None
    return ChromaSettings(url, key, tenant, database)


def github(environ: Environ, api_url: str, *, required: bool) -> GitHubSettings | None:
    """The App, None where it is not registered yet. Raises SettingsError for half of it, or none of it in production."""
    app_id, key = environ.get("GITHUB_APP_ID", "").strip(), environ.get("GITHUB_APP_PRIVATE_KEY", "").strip()
    if not app_id and not key and not required:
        return None
    if not re.fullmatch("[0-9]{1,19}", app_id) or not 0 < int(app_id) < 2**63:
        raise SettingsError("GITHUB_APP_ID is missing or not a number: it stands on the App's settings page")
    if not key:
        raise SettingsError(
            "GITHUB_APP_PRIVATE_KEY is missing: set it to the PEM text of the App's private key, or to its path"
        )
    return GitHubSettings(int(app_id), private_keys(key), api_url)


def private_keys(value: str) -> tuple[str, ...]:
    """The PEM texts in a setting or in the file that it names, one after the other while a key is replaced."""
    text = value
    if "-----BEGIN" not in value:
        try:
            text = Path(value).expanduser().read_text(encoding="utf-8")
        except (OSError, ValueError):
            raise SettingsError(
                "GITHUB_APP_PRIVATE_KEY is neither PEM text nor the path of a file that can be read"
            ) from None
    text = text.replace("\\n", "\n").replace("\r\n", "\n")
    keys = tuple(match[0] + "\n" for match in PRIVATE_KEY.finditer(text))
    if len(keys) != text.count("-----BEGIN") or not keys:
        raise SettingsError("GITHUB_APP_PRIVATE_KEY holds no complete private key in PEM form")
    return keys


def address(environ: Environ, name: str, default: str) -> str:
    """An http(s) address without credentials or query, without a slash at its end."""
    value = (environ.get(name) or default).rstrip("/")
    if not value:
        return ""
    try:
        parts = urlsplit(value)
        host, _port = parts.hostname, parts.port
    except ValueError:  # brackets that do not close, a port that is none
        raise SettingsError(f"{name} is not an address such as https://host") from None
    if (
        parts.scheme not in ("http", "https")
        or not host
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
    ):
        raise SettingsError(f"{name} is not an address such as https://host")
    if parts.scheme == "http" and name in HTTPS_ONLY and host not in LOCAL_HOSTS:
        raise SettingsError(f"{name} must begin with https://: {HTTPS_ONLY[name]}")
    return value


def public_address(environ: Environ) -> str | None:
    """PUBLIC_URL, None where it is not set. Raises SettingsError for one with a path: cookies and links begin at the root."""
    value = address(environ, "PUBLIC_URL", "")
    if urlsplit(value).path:
        raise SettingsError("PUBLIC_URL is not an address such as https://host: it has a path")
    return value or None


def sign_in(environ: Environ) -> SignInSettings | None:
    """The App's client, None where there is none. Raises SettingsError for half of it."""
    client_id, secret = (
        environ.get(name, "").strip() for name in ("GITHUB_CLIENT_ID", "GITHUB_CLIENT_SECRET")
    )
    if not client_id and not secret:
        return None
    if not re.fullmatch("[A-Za-z0-9._-]{1,100}", client_id):
        raise SettingsError("GITHUB_CLIENT_ID is missing or none: it stands on the App's settings page")
    if len(secret) < SHORTEST_SECRET:
        raise SettingsError(
            "GITHUB_CLIENT_SECRET is missing or too short: generate one on the App's settings page"
        )
    return SignInSettings(client_id, secret)


def header_name(environ: Environ, name: str) -> str | None:
    """The name of a header that holds one value, None where it is not set."""
    value = environ.get(name) or None
    if value is not None and not re.fullmatch("[A-Za-z0-9-]{1,64}", value):
        raise SettingsError(f"{name} is not the name of a header such as Fly-Client-IP")
    if value is not None and value.lower() in LISTS_OF_ADDRESSES:
        raise SettingsError(
            f"{name} must be a header that your proxy replaces: this one grows by what anybody sends"
        )
    return value


def web_address(api_url: str) -> str:
    """Where people see what the API is about."""
    return "https://github.com" if api_url == PUBLIC_API else api_url.removesuffix("/api/v3")


def port(environ: Environ, name: str) -> int | None:
    """A port, None where it is not set; 0 takes any that is free."""
    value = environ.get(name, "")
    if not value:
        return None
    if not re.fullmatch("[0-9]{1,5}", value) or int(value) >= 65_536:
        raise SettingsError(f"{name} is not a port: a number up to 65535")
    return int(value)


def one_of(environ: Environ, name: str, allowed: tuple[str, ...], default: str) -> str:
    """One of a few words."""
    value = environ.get(name) or default
    if value not in allowed:
        raise SettingsError(f"{name} must be one of: {', '.join(allowed)}")
    return value
