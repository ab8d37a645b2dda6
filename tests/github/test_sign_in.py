from datetime import timedelta

import aiohttp
import pytest
from yarl import URL

from bot.core.context import now
from bot.core.errors import (
    CredentialsError,
    GitHubUnavailableError,
    InvalidRequestError,
    MovedError,
    RateLimitedError,
    SignInError,
)
from bot.core.identity import GitHubUser
from bot.core.principal import Scope
from bot.core.records import Account, Installation, InstallationState, Role
from bot.github.client import Api
from bot.github.sign_in import GitHubSignIn, scope_from, tokens_from
from bot.sandbox.faults import Fault
from bot.sandbox.people import challenge_of
from bot.sandbox.server import Sandbox, serve

CALLBACK = "https://deja-view.example.com/login/callback"
VERIFIER = "v" * 43


class Town:
    """A GitHub with an App on one organisation, and a browser."""

    def __init__(self, sandbox, url, session):
        self.sandbox, self.session = sandbox, session
        self.github = sandbox.github
        self.app = self.github.create_app("deja-view", None, "s" * 40, callback_urls=[CALLBACK])
        self.public = self.github.create_repository("octo", "hello")
        self.private = self.github.create_repository("octo", "secret", private=True)
        self.installation = self.github.install(self.app, self.public.owner, [self.public, self.private])
        api = Api(url, timeout=5.0, read_retries=(0.0, 0.0))
        self.client = GitHubSignIn(session, api, url, self.app.client_id, self.app.client_secret)
        self.wrong = GitHubSignIn(session, api, url, self.app.client_id, "not-the-secret")
        self.unknown = GitHubSignIn(session, api, url, "Iv1.unknown", "not-the-secret")

    @property
    def organisation(self):
        owner = self.public.owner
        return Account(owner.id, owner.login, owner.kind, "free")

    def token(self, login):
        return self.github.people.issue(self.app, self.github.world.account(login)).value

    async def code(self):
        """What GitHub gives the browser of whoever is signed in."""
        url = self.client.authorize_url("the state", challenge_of(VERIFIER), CALLBACK)
        async with self.session.get(URL(url), allow_redirects=False) as response:
            sent_to = URL(response.headers["Location"])
        assert sent_to.query["state"] == "the state"
        return sent_to.query["code"]


@pytest.fixture
async def town():
    sandbox = Sandbox()
    async with serve(sandbox) as url, aiohttp.ClientSession() as session:
        yield Town(sandbox, url, session)
        assert sandbox.unknown == []


async def test_a_person_signs_in(town):
    user = town.github.sign_in_as("bob")
    began = now()
    tokens = await town.client.exchange(await town.code(), VERIFIER, CALLBACK)
    assert await town.client.who(tokens.access) == GitHubUser(user.id, "bob")
    assert began <= tokens.access_ends - timedelta(hours=8) <= now()
    assert began <= tokens.refresh_ends - timedelta(seconds=15_897_600) <= now()
    assert not {tokens.access, tokens.refresh} & set(repr(tokens).split("'"))
    fresh = await town.client.refresh(tokens.refresh)
    assert await town.client.who(fresh.access) == GitHubUser(user.id, "bob")
    with pytest.raises(SignInError, match="no longer knows"):
        await town.client.who(tokens.access)
    with pytest.raises(SignInError, match="no longer knows"):
        await town.client.refresh(tokens.refresh)


async def test_a_code_that_github_does_not_take(town):
    town.github.sign_in_as("bob")
    code = await town.code()
    with pytest.raises(SignInError, match="took too long or was used already"):
        await town.client.exchange(code, "w" * 43, CALLBACK)
    with pytest.raises(SignInError, match="took too long or was used already"):
        await town.client.exchange(code, VERIFIER, CALLBACK)
    with pytest.raises(InvalidRequestError, match="our callback URL"):
        await town.client.exchange(await town.code(), VERIFIER, CALLBACK + "/")
    for client in (town.wrong, town.unknown):
        with pytest.raises(CredentialsError, match="GITHUB_CLIENT_SECRET"):
            await client.exchange(await town.code(), VERIFIER, CALLBACK)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"status": 404}, CredentialsError),
        ({"status": 502}, GitHubUnavailableError),
        ({"hang_up": True}, GitHubUnavailableError),
        ({"status": 200, "body": '"x"'}, GitHubUnavailableError),
        ({"status": 200, "body": '{"access_token": ""}'}, GitHubUnavailableError),
        ({"status": 200, "body": '{"access_token": "ghu_x\\r\\nX: y"}'}, GitHubUnavailableError),
        ({"status": 200, "body": '{"access_token": "ghu_x", "expires_in": "soon"}'}, GitHubUnavailableError),
        ({"status": 200, "body": '{"error": "out_of_coffee"}'}, InvalidRequestError),
    ],
)
async def test_an_exchange_that_fails_is_not_repeated(town, fault, error):
    town.github.sign_in_as("bob")
    code = await town.code()
    town.sandbox.faults.append(Fault("POST", "access_token", times=9, **fault))
    with pytest.raises(error) as caught:
        await town.client.exchange(code, VERIFIER, CALLBACK)
    assert "ghu_" not in str(caught.value)
    assert sum(call.path == "/login/oauth/access_token" for call in town.sandbox.calls) == 1


