import asyncio
from dataclasses import replace
from datetime import timedelta

import aiohttp
import pytest

from bot.core.access import SealedTokens
from bot.core.context import now
from bot.core.errors import GitHubUnavailableError, SealError, SignInError
from bot.core.identity import GitHubUser, UserTokens
from bot.core.principal import Scope
from bot.core.records import Account, InstallationState, Repository, RepositoryState, Role
from bot.core.sealed_tokens import opened_tokens, sealed_tokens
from bot.core.sealing import Sealer
from bot.github.asked import Asked
from bot.github.client import Api
from bot.github.people import SIGN_IN_AGAIN, People
from bot.github.reach import NO_FOR, YES_FOR, GitHubReach
from bot.github.sign_in import GitHubSignIn
from bot.sandbox.faults import Fault
from bot.sandbox.server import Sandbox, serve
from storage.sessions import Sessions

OVER = timedelta(minutes=1)
"""What an access token has left that is renewed before it is used."""

KEY = "k" * 20 + "0123456789abcdef"


class Clocks:
    """A time of day and a clock that never goes back, moved together."""

    def __init__(self):
        self.ahead = 0.0

    def __call__(self):
        return 1_000.0 + self.ahead

    def day(self):
        return now() + timedelta(seconds=self.ahead)


class House:
    """A service for people of a sandbox's GitHub: one organisation with a public and a private repository."""

    def __init__(self, sandbox, url, session, database):
        self.sandbox, self.github, self.clocks = sandbox, sandbox.github, Clocks()
        self.app = self.github.create_app("deja-view", None, "s" * 40)
        self.home = self.github.create_repository("octo", "hello", private=True)
        self.other = self.github.create_repository("octo", "other", private=True)
        self.installation = self.github.install(self.app, self.home.owner, [self.home, self.other])
        api = Api(url, timeout=10.0, read_retries=(0.0,))
        self.sign_in = GitHubSignIn(session, api, url, self.app.client_id, self.app.client_secret)
        self.sessions, self.sealer = Sessions(database), Sealer([KEY])
        self.people, self.reach = self.process()

    def process(self):
        """Another process: what it knows is its own, what is stored is shared."""
        people = People(self.sign_in, self.sessions, self.sealer, self.clocks.day)
        return people, GitHubReach(self.sign_in, people, self.clocks)

    async def enter(self, login, lives=timedelta(hours=8)):
        """Somebody signs in, with an access token that lives so long; gives their id."""
        user = self.github.world.account(login)
        token, moment = self.github.people.issue(self.app, user), self.clocks.day()
        ends = (moment + lives, moment + timedelta(days=184))
        tokens = UserTokens(token.value, ends[0], token.refresh, ends[1])
        await self.people.keep(GitHubUser(user.id, login), tokens)
        return user.id

    def row(self, repository):
        return Repository(
            id=repository.id, account_id=repository.owner.id, installation_id=self.installation.id, owner="octo",
            name=repository.name, private=True, collection="c", state=RepositoryState.ACTIVE, reason=None,
            indexed_at=None, issues_total=None, issues_indexed=0, revision=0, threshold=None, threshold_model=None,
            config_notice=None,
        )  # fmt: skip

    @property
    def account(self):
        return Account(self.home.owner.id, "octo", "Organization", "free")

    def asked(self, path):
        """How often GitHub was asked."""
        return sum(call.path.endswith(path) for call in self.sandbox.calls)


@pytest.fixture
async def house(database):
    sandbox = Sandbox()
    async with serve(sandbox) as url, aiohttp.ClientSession() as session:
        yield House(sandbox, url, session, database)
        assert sandbox.unknown == []


# --- what somebody may reach


async def test_roles_are_githubs_and_asked_once_in_five_minutes(house):
    house.home.roles["bob"] = "triage"
    bob, row = await house.enter("bob"), house.row(house.home)
    for _ in range(3):
        assert await house.reach.role_in(bob, row) is Role.TRIAGE
    assert house.asked("/repositories") == 1
    mallory = await house.enter("mallory")
    assert await house.reach.role_in(mallory, row) is Role.NONE


