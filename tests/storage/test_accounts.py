import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from bot.core.access import Act, Actor
from bot.core.errors import DeadError, MissingError, QuotaError, RetryError
from bot.core.records import (
    Account,
    Delivery,
    Installation,
    InstallationState,
    Issue,
    Lane,
    NewJob,
    RepositoryName,
    RepositoryState,
    Wishes,
)
from bot.core.tiers import DEACTIVATED, over_limit
from storage.accounts import SQL, Accounts
from storage.audit import Audit
from storage.database import Database
from storage.idempotency import Idempotency
from storage.inbox import Inbox
from storage.issues import Issues
from storage.jobs import Jobs
from storage.repositories import Repositories
from storage.usage import Usage

GONE = ("repositories", "issues", "issue_removals", "suggestions", "outcomes", "effects", "idempotency_keys")
OCTO, CAT = Account(1, "octo", "Organization", "free"), Account(2, "cat", "User", "free")


def name(identifier, owner="octo"):
    return RepositoryName(identifier, owner, f"r{identifier}", private=False)


def names(*identifiers, owner="octo"):
    return [name(identifier, owner) for identifier in identifiers]


def ids(repositories):
    return [repository.id for repository in repositories]


def issue(repository_id):
    at = datetime(2024, 1, 1, tzinfo=UTC)
    return Issue(repository_id, 1, 9, "t", "b", "open", None, "a", 5, False, (), False, False, 0, at, at)


@pytest.fixture
def accounts(database):
    return Accounts(database)


@pytest.fixture
def repositories(database):
    return Repositories(database)


async def test_an_installation_brings_an_account_and_its_repositories(accounts, repositories):
    found = await accounts.install(OCTO, 10, names(7, 8))
    assert ids(found) == [7, 8]
    assert found == await repositories.list(1)
    first = found[0]
    assert (first.state, first.reason, first.installation_id, first.full_name) == (
        RepositoryState.PENDING,
        None,
        10,
        "octo/r7",
    )
    assert first.collection == "repo_1_octo_r7_7"
    assert await accounts.account(1) == OCTO
    assert await accounts.installation(10) == Installation(10, 1, InstallationState.ACTIVE)
    assert (await accounts.tier(1)).repositories == 3


async def test_the_default_tier_is_for_accounts_never_seen(database):
    hosted = Accounts(database, default_tier="enterprise")
    await hosted.install(OCTO, 10, [])
    assert (await hosted.tier(1)).name == "enterprise"
    assert (await Accounts(database).tier(1)).name == "enterprise"
    assert (await Accounts(database).tier(404)).name == "free"


async def test_the_same_event_again_asks_for_the_same_index_and_changes_nothing(accounts, repositories):
    first = await accounts.install(OCTO, 10, names(7, 8))
    assert await accounts.install(OCTO, 10, names(7, 8)) == first
    await repositories.indexed(1, 7, total=4)
    assert ids(await accounts.install(OCTO, 10, names(7, 8))) == [8]


async def test_what_is_over_the_limit_is_listed_with_its_reason(accounts, repositories):
    assert ids(await accounts.install(OCTO, 10, names(5, 4, 3, 2, 1))) == [1, 2, 3]
    rest = [item for item in await repositories.list(1) if item.state is RepositoryState.INACTIVE]
    assert ids(rest) == [4, 5]
    assert {item.reason for item in rest} == {
        "The Free plan indexes 3 repositories; remove one here or upgrade."
    }


async def test_fifty_additions_at_once_leave_three(accounts, repositories):
    await accounts.install(OCTO, 10, [])
    added = await asyncio.gather(*(accounts.add_repositories(1, 10, [name(n)]) for n in range(1, 51)))
    assert sum(len(found) for found in added) == 3
    listed = await repositories.list(1)
    assert len(listed) == 50
    assert sum(item.state is RepositoryState.PENDING for item in listed) == 3


async def test_fifty_installs_at_once_of_a_new_account_leave_three(accounts, repositories):
    await asyncio.gather(*(accounts.install(OCTO, 10, [name(n)]) for n in range(1, 51)))
    assert sum(item.state is RepositoryState.PENDING for item in await repositories.list(1)) == 3


