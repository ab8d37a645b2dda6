"""What each person may do at the API is what GitHub lets them do, route by route (T102), and no more is known of the rest (T120)."""

import aiohttp
import pytest

from bot.core.principal import Scope
from bot.core.records import Role
from bot.web.api.call import ROLES
from bot.web.api.routes import ROUTES
from tests.web.api.conftest import Answer
from tests.web.api.test_isolation import EXPECTED, NOBODYS, put, shown

from .test_sign_in import Person, environ

PEOPLE = {"rita": "read", "tess": "triage", "will": "write", "mona": "maintain", "anna": "admin"}
"""People by their role in the public repository; in the private one none of them has any."""

BODIES = {
    "changeSettings": {"mode": "shadow"},
    "similarToText": {"title": "a crash"},
    "recordOutcome": {"kind": "rejected"},
    "createKey": {"name": "k", "scope": "read"},
    "deleteData": {"confirm": "nobody"},
}
"""What would do something, or nearly."""

ABOUT_REPOSITORY = [route for route in ROUTES if route.about_repository]
ABOUT_ACCOUNT = [
    route for route in ROUTES if not route.about_repository and route.scope is not None and not route.own
]


@pytest.fixture
async def town(open_stage):
    """A public and a private repository of an organisation, a token of each person, and of a member and an owner."""
    stage = await open_stage(environ=environ)
    stage.public, stage.private = (
        stage.new_repository(name, reports=(), private=name == "secret") for name in ("app", "secret")
    )
    stage.public.roles |= PEOPLE
    stage.private.roles.clear()
    await stage.install(stage.public, stage.private)
    for login, role in (("memo", "member"), ("olga", "admin")):
        stage.github.join(stage.public.owner, login, role)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as stage.session:
        stage.tokens, stage.people = {}, {}
        for login in (*PEOPLE, "memo", "olga"):
            person = stage.people[login] = Person(stage, stage.session, login)
            await person.sign_in()
            stage.tokens[login] = await person.token()
        yield stage


async def ask(town, login, method, path, body=None):
    """What the API answers to a person."""
    url = f"http://127.0.0.1:{town.process.port}/v1{path}"
    headers = {"Authorization": f"Bearer {town.tokens[login]}"}
    async with town.session.request(method, url, headers=headers, json=body) as response:
        return Answer(response.status, response.headers, await response.read())


def path_of(route, repository_id):
    """A route's path for that repository."""
    return route.path.format(repository_id=repository_id, number=1, key_id="nobody")


async def test_a_role_on_github_opens_what_it_should_and_no_more(town):
    for login, word in PEOPLE.items():
        for route in ABOUT_REPOSITORY:
            answer = await ask(
                town, login, route.method, path_of(route, town.public.id), BODIES.get(route.name)
            )
            assert route.scope is not None
            needed = route.role or ROLES[route.scope]
            if Role[word.upper()] < needed or route.scope > Scope.WRITE:
                assert (answer.status, answer.code) == (403, "forbidden"), (login, route.name, answer.raw)
            else:
                assert answer.status not in (401, 403), (login, route.name, answer.raw)
        for route in ABOUT_ACCOUNT:
            answer = await ask(town, login, route.method, path_of(route, 0), BODIES.get(route.name))
            assert answer.status == (403 if route.scope is Scope.ADMIN else 404), (login, route.name)


async def test_what_concerns_the_account_is_its_owners(town):
    for route in ABOUT_ACCOUNT:
        path, body = path_of(route, 0), BODIES.get(route.name)
        member = await ask(town, "memo", route.method, path, body)
        owner = await ask(town, "olga", route.method, path, body)
        assert member.status == (403 if route.scope is Scope.ADMIN else 200), route.name
        assert owner.status not in (401, 403), route.name
        # The one 404 that an owner gets is that of a key which is not there.
        assert (owner.status == 404) == (route.name == "revokeKey"), owner.raw


async def test_a_repository_that_somebody_may_not_see_is_not_there(town):
    for login in ("rita", "anna"):
        for route in ABOUT_REPOSITORY:
            row = next(item for item in EXPECTED[route.name] if not item.own)
            body = None if row.body is None else {key: put(value, NOBODYS) for key, value in row.body.items()}
            answers = [
                shown(await ask(town, login, route.method, path_of(route, number) + row.query, body), NOBODYS)
                for number in (town.private.id, 999_999)
            ]
            assert answers[0] == answers[1], (login, route.name)
            assert answers[0][0] == 404, (login, route.name)


async def test_an_account_that_somebody_does_not_reach_is_not_there(town):
    """For a signed-in browser, too: whether `cat` uses the App is nobody else's business."""
    vault = town.github.create_repository("cat", "vault", private=True)
    town.github.install(town.app, vault.owner, [vault])
    await town.indexed(vault)
    for login in ("rita", "olga"):
        answers = [
            await town.people[login].go("POST", "/v1/token", body={"account": account})
            for account in ("cat", "nobody-of-that-name")
        ]
        assert [status for status, _, _ in answers] == [404, 404]
        told = [{**told, "request_id": ""} for _, _, told in answers]
        assert told[0] == told[1]


async def test_a_cookie_is_no_credential_of_the_api_and_not_for_other_sites(town):
    rita = town.people["rita"]
    for path in ("/v1/account", "/v1/repositories", f"/v1/repositories/{town.public.id}"):
        status, _, told = await rita.go("GET", path)
        assert (status, told["code"]) == (401, "unauthenticated")
    status, _, told = await rita.go(
        "POST", "/v1/token", {"Origin": "https://evil.example"}, {"account": "octo"}
    )
    assert (status, told["code"]) == (403, "cross_origin")