async def test_lost_access_ends_here_within_five_minutes(house):
    house.home.roles["bob"] = "write"
    owner = house.home.owner
    house.github.join(owner, "bob", "admin")
    bob, row = await house.enter("bob"), house.row(house.home)
    assert await house.reach.role_in(bob, row) is Role.ADMIN
    assert await house.reach.account_role(bob, house.account) is Scope.ADMIN
    house.github.leave(owner, "bob")
    del house.home.roles["bob"]
    house.clocks.ahead = YES_FOR - 1
    assert await house.reach.role_in(bob, row) is Role.ADMIN
    assert await house.reach.account_role(bob, house.account) is Scope.ADMIN
    house.clocks.ahead = YES_FOR
    assert await house.reach.role_in(bob, row) is Role.NONE
    assert await house.reach.account_role(bob, house.account) is None
    assert YES_FOR <= 300


async def test_an_answer_is_as_old_as_its_question(house):
    house.home.roles["bob"] = "write"
    bob, row = await house.enter("bob"), house.row(house.home)

    class Slow:
        async def repositories(self, access_token, installation_id):
            found = await house.sign_in.repositories(access_token, installation_id)
            house.clocks.ahead += 200  # it takes its time on the way
            return found

    slow = GitHubReach(Slow(), house.people, house.clocks)
    assert await slow.role_in(bob, row) is Role.WRITE
    del house.home.roles["bob"]
    house.clocks.ahead += YES_FOR - 200
    assert await slow.role_in(bob, row) is Role.NONE


async def test_an_outage_is_no_access_and_no_refusal(house):
    house.home.roles["bob"] = "write"
    bob, row = await house.enter("bob"), house.row(house.home)
    await house.reach.role_in(bob, row)
    house.sandbox.faults.append(Fault("GET", "/user", times=1_000, status=503))
    assert await house.reach.role_in(bob, row) is Role.WRITE
    house.clocks.ahead = YES_FOR
    with pytest.raises(GitHubUnavailableError):
        await house.reach.role_in(bob, row)
    with pytest.raises(GitHubUnavailableError):
        await house.reach.account_role(bob, house.account)


async def test_an_answer_that_takes_too_long_is_an_outage(house, monkeypatch):
    monkeypatch.setattr("bot.github.asked.PATIENCE", 0.05)
    answers = Asked(house.clocks, 10)
    with pytest.raises(GitHubUnavailableError, match="too long"):
        await answers.get(1, lambda: asyncio.sleep(60), 300.0)


async def test_who_takes_back_the_grant_reaches_nothing_as_soon_as_github_says_so(house):
    house.home.roles["bob"] = "write"
    bob, row = await house.enter("bob"), house.row(house.home)
    assert await house.reach.role_in(bob, row) is Role.WRITE
    house.github.people.revoke(house.github.world.account("bob"))
    assert await house.reach.role_in(bob, row) is Role.WRITE
    with pytest.raises(SignInError):  # another question shows it
        await house.reach.account_role(bob, house.account)
    with pytest.raises(SignInError):  # and what was known before holds no more
        await house.reach.role_in(bob, row)


async def test_new_access_is_seen_after_half_a_minute(house):
    bob, row = await house.enter("bob"), house.row(house.home)
    assert await house.reach.role_in(bob, row) is Role.NONE
    assert await house.reach.account_role(bob, house.account) is None
    assert await house.reach.installations(bob) == []
    house.home.roles["bob"] = "read"
    house.github.join(house.home.owner, "bob", "member")
    house.clocks.ahead = NO_FOR - 1
    assert await house.reach.role_in(bob, row) is Role.NONE
    assert house.asked("/repositories") == 1
    house.clocks.ahead = NO_FOR
    assert await house.reach.role_in(bob, row) is Role.READ
    assert await house.reach.role_in(bob, house.row(house.other)) is Role.NONE
    assert house.asked("/repositories") == 2
    assert await house.reach.account_role(bob, house.account) is Scope.READ
    (found,) = await house.reach.installations(bob)
    assert (found.id, found.state) == (house.installation.id, InstallationState.ACTIVE)


