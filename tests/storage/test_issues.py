import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations

import numpy as np
import pytest

from bot.core.hashing import content_hash
from bot.core.ports import Saved
from bot.core.records import Account, Issue, RepositoryName
from storage import issues as module
from storage.accounts import Accounts
from storage.issues import Issues, bytes_of, vector_of
from storage.repositories import Repositories

T0 = datetime(2024, 1, 1, tzinfo=UTC)
NOTHING = Saved((), (), ())
VECTOR = np.linspace(-1, 1, 384, dtype=np.float32)


def issue(number=1, minute=0, repository=7, **more):
    values = {
        "title": f"t{number}", "body": "b", "state": "open", "state_reason": None, "author": "ann", "author_id": 5,
        "author_is_bot": False, "labels": ("bug", "ui"), "is_pull_request": False, "locked": False, "reactions": 0,
        "created_at": T0, "updated_at": T0 + timedelta(minutes=minute), "closed_at": None,
    }  # fmt: skip
    return Issue(repository, number, 1000 + number, **{**values, **more})


@pytest.fixture
async def issues(database):
    names = [RepositoryName(7, "octo", "r", private=False), RepositoryName(8, "octo", "s", private=False)]
    await Accounts(database).install(Account(1, "octo", "User", "free"), 10, names)
    return Issues(database)


async def numbers(issues):
    return sorted([stored.issue.number async for batch in issues.stream(1, 7) for stored in batch])


async def revision(database, repository=7):
    return (await Repositories(database).get(1, repository)).revision


async def get(issues, number=1):
    return (await issues.get(1, 7, [number])).get(number)


async def embed(issues, *items, model="m", repository=7):
    vectors = {item.number: (content_hash(item.title, item.body), VECTOR, -VECTOR) for item in items}
    await issues.set_vectors(1, repository, model, vectors)


@pytest.mark.parametrize(
    "stored",
    [
        issue(),
        issue(
            labels=(),
            author=None,
            author_id=None,
            author_is_bot=True,
            is_pull_request=True,
            locked=True,
            reactions=9,
        ),
        issue(
            state="closed",
            state_reason="not_planned",
            closed_at=T0 + timedelta(seconds=1),
            title="",
            body="x" * 65_536,
        ),
        issue(labels=('"', "{a,b}", "ü\\"), title="NULL", body="'; DROP TABLE issues; --"),
    ],
)
async def test_an_issue_comes_back_as_it_was(issues, stored):
    assert await issues.save(1, [stored, issue(2)]) == Saved((1, 2), (1, 2), ())
    found = await get(issues)
    assert found.issue == stored
    assert found.title_vector is None


async def test_text_that_postgresql_refuses_is_stored_without_what_it_refuses(issues):
    broken = issue(title="a\0b", body="\ud800", author="x\0", labels=("l\0",))
    await issues.save(1, [broken])
    found = (await get(issues)).issue
    assert (found.title, found.body, found.author, found.labels) == (
        "a\ufffdb",
        "\ufffd",
        "x\ufffd",
        ("l\ufffd",),
    )
    await embed(issues, found)
    assert (await get(issues)).text_vector is not None


@pytest.mark.parametrize(
    ("later", "saved"),
    [
        (issue(), NOTHING),  # the same
        (issue(minute=-1, title="older"), NOTHING),
        (issue(minute=1), Saved((), (1,), ())),
        (issue(minute=1, title="new"), Saved((1,), (1,), ())),
        (issue(minute=1, body="new"), Saved((1,), (1,), ())),
        (issue(minute=1, state="closed"), Saved((), (1,), ())),
        (issue(labels=("bug",)), Saved((), (1,), ())),  # within the same second
        (issue(reactions=3), Saved((), (1,), ())),
        (issue(author=None), Saved((), (1,), ())),
        (issue(locked=True), Saved((), (1,), ())),
    ],
)
async def test_what_a_version_changes(issues, database, later, saved):
    await issues.save(1, [issue()])
    before = await revision(database)
    assert await issues.save(1, [later]) == saved
    assert (await get(issues)).issue == (later if saved.changed else issue())
    assert await revision(database) == before + bool(saved.changed)


