import gzip
import io
import os
import resource
import sys
import zlib

import pytest

from bot.core.errors import SettingsError
from bot.core.exchange import MAX_LINE
from storage.exports import lines, private_file

TEXTS = ['{"a": "é"}', '{"b": 2}']


def read(path, data, **more):
    path.write_bytes(data)
    return [(number, text and text.strip(), problem) for number, text, problem in lines(str(path), **more)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["unix", "windows", "old mac"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings_and_line_ends_are_found_out(tmp_path, encoding, end):
    data = (end.join(TEXTS) + end).encode(encoding)
    assert read(tmp_path / "x", data) == [(1, TEXTS[0], ""), (2, TEXTS[1], "")]


@pytest.mark.parametrize("data", [b"", b"\n\n", b" \r\n", b"\xef\xbb\xbf"], ids=repr)
def test_what_is_empty_has_no_lines(tmp_path, data):
    assert read(tmp_path / "x", data) == []


def test_a_line_in_another_encoding_is_named_by_its_number(tmp_path):
    data = b"\n".join([TEXTS[0].encode(), '{"a": "é"}'.encode("latin-1"), TEXTS[1].encode()])
    assert read(tmp_path / "x", data) == [
        (1, TEXTS[0], ""), (2, None, "it is not UTF-8"), (3, TEXTS[1], "")
    ]  # fmt: skip


@pytest.mark.parametrize("longer", [0, 1, MAX_LINE, 3 * MAX_LINE])
def test_a_line_that_is_too_long_is_read_over(tmp_path, longer):
    found = read(tmp_path / "x", b"a\n" + b"x" * (MAX_LINE + longer) + b"\nb")
    assert [(number, text is None) for number, text, _ in found] == [(1, False), (2, True), (3, False)]


def test_the_longest_line_that_fits_is_read(tmp_path):
    assert [problem for _, _, problem in read(tmp_path / "x", b"x" * (MAX_LINE - 1) + b"\nb")] == ["", ""]


def test_a_compressed_file_is_unpacked_up_to_the_cap(tmp_path):
    packed = gzip.compress("\n".join(TEXTS).encode("utf-16"))
    assert [text for _, text, _ in read(tmp_path / "x", packed)] == TEXTS
    with pytest.raises(SettingsError, match="unpacks to more than 1 MiB"):
        read(tmp_path / "x", gzip.compress((b"x" * 99 + b"\n") * 20_000), most_unpacked=1 << 20)


def test_a_bomb_costs_no_more_than_the_cap(tmp_path):
    with gzip.open(tmp_path / "x", "wb", compresslevel=1) as file:
        for _ in range(64):
            file.write(bytes(1 << 20))
    before = peak()
    with pytest.raises(SettingsError, match="unpacks to more than 8 MiB"):
        list(lines(str(tmp_path / "x"), 8 << 20))
    assert peak() - before < 48 << 20


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("spoil", [lambda data: data[:-30], lambda data: data[:40] + b"\xff" * 60 + data[100:]], ids=["cut off", "damaged"])  # fmt: skip
def test_a_damaged_file_is_told_in_one_line(tmp_path, spoil):
    packed = gzip.compress(zlib.compress(os.urandom(50_000)))
    with pytest.raises(SettingsError, match="damaged, or cut off"):
        read(tmp_path / "x", spoil(packed))


def test_what_is_no_file_is_told_in_one_line(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, complaint in (
        (tmp_path / "pipe", "is not a file"), (tmp_path, "is not a file"), ("/dev/zero", "is not a file"),
        (tmp_path / "missing", "No such file"),
    ):  # fmt: skip
        with pytest.raises(SettingsError, match=complaint):
            list(lines(str(name)))


def test_a_dash_is_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(b'{"a": 1}\n'))))
    assert list(lines("-")) == [(1, '{"a": 1}', "")]
    assert not sys.stdin.buffer.closed


def test_a_file_appears_complete_and_private(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text("old")
    path.chmod(0o644)
    with private_file(path) as file:
        file.write("new")
        assert path.read_text() == "old"
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_not_completed_leaves_the_old_one(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text("old")
    with pytest.raises(RuntimeError), private_file(path):
        raise RuntimeError
    assert (path.read_text(), list(tmp_path.iterdir())) == ("old", [path])


def test_a_place_that_cannot_be_written_is_told_in_one_line(tmp_path):
    with pytest.raises(SettingsError, match="cannot be written: No such file"), private_file(tmp_path / "no" / "x"):  # fmt: skip
        pass
    (tmp_path / "x").mkdir()
    with (
        pytest.raises(SettingsError, match="cannot be written: Is a directory"),
        private_file(tmp_path / "x"),
    ):
        pass
