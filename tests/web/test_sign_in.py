from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.cookies import SimpleCookie

import aiohttp
import asyncpg
import pytest
from aiohttp import web
from yarl import URL

from bot.core.access import Result
from bot.core.context import now
from bot.core.sealing import Sealer
from bot.github.client import Api
from bot.github.people import People
from bot.github.sign_in import GitHubSignIn
from bot.sandbox.faults import Fault
from bot.sandbox.people import challenge_of
from bot.sandbox.server import Sandbox, serve
from bot.web.server import last_resort
from bot.web.session import session_of
from bot.web.sign_in import (
    HOME,
    LOGIN_LIFETIME,
    LOGINS_A_MINUTE,
    SESSION_LIFETIME,
    SignInParts,
    place,
    routes,
    usable_url,
)
from storage.audit import Audit
from storage.call_windows import CallWindows
from storage.sessions import LoginStates, Sessions

PUBLIC = "https://deja-view.example.com"
PLAIN = "http://localhost:8080"


@dataclass
class Browser:
    """Keeps cookies and follows nothing; addresses of the service lead to where it is served."""

    session: aiohttp.ClientSession
    public: str
    served: str
    cookies: dict = field(default_factory=dict)

    async def go(self, address, method="GET", **headers):
        """Ask; gives status, headers and text."""
        address = self.public + address if address.startswith("/") else address
        ours = address.startswith(self.public)
        if ours:
            address = self.served + address.removeprefix(self.public)
            kept = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            headers |= {"Cookie": kept} if kept else {}
        async with self.session.request(
            method, URL(address, encoded=True), headers=headers, allow_redirects=False
        ) as response:
            for line in response.headers.getall("Set-Cookie", []) if ours else ():
                for name, morsel in SimpleCookie(line).items():
                    self.cookies[name] = morsel.value
                    if morsel["max-age"] == "0":
                        del self.cookies[name]
            return response.status, response.headers, await response.text()

    async def to_github(self, following="/docs"):
        """Begin to sign in; gives the address that GitHub sends back to."""
        _, headers, _ = await self.go(f"/login?next={following}")
        _, back, _ = await self.go(headers["Location"])
        return back["Location"]

    async def sign_in(self, following="/docs"):
        return await self.go(await self.to_github(following))


@dataclass
class Door:
    """A served sign-in, and a GitHub beside it."""

    sandbox: Sandbox
    parts: SignInParts
    browser: Browser

    @property
    def github(self):
        return self.sandbox.github

    def another(self):
        return Browser(self.browser.session, self.browser.public, self.browser.served)

    async def who(self, browser=None):
        """Who is signed in."""
        status, _, text = await (browser or self.browser).go("/who")
        assert status == 200
        return text


@pytest.fixture
async def open_door(database):
    @asynccontextmanager
    async def open_(public=PUBLIC, **settings):
        sandbox = Sandbox()
        async with (
            serve(sandbox) as url,
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        ):
            app = sandbox.github.create_app(
                "deja-view", None, "s" * 40, callback_urls=[f"{public}/login/callback"]
            )
            api = Api(url, timeout=10.0, read_retries=(0.0,))
            client = GitHubSignIn(session, api, url, app.client_id, app.client_secret)
            sessions = Sessions(database)
            given = {
                "sign_in": client,
                "people": People(client, sessions, Sealer(["k" * 20 + "0123456789ab"])),
                "sessions": sessions,
                "states": LoginStates(database),
                "windows": CallWindows(database, default_tier="free"),
                "audit": Audit(database),
                "public_url": public,
                "address": lambda request: request.remote,
                "clock": now,
            }
            parts = SignInParts(**(given | settings))

            async def who(request):
                found = await session_of(sessions, request, secure=parts.secure)
                return web.Response(text=found.user.login if found else "nobody")

            application = web.Application(middlewares=[last_resort])
            application.add_routes([*routes(parts), web.get("/who", who)])
            async with serving(application) as served:
                yield Door(sandbox, parts, Browser(session, public, served))

    return open_


@asynccontextmanager
async def serving(application):
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
async def door(open_door):
    async with open_door() as door:
        yield door