VERSIONS = [
    issue(minute=0),
    issue(minute=1, title="new title"),
    issue(minute=2, state="closed", state_reason="completed", closed_at=T0),
    issue(minute=3, labels=("a",), body="other"),
    issue(minute=4, reactions=2, body="last", locked=True),
]


async def test_the_120_orders_of_five_versions_end_in_one_state(issues):
    for order in permutations(VERSIONS):
        for version in order:
            await issues.save(1, [version])
        assert (await get(issues)).issue == VERSIONS[-1]
        async with issues._database.account(1) as connection:
            await connection.execute("DELETE FROM issues")


async def test_the_120_orders_of_four_versions_and_a_deletion_end_without_the_issue(issues):
    for order in permutations([*VERSIONS[:4], None]):
        for version in order:
            await (issues.delete(1, 7, [1], T0) if version is None else issues.save(1, [version]))
        assert await get(issues) is None
        async with issues._database.account(1) as connection:
            await connection.execute("DELETE FROM issue_removals")


async def test_one_call_with_several_versions_keeps_the_newest(issues):
    assert await issues.save(1, [VERSIONS[1], VERSIONS[4], VERSIONS[0]]) == Saved((1,), (1,), ())
    assert (await get(issues)).issue == VERSIONS[4]


async def test_a_call_is_about_one_repository_that_is_the_accounts(issues):
    with pytest.raises(ValueError, match="several repositories"):
        await issues.save(1, [issue(), issue(repository=8)])
    assert await issues.save(1, []) == NOTHING
    assert await issues.save(1, [issue(repository=404)]) == NOTHING
    assert await issues.save(2, [issue()]) == NOTHING
    assert await get(issues) is None


async def test_a_tombstone_keeps_no_content_and_stays(issues, database):
    await issues.save(1, [issue(1, title="canary"), issue(2)])
    assert await issues.delete(1, 7, [1, 99], T0) == [1]
    assert await issues.delete(1, 7, [1, 99], T0) == []
    assert await issues.save(1, [issue(1, minute=9), issue(99, minute=9)]) == NOTHING
    assert await numbers(issues) == [2]
    assert await issues.removed_since(1, 7, 0) == [1, 99]
    async with database.account(1) as connection:
        rows = await connection.fetch("SELECT * FROM issue_removals ORDER BY number")
    assert "canary" not in str(rows)
    assert [(row["number"], row["kind"], row["github_id"]) for row in rows] == [
        (1, "deleted", 1001),
        (99, "deleted", None),
    ]


async def test_the_least_useful_leave_for_a_new_issue(issues):
    closed = issue(1, minute=50, state="closed")
    await issues.save(1, [closed, issue(2, minute=3), issue(3, minute=2), issue(4, minute=2)], room=4)
    assert await issues.save(1, [issue(5, minute=1)], room=4) == Saved((5,), (5,), (1,))
    assert await issues.save(1, [issue(6, minute=9)], room=4) == Saved((6,), (6,), (5,))
    assert await issues.save(1, [issue(7, minute=9)], room=4) == Saved((7,), (7,), (3,))
    assert await numbers(issues) == [2, 4, 6, 7]
    assert await issues.removed_since(1, 7, 0) == [1, 3, 5]
    assert await issues.count(1, 7) == 4


async def test_trimming_takes_the_least_useful_out_and_tells_which(issues, database):
    await issues.save(1, [issue(n, minute=n, state="closed" if n == 4 else "open") for n in range(1, 6)])
    before = await revision(database)
    assert await issues.trim(1, 7, 5) == []
    assert await revision(database) == before
    assert sorted(await issues.trim(1, 7, 3)) == [1, 4]
    assert await numbers(issues) == [2, 3, 5]
    assert await issues.removed_since(1, 7, before) == [1, 4]
    assert await issues.trim(1, 7, 3) == []
    assert await issues.trim(1, 8, 0) == []


async def test_what_finds_no_room_is_told_as_evicted_and_leaves_no_trace(issues, database):
    await issues.save(1, [issue(2, minute=5)], room=1)
    before = await revision(database)
    assert await issues.save(1, [issue(1, minute=1)], room=1) == Saved((), (), (1,))
    assert await issues.removed_since(1, 7, before) == []
    assert await numbers(issues) == [2]


