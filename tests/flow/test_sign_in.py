"""People and workflows at the API, through the whole service: GitHub says who they are and what they may do."""

import secrets
from datetime import timedelta
from http.cookies import SimpleCookie

import aiohttp
import pytest
from yarl import URL

PUBLIC = "https://deja-view.example.com"


def environ(url, app):
    """Sign-in is set up, and the sandbox vouches for workflows."""
    app.callback_urls.append(f"{PUBLIC}/login/callback")
    return {
        "GITHUB_CLIENT_ID": app.client_id,
        "GITHUB_CLIENT_SECRET": app.client_secret,
        "ENCRYPTION_KEYS": secrets.token_urlsafe(32),
        "PUBLIC_URL": PUBLIC,
        "OIDC_ISSUER": url,
    }


class Person:
    """Somebody at a browser."""

    def __init__(self, stage, session, login):
        self.stage, self.session, self.login, self.cookies = stage, session, login, {}

    async def go(self, method, path, headers=None, body=None):
        """Ask the service; gives status, headers and JSON where there is any."""
        url = f"http://127.0.0.1:{self.stage.process.port}" + path.removeprefix(PUBLIC)
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        given = {"Cookie": cookie, "Origin": PUBLIC, **(headers or {})}
        async with self.session.request(
            method, URL(url, encoded=True), headers=given, json=body, allow_redirects=False
        ) as response:
            for line in response.headers.getall("Set-Cookie", []):
                self.cookies |= {name: item.value for name, item in SimpleCookie(line).items()}
            told = await response.json() if "json" in response.content_type else await response.text()
            return response.status, response.headers, told

    async def sign_in(self):
        self.stage.github.sign_in_as(self.login)
        _, headers, _ = await self.go("GET", "/login")
        async with self.session.get(URL(headers["Location"]), allow_redirects=False) as response:
            back = response.headers["Location"]
        status, _, told = await self.go("GET", back)
        assert status == 303, told

    async def token(self, account="octo"):
        """A token of the API for an account; the status where there is none."""
        status, _, told = await self.go("POST", "/v1/token", body={"account": account})
        return told.get("access_token", status)

    async def read(self, token, path="/v1/repositories"):
        return await self.go("GET", path, {"Authorization": f"Bearer {token}"})


@pytest.fixture
async def city(open_stage):
    """A service with one public and one private repository of an organisation."""
    stage = await open_stage(environ=environ)
    public, private = (
        stage.new_repository(name, reports=(), private=name == "secret") for name in ("app", "secret")
    )
    await stage.install(public, private)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        stage.session = session
        stage.public, stage.private = public, private
        yield stage


def names(told):
    return sorted(item["full_name"] for item in told["items"])


async def test_a_person_reaches_what_they_reach_on_github_until_they_lose_it_there(city):
    city.private.roles["will"] = "write"
    will = Person(city, city.session, "will")
    assert await will.token() == 401
    await will.sign_in()
    token = await will.token()
    status, _, told = await will.read(token)
    assert (status, names(told)) == (200, ["octo/app", "octo/secret"])
    del city.private.roles["will"]
    city.clock["ahead"] = timedelta(seconds=300)
    status, _, told = await will.read(token)
    assert (status, names(told)) == (200, ["octo/app"])
    status, _, _ = await will.read(token, f"/v1/repositories/{city.private.id}")
    assert status == 404
    mallory = Person(city, city.session, "mallory")
    await mallory.sign_in()
    assert await mallory.token() == 404


async def test_a_workflow_reaches_its_own_repository(city):
    nobody = Person(city, city.session, "nobody")

    async def exchange(repository, audience=PUBLIC, /, **changes):
        identity = city.github.actions.token(city.url, repository, audience, **changes)
        given = {"Authorization": f"Bearer {identity}"}
        status, _, told = await nobody.go("POST", "/v1/token", given, body={})
        return status, told

    status, told = await exchange(city.private)
    assert status == 200
    _, _, listed = await nobody.read(told["access_token"])
    assert names(listed) == ["octo/secret"]
    stranger = city.github.create_repository("else", "where")
    assert (await exchange(stranger))[0] == 401
    assert (await exchange(stranger, repository="octo/secret"))[0] == 401
    assert (await exchange(city.private, "https://github.com/octo"))[0] == 401