@pytest.mark.parametrize(
    ("public", "prefix", "secure"), [(PUBLIC, "__Host-deja-view", True), (PLAIN, "deja-view", False)]
)
async def test_a_person_signs_in_and_out(open_door, public, prefix, secure):
    async with open_door(public) as door:
        browser = door.browser
        door.github.sign_in_as("bob")
        assert await door.who() == "nobody"
        status, headers, _ = await browser.sign_in("/repositories?page=2")
        assert (status, headers["Location"]) == (303, "/repositories?page=2")
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert set(browser.cookies) == {prefix}
        cookie = SimpleCookie(headers["Set-Cookie"])[prefix]
        assert (cookie["path"], cookie["httponly"], cookie["samesite"]) == ("/", True, "Lax")
        assert (bool(cookie["secure"]), cookie["domain"]) == (secure, "")
        assert int(cookie["max-age"]) == SESSION_LIFETIME.total_seconds()
        assert await door.who() == "bob"
        status, headers, _ = await browser.go("/logout", "POST", Origin=public)
        assert (status, headers["Location"], browser.cookies) == (303, HOME, {})
        assert await door.who() == "nobody"
        browser.cookies[prefix] = cookie.value
        assert await door.who() == "nobody"


async def test_the_browser_is_sent_to_github_with_a_state_and_a_challenge(door):
    status, headers, _ = await door.browser.go("/login")
    there = URL(headers["Location"])
    assert (status, there.path) == (303, "/login/oauth/authorize")
    assert there.query["redirect_uri"] == f"{PUBLIC}/login/callback"
    assert there.query["code_challenge_method"] == "S256"
    assert len(there.query["state"]) >= 43
    assert len(there.query["code_challenge"]) == len(challenge_of("x"))
    cookie = SimpleCookie(headers["Set-Cookie"])["__Host-deja-view-login"]
    assert (int(cookie["max-age"]), cookie["httponly"], cookie["secure"]) == (LOGIN_LIFETIME, True, True)
    assert (cookie["samesite"], cookie["path"]) == ("Lax", "/")
    assert there.query["state"] not in str(cookie)


async def test_each_sign_in_has_another_session(door):
    door.github.sign_in_as("bob")
    await door.browser.sign_in()
    first = dict(door.browser.cookies)
    door.github.sign_in_as("carol")
    await door.browser.sign_in()
    assert door.browser.cookies != first
    assert await door.who() == "carol"
    door.browser.cookies = first
    assert await door.who() == "nobody"  # the session before has ended
    other = door.another()
    await other.sign_in()
    door.browser.cookies = {}
    assert await door.who(other) == "carol"


async def test_a_session_id_that_somebody_planted_is_not_taken_over(door):
    door.github.sign_in_as("bob")
    door.browser.cookies["__Host-deja-view"] = "planted"
    await door.browser.sign_in()
    assert door.browser.cookies["__Host-deja-view"] != "planted"


async def test_a_state_is_used_once(door):
    door.github.sign_in_as("bob")
    back = await door.browser.to_github()
    cookies = dict(door.browser.cookies)
    assert (await door.browser.go(back))[0] == 303
    door.browser.cookies = cookies
    status, _, text = await door.browser.go(back)
    assert (status, "start again" in text) == (400, True)


async def test_a_state_belongs_to_one_browser(door):
    door.github.sign_in_as("mallory")
    back = await door.browser.to_github()
    victim = door.another()
    assert (await victim.go(back))[0] == 400
    await victim.go("/login")
    assert (await victim.go(back))[0] == 400
    assert await door.who(victim) == "nobody"
    assert (await door.browser.go(back))[0] == 303  # whom it was for was not disturbed


async def test_two_tabs_of_a_browser_may_sign_in_at_once(door):
    door.github.sign_in_as("bob")
    first = await door.browser.to_github("/one")
    second = await door.browser.to_github("/two")
    cookies = dict(door.browser.cookies)
    assert (await door.browser.go(first))[1]["Location"] == "/one"
    door.browser.cookies = cookies
    assert (await door.browser.go(second))[1]["Location"] == "/two"


async def test_a_sign_in_takes_ten_minutes_at_most(door, database):
    door.github.sign_in_as("bob")
    back = await door.browser.to_github()
    async with database.system() as connection:
        await connection.execute("UPDATE login_states SET expires_at = now() - interval '1 second'")
        kept = await connection.fetchval("SELECT max(expires_at) FROM login_states")
    assert kept < now()
    assert (await door.browser.go(back))[0] == 400