@pytest.mark.parametrize(
    "change",
    [
        "install",
        "add_repositories",
        "promote",
        "remove_repositories",
        "uninstall",
        "set_tier",
        "deactivate",
        "activate",
        "purge_frozen",
    ],
)
async def test_whatever_changes_the_count_waits_for_its_turn(accounts, database, change):
    await accounts.install(OCTO, 10, names(7))
    calls = {
        "install": lambda: accounts.install(OCTO, 10, []),
        "add_repositories": lambda: accounts.add_repositories(1, 10, []),
        "promote": lambda: accounts.promote(1),
        "remove_repositories": lambda: accounts.remove_repositories(1, []),
        "uninstall": lambda: accounts.uninstall(1, 99),
        "set_tier": lambda: accounts.set_tier(1, "pro"),
        "deactivate": lambda: accounts.deactivate(1, 7),
        "activate": lambda: accounts.activate(1, 7),
        "purge_frozen": lambda: accounts.purge_frozen(1, soon()),
    }
    async with database.system() as connection:
        await connection.execute(SQL["lock_account"], 1)
        waiting = asyncio.create_task(calls[change]())
        done, _ = await asyncio.wait([waiting], timeout=0.2)
        assert not done
    await waiting


async def test_room_goes_to_the_oldest(accounts, repositories):
    await accounts.install(OCTO, 10, names(1, 2, 3))
    await accounts.add_repositories(1, 10, names(9))
    await accounts.add_repositories(1, 10, names(8))
    assert await accounts.promote(1) == []
    assert ids(await accounts.remove_repositories(1, [2])) == [2]
    promoted = await accounts.promote(1)
    assert ids(promoted) == [9]
    assert (promoted[0].state, promoted[0].reason) == (RepositoryState.PENDING, None)
    assert (await repositories.get(1, 8)).state is RepositoryState.INACTIVE


async def test_twenty_promotions_at_once_let_in_no_more_than_fits(accounts):
    await accounts.install(OCTO, 10, names(*range(1, 21)))
    await accounts.remove_repositories(1, [1, 2])
    promoted = await asyncio.gather(*(accounts.promote(1) for _ in range(20)))
    assert sorted(ids([item for found in promoted for item in found])) == [4, 5]


async def test_an_inactive_repository_makes_room_and_an_upgrade_lets_in_more(accounts, repositories):
    await accounts.install(OCTO, 10, names(*range(1, 60)))
    await repositories.set_state(1, 1, RepositoryState.INACTIVE, "turned off")
    assert ids(await accounts.promote(1)) == [4]
    assert ids(await accounts.set_tier(1, "pro")) == list(range(2, 52))
    reasons = {item.reason for item in await repositories.list(1)} - {None}
    assert reasons == {"turned off", "The Pro plan indexes 50 repositories; remove one here or upgrade."}


def in_place(listed):
    return [item.id for item in listed if item.state is not RepositoryState.INACTIVE]


async def test_a_downgrade_freezes_what_was_added_last_and_an_upgrade_brings_it_back(
    accounts, repositories, database
):
    await accounts.install(OCTO, 10, [])
    await accounts.set_tier(1, "pro")
    for n in (5, 4, 3, 2, 1):
        await accounts.add_repositories(1, 10, [name(n)])
        await repositories.indexed(1, n, total=1)
        await Issues(database).save(1, [issue(n)])
    assert await accounts.set_tier(1, "free") == []
    listed = await repositories.list(1)
    assert in_place(listed) == [3, 4, 5]
    frozen = [item for item in listed if item.state is RepositoryState.INACTIVE]
    (since,) = {item.frozen_at for item in frozen}
    assert {item.reason for item in frozen} == {over_limit(await accounts.tier(1), since)}
    assert "Its index is kept until" in frozen[0].reason
    assert [await Issues(database).count(1, n) for n in (1, 2)] == [1, 1]
    assert await accounts.set_tier(1, "free") == []
    assert ids(await accounts.promote(1)) == []
    # Those that have a place already may hold more issues now.
    assert ids(await accounts.set_tier(1, "enterprise")) == [5, 4, 3, 2, 1]
    listed = await repositories.list(1)
    assert in_place(listed) == [1, 2, 3, 4, 5]
    assert {(item.reason, item.frozen_at) for item in listed} == {(None, None)}
    assert (await accounts.account(1)).tier == "enterprise"


@pytest.fixture
async def downgraded(accounts, repositories, database):
    """Five repositories with an issue each on a tier for three: 4 and 5 are frozen."""
    await accounts.install(OCTO, 10, [])
    await accounts.set_tier(1, "pro")
    for n in range(1, 6):
        await accounts.add_repositories(1, 10, [name(n)])
        await repositories.indexed(1, n, total=1)
        await Issues(database).save(1, [issue(n)])
    await accounts.set_tier(1, "free")