async def test_a_redirect_is_not_followed(town):
    redirect = {"status": 307, "headers": {"Location": "http://127.0.0.1:9/evil"}}
    town.sandbox.faults += [Fault("POST", "access_token", **redirect), Fault("GET", "/user", **redirect)]
    town.github.sign_in_as("bob")
    with pytest.raises(MovedError, match="307"):
        await town.client.exchange(await town.code(), VERIFIER, CALLBACK)
    with pytest.raises(MovedError, match="307"):
        await town.client.who(town.token("bob"))


def test_tokens_that_do_not_end():
    tokens = tokens_from({"access_token": "ghu_x", "token_type": "bearer"}, now())
    assert (tokens.access_ends, tokens.refresh, tokens.refresh_ends) == (None, None, None)
    assert not tokens.over(now() + timedelta(days=1_000))


async def test_installations(town):
    town.public.roles["bob"] = "read"
    mine = town.installation
    there = Installation(mine.id, mine.account.id, InstallationState.ACTIVE)
    assert await town.client.installations(town.token("bob")) == [there]
    assert await town.client.installations(town.token("mallory")) == []
    town.github.suspend(mine)
    (found,) = await town.client.installations(town.token("bob"))
    assert found.state is InstallationState.SUSPENDED


@pytest.mark.parametrize("role", [Role.READ, Role.TRIAGE, Role.WRITE, Role.MAINTAIN, Role.ADMIN])
async def test_repositories_with_their_roles(town, role):
    town.private.roles["bob"] = role.name.lower()
    assert await town.client.repositories(town.token("bob"), town.installation.id) == {town.private.id: role}


async def test_all_pages_of_repositories_are_read(town):
    more = [town.github.create_repository("octo", f"r{n}") for n in range(120)]
    town.github.add_repositories(town.installation, more)
    found = await town.client.repositories(town.token("octo"), town.installation.id)
    assert found == dict.fromkeys(town.installation.repositories, Role.ADMIN)
    assert len(found) == 122


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 403, "body": '{"message": "Resource protected by organization SAML enforcement."}'},
        {"status": 403, "body": '{"message": "Resource not accessible by integration"}'},
        {"status": 403, "body": '{"message": "This installation has been suspended"}'},
        {"status": 404},
        {"status": 301, "headers": {"Location": "/elsewhere"}},
    ],
)
async def test_what_github_refuses_to_show_is_no_access(town, fault):
    town.github.join(town.public.owner, "olga", "admin")
    token = town.token("olga")
    town.sandbox.faults += [Fault("GET", path, **fault) for path in ("/repositories$", "/memberships/")]
    assert await town.client.repositories(token, town.installation.id) == {}
    assert await town.client.account_role(token, town.organisation) is None
    assert await town.client.account_role(token, town.organisation) is Scope.ADMIN


async def test_nobody_reaches_an_installation_by_its_number(town):
    other = town.github.create_repository("else", "where", private=True)
    theirs = town.github.install(town.app, other.owner, [other])
    town.public.roles["bob"] = "admin"
    assert await town.client.repositories(town.token("bob"), theirs.id) == {}
    assert await town.client.repositories(town.token("bob"), 1) == {}


async def test_a_user_owns_their_own_account(town):
    ann = town.github.world.account("ann")
    account = Account(ann.id, "ann", "User", "free")
    assert await town.client.account_role(town.token("ann"), account) is Scope.ADMIN
    assert await town.client.account_role(town.token("bob"), account) is None


async def test_an_organisation_has_owners_and_members(town):
    owner = town.public.owner
    for login, role, state in (
        ("olga", "admin", "active"),
        ("mel", "member", "active"),
        ("ivy", "admin", "pending"),
    ):
        town.github.join(owner, login, role, state)
    town.public.roles["bob"] = "admin"  # a collaborator from outside
    scopes = [
        await town.client.account_role(town.token(login), town.organisation)
        for login in ("olga", "mel", "ivy", "bob", "mallory")
    ]
    assert scopes == [Scope.ADMIN, Scope.READ, None, None, None]
    town.github.accept_permissions(town.installation, {"issues": "write"})
    assert await town.client.account_role(town.token("olga"), town.organisation) is None


def test_an_organisation_is_known_by_its_id():
    said = {"state": "active", "role": "admin", "organization": {"id": 5, "login": "octo"}}
    assert scope_from(said, 5) is Scope.ADMIN
    assert scope_from(said, 6) is None  # another organisation took the name
    assert scope_from(said | {"role": "billing_manager"}, 5) is None


async def test_a_token_that_ended_is_no_sign_in(town):
    token = town.token("bob")
    town.github.people.revoke(town.github.world.account("bob"))
    for ask in (
        town.client.who(token),
        town.client.installations(token),
        town.client.repositories(token, town.installation.id),
        town.client.account_role(token, town.organisation),
    ):
        with pytest.raises(SignInError):
            await ask


async def test_an_outage_is_no_refusal(town):
    token = town.token("bob")
    town.sandbox.faults.append(Fault("GET", "/user", times=100, status=503))
    for ask in (
        town.client.repositories(token, town.installation.id),
        town.client.account_role(token, town.organisation),
    ):
        with pytest.raises(GitHubUnavailableError):
            await ask


async def test_a_limit_holds_for_the_person_it_was_told_to(town):
    bob, carol = town.token("bob"), town.token("carol")
    limit = {"status": 403, "headers": {"Retry-After": "60"}, "body": '{"message": "secondary rate limit"}'}
    town.sandbox.faults.append(Fault("GET", "/user", **limit))
    for _ in range(2):
        with pytest.raises(RateLimitedError):
            await town.client.who(bob)
    assert sum(call.path == "/user" for call in town.sandbox.calls) == 1
    assert (await town.client.who(carol)).login == "carol"
