import gzip
import json

import pytest

from bot.core.errors import SettingsError
from bot.sandbox.tracker import load, packaged


def row(n, **more):
    return {
        "number": n,
        "title": f"title {n}",
        "body": "b",
        "created_at": f"2024-01-{n:02}T00:00:00Z",
        **more,
    }


def write(path, rows):
    path.write_text("\n".join(json.dumps(item) for item in rows))
    return path


def test_the_packaged_tracker_has_labels_and_is_in_order():
    tracker = packaged()
    dates = [item.created_at for item in (*tracker.history, *tracker.opened)]
    assert dates == sorted(dates)
    duplicates = [item for item in tracker.opened if item.judged and item.group]
    assert len(duplicates) >= 25
    older = tracker.history + tracker.opened
    assert all(
        any(other.same_as(item) for other in older if other.created_at < item.created_at)
        for item in duplicates
    )


def test_lines_and_arrays_and_gzip_say_the_same(tmp_path):
    rows = [row(n) for n in range(1, 11)]
    lines = load(write(tmp_path / "a.jsonl", rows))
    (tmp_path / "b.json").write_text(json.dumps(rows))
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    assert lines.history == load(tmp_path / "b.json").history == load(tmp_path / "c.jsonl.gz").history
    assert len(lines.history) == 8
    assert [item.judged for item in lines.opened] == [False, False]


def test_names_of_the_github_command_line_are_understood(tmp_path):
    rows = [
        {
            "number": n,
            "title": "t",
            "createdAt": f"2024-01-0{n}T00:00:00Z",
            "author": {"login": "ann"},
            "state": "CLOSED",
        }
        for n in (1, 2)
    ]
    tracker = load(write(tmp_path / "x.jsonl", rows))
    assert (tracker.history[0].author, tracker.history[0].state) == ("ann", "closed")


def test_duplicate_of_names_the_original(tmp_path):
    tracker = load(write(tmp_path / "x.jsonl", [row(1), row(2, duplicate_of=1), row(3)]))
    first, second, third = (*tracker.history, *tracker.opened)
    assert second.same_as(first)
    assert not third.same_as(first)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "at least two issues"),
        ('{"title": 1}\n{}', "issue 1: it has no title"),
        ('{"title": "a"}', "created_at is not a date"),
        ("nonsense", "line 1 is not JSON"),
        ("[" * 200_000, "line 1 is not JSON"),
        ("5", "line 1 is not an object"),
    ],
)
def test_a_bad_export_is_told_in_one_line(tmp_path, text, told):
    (tmp_path / "x.jsonl").write_text(text)
    with pytest.raises(SettingsError, match=told) as caught:
        load(tmp_path / "x.jsonl")
    assert "\n" not in str(caught.value)


def test_a_missing_or_binary_file_is_told(tmp_path):
    with pytest.raises(SettingsError, match="No such file"):
        load(tmp_path / "none.jsonl")
    (tmp_path / "b.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="not UTF-8"):
        load(tmp_path / "b.jsonl")