async def held(database, *repository_ids):
    return [await Issues(database).count(1, n) for n in repository_ids]


def soon():
    """A time that every downgrade so far lies before."""
    return datetime.now(UTC) + timedelta(minutes=5)


async def test_what_is_frozen_for_long_enough_is_emptied_and_stays_listed_in_its_place(
    accounts, repositories, database, downgraded
):
    before = await repositories.get(1, 4)
    assert await repositories.change_wishes(1, 4, before.wishes, Wishes("shadow", None, public_search=True))
    await deliver(database, 10, 4)
    other = await deliver(database, 10, 1)
    assert await accounts.overdue(before.frozen_at - timedelta(seconds=1)) == []
    assert await accounts.purge_frozen(1, before.frozen_at - timedelta(seconds=1)) == []
    assert await held(database, 4, 5) == [1, 1]
    assert await accounts.overdue(before.frozen_at) == [1]
    assert sorted(await accounts.purge_frozen(1, before.frozen_at)) == [4, 5]
    assert await held(database, 1, 2, 3, 4, 5) == [1, 1, 1, 0, 0]
    assert await left(database) == {other}
    assert await purges(database) == [(1, f"index:{n}", f"repo_1_octo_r{n}_{n}") for n in (4, 5)]
    after = await repositories.get(1, 4)
    assert after == replace(
        before,
        reason=over_limit(await accounts.tier(1)),
        frozen_at=None,
        indexed_at=None,
        issues_total=None,
        issues_indexed=0,
        revision=0,
        override="shadow",
        public_search=True,
    )
    assert await accounts.purge_frozen(1, soon()) == []
    # Among those over the limit they have the place they had, and start from nothing.
    await accounts.add_repositories(1, 10, [name(9)])
    await accounts.remove_repositories(1, [1])
    (promoted,) = await accounts.promote(1)
    assert (promoted.id, promoted.state, promoted.indexed_at) == (4, RepositoryState.PENDING, None)


async def test_what_never_had_an_index_has_none_to_purge(accounts, repositories, database):
    await accounts.install(OCTO, 10, [])
    await accounts.set_tier(1, "pro")
    await accounts.add_repositories(1, 10, names(1, 2, 3, 4))
    await accounts.set_tier(1, "free")
    await accounts.add_repositories(1, 10, names(5))
    assert [(await repositories.get(1, n)).frozen_at for n in (4, 5)] == [None, None]
    assert await accounts.purge_frozen(1, soon()) == []
    reasons = {item.reason for item in await repositories.list(1)} - {None}
    assert reasons == {over_limit(await accounts.tier(1))}


async def test_a_second_downgrade_does_not_put_off_the_end_of_the_first(accounts, repositories, downgraded):
    first = [(await repositories.get(1, n)).frozen_at for n in (4, 5)]
    await accounts.set_tier(1, "free")
    await accounts.promote(1)
    assert [(await repositories.get(1, n)).frozen_at for n in (4, 5)] == first


@pytest.mark.parametrize("way", ["upgrade", "room", "deactivated", "archived"])
async def test_what_is_not_over_the_limit_any_more_is_not_purged(
    accounts, repositories, database, downgraded, way
):
    if way == "upgrade":
        assert 4 in ids(await accounts.set_tier(1, "pro"))
    if way == "room":
        await accounts.remove_repositories(1, [1])
        assert ids(await accounts.promote(1)) == [4]
    if way == "deactivated":
        await accounts.deactivate(1, 4)
    if way == "archived":
        await repositories.set_state(1, 4, RepositoryState.INACTIVE, "archived")
    assert (await repositories.get(1, 4)).frozen_at is None
    assert 4 not in await accounts.purge_frozen(1, soon())
    assert await held(database, 4) == [1]


async def test_what_comes_back_over_the_limit_with_its_index_is_frozen_from_then_on(
    accounts, repositories, database, downgraded
):
    await repositories.set_state(1, 4, RepositoryState.INACTIVE, "archived")
    await repositories.readmit(1, 4, "archived")
    assert await accounts.promote(1) == []
    back, still = await repositories.get(1, 4), await repositories.get(1, 5)
    assert back.frozen_at > still.frozen_at
    assert back.reason == over_limit(await accounts.tier(1), back.frozen_at)
    assert await accounts.purge_frozen(1, still.frozen_at) == [5]
    assert await held(database, 4, 5) == [1, 0]


