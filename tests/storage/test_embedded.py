import os
import signal
import subprocess
import sys
import time

import asyncpg
import pytest

from bot.core.errors import SettingsError
from storage import embedded

START = "import sys; from pathlib import Path; from storage import embedded; print(embedded.start(Path(sys.argv[1]), fsync=False).url)"


@pytest.fixture
def folder(tmp_path):
    yield tmp_path / "data"
    embedded.stop((tmp_path / "data").resolve() / "postgres")


async def write_row(url):
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE IF NOT EXISTS kept (n int); INSERT INTO kept VALUES (1)")
    await connection.close()


async def count_rows(url):
    connection = await asyncpg.connect(url)
    found = await connection.fetchval("SELECT count(*) FROM kept")
    await connection.close()
    return found


async def test_a_first_and_a_second_start_serve_the_same_rows(folder):
    server = embedded.start(folder)
    await write_row(server.url)
    server.stop()
    assert await count_rows(embedded.start(folder).url) == 1


async def test_a_killed_server_comes_back_with_its_rows(folder):
    server = embedded.start(folder)
    await write_row(server.url)
    os.kill(embedded.postmaster_pid(server.folder), signal.SIGKILL)
    assert await count_rows(embedded.start(folder).url) == 1


async def test_a_server_whose_starter_was_killed_is_adopted(folder):
    starter = subprocess.run(
        [sys.executable, "-c", START, str(folder)], check=True, capture_output=True, text=True
    )
    await write_row(starter.stdout.strip())
    pid = embedded.postmaster_pid(folder.resolve() / "postgres")
    server = embedded.start(folder)
    assert embedded.postmaster_pid(server.folder) == pid
    assert await count_rows(server.url) == 1


async def test_a_pid_file_of_a_stranger_or_a_zombie_does_not_stop_the_start(folder):
    server = embedded.start(folder)
    server.stop()
    zombie = subprocess.Popen(["true"])
    time.sleep(0.2)
    for pid in (os.getpid(), zombie.pid):
        (server.folder / "data" / "postmaster.pid").write_text(
            f"{pid}\n{server.folder / 'data'}\n1\n5432\n{server.folder}\n\n0 0\nready\n"
        )
        embedded.start(folder)
        server.stop()
    zombie.wait()


def test_starters_do_not_race(folder):
    starters = [
        subprocess.Popen([sys.executable, "-c", START, str(folder)], stdout=subprocess.PIPE) for _ in range(4)
    ]
    assert [starter.communicate()[0] and starter.returncode for starter in starters] == [0, 0, 0, 0]


def test_nobody_else_can_enter(folder):
    server = embedded.start(folder)
    assert server.folder.stat().st_mode & 0o077 == 0
    assert (server.folder / "data").stat().st_mode & 0o077 == 0


async def test_our_role_is_bound_by_row_level_security(folder):
    connection = await asyncpg.connect(embedded.start(folder).url)
    role = await connection.fetchrow(
        "SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user"
    )
    await connection.close()
    assert tuple(role) == (False, False)


async def test_a_long_path_gets_a_short_private_socket(tmp_path):
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    server = embedded.start(deep)
    try:
        assert len(str(server.socket_folder)) <= embedded.LONGEST_SOCKET
        assert server.socket_folder.stat().st_mode & 0o077 == 0
        await write_row(server.url)
    finally:
        server.stop()


def test_a_socket_folder_that_others_can_enter_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    embedded.socket_folder(deep).chmod(0o777)
    with pytest.raises(SettingsError, match="belongs to somebody else"):
        embedded.socket_folder(deep)


@pytest.mark.parametrize(
    "identity", [None, embedded.become_ordinary], ids=["as whoever runs the tests", "as an ordinary user"]
)
def test_root_and_an_ordinary_user_can_both_start_it(folder, identity):
    if os.getuid() != 0:
        identity = None
    run = subprocess.run(
        [sys.executable, "-c", START, str(folder)],
        check=False,
        capture_output=True,
        text=True,
        preexec_fn=identity,
    )
    assert run.returncode == 0, run.stderr


def test_without_any_binaries_one_line_says_what_to_do(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(SettingsError, match="DATABASE_URL"):
        embedded.find_bin()