async def test_what_github_did_not_send_is_refused(door):
    await door.browser.go("/login")
    long = "?code=x&state=" + "x" * 301
    for query in (
        "",
        "?code=x",
        "?state=",
        "?code=x&state=made-up",
        long,
        "?state=%00",
        "?error=access_denied",
    ):
        status, headers, text = await door.browser.go("/login/callback" + query)
        assert (status, "start again" in text) == (400, True)
        assert headers["Content-Type"] == "text/plain; charset=utf-8"


async def test_a_code_of_another_sign_in_is_refused(door):
    """Without PKCE somebody else's code would sign this browser in as them."""
    door.github.sign_in_as("mallory")
    theirs = URL(await door.another().to_github()).query["code"]
    door.github.sign_in_as("bob")
    back = URL(await door.browser.to_github())
    status, _, text = await door.browser.go(str(back.update_query(code=theirs)))
    assert (status, "took too long or was used already" in text) == (403, True)
    assert await door.who() == "nobody"


async def test_who_does_not_let_us_know_is_not_signed_in(door):
    door.github.deny("bob")
    status, _, text = await door.browser.sign_in()
    assert (status, "You did not let Deja View know who you are" in text) == (403, True)
    door.github.sign_in_as("bob")
    back = URL(await door.browser.to_github())
    status, _, text = await door.browser.go(str(back.with_query(state=back.query["state"])))
    assert (status, "no code" in text) == (400, True)
    back = URL(await door.browser.to_github())
    status, _, text = await door.browser.go(str(back.with_query(state=back.query["state"], error="<b>x")))
    assert (status, "<b>" in text) == (403, False)


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault("POST", "access_token", status=502), 503),
        (Fault("POST", "access_token", status=404), 503),
        (Fault("GET", "/user", status=401, times=9), 403),
        (Fault("GET", "/user", status=500, times=9), 503),
    ],
)
async def test_a_github_that_does_not_answer_is_told_and_nobody_is_signed_in(door, fault, status):
    door.github.sign_in_as("bob")
    door.sandbox.faults.append(fault)
    answered, headers, text = await door.browser.sign_in()
    assert (answered, "Retry-After" in headers) == (status, status == 503)
    assert "ghu_" not in text
    assert await door.who() == "nobody"


async def test_without_a_key_to_seal_with_nothing_is_kept(open_door, database):
    async with open_door() as door:
        people = People(door.parts.sign_in, Sessions(database), Sealer([]))
        async with open_door(people=people) as keyless:
            keyless.github.sign_in_as("bob")
            assert (await keyless.browser.sign_in())[0] == 503
            assert await keyless.who() == "nobody"


async def test_errors_are_json_for_a_program(door):
    status, headers, text = await door.browser.go("/login/callback", Accept="application/json")
    assert (status, headers["Content-Type"]) == (400, "application/json; charset=utf-8")
    assert text.startswith('{"error": "Bad Request", "detail": "This sign-in took too long')


async def test_a_session_ends(open_door):
    async with open_door(clock=lambda: now() - SESSION_LIFETIME + timedelta(seconds=-1)) as door:
        door.github.sign_in_as("bob")
        assert (await door.browser.sign_in())[0] == 303
        assert await door.who() == "nobody"


async def test_only_a_page_of_ours_signs_out(door):
    door.github.sign_in_as("bob")
    await door.browser.sign_in()
    foreign = ("null", "https://evil.example", PUBLIC + ".evil.example", PUBLIC.replace("https", "http"))
    for given in ({}, *({"Origin": origin} for origin in foreign)):
        status, headers, _ = await door.browser.go("/logout", "POST", **given)
        assert (status, "Set-Cookie" in headers) == (403, False)
    assert await door.who() == "bob"
    assert (await door.browser.go("/logout", Origin=PUBLIC))[0] == 405
    assert (await door.another().go("/logout", "POST", Origin=PUBLIC))[0] == 303  # nobody to sign out


async def test_asking_with_head_keeps_nothing(door, database):
    assert (await door.browser.go("/login", "HEAD"))[0] == 405
    async with database.system() as connection:
        assert await connection.fetchval("SELECT count(*) FROM login_states") == 0


async def test_one_address_may_begin_so_many_sign_ins(door):
    answers = [(await door.browser.go("/login"))[:2] for _ in range(LOGINS_A_MINUTE + 1)]
    assert {status for status, _ in answers[:-1]} == {303}
    status, headers = answers[-1]
    assert (status, 1 <= int(headers["Retry-After"]) <= 60) == (429, True)


