"""A self-hosted parent's collection, made as the parent makes it (but for its vectors, which nobody reads)."""

from functools import cache

import chromadb
import numpy as np
from chromadb.config import Settings


def record(number, title="Crash at start", body="It fails.", repository="octo/app", **more):
    """Id, metadata and document of one issue, pull request or discussion."""
    owner, _, repo = repository.partition("/")
    kind, labels = more.pop("type", "issue"), more.pop("labels", [])
    state = {} if kind == "discussion" else {"state": more.pop("state", "open")}
    category = {"category": "Ideas"} if kind == "discussion" else {}
    metadata = {
        "owner": owner, "repo": repo, "number": str(number), "title": title, "type": kind, **state, **category,
        "url": f"https://github.com/{repository}/issues/{number}", "created_at": "2024-01-01T00:00:00Z",
        "updated_at": more.pop("updated_at", "2024-02-01T00:00:00Z"), "is_pull_request": str(kind == "pull_request"),
        "is_discussion": str(kind == "discussion"), "labels": ",".join(labels), **more,
    }  # fmt: skip
    words = kind.replace("_", " ").title()
    parts = [
        f"Title: {title}",
        f"Type: {words}",
        *(f"{key.title()}: {value}" for key, value in (state or category).items()),
    ]
    parts += [f"Labels: {', '.join(labels)}"] if labels else []
    parts += [f"Body: {body[:10_000]}{'... [truncated]' if len(body) > 10_000 else ''}"] if body else []
    folder = "discussions" if kind == "discussion" else "issues"
    return f"{repository}/{folder}/{number}", metadata, "\n\n".join(parts)


def as_value(item):
    return dict(zip(("id", "metadata", "document"), item, strict=True))


def fill(client, records):
    """Put records into the parent's collection."""
    collection = client.get_or_create_collection("github_issues", metadata={"hnsw:space": "cosine"}, embedding_function=None)  # fmt: skip
    for at in range(0, len(records), 200):
        ids, metadatas, documents = zip(*records[at : at + 200], strict=True)
        collection.upsert(list(ids), list(vectors()[: len(ids)]), list(metadatas), list(documents))


@cache
def vectors():
    return np.random.default_rng(1).random((200, 8), dtype=np.float32)


def quiet():
    return Settings(_env_file=None, anonymized_telemetry=False)


def in_folder(folder, records):
    """A PersistentClient's folder, let go of."""
    client = chromadb.PersistentClient(folder, quiet())
    fill(client, records)
    client.close()
    return folder