@pytest.mark.parametrize("first", ["upgrade", "purge"])
async def test_an_upgrade_and_the_end_of_the_notice_take_turns(
    accounts, repositories, database, downgraded, first
):
    """Both wait for the account's row; whoever comes first, nothing is half there."""
    calls = {
        "upgrade": lambda: accounts.set_tier(1, "pro"),
        "purge": lambda: accounts.purge_frozen(1, soon()),
    }
    order = sorted(calls, key=lambda call: call != first)
    async with database.system() as connection:
        await connection.execute(SQL["lock_account"], 1)
        tasks = []
        for call in order:
            tasks.append(asyncio.create_task(calls[call]()))
            await waits(database, len(tasks))
    await asyncio.gather(*tasks)
    assert in_place(await repositories.list(1)) == [1, 2, 3, 4, 5]
    assert await held(database, 4, 5) == ([1, 1] if first == "upgrade" else [0, 0])
    assert len(await purges(database)) == (0 if first == "upgrade" else 2)
    assert await accounts.purge_frozen(1, soon()) == []


async def waits(database, count):
    """Wait until so many transactions of this database stand before a lock. What is active is looked up once a transaction."""
    query = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND datname = current_database()"
    while True:
        async with database.system() as connection:
            if await connection.fetchval(query) >= count:
                return
        await asyncio.sleep(0.01)


async def test_the_notice_of_fewer_issues_begins_with_the_downgrade_and_ends_once(accounts):
    await accounts.install(OCTO, 10, names(1))
    assert (await accounts.tier(1)).shrunk_at is None
    await accounts.set_tier(1, "pro")
    assert (await accounts.tier(1)).shrunk_at is None
    await accounts.set_tier(1, "free")
    began = (await accounts.tier(1)).shrunk_at
    await accounts.set_tier(1, "free")
    await accounts.set_tier(1, "pro")
    assert (await accounts.tier(1)).shrunk_at == began
    assert await accounts.overdue(began - timedelta(seconds=1)) == []
    await accounts.end_notice(1, began - timedelta(seconds=1))
    assert await accounts.overdue(began) == [1]
    await accounts.set_tier(1, "free")  # anew, while the first one was being ended
    await accounts.end_notice(1, began)
    again = (await accounts.tier(1)).shrunk_at
    assert again > began
    await accounts.end_notice(1, again)
    assert await accounts.overdue(soon()) == []


@pytest.mark.parametrize(("account", "tier"), [(1, "gold"), (1, ""), (404, "pro")])
async def test_a_tier_or_an_account_that_is_not_known_is_refused(accounts, account, tier):
    await accounts.install(OCTO, 10, [])
    with pytest.raises(MissingError):
        await accounts.set_tier(account, tier)
    assert (await accounts.account(1)).tier == "free"


async def test_what_people_deactivated_makes_room_and_only_people_let_it_in_again(accounts, repositories):
    await accounts.install(OCTO, 10, names(1, 2, 3, 4))
    await repositories.indexed(1, 2, total=1)
    assert await accounts.deactivate(1, 2)
    assert not await accounts.deactivate(1, 2)
    left = await repositories.get(1, 2)
    assert (left.state, left.reason) == (RepositoryState.INACTIVE, DEACTIVATED)
    assert ids(await accounts.promote(1)) == [4]
    await accounts.deactivate(1, 4)
    # There is a place, and nothing that happens by itself gives it to them.
    assert await accounts.promote(1) == []
    assert ids(await accounts.add_repositories(1, 10, names(2, 4))) == []
    assert ids(await accounts.install(OCTO, 10, names(1, 2, 3, 4))) == [1, 3]
    assert ids(await accounts.install(OCTO, 11, names(1, 2, 3, 4))) == [1, 3]
    assert ids(await accounts.set_tier(1, "pro")) == [1, 3]
    await repositories.readmit(1, 2, DEACTIVATED)
    for state, reason in (
        (RepositoryState.INDEXING, None),
        (RepositoryState.ACTIVE, None),
        (RepositoryState.INACTIVE, "archived"),
    ):
        await repositories.set_state(1, 2, state, reason)
    await repositories.indexed(1, 2, total=1)
    assert await accounts.promote(1) == []
    assert (await repositories.get(1, 2)).reason == DEACTIVATED
    assert ids(await accounts.activate(1, 2)) == [2]
    assert (await repositories.get(1, 2)).state is RepositoryState.PENDING


