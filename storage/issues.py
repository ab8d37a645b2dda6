"""Issue rows of one account's repositories: versions, tombstones, room, vectors, and revisions to follow changes by."""

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np

from bot.core.hashing import content_hash
from bot.core.kept import Batch, Kept, Words, lines_in, terms_in
from bot.core.ports import Saved
from bot.core.records import Issue, StoredIssue, Vector
from bot.core.scoring import SCORER
from bot.core.text import sanitise
from storage.database import Database
from storage.queries import load

SQL = load("issues")

BATCH = 200
"""Issues that `stream` reads at a time: below 15 MB where every body is as long as it may be."""

KEPT = 2_000
"""Issues that `read` reads at a time: some 8 MB where none has to be read by its text."""

FIELDS = (
    "number",
    "github_id",
    "title",
    "body",
    "state",
    "state_reason",
    "author",
    "author_id",
    "author_is_bot",
    "labels",
    "is_pull_request",
    "locked",
    "reactions",
    "created_at",
    "updated_at",
    "closed_at",
)
"""Of an issue, in the order of the query's parameters; the content hash follows."""


class Issues:
    """Issues in PostgreSQL; see `bot.core.ports.Issues` for what each method promises.

    Every change of a repository's issues happens under the lock of its row and takes the next revision of that row.
    So revisions become visible in their order, and whoever has read up to one has seen all there was up to it.
    """

    def __init__(self, database: Database) -> None:
        """Every method runs in transactions that see one account's rows."""
        self._database = database

    async def save(self, account_id: int, issues: Sequence[Issue], *, room: int | None = None) -> Saved:
        """Insert or update by `updated_at`; nothing where the repository is not this account's.

        An issue that finds no room is told as evicted, not as changed. Raises ValueError for issues of several
        repositories.
        """
        if not issues:
            return Saved((), (), ())
        if len({issue.repository_id for issue in issues}) > 1:
            raise ValueError("the issues belong to several repositories")
        key = (account_id, issues[0].repository_id)
        async with self._database.account(account_id) as connection:
            last = await connection.fetchval(SQL["lock_repository"], *key)
            if last is None:
                return Saved((), (), ())
            rows = await connection.fetch(SQL["save"], *key, last + 1, *columns(latest(issues)))
            added = [row["number"] for row in rows if row["added"]]
            out = [] if room is None else await connection.fetch(SQL["evict"], *key, last + 1, room, added)
            evicted = tuple(row["number"] for row in out)
            await connection.execute(SQL["came_back"], *key, sorted(set(added) - set(evicted)))
            if rows or evicted:
                await connection.execute(SQL["set_revision"], *key, last + 1)
        stayed = [row for row in rows if row["number"] not in evicted]
        changed_text = tuple(row["number"] for row in stayed if row["changed_text"])
        return Saved(changed_text, tuple(row["number"] for row in stayed), evicted)

    async def get(
        self, account_id: int, repository_id: int, numbers: Sequence[int]
    ) -> dict[int, StoredIssue]:
        """Issues by number; what is not stored is left out."""
        async with self._database.account(account_id) as connection:
            rows = await connection.fetch(SQL["get"], account_id, repository_id, list(numbers))
        return {row["number"]: stored_of(row) for row in rows}

    async def set_vectors(
        self,
        account_id: int,
        repository_id: int,
        model: str,
        vectors: Mapping[int, tuple[bytes, Vector, Vector]],
        words: Mapping[int, Words] | None = None,
    ) -> None:
        """Keep title and text vectors and words, where the text is still the one they were made from."""
        hashes = [digest for digest, _, _ in vectors.values()]
        titles = [bytes_of(title) for _, title, _ in vectors.values()]
        texts = [bytes_of(text) for _, _, text in vectors.values()]
        key = (account_id, repository_id)
        async with self._database.account(account_id) as connection:
            last = await connection.fetchval(SQL["lock_repository"], *key)
            if last is None:
                return
            values = (model, list(vectors), hashes, titles, texts, *word_columns(list(vectors), words or {}))
            if await connection.fetch(SQL["set_vectors"], *key, last + 1, *values):
                await connection.execute(SQL["set_revision"], *key, last + 1)

    async def unembedded(self, account_id: int, repository_id: int, model: str, limit: int) -> list[Issue]:
        """Issues without vectors of this model, oldest number first."""
        async with self._database.account(account_id) as connection:
            rows = await connection.fetch(SQL["unembedded"], account_id, repository_id, model, limit)
        return [issue_of(row) for row in rows]

    async def stream(
        self, account_id: int, repository_id: int, *, after_revision: int = 0
    ) -> AsyncIterator[list[StoredIssue]]:
        """All issues whose revision is above, in batches, by revision; one that changes meanwhile comes again."""
        place = (after_revision, 2**31 - 1)
        while True:
            async with self._database.account(account_id) as connection:
                rows = await connection.fetch(SQL["stream"], account_id, repository_id, *place, BATCH)
            if rows:
                yield [stored_of(row) for row in rows]
                place = (rows[-1]["revision"], rows[-1]["number"])
            if len(rows) < BATCH:
                return

    async def read(
        self, account_id: int, repository_id: int, *, after_revision: int = 0
    ) -> AsyncIterator[Batch]:
        """All issues whose revision is above, as `stream` has them, but with kept words instead of text where there are any."""
        place = (after_revision, 2**31 - 1)
        while True:
            async with self._database.account(account_id) as connection:
                row = await connection.fetchrow(SQL["read"], account_id, repository_id, *place, KEPT, SCORER)
            others = await self.get(account_id, repository_id, row["others"]) if row["others"] else {}
            if row["issues"]:
                yield Batch(kept_of(row) if row["numbers"] else None, others, row["revision"])
                place = (row["revision"], row["number"])
            if row["issues"] < KEPT:
                return

    async def removed_since(self, account_id: int, repository_id: int, after_revision: int) -> list[int]:
        """Numbers of issues that left since that revision, and did not come back."""
        async with self._database.account(account_id) as connection:
            rows = await connection.fetch(SQL["removed_since"], account_id, repository_id, after_revision)
        return [row["number"] for row in rows]

    async def outdated(self, account_id: int, revisions: Mapping[int, int]) -> list[tuple[int, int | None]]:
        """Repositories that are gone since they had that revision (None), and issues that were deleted since."""
        async with self._database.account(account_id) as connection:
            rows = await connection.fetch(
                SQL["outdated"], account_id, list(revisions), list(revisions.values())
            )
        return [(row["id"], row["number"]) for row in rows]

    async def delete(
        self, account_id: int, repository_id: int, numbers: Sequence[int], at: datetime
    ) -> list[int]:
        """Replace issues by tombstones without content; returns those there were."""
        key = (account_id, repository_id)
        async with self._database.account(account_id) as connection:
            last = await connection.fetchval(SQL["lock_repository"], *key)
            if last is None:
                return []
            rows = await connection.fetch(SQL["delete"], *key, last + 1, sorted(set(numbers)), at)
            if rows:
                await connection.execute(SQL["set_revision"], *key, last + 1)
        return [row["number"] for row in rows if row["there"]]

    async def leave(self, account_id: int, repository_id: int, numbers: Sequence[int]) -> list[int]:
        """Take issues out that are not wanted; they may come back. Returns those there were."""
        key = (account_id, repository_id)
        async with self._database.account(account_id) as connection:
            last = await connection.fetchval(SQL["lock_repository"], *key)
            if last is None:
                return []
            rows = await connection.fetch(SQL["leave"], *key, last + 1, sorted(set(numbers)))
            if rows:
                await connection.execute(SQL["set_revision"], *key, last + 1)
        return sorted(row["number"] for row in rows)

    async def trim(self, account_id: int, repository_id: int, room: int) -> list[int]:
        """Have the least useful issues leave that there is no room for; returns which."""
        key = (account_id, repository_id)
        async with self._database.account(account_id) as connection:
            last = await connection.fetchval(SQL["lock_repository"], *key)
            if last is None:
                return []
            rows = await connection.fetch(SQL["evict"], *key, last + 1, room, [])
            if rows:
                await connection.execute(SQL["set_revision"], *key, last + 1)
        return [row["number"] for row in rows]

    async def tombstones(self, account_id: int, repository_id: int, numbers: Sequence[int]) -> list[int]:
        """Which of these were deleted."""
        async with self._database.account(account_id) as connection:
            rows = await connection.fetch(SQL["tombstones"], account_id, repository_id, list(numbers))
        return [row["number"] for row in rows]

    async def count(self, account_id: int, repository_id: int) -> int:
        """How many issues are stored."""
        async with self._database.account(account_id) as connection:
            return int(await connection.fetchval(SQL["count"], account_id, repository_id))

    async def list(
        self, account_id: int, repository_id: int, state: str | None, after_number: int, limit: int
    ) -> Sequence[Issue]:
        """Issues above a number, by number: "open", "closed" or all (None) of them."""
        async with self._database.account(account_id) as connection:
            rows = await connection.fetch(SQL["list"], account_id, repository_id, state, after_number, limit)
        return [issue_of(row) for row in rows]