async def test_a_change_can_make_an_issue_the_one_that_leaves(issues):
    await issues.save(1, [issue(1), issue(2)])
    assert await issues.save(1, [issue(1, minute=1, state="closed")], room=1) == Saved((), (), (1,))
    assert await issues.removed_since(1, 7, 0) == [1]


async def test_an_evicted_issue_may_come_back_and_is_then_not_removed(issues):
    await issues.save(1, [issue(1, minute=1), issue(2, minute=2)], room=1)
    await issues.save(1, [issue(1, minute=1)])
    assert await numbers(issues) == [1, 2]
    await issues.save(1, [issue(2, minute=2)], room=1)
    assert await issues.removed_since(1, 7, 0) == [1]
    assert await issues.save(1, [issue(1, minute=3)], room=1) == Saved((1,), (1,), (2,))
    assert await issues.removed_since(1, 7, 0) == [2]


async def test_an_evicted_issue_that_finds_no_room_again_is_still_told_as_removed(issues):
    await issues.save(1, [issue(1, minute=1), issue(2, minute=2)])
    await issues.save(1, [issue(2, minute=2)], room=1)
    assert await issues.save(1, [issue(1, minute=1)], room=1) == Saved((), (), (1,))
    assert await issues.removed_since(1, 7, 0) == [1]


async def test_an_evicted_issue_can_be_deleted(issues):
    await issues.save(1, [issue(1, minute=1), issue(2, minute=2)])
    await issues.save(1, [issue(2, minute=2)], room=1)
    assert await issues.delete(1, 7, [1], T0) == []
    assert await issues.save(1, [issue(1, minute=9)]) == NOTHING


async def test_vectors_are_kept_only_for_the_text_they_were_made_from(issues):
    await issues.save(1, [issue(1), issue(2)])
    await embed(issues, issue(1), issue(2, title="older"))
    stored = await issues.get(1, 7, [1, 2])
    assert stored[1].title_vector.dtype == np.float32
    assert np.array_equal(stored[1].title_vector, VECTOR)
    assert np.array_equal(stored[1].text_vector, -VECTOR)
    assert stored[2].text_vector is None
    await issues.save(1, [issue(1, minute=1, state="closed")])
    assert (await get(issues)).text_vector is not None
    await issues.save(1, [issue(1, minute=2, title="new")])
    assert (await get(issues)).title_vector is None


def test_vectors_are_little_endian_float32():
    assert bytes_of(np.array([1.0, -2.0])) == bytes.fromhex("0000803f000000c0")
    assert vector_of(bytes.fromhex("0000803f000000c0")).tolist() == [1.0, -2.0]
    assert vector_of(None) is None


async def test_what_has_no_vectors_of_a_model_is_found_oldest_number_first(issues):
    everything = [issue(n) for n in (3, 1, 2)]
    await issues.save(1, everything)
    await embed(issues, everything[1])
    assert [item.number for item in await issues.unembedded(1, 7, "m", 9)] == [2, 3]
    assert [item.number for item in await issues.unembedded(1, 7, "other", 2)] == [1, 2]


async def test_every_kind_of_change_takes_the_next_revision_once(issues, database):
    steps = [
        (lambda: issues.save(1, [issue(1), issue(2)]), 1),
        (lambda: issues.save(1, [issue(1), issue(2)]), 1),
        (lambda: embed(issues, issue(1)), 2),
        (lambda: embed(issues, issue(1, title="gone")), 2),
        (lambda: issues.save(1, [issue(1, minute=1), issue(3)], room=2), 3),
        (lambda: issues.delete(1, 7, [1], T0), 4),
        (lambda: issues.delete(1, 7, [1], T0), 4),
    ]
    for step, expected in steps:
        await step()
        assert await revision(database) == expected
    assert await revision(database, 8) == 0


async def test_a_stream_begins_after_a_revision_and_crosses_batches(issues, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 2)
    await issues.save(1, [issue(n) for n in (5, 1, 3, 2, 4)])
    await issues.save(1, [issue(2, minute=1)])
    batches = [[stored.issue.number for stored in batch] async for batch in issues.stream(1, 7)]
    assert batches == [[1, 3], [4, 5], [2]]
    assert [
        [item.issue.number for item in batch] async for batch in issues.stream(1, 7, after_revision=1)
    ] == [[2]]
    assert [batch async for batch in issues.stream(1, 7, after_revision=2)] == []