async def test_what_is_over_the_limit_stays_deactivated_when_there_is_room(accounts, repositories):
    await accounts.install(OCTO, 10, names(1, 2, 3, 4))
    await accounts.deactivate(1, 4)
    await accounts.remove_repositories(1, [1])
    assert await accounts.promote(1) == []
    assert ids(await accounts.activate(1, 4)) == [4]


async def test_an_activation_beyond_the_tier_is_refused(accounts, repositories):
    await accounts.install(OCTO, 10, names(1, 2, 3, 4))
    with pytest.raises(QuotaError, match="The Free plan indexes 3 repositories") as refused:
        await accounts.activate(1, 4)
    assert (refused.value.limit, refused.value.allowed) == ("repositories", 3)
    assert await accounts.activate(1, 3) == []
    await accounts.deactivate(1, 1)
    assert ids(await accounts.activate(1, 4)) == [4]
    with pytest.raises(QuotaError):
        await accounts.activate(1, 1)
    assert (await repositories.get(1, 1)).reason == DEACTIVATED


@pytest.mark.parametrize("change", ["activate", "deactivate"])
@pytest.mark.parametrize(("account", "repository"), [(2, 7), (1, 8), (404, 7)])
async def test_nobody_moves_a_repository_that_is_not_theirs(
    accounts, repositories, change, account, repository
):
    await accounts.install(OCTO, 10, names(7))
    await accounts.install(CAT, 20, names(8, owner="cat"))
    before = await repositories.list(1) + await repositories.list(2)
    with pytest.raises(MissingError):
        await getattr(accounts, change)(account, repository)
    assert await repositories.list(1) + await repositories.list(2) == before


async def test_fifty_activations_at_once_on_free_leave_three(accounts, repositories, database_url):
    await accounts.install(OCTO, 10, names(*range(1, 51)))
    for n in range(1, 51):
        await accounts.deactivate(1, n)
    elsewhere = await Database.connect(database_url, size=5)
    both = (accounts, Accounts(elsewhere))
    done = await asyncio.gather(*(both[n % 2].activate(1, n) for n in range(1, 51)), return_exceptions=True)
    assert sum(isinstance(item, QuotaError) for item in done) == 47
    assert len(in_place(await repositories.list(1))) == 3
    await elsewhere.close()


async def test_an_account_is_found_by_login_while_the_app_is_installed(accounts):
    await accounts.install(OCTO, 10, [])
    await accounts.install(CAT, 20, [])
    assert await accounts.find("OCTO") == OCTO
    assert await accounts.find("nobody") is None
    assert await accounts.find("") is None
    await accounts.uninstall(1, 10)
    assert await accounts.find("octo") is None
    assert await accounts.find("") is None


async def test_a_name_that_changed_keeps_its_collection(accounts, repositories):
    await accounts.install(OCTO, 10, names(7))
    before = await repositories.get(1, 7)
    await accounts.install(
        Account(1, "octopus", "Organization", "free"), 10, [RepositoryName(7, "octopus", "new", True)]
    )
    after = await repositories.get(1, 7)
    assert (after.full_name, after.private, after.collection) == ("octopus/new", True, before.collection)
    assert (await accounts.account(1)).login == "octopus"


async def test_a_late_event_does_not_bring_a_removed_installation_back(accounts, repositories):
    await accounts.install(OCTO, 10, names(7))
    assert ids(await accounts.uninstall(1, 10)) == [7]
    assert await accounts.install(OCTO, 10, names(7)) == []
    assert await accounts.add_repositories(1, 10, names(8)) == []
    await accounts.set_state(1, 10, InstallationState.ACTIVE)
    assert await accounts.installation(10) is None
    assert await accounts.account(1) is None
    assert await repositories.list(1) == []
    assert await accounts.uninstall(1, 10) == []


async def test_a_removal_that_overtook_the_installation_holds(accounts, repositories):
    assert await accounts.uninstall(1, 10) == []
    assert await accounts.install(OCTO, 10, names(7)) == []
    assert await accounts.installation(10) is None
    assert await accounts.account(1) is None
    assert await repositories.list(1) == []