async def test_sign_ins_are_in_the_audit_log(door, postgres, database_url):
    user = door.github.sign_in_as("bob")
    await door.browser.sign_in()
    await door.browser.go("/logout", "POST", Origin=PUBLIC)
    door.github.deny("bob")
    await door.browser.sign_in()
    door.github.sign_in_as("bob")
    door.sandbox.faults.append(Fault("GET", "/user", status=401))
    await door.browser.sign_in()
    # As the superuser: no role of ours reads lines that are no account's.
    connection = await asyncpg.connect(postgres.address(URL(database_url).path[1:], "postgres"))
    rows = await connection.fetch(
        "SELECT action, result, actor, actor_id, host(address) AS address FROM audit_log ORDER BY id"
    )
    await connection.close()
    assert {(row["actor"], row["address"]) for row in rows} == {("user", "127.0.0.1")}
    assert [(row["action"], row["result"], row["actor_id"]) for row in rows] == [
        ("sign_in", Result.OK, user.id),
        ("sign_out", Result.OK, user.id),
        ("sign_in", Result.REFUSED, None),
        ("sign_in", Result.FAILED, None),
    ]


async def test_nothing_secret_is_kept_in_the_clear(door, database):
    door.github.sign_in_as("bob")
    back = URL(await door.browser.to_github())
    cookies = dict(door.browser.cookies)
    async with database.system() as connection:
        states = str([tuple(row) for row in await connection.fetch("SELECT * FROM login_states")])
        assert back.query["state"] not in states
        assert not any(value in states for value in cookies.values())
        await door.browser.go(str(back))
        rows = await connection.fetch(
            "SELECT sessions.*, users.* FROM sessions JOIN users ON users.id = user_id"
        )
    kept = str([tuple(row) for row in rows])
    assert not any(value in kept for value in door.browser.cookies.values())
    assert "bob" in kept
    assert "ghu_" not in kept
    assert "ghr_" not in kept


async def test_where_sign_in_is_not_set_up_that_is_said():
    application = web.Application()
    application.add_routes(routes(None))
    async with serving(application) as served, aiohttp.ClientSession() as session:
        browser = Browser(session, PUBLIC, served)
        for method, path in (("GET", "/login"), ("GET", "/login/callback"), ("POST", "/logout")):
            status, _, text = await browser.go(path, method)
            assert (status, "not set up here" in text) == (503, True)


async def test_without_postgresql_it_is_a_503(door, database):
    await database.close()
    status, headers, text = await door.browser.go("/login")
    assert (status, headers["Retry-After"], "try again later" in text) == (503, "5", True)


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/repositories/5?tab=one&x=%20y", "/a//b", "/a/../b", "/~ann/@x;y=(1)"]
)
def test_paths_of_ours_are_where_a_browser_may_go(path):
    assert place(path) == path


@pytest.mark.parametrize(
    "path",
    [
        None, "", "docs", "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example",
        "/\n/evil.example", "\t//evil.example", " //evil.example", "/ /evil.example", "javascript:alert(1)",
        "JaVaScRiPt:alert(1)", "data:text/html,x", "https://evil.example", "http:evil.example", "https:/evil.example",
        "/docs\r\nSet-Cookie: x=y", "/docs\n", "/docs#x", "/é", "/" + "x" * 501, "?next=//evil.example", "@evil.example",
        "/\u2044evil.example", "/\x00", "/<script>", '/"x',
    ],
)  # fmt: skip
def test_any_other_address_is_not(path):
    assert place(path) == HOME


async def test_a_browser_never_leaves_for_another_site(door):
    door.github.sign_in_as("bob")
    for given in ("//evil.example", "/%5Cevil.example", "https://evil.example", "javascript:alert(1)"):
        status, headers, _ = await door.browser.sign_in(given)
        assert (status, headers["Location"]) == (303, HOME)


@pytest.mark.parametrize(
    ("url", "usable"),
    [(PUBLIC, True), (PLAIN, True), ("http://127.0.0.1:9", True), ("http://[::1]:9", True), (None, False), ("http://deja-view.example.com", False), ("http://localhost.evil.example", False)],
)  # fmt: skip
def test_people_sign_in_over_https_or_on_this_machine(url, usable):
    assert usable_url(url) == (url if usable else None)