async def test_answers_are_kept_apart_by_person_and_installation(house):
    house.home.roles |= {"bob": "read", "carol": "maintain"}
    stranger = house.github.create_repository("else", "where")
    theirs = house.github.install(house.app, stranger.owner, [stranger])
    stranger.roles["bob"] = "write"
    bob, carol = await house.enter("bob"), await house.enter("carol")
    row = house.row(house.home)
    elsewhere = replace(house.row(stranger), installation_id=theirs.id)
    for _ in range(2):
        assert await house.reach.role_in(bob, row) is Role.READ
        assert await house.reach.role_in(carol, row) is Role.MAINTAIN
        assert await house.reach.role_in(bob, elsewhere) is Role.WRITE
        assert await house.reach.role_in(carol, elsewhere) is Role.NONE


async def test_many_who_ask_at_once_ask_github_once(house):
    house.home.roles["bob"] = "read"
    bob, row = await house.enter("bob"), house.row(house.home)
    house.sandbox.faults.append(Fault("GET", "/repositories$", delay=0.1, passes=True))
    first = asyncio.create_task(house.reach.role_in(bob, row))
    others = [asyncio.create_task(house.reach.role_in(bob, row)) for _ in range(20)]
    await asyncio.sleep(0.02)
    first.cancel()
    assert set(await asyncio.gather(*others)) == {Role.READ}
    assert house.asked("/repositories") == 1


async def test_the_oldest_answers_are_forgotten_first(house):
    answers, told = Asked(house.clocks, 2), []

    def asking(key):
        async def ask():
            told.append(key)
            return key

        return ask

    for key in (1, 2, 1, 3, 1, 2):
        assert await answers.get(key, asking(key), 300.0) == key
    assert told == [1, 2, 3, 2]


