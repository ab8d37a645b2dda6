"""No route tells or changes anything of another account, whatever credential asks, and nobody learns what there is (T100, T103, T120)."""

import asyncio
import itertools
import re
import statistics
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from bot.core.access import Act, Actor
from bot.core.principal import Scope, Source
from bot.core.records import Account, Outcome, OutcomeKind, RepositoryName, Suggestion
from bot.web import legacy
from bot.web.api.routes import ROUTES
from bot.web.tokens import TokenIssuer
from storage.accounts import Accounts
from storage.audit import Audit
from storage.database import Database
from storage.issues import Issues
from storage.suggestions import Suggestions
from tests.web.api.conftest import (
    AT,
    MINE,
    MY_REPOSITORY,
    MY_SECOND,
    OTHER,
    OTHER_REPOSITORY,
    issue,
    limits,
    serve_world,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

OTHER_SECOND, NO_REPOSITORY = 22_002, 22_003
THEIRS, NOWHERE_NUMBER = 77, 78
"""An issue that only the other account has, and one that nobody has."""

CANARIES = ("CANARY", "22001", "22002", "cat/secret", "canary")
"""What no answer to us may hold, but where we said it ourselves."""


@dataclass(frozen=True)
class Ask:
    """One question about what is another's: `{repository}`, `{number}`, `{key}`, `{login}` and `{name}` stand for it."""

    status: int = 404  # with a credential that is good for the route
    body: dict | None = None
    query: str = ""
    path: str | None = None  # the route's, unless another one is told
    own: bool = False  # what it names is our own, and the rest is not
    credentials: tuple[str, ...] | None = None  # which ones it is about; None: all of them


OUT_OF_REACH = Ask()
"""The repository of the path is not ours."""

EXPECTED = {
    # Without any account: only what a credential allows can be got.
    "createToken": [
        Ask(body={"repository_id": "{repository}"}),
        Ask(401, body={"account": "{login}"}, credentials=("none",)),
        Ask(401, body={"api_key": "{key_text}"}, credentials=("none",)),
    ],
    "revokeToken": [],
    # About a repository.
    "getRepository": [OUT_OF_REACH],
    "activateRepository": [OUT_OF_REACH],
    "deactivateRepository": [OUT_OF_REACH],
    "getSettings": [OUT_OF_REACH],
    "changeSettings": [Ask(body={"mode": "shadow", "public_search": True})],
    "reindexRepository": [OUT_OF_REACH],
    "getIndexStatus": [OUT_OF_REACH],
    "getBacktest": [OUT_OF_REACH],
    "listIssues": [OUT_OF_REACH, Ask(query="?limit=1&state=open")],
    "similarToIssue": [
        OUT_OF_REACH,
        Ask(path=f"/repositories/{MY_REPOSITORY}/issues/{{number}}/similar", own=True),
    ],
    "similarToText": [Ask(body={"title": "CANARY Crash when opening the settings dialog"})],
    "listSuggestions": [OUT_OF_REACH],
    "getSuggestion": [
        OUT_OF_REACH,
        Ask(path=f"/repositories/{MY_REPOSITORY}/issues/{{number}}/suggestion", own=True),
    ],
    "listOutcomes": [OUT_OF_REACH],
    "recordOutcome": [
        Ask(body={"kind": "rejected"}),
        Ask(
            path=f"/repositories/{MY_REPOSITORY}/issues/{{number}}/outcomes",
            body={"kind": "rejected"},
            own=True,
        ),
        Ask(
            path=f"/repositories/{MY_REPOSITORY}/issues/7/outcomes",
            body={"kind": "confirmed", "candidate": "{number}"},
            own=True,
        ),
    ],
    "reportDuplicates": [Ask(query="?threshold=0.5&state=all"), Ask(query="?format=markdown")],
    # About the account of the credential.
    "listRepositories": [Ask(200, query="?name={name}", own=True)],
    "getAccount": [],
    "getUsage": [],
    "listAudit": [],
    "exportData": [],
    "deleteData": [Ask(422, body={"confirm": "{login}"})],
    "listKeys": [],
    "createKey": [Ask(body={"name": "k", "scope": "read", "repository_id": "{repository}"})],
    "revokeKey": [OUT_OF_REACH],
    # The parent's.
    "POST /index": [Ask(body={"owner": "{login}", "repo": "{repo}"})],
    "POST /find_similar": [Ask(body={"owner": "{login}", "repo": "{repo}", "issue_number": 1})],
    "POST /suggest_discussions": [
        Ask(body={"owner": "{login}", "repo": "{repo}"}),
        Ask(body={"owner": "{login}", "repo": "{repo}", "dry_run": False, "add_labels": True}),
    ],
    "POST /discussions_metrics": [Ask(body={"owner": "{login}", "repo": "{repo}"})],
    "GET /discussions_metrics/{owner}/{repo}": [Ask(path="/discussions_metrics/{login}/{repo}")],
    "GET /stats": [],
    "DELETE /clear": [],
}
"""Every route, and the questions about what is another's that it is asked."""

ACCOUNTLESS = {
    "GET /v1/openapi.json", "GET /docs", "GET /docs/start.js", "GET /docs/{name}", "GET /health", "GET /",
    "GET /login", "GET /login/callback", "POST /logout",
}  # fmt: skip
"""Routes that reach no account's rows: the same for everybody, or about the browser that asks."""

ROUTE = {route.name: route for route in ROUTES} | {
    f"{route.method} {route.path}": route for route in legacy.ROUTES
}
ASKS = [(name, ask) for name, asks in EXPECTED.items() for ask in asks]
PAGED = [route for route in ROUTES if "cursor" in route.query.model_fields]

ADMINS = ("key", "key_token")
ONE_REPOSITORY = ("repository_key", "workflow_token")
GOOD = (*ADMINS, *ONE_REPOSITORY, "read_key", "person_token")
BAD = (
    "none",
    "revoked_key",
    "expired_key",
    "expired_token",
    "revoked_token",
    "orphan_token",
    "foreign_issuer",
)


@dataclass
class Town:
    """The world with all credentials of ours, and what the other one has."""

    world: object
    texts: dict
    key_id: str
    key_text: str
    cursors: dict  # of the other account's lists, and of our other repository's, by route
    addresses: itertools.count

    async def ask(self, method, path, text, **more):
        """From another address each time: failures of one are limited."""
        number = next(self.addresses)
        headers = {"X-Client": f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"}
        return await self.world.ask(method, path, text, headers=headers, **more)

    async def told(self, name, ask, text, values):
        """The answer to a question about these values."""
        route = ROUTE[name]
        path = ask.path or route.path
        path = path.replace("{repository_id}", "{repository}").replace("{key_id}", "{key}")
        if not name.startswith(route.method):
            path = f"/v1{path}"
        body = None if ask.body is None else {key: put(value, values) for key, value in ask.body.items()}
        return await self.ask(route.method, put(path + ask.query, values), text, body=body)


def put(template, values):
    """A value with what stands in its braces; whole numbers stay numbers."""
    if not isinstance(template, str):
        return template
    if re.fullmatch(r"{\w+}", template):
        return values[template[1:-1]]
    return re.sub(r"{(\w+)}", lambda match: str(values[match[1]]), template)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(postgres, template, model_dir, tmp_path_factory):
    """One world for all of these: nobody may change anything in it that is another's, which is looked at, too."""
    folder = tmp_path_factory.mktemp("isolation")
    async with serve_world(postgres, template, model_dir, folder, CLIENT_ADDRESS_HEADER="X-Client") as world:
        await limits(world, enterprise=100_000)
        await furnish(world.database)
        yield await opened(world)


async def furnish(database):
    """Something of the other account's behind every list and under every number, and as much of ours."""
    accounts, issues, suggestions = Accounts(database), Issues(database), Suggestions(database)
    names = [
        RepositoryName(OTHER_REPOSITORY, "cat", "secret", private=True),
        RepositoryName(OTHER_SECOND, "cat", "secret2", private=True),
    ]
    await accounts.install(Account(OTHER, "cat", "User", "enterprise"), 202, names)
    await issues.save(OTHER, [issue(OTHER_REPOSITORY, THEIRS, "CANARY only theirs", "canary body")])
    for account_id, repository_id in ((MINE, MY_REPOSITORY), (MINE, MY_SECOND), (OTHER, OTHER_REPOSITORY)):
        reason = "canary" if account_id == OTHER else "quiet"
        for number in (1, 2, 3) if account_id == MINE else (1, 2, THEIRS):
            await suggestions.save(
                Suggestion(
                    account_id, repository_id, number, False, reason, 1.0, "m", (), (), {}, b"h" * 32, AT
                )
            )
            await suggestions.record(
                Outcome(account_id, repository_id, number, 2, OutcomeKind.REJECTED, 5, "command")
            )
        for n in range(3):
            await Audit(database).record(Act(f"test.{reason}", Actor.USER, str(n), account_id=account_id))


async def opened(world):
    """Every kind of credential."""
    ended = datetime.now(UTC) - timedelta(minutes=1)
    texts = {
        "none": None,
        "key": await world.key(),
        "read_key": await world.key(scope=Scope.READ),
        "repository_key": await world.key(repository_id=MY_REPOSITORY),
        "revoked_key": await world.key(),
        "expired_key": await world.key(expires_at=ended),
        "workflow_token": world.token(scope=Scope.WRITE, repository_id=MY_REPOSITORY),
    }
    texts["key_token"] = (await world.post("/v1/token", texts["key"], {})).json["access_token"]
    texts["orphan_token"] = (await world.post("/v1/token", texts["revoked_key"], {})).json["access_token"]
    texts["revoked_token"] = (await world.post("/v1/token", texts["key"], {})).json["access_token"]
    ours, now = TokenIssuer(world.settings.jwt_secrets, "deja-view"), datetime.now(UTC)
    principal = ours.verify(texts["key_token"], now).principal
    person = replace(principal, source=Source.USER, key_id=None, user_id=5, login="ann")
    texts["person_token"] = ours.issue(person, now)[0]
    texts["expired_token"] = ours.issue(principal, now - timedelta(hours=1))[0]
    texts["foreign_issuer"] = TokenIssuer(world.settings.jwt_secrets, "https://another.example").issue(
        principal, now
    )[0]
    await world.ask("DELETE", "/v1/token", texts["revoked_token"])
    revoked = texts["revoked_key"].split("_")[1]
    await world.ask("DELETE", f"/v1/keys/{revoked}", texts["key"])
    theirs = await world.key(OTHER)
    town = Town(world, texts, theirs.split("_")[1], theirs, {}, itertools.count(1))
    for route in PAGED:
        lists = [(theirs, OTHER_REPOSITORY)]
        if route.about_repository:
            lists.append((texts["key"], MY_SECOND))
        town.cursors[route.name] = [await cursor(town, route, text, where) for text, where in lists]
    return town


async def cursor(town, route, text, repository_id):
    """Of the second page of a list."""
    path = f"/v1{route.path}".replace("{repository_id}", str(repository_id))
    answer = await town.ask(route.method, f"{path}?limit=1", text)
    assert answer.json["next"], (route.name, answer.raw)
    return answer.json["next"]


def theirs(town):
    """How what the other account has is named."""
    return {
        "repository": OTHER_REPOSITORY, "number": THEIRS, "key": town.key_id, "login": "cat", "repo": "secret",
        "name": "cat/secret", "key_text": town.key_text[:-1] + ("0" if town.key_text[-1] != "0" else "1"),
    }  # fmt: skip


NOBODYS = {
    "repository": NO_REPOSITORY, "number": NOWHERE_NUMBER, "key": "Z" * 12, "login": "dog", "repo": "nobody",
    "name": "dog/nobody", "key_text": "djv_" + "Z" * 12 + "_" + "Z" * 43 + "_" + "Z" * 6,
}  # fmt: skip
"""The same of what does not exist."""


def shown(answer, values):
    """All of an answer that may not differ; what we said ourselves stands for itself."""
    headers = {name.lower(): value for name, value in answer.headers.items()}
    for name in (
        "date",
        "x-request-id",
        "ratelimit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "content-length",
    ):
        headers.pop(name, None)
    body = re.sub(r'"request_id":"[0-9a-f]{32}"', "", answer.raw.decode())
    return answer.status, headers, body.replace(f"{values['login']}/{values['repo']}", "owner/repo")


def is_own(name, route):
    """Whether a route tells what the credential reaches, rather than of a whole account."""
    return name == "GET /stats" or getattr(route, "own", False)


def expected(name, ask, credential):
    """The status of an answer."""
    route = ROUTE[name]
    if credential in BAD:
        return 401
    if name == "createToken":
        return 401 if credential.endswith("_token") else ask.status
    scope = {"read_key": Scope.READ, "workflow_token": Scope.WRITE}.get(credential, Scope.ADMIN)
    labels = bool(ask.body and ask.body.get("add_labels"))
    if scope < (Scope.WRITE if labels else route.scope):
        return 403
    if not route.about_repository and not is_own(name, route):
        if credential in ONE_REPOSITORY:
            return 403
        if credential == "person_token":
            return 401  # nobody can sign in here, so that GitHub cannot be asked about them
    if ask.own and route.about_repository and credential == "person_token":
        return 401
    if name in ("listRepositories", "GET /stats") and credential == "person_token":
        return 401
    return ask.status


async def test_every_route_has_a_row():
    assert set(EXPECTED) == set(ROUTE)


async def test_every_route_that_is_served_is_one_of_these(town):
    served = {f"{route.method} {route.path}" for route in town.world.process.routes}
    named = {
        name if name.startswith(route.method) else f"{route.method} /v1{route.path}"
        for name, route in ROUTE.items()
    }
    assert served == named | ACCOUNTLESS


async def everything_of(world, account_id):
    """All rows of an account."""
    found = {}
    async with world.database.system() as connection:
        tables = await connection.fetch(
            "SELECT table_name FROM information_schema.columns WHERE column_name = 'account_id' AND table_schema = 'public'"
        )
    async with world.database.account(account_id) as connection:
        for (table,) in tables:
            if table not in ("audit_log", "revoked_tokens", "jobs") and await readable(connection, table):
                rows = await connection.fetch(f"SELECT * FROM {table} WHERE account_id = $1", account_id)
                found[table] = sorted(str(tuple(row)) for row in rows)
    return found


async def readable(connection, table):
    """Whether behaviour may read it at all."""
    return await connection.fetchval("SELECT has_table_privilege('deja_view_app', $1, 'SELECT')", table)


@pytest.mark.parametrize(("name", "ask"), ASKS, ids=[f"{n}-{name}" for n, (name, _) in enumerate(ASKS)])
async def test_what_is_anothers_is_as_if_it_were_not_there(town, name, ask):
    before = await everything_of(town.world, OTHER)
    for credential in ask.credentials or (*GOOD, *BAD):
        text = town.texts[credential]
        answers = []
        for values in (theirs(town), NOBODYS):
            answer = await town.told(name, ask, text, values)
            assert answer.status == expected(name, ask, credential), (credential, answer.raw)
            assert ("WWW-Authenticate" in answer.headers) == (answer.status == 401)
            answers.append(shown(answer, values))
        assert answers[0] == answers[1], credential
        assert not [word for word in CANARIES if word in answers[0][2]], credential
    assert await everything_of(town.world, OTHER) == before


@pytest.mark.parametrize("route", PAGED, ids=lambda route: route.name)
async def test_a_cursor_of_another_list_is_none(town, route):
    path = f"/v1{route.path}".replace("{repository_id}", str(MY_REPOSITORY))
    answers = [
        shown(await town.ask(route.method, f"{path}?cursor={text}", town.texts["key"]), NOBODYS)
        for text in [*town.cursors[route.name], "nonsense", "AAAA", "%F0%9F%98%80", "a" * 500]
    ]
    assert {answer[0] for answer in answers} == {400}
    assert all(answer == answers[0] for answer in answers)


@pytest.mark.parametrize("credential", GOOD)
@pytest.mark.parametrize(
    "name", [name for name, route in ROUTE.items() if not route.about_repository and route.method == "GET"]
)
async def test_what_is_told_about_the_account_is_ours(town, name, credential):
    answer = await town.told(name, Ask(), town.texts[credential], NOBODYS)
    assert answer.status == expected(name, Ask(200), credential), answer.raw
    assert not [word for word in CANARIES if word in answer.raw.decode()]


async def test_a_repository_of_ours_is_out_of_reach_of_a_key_for_another_one(town):
    for name, route in ROUTE.items():
        if isinstance(route, legacy.LegacyRoute) or not route.about_repository:
            continue
        ask = next(item for item in EXPECTED[name] if not item.own)
        for credential in ONE_REPOSITORY:
            values = [NOBODYS | {"repository": number} for number in (MY_SECOND, NO_REPOSITORY)]
            answers = [await town.told(name, ask, town.texts[credential], item) for item in values]
            assert shown(answers[0], NOBODYS) == shown(answers[1], NOBODYS), name
            assert answers[0].status in (403, 404)


async def test_the_collection_that_is_searched_is_the_repositorys_own(town):
    for text, where, canary in (
        (town.texts["key"], MY_REPOSITORY, False),
        (town.texts["key"], MY_SECOND, False),
        (town.key_text, OTHER_REPOSITORY, True),
    ):
        body = {"title": "CANARY Crash when opening the settings dialog on Wayland", "limit": 50}
        answer = await town.ask("POST", f"/v1/repositories/{where}/similar", text, body=body)
        assert answer.json["matches"]
        found = [item["issue"]["title"].startswith("CANARY") for item in answer.json["matches"]]
        assert set(found) == {canary}


# --- many at once


async def test_a_thousand_requests_of_twenty_accounts_on_two_connections_do_not_mix(town):
    world, people = town.world, range(20)
    accounts = Accounts(world.database, default_tier="enterprise")
    keys = []
    for n in people:
        names = [RepositoryName(50_000 + n, f"org{n}", "r", private=True)]
        await accounts.install(Account(5_000 + n, f"org{n}", "Organization", "enterprise"), 900 + n, names)
        await Issues(world.database).save(5_000 + n, [issue(50_000 + n, 1, f"only of {n}.", "b")])
        keys.append(await world.key(5_000 + n))
    small = await Database.connect(world.settings.database_url, size=2)
    whole, world.database._pool = world.database._pool, small._pool
    try:

        async def one(turn):
            n = turn % len(people)
            other = (n + turn // len(people)) % len(people)
            answer = await town.ask("GET", f"/v1/repositories/{50_000 + other}/issues", keys[n])
            if other != n:
                return answer.status == 404
            return [item["title"] for item in answer.json["items"]] == [f"only of {n}."]

        found = []
        for start in range(0, 1_000, 100):
            found += await asyncio.gather(*(one(turn) for turn in range(start, start + 100)))
    finally:
        world.database._pool = whole
        await small.close()
    assert found == [True] * 1_000


MOST_APART, ROUNDS = 1.15, 15
"""How many times longer one of two kinds of answers may take in the median; something else may disturb a round, not all."""


async def medians(town):
    """The median time of answers about a foreign repository, and about none; one of each in turns."""
    taken = {OTHER_REPOSITORY: [], NO_REPOSITORY: []}
    for _ in range(40):
        for repository_id, times in taken.items():
            path = f"/v1/repositories/{repository_id}/issues/1/similar"
            begun = time.perf_counter()
            answer = await town.ask("GET", path, town.texts["key"])
            times.append(time.perf_counter() - begun)
            assert answer.status == 404
    return sorted(statistics.median(times) for times in taken.values())


async def test_the_time_of_an_answer_does_not_tell_whether_there_is_something(town):
    rounds = []
    for _ in range(ROUNDS):
        shorter, longer = await medians(town)
        rounds.append(longer / shorter)
        if rounds[-1] < MOST_APART:
            return
    raise AssertionError(rounds)
