"""Makes the demo's tracker from the benchmark's hadoop folder: `python bench/make_demo_data.py FOLDER OUT.jsonl.gz`.

The first issues are history; of the later ones it keeps every labelled duplicate with the originals it needs, and an
even sample of those that nobody marked. Only text, dates and the duplicate group are carried over.
"""

import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

HISTORY = 1_500
OTHERS = 100


def read(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Issues oldest first, and the labelled queries."""
    with gzip.open(folder / "issues.jsonl.gz", "rt", encoding="utf-8") as file:
        issues = [json.loads(line) for line in file]
    queries = [
        json.loads(line) for line in (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    return issues, queries


def chosen(issues: list[dict[str, Any]], queries: list[dict[str, Any]]) -> dict[int, str]:
    """Issue id to its part in the demo: history, duplicate, other, original (opened, but judged as neither)."""
    position = {issue["id"]: n for n, issue in enumerate(issues)}
    later = [query for query in queries if position[query["id"]] >= HISTORY]
    duplicates = [query for query in later if query["duplicate"]]
    others = [query["id"] for query in later if not query["duplicate"]]
    step = len(others) / OTHERS
    parts = {issue["id"]: "history" for issue in issues[:HISTORY]}
    for query in duplicates:
        parts |= {number: "original" for number in query["relevant"] if position[number] >= HISTORY}
    parts |= {others[int(n * step)]: "other" for n in range(OTHERS)}
    return parts | {query["id"]: "duplicate" for query in duplicates}


def main() -> None:
    """Write the file."""
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    issues, queries = read(folder)
    parts = chosen(issues, queries)
    buffer = io.StringIO()
    for issue in issues:
        if issue["id"] in parts:
            kept = {key: issue[key] for key in ("id", "created_at", "title", "body", "author", "dup_group")}
            buffer.write(json.dumps(kept | {"part": parts[issue["id"]]}, ensure_ascii=False) + "\n")
    # No name and no time in the header: the same input gives the same bytes.
    with out.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write(buffer.getvalue().encode())
    print(
        {part: list(parts.values()).count(part) for part in sorted(set(parts.values()))}, out.stat().st_size
    )


if __name__ == "__main__":
    main()