async def test_what_is_forgotten_while_it_is_asked_is_not_kept(house):
    answers, go, told = Asked(house.clocks, 2), asyncio.Event(), []

    async def ask():
        told.append("yes")
        await go.wait()
        return len(told)

    early = asyncio.create_task(answers.get(1, ask, 300.0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    answers.forget(lambda key: key == 1)
    go.set()
    assert await early == 1
    assert await answers.get(1, ask, 300.0) == 2
    assert await answers.get(1, ask, 300.0) == 2


# --- their tokens


async def test_who_never_signed_in_has_to(house):
    with pytest.raises(SignInError, match=SIGN_IN_AGAIN):
        await house.reach.installations(5)


async def test_tokens_are_kept_sealed_and_bound_to_their_row(house):
    bob, carol = await house.enter("bob"), await house.enter("carol")
    kept = (await house.sessions.user(bob)).tokens
    tokens = opened_tokens(house.sealer, bob, kept)
    assert tokens.access.encode() not in kept.access
    assert tokens.refresh.encode() not in kept.refresh
    with pytest.raises(SealError):
        opened_tokens(house.sealer, carol, kept)
    with pytest.raises(SealError):
        opened_tokens(house.sealer, bob, SealedTokens(kept.refresh, kept.access, None, None))
    assert await house.sessions.replace_tokens(carol, (await house.sessions.user(carol)).tokens, kept)
    with pytest.raises(SignInError, match=SIGN_IN_AGAIN):
        await house.reach.installations(carol)
    await house.reach.installations(bob)


def test_tokens_without_an_end_are_sealed_too():
    tokens = UserTokens("ghu_x", None, None, None)
    sealer = Sealer([KEY])
    assert opened_tokens(sealer, 5, sealed_tokens(sealer, 5, tokens)) == tokens


@pytest.mark.parametrize(("seconds", "renewed"), [(330, 0), (299, 1), (-10_000, 1)])
async def test_tokens_are_renewed_before_they_end(house, seconds, renewed):
    bob = await house.enter("bob", timedelta(seconds=seconds + 10))
    house.clocks.ahead = 10
    before = (await house.sessions.user(bob)).tokens
    await house.reach.installations(bob)
    await house.reach.role_in(bob, house.row(house.home))
    assert ((await house.sessions.user(bob)).tokens != before, house.asked("/access_token")) == (
        bool(renewed),
        renewed,
    )


async def test_the_last_tokens_are_over_for_good(house):
    bob = await house.enter("bob")
    house.clocks.ahead = 185 * 86_400
    with pytest.raises(SignInError, match=SIGN_IN_AGAIN):
        await house.reach.installations(bob)
    assert house.asked("/access_token") == 0


async def test_processes_renew_tokens_one_at_a_time(house):
    house.home.roles["bob"] = "read"
    bob, row = await house.enter("bob", OVER), house.row(house.home)
    house.sandbox.faults.append(Fault("POST", "access_token", delay=0.3, passes=True))
    reaches = [house.process()[1] for _ in range(6)]
    assert set(await asyncio.gather(*(reach.role_in(bob, row) for reach in reaches))) == {Role.READ}
    assert house.asked("/access_token") == 1


async def test_a_refresh_that_fails_leaves_its_turn_to_others(house):
    bob = await house.enter("bob", OVER)
    house.sandbox.faults.append(Fault("POST", "access_token", status=503))
    with pytest.raises(GitHubUnavailableError):
        await house.reach.installations(bob)
    assert await house.reach.installations(bob) == []
    assert house.asked("/access_token") == 2


async def test_a_refresh_token_that_github_does_not_know_is_no_sign_in(house):
    bob = await house.enter("bob", OVER)
    house.github.people.revoke(house.github.world.account("bob"))
    for _ in range(2):
        with pytest.raises(SignInError, match="no longer knows"):
            await house.reach.installations(bob)


async def test_nobody_waits_for_ever_for_whoever_renews_tokens(house):
    bob = await house.enter("bob", OVER)
    assert await house.sessions.begin_refresh(bob, (await house.sessions.user(bob)).tokens)
    waits = []

    async def wait(seconds):
        waits.append(seconds)

    people = People(house.sign_in, house.sessions, house.sealer, house.clocks.day, wait)
    with pytest.raises(GitHubUnavailableError, match="too long"):
        await people.ask(bob, house.sign_in.who)
    assert 5.0 <= sum(waits) <= 30.0


async def test_who_signs_in_while_tokens_are_renewed_has_the_later_ones(house):
    bob = await house.enter("bob", OVER)
    house.sandbox.faults.append(Fault("POST", "access_token", delay=0.3, passes=True))
    asking = asyncio.create_task(house.people.ask(bob, house.sign_in.who))
    while not (house.sandbox.faults[0].times == 0 or asking.done()):
        await asyncio.sleep(0.01)
    await house.enter("bob")
    mine = opened_tokens(house.sealer, bob, (await house.sessions.user(bob)).tokens)
    assert (await asking).id == bob
    assert opened_tokens(house.sealer, bob, (await house.sessions.user(bob)).tokens) == mine


async def test_a_token_that_was_renewed_in_the_meantime_is_no_refusal(house):
    bob = await house.enter("bob")
    seen = []

    async def question(token):
        if not seen:  # another process renews the tokens just before ours is used
            seen.append(token)
            record = await house.sessions.user(bob)
            tokens = opened_tokens(house.sealer, bob, record.tokens)
            new = await house.sign_in.refresh(tokens.refresh)
            assert await house.sessions.replace_tokens(
                bob, record.tokens, sealed_tokens(house.sealer, bob, new)
            )
        return await house.sign_in.who(token)

    assert (await house.people.ask(bob, question)).id == bob