async def test_a_paid_tier_survives_a_new_installation(accounts):
    await accounts.install(OCTO, 10, names(7))
    await accounts.set_tier(1, "pro")
    await accounts.uninstall(1, 10)
    await accounts.install(OCTO, 11, names(7))
    assert (await accounts.account(1)).tier == "pro"
    assert await accounts.installation(11) == Installation(11, 1, InstallationState.ACTIVE)


async def test_a_new_installation_replaces_the_old_one(accounts, repositories):
    await accounts.install(OCTO, 10, names(1, 2))
    await repositories.indexed(1, 2, total=1)
    found = await accounts.install(OCTO, 11, names(2, 3))
    assert ids(found) == [2, 3]  # what went on may have missed events
    assert {(item.id, item.installation_id) for item in await repositories.list(1)} == {(2, 11), (3, 11)}
    assert await accounts.installation(10) is None
    assert await accounts.uninstall(1, 10) == []  # its own removal comes late and takes nothing along
    assert ids(await repositories.list(1)) == [2, 3]
    assert await accounts.account(1) is not None


async def test_an_installation_of_another_account_is_refused(accounts, repositories):
    await accounts.install(OCTO, 10, names(7))
    assert await accounts.install(CAT, 10, names(8, owner="cat")) == []
    assert await accounts.add_repositories(2, 10, names(9, owner="cat")) == []
    assert await accounts.uninstall(2, 10) == []
    await accounts.set_state(2, 10, InstallationState.SUSPENDED)
    assert await accounts.installation(10) == Installation(10, 1, InstallationState.ACTIVE)
    assert await repositories.list(2) == []
    assert ids(await repositories.list(1)) == [7]


async def test_a_transferred_repository_starts_anew_and_is_never_readable_by_both(
    accounts, repositories, database
):
    issues = Issues(database)
    await accounts.install(OCTO, 10, names(7))
    await issues.save(1, [issue(7)])
    await accounts.install(CAT, 20, names(7, owner="cat"))
    assert await repositories.get(1, 7) is None
    assert await issues.get(1, 7, [1]) == await issues.get(2, 7, [1]) == {}
    moved = await repositories.get(2, 7)
    assert (moved.collection, moved.revision, moved.installation_id) == ("repo_2_cat_r7_7", 0, 20)
    assert await accounts.remove_repositories(1, [7]) == []  # the old account's own event comes late
    assert await repositories.get(2, 7) == moved


async def test_a_repository_that_two_accounts_claim_at_once_ends_with_one(accounts, repositories):
    for round_ in range(10):
        await asyncio.gather(
            accounts.install(OCTO, 10, names(100 + round_)),
            accounts.install(CAT, 20, names(100 + round_, owner="cat")),
            return_exceptions=True,
        )
    assert not set(ids(await repositories.list(1))) & set(ids(await repositories.list(2)))


async def test_a_repository_that_another_account_is_just_taking_is_asked_for_again(
    accounts, repositories, database
):
    await accounts.install(OCTO, 10, [])
    async with database.system() as connection:
        values = ([7], ["octo"], ["r7"], [False], ["repo_1_octo_r7_7"])
        await connection.execute(SQL["add_repositories"], 1, 10, "over", *values)
        waiting = asyncio.create_task(accounts.install(CAT, 20, names(7, 8, owner="cat")))
        await asyncio.sleep(0.2)
    with pytest.raises(RetryError, match="moves between two accounts"):
        await waiting
    assert ids(await repositories.list(1)) == [7]
    assert await repositories.list(2) == []
    assert await accounts.installation(20) is None
    assert ids(await accounts.install(CAT, 20, names(7, 8, owner="cat"))) == [7, 8]
    assert await repositories.list(1) == []


async def test_suspending_and_resuming(accounts):
    await accounts.install(OCTO, 10, names(7))
    for state in InstallationState:
        await accounts.set_state(1, 10, state)
        assert (await accounts.installation(10)).state is state
    await accounts.set_state(1, 10, InstallationState.SUSPENDED)
    await accounts.install(OCTO, 10, names(7, 8))  # a late `created` does not lift it
    assert (await accounts.installation(10)).state is InstallationState.SUSPENDED


async def deliver(database, installation_id, repository_id):
    delivery = Delivery(uuid4(), "issues", "opened", installation_id, repository_id, b"canary")
    await Inbox(database).accept(delivery, NewJob("delivery", Lane.WEBHOOK, delivery_id=delivery.id))
    return delivery.id