def latest(issues: Iterable[Issue]) -> list[Issue]:
    """The newest version of each number; of two of one time the later in the list."""
    newest: dict[int, Issue] = {}
    for issue in issues:
        if issue.number not in newest or newest[issue.number].updated_at <= issue.updated_at:
            newest[issue.number] = issue
    return list(newest.values())


def columns(issues: Sequence[Issue]) -> list[list[Any]]:
    """Issues as one array a column, the content hash last."""
    clean = [storable(issue) for issue in issues]
    fields = [[getattr(issue, name) for issue in clean] for name in FIELDS]
    # As text: a list of lists would be taken for an array of two dimensions.
    fields[FIELDS.index("labels")] = [json.dumps(issue.labels) for issue in clean]
    return [*fields, [content_hash(issue.title, issue.body) for issue in clean]]


def storable(issue: Issue) -> Issue:
    """The issue without characters that PostgreSQL refuses, wherever it came from."""
    return replace(
        issue,
        title=sanitise(issue.title),
        body=sanitise(issue.body),
        author=None if issue.author is None else sanitise(issue.author),
        labels=tuple(sanitise(label) for label in issue.labels),
    )


def issue_of(row: Mapping[str, Any]) -> Issue:
    """A row as the issue that GitHub shows."""
    values = {name: row[name] for name in FIELDS}
    return Issue(repository_id=row["repository_id"], **{**values, "labels": tuple(row["labels"])})