async def test_what_changes_under_a_stream_comes_again_and_nothing_is_missed(issues, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 2)
    await issues.save(1, [issue(n) for n in range(1, 6)])
    seen = []
    async for batch in issues.stream(1, 7):
        seen += [(stored.issue.number, stored.issue.reactions) for stored in batch]
        if len(seen) == 2:
            await issues.save(1, [issue(1, minute=1, reactions=1), issue(5, minute=1, reactions=1)])
    assert seen == [(1, 0), (2, 0), (3, 0), (4, 0), (1, 1), (5, 1)]


async def test_a_reader_that_follows_revisions_misses_no_concurrent_writer(issues):
    """Without the lock a writer with a lower revision commits after one with a higher, and is never read."""
    known, writing = {}, True

    async def follow():
        last = 0
        while True:
            ending = not writing
            async for batch in issues.stream(1, 7, after_revision=last):
                for stored in batch:
                    known[stored.issue.number] = stored.issue.reactions
                    last = max(last, stored.revision)
            if ending:
                return
            await asyncio.sleep(0)

    async def write(number):
        for n in range(15):
            await issues.save(
                1, [issue(number, minute=n, reactions=n), issue(100 + number, minute=n, reactions=n)]
            )

    reader = asyncio.create_task(follow())
    await asyncio.gather(*(write(number) for number in range(1, 9)))
    writing = False
    await reader
    assert known == {n: 14 for base in (0, 100) for n in range(base + 1, base + 9)}


async def test_a_writer_waits_for_the_one_before_it(issues, database):
    async with database.account(1) as connection:
        await connection.fetchval(module.SQL["lock_repository"], 1, 7)
        waiting = asyncio.create_task(issues.save(1, [issue(1)]))
        elsewhere = await asyncio.wait_for(issues.save(1, [issue(1, repository=8)]), 2)
        assert elsewhere.changed == (1,)
        done, _ = await asyncio.wait([waiting], timeout=0.2)
        assert not done
    assert (await waiting).changed == (1,)


async def test_parallel_saves_never_exceed_the_room(issues):
    await asyncio.gather(*(issues.save(1, [issue(n, minute=n)], room=5) for n in range(1, 41)))
    assert await numbers(issues) == [36, 37, 38, 39, 40]


async def test_the_order_of_versions_is_exact_to_the_microsecond(issues):
    exact = replace(issue(), updated_at=T0 + timedelta(microseconds=1))
    await issues.save(1, [exact])
    assert await issues.save(1, [issue(title="a microsecond older")]) == NOTHING
    assert (await get(issues)).issue == exact


async def test_issues_are_paged_by_number_and_state(issues):
    made = [issue(n, state="closed" if n % 2 else "open") for n in (5, 3, 1, 4, 2)]
    await issues.save(1, made)
    by_number = sorted(made, key=lambda item: item.number)
    first = await issues.list(1, 7, None, 0, 3)
    assert [*first, *await issues.list(1, 7, None, first[-1].number, 9)] == by_number
    assert await issues.list(1, 7, "open", 2, 9) == [by_number[3]]
    assert [item.number for item in await issues.list(1, 7, "closed", 0, 9)] == [1, 3, 5]
    assert await issues.list(1, 8, None, 0, 9) == []


async def test_outdated_is_what_was_purged_or_has_deleted_issues(issues, database):
    await issues.save(1, [issue(1), issue(2)])
    await issues.save(1, [issue(1, repository=8)])
    at = {7: await revision(database), 8: await revision(database, 8), 9: 3}
    assert await issues.outdated(1, at) == [(9, None)], "nobody knows 9"
    await issues.leave(1, 7, [2])
    assert await issues.outdated(1, at) == [(9, None)], "it only made room"
    await issues.delete(1, 7, [1], T0)
    assert await issues.outdated(1, at) == [(7, 1), (9, None)]
    assert await issues.outdated(1, at | {7: await revision(database)}) == [(9, None)]
    await Accounts(database).remove_repositories(1, [8])
    assert await issues.outdated(1, at) == [(7, 1), (8, None), (9, None)]
    await Accounts(database).add_repositories(1, 10, [RepositoryName(8, "octo", "s", private=False)])
    assert await issues.outdated(1, {8: at[8]}) == [(8, None)], "another life began"