async def left(database):
    """Ids of deliveries with their bodies; of the others nothing but the id stays."""
    async with database.system() as connection:
        stored = {row["id"] for row in await connection.fetch("SELECT id FROM deliveries WHERE body <> ''")}
        queued = await connection.fetch("SELECT delivery_id FROM jobs WHERE delivery_id IS NOT NULL")
    assert {row["delivery_id"] for row in queued} == stored
    return stored


async def purges(database):
    async with database.system() as connection:
        rows = await connection.fetch(
            "SELECT account_id, serial, payload FROM jobs WHERE kind = 'purge_repository' ORDER BY id"
        )
    return [(row["account_id"], row["serial"], row["payload"]["collection"]) for row in rows]


async def test_a_removed_repository_takes_its_raw_events_along_but_not_those_being_worked_on(
    accounts, database
):
    await accounts.install(OCTO, 10, names(7, 8))
    running = await deliver(database, 10, 7)
    assert len(await Jobs(database).claim(uuid4())) == 1
    await deliver(database, 10, 7)
    other, moved = await deliver(database, 10, 8), await deliver(database, 20, 7)
    await accounts.remove_repositories(1, [7, 9])
    assert await left(database) == {running, other, moved}
    assert await purges(database) == [(1, "index:7", "repo_1_octo_r7_7")]


async def test_an_event_whose_body_was_purged_is_known_and_cannot_be_worked_on(accounts, database):
    await accounts.install(OCTO, 10, names(7))
    gone = await deliver(database, 10, 7)
    await accounts.remove_repositories(1, [7])
    again = Delivery(gone, "issues", "opened", 10, 7, b"canary")
    assert not await Inbox(database).accept(again, NewJob("delivery", Lane.WEBHOOK, delivery_id=gone))
    async with database.system() as connection:
        assert await connection.fetchval("SELECT done_at FROM deliveries WHERE id = $1", gone) is not None
    await Jobs(database).enqueue(NewJob("delivery", Lane.WEBHOOK, delivery_id=gone))
    jobs = await Jobs(database).claim(uuid4(), limit=5)
    (job,) = [item for item in jobs if item.kind == "delivery"]
    with pytest.raises(DeadError, match="purged"):
        await Inbox(database).read(job)


async def test_a_repository_that_another_account_has_now_leaves_its_collection_to_a_job(accounts, database):
    await accounts.install(OCTO, 10, names(7))
    await accounts.install(Account(2, "other", "User", "free"), 20, names(7))
    await accounts.install(Account(2, "other", "User", "free"), 21, [])
    assert await purges(database) == [(1, "index:7", "repo_1_octo_r7_7"), (2, "index:7", "repo_2_octo_r7_7")]


async def test_an_account_and_its_repositories_are_renamed_together(accounts, repositories):
    await accounts.install(OCTO, 10, names(7))
    await accounts.rename(1, "hubber")
    assert (await accounts.account(1)).login == "hubber"
    assert (await repositories.get(1, 7)).owner == "hubber"
    await accounts.uninstall(1, 10)
    await accounts.rename(1, "late")
    await accounts.install(OCTO, 11, [])
    assert (await accounts.account(1)).login == "octo"


async def test_an_uninstall_takes_everything_along_but_usage_and_the_audit_log(
    accounts, repositories, database, database_url
):
    await accounts.install(OCTO, 10, names(7))
    await Issues(database).save(1, [issue(7)])
    await Usage(database).add(1, "commands")
    await Idempotency(database).begin(1, "k", b"f" * 32)
    await Audit(database).record(Act("a", Actor.SYSTEM, account_id=1))
    await deliver(database, 10, 7)
    await deliver(database, 10, None)
    other = await deliver(database, 20, None)
    assert ids(await accounts.uninstall(1, 10)) == [7]
    assert await left(database) == {other}
    async with database.account(1) as connection:
        for table in GONE:
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0
        assert await connection.fetchval("SELECT sum(amount) FROM usage") == 1
        assert await connection.fetchval("SELECT count(*) FROM audit_log") == 1
        assert await connection.fetchval("SELECT login FROM accounts") == ""


async def test_names_that_postgresql_refuses_are_stored_all_the_same(accounts, repositories):
    await accounts.install(
        Account(1, "o\0\ud800", "User", "free"), 10, [RepositoryName(7, "o\0", "n\ud800", False)]
    )
    assert (await repositories.get(1, 7)).full_name == "o\ufffd/n\ufffd"
