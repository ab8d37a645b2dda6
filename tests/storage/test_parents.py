import shutil

import chromadb
import pytest

from bot.core.errors import SettingsError
from storage.chroma import CollectionsSettings, disconnect
from storage.parents import PAGE, records
from tests.chroma_server import free_port, start_server
from tests.parent import as_value, fill, in_folder, quiet, record

MANY = [record(number, f"Report {number}") for number in range(1, PAGE + 30)]


def by_id(pages):
    return sorted((item for page in pages for item in page), key=lambda item: item["id"])


def expected(items):
    return sorted((as_value(item) for item in items), key=lambda item: item["id"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return in_folder(tmp_path_factory.mktemp("parent"), MANY)


def files(folder):
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()
    }


def test_a_folder_is_read_in_pages_and_left_as_it_is(folder):
    before = files(folder)
    pages = list(records(CollectionsSettings(folder)))
    assert [len(page) for page in pages] == [PAGE, 29]
    assert by_id(pages) == expected(MANY)
    assert files(folder) == before


def test_a_folder_is_read_while_its_owner_writes(tmp_path):
    client = chromadb.PersistentClient(tmp_path, quiet())
    fill(client, MANY[:5])
    assert by_id(records(CollectionsSettings(tmp_path))) == expected(MANY[:5])
    fill(client, MANY[:7])
    assert by_id(records(CollectionsSettings(tmp_path))) == expected(MANY[:7])
    client.close()


def test_a_server_is_read(tmp_path):
    port = free_port()
    server = start_server(tmp_path, port)
    try:
        client = chromadb.HttpClient("127.0.0.1", port, settings=quiet())
        fill(client, MANY)
        pages = list(records(CollectionsSettings(url=f"http://127.0.0.1:{port}")))
        assert by_id(pages) == expected(MANY)
        disconnect(client)
    finally:
        server.kill()
        server.wait()


def test_a_server_that_is_not_there_is_told_in_one_line():
    with pytest.raises(SettingsError, match="cannot be read: Chroma cannot be reached"):
        list(records(CollectionsSettings(url=f"http://127.0.0.1:{free_port()}")))


def test_another_collection_is_not_the_parents(tmp_path):
    client = chromadb.PersistentClient(tmp_path, quiet())
    client.create_collection("other", embedding_function=None)
    client.close()
    with pytest.raises(SettingsError, match="no collection github_issues"):
        list(records(CollectionsSettings(tmp_path)))


def test_a_folder_without_a_database_is_told_in_one_line(tmp_path):
    for place in (tmp_path, tmp_path / "missing", tmp_path / ".." / "missing"):
        with pytest.raises(SettingsError, match=r"holds no chroma.sqlite3"):
            list(records(CollectionsSettings(place)))
    (tmp_path / "chroma.sqlite3").write_bytes(b"not a database" * 100)
    with pytest.raises(SettingsError, match="cannot be read"):
        list(records(CollectionsSettings(tmp_path)))


def test_a_link_out_of_the_folder_is_not_followed(folder, tmp_path):
    (tmp_path / "chroma.sqlite3").symlink_to(folder / "chroma.sqlite3")
    with pytest.raises(SettingsError, match="a link that leaves the folder"):
        list(records(CollectionsSettings(tmp_path)))


def test_a_link_to_the_folder_itself_is_the_operators_choice(folder, tmp_path):
    (tmp_path / "parent").symlink_to(folder)
    assert by_id(records(CollectionsSettings(tmp_path / "parent"))) == expected(MANY)


def test_vectors_are_not_needed(folder, tmp_path):
    shutil.copy(folder / "chroma.sqlite3", tmp_path)
    assert by_id(records(CollectionsSettings(tmp_path))) == expected(MANY)