def stored_of(row: Mapping[str, Any]) -> StoredIssue:
    """A row as what the index keeps."""
    return StoredIssue(
        issue_of(row), row["revision"], vector_of(row["title_vector"]), vector_of(row["text_vector"])
    )


def word_columns(numbers: Sequence[int], words: Mapping[int, Words]) -> list[list[Any]]:
    """Words as one array a column; nulls where an issue has none."""
    found = [words.get(number) for number in numbers]
    return [
        [item and item.terms for item in found],
        [item and item.lines for item in found],
        [item and item.thin for item in found],
        [item and SCORER for item in found],
    ]


def kept_of(row: Mapping[str, Any]) -> Kept:
    """The issues of one batch whose words are kept."""
    columns = {name: row[name] for name in ("numbers", "created", "authors", "asks", "digests")}
    return Kept(
        **columns,
        terms=terms_in(row["terms"]),
        term_counts=row["term_counts"],
        lines=lines_in(row["lines"]),
        line_counts=row["line_counts"],
        titles=np.frombuffer(row["titles"], "<f4").reshape(len(row["numbers"]), -1),
        texts=np.frombuffer(row["texts"], "<f4").reshape(len(row["numbers"]), -1),
    )


def bytes_of(vector: Vector) -> bytes:
    """A vector as little-endian float32."""
    return np.asarray(vector, dtype="<f4").tobytes()


def vector_of(data: bytes | None) -> Vector | None:
    """The reverse of `bytes_of`."""
    return None if data is None else np.frombuffer(data, dtype="<f4").astype(np.float32, copy=False)
