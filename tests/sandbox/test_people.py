from urllib.parse import parse_qs

import jwt
import pytest
from yarl import URL

from bot.sandbox.oauth import DESCRIPTIONS, ID_TOKEN_PATH
from bot.sandbox.people import ACCESS_LIFETIME, REFRESH_LIFETIME, challenge_of

CALLBACK = "https://deja-view.example.com/login/callback"
VERIFIER = "v" * 43


@pytest.fixture
def browser(play):
    """Follows nothing: gives where the browser is sent."""
    play.app.callback_urls = [CALLBACK]

    async def go(**changes):
        given = {
            "client_id": play.app.client_id,
            "redirect_uri": CALLBACK,
            "state": "xyz",
            "code_challenge": challenge_of(VERIFIER),
            "code_challenge_method": "S256",
        } | changes
        query = {name: value for name, value in given.items() if value is not None}
        address = URL(play.url + "/login/oauth/authorize").with_query(query)
        async with play.session.get(address, allow_redirects=False) as response:
            return response.status, URL(response.headers.get("Location", ""))

    return go


@pytest.fixture
def exchange(play):
    async def ask(**changes):
        given = {
            "client_id": play.app.client_id,
            "client_secret": play.app.client_secret,
            "redirect_uri": CALLBACK,
            "code_verifier": VERIFIER,
        } | changes
        body = {name: value for name, value in given.items() if value is not None}
        headers = {"Accept": "application/json"}
        async with play.session.post(
            play.url + "/login/oauth/access_token", json=body, headers=headers
        ) as response:
            assert response.status == 200  # its errors too
            return await response.json()

    return ask


@pytest.fixture
def signed_in(play):
    """The tokens of somebody who let the App know who they are."""

    def sign_in(login):
        return play.github.people.issue(play.app, play.github.world.account(login))

    return sign_in


async def test_a_person_signs_in(play, browser, exchange):
    user = play.github.sign_in_as("bob")
    status, sent_to = await browser()
    assert (status, str(sent_to.with_query(None)), sent_to.query["state"]) == (302, CALLBACK, "xyz")
    tokens = await exchange(code=sent_to.query["code"])
    assert (tokens["token_type"], tokens["scope"]) == ("bearer", "")
    assert (tokens["expires_in"], tokens["refresh_token_expires_in"]) == (ACCESS_LIFETIME, REFRESH_LIFETIME)
    assert (tokens["access_token"][:4], tokens["refresh_token"][:4]) == ("ghu_", "ghr_")
    _, who, _ = await play.call("GET", "/user", tokens["access_token"])
    assert (who["id"], who["login"]) == (user.id, "bob")


async def test_without_an_accept_header_the_answer_is_a_form(play, browser):
    play.github.sign_in_as("bob")
    _, sent_to = await browser(code_challenge=None, code_challenge_method=None)
    given = {
        "client_id": play.app.client_id,
        "client_secret": play.app.client_secret,
        "code": sent_to.query["code"],
    }
    async with play.session.post(play.url + "/login/oauth/access_token", data=given) as response:
        assert parse_qs(await response.text())["access_token"][0].startswith("ghu_")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"redirect_uri": CALLBACK + "/"}, "redirect_uri_mismatch"),
        ({"redirect_uri": "https://evil.example/login/callback"}, "redirect_uri_mismatch"),
        ({}, "access_denied"),
    ],
)
async def test_the_browser_comes_back_with_an_error_to_a_registered_address(play, browser, changes, error):
    play.github.deny("bob")
    status, sent_to = await browser(**changes)
    assert (status, str(sent_to.with_query(None))) == (302, CALLBACK)
    assert dict(sent_to.query) == {
        "error": error,
        "error_description": DESCRIPTIONS[error],
        "error_uri": sent_to.query["error_uri"],
        "state": "xyz",
    }


async def test_nobody_signed_in_stays_at_github(play, browser):
    assert await browser() == (200, URL(""))
    assert (await browser(client_id="Iv1.unknown"))[0] == 404


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code": "made-up"}, "bad_verification_code"),
        ({"code_verifier": "w" * 43}, "bad_verification_code"),
        ({"code_verifier": None}, "bad_verification_code"),
        ({"redirect_uri": CALLBACK + "?x=1"}, "redirect_uri_mismatch"),
        ({"client_id": "Iv1.unknown"}, "incorrect_client_credentials"),
        ({"client_secret": "wrong"}, "incorrect_client_credentials"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
    ],
)
async def test_a_code_is_taken_from_whom_it_was_given_to_alone(play, browser, exchange, changes, error):
    play.github.sign_in_as("bob")
    _, sent_to = await browser()
    assert (await exchange(**({"code": sent_to.query["code"]} | changes)))["error"] == error


async def test_a_code_is_used_once(play, browser, exchange):
    play.github.sign_in_as("bob")
    _, sent_to = await browser()
    code = sent_to.query["code"]
    assert "access_token" in await exchange(code=code)
    assert (await exchange(code=code))["error"] == "bad_verification_code"


async def test_a_refresh_token_is_used_once_and_ends_the_token_before(play, exchange, signed_in):
    before = signed_in("bob")
    grant = {"grant_type": "refresh_token", "refresh_token": before.refresh}
    after = await exchange(**grant)
    assert await play.status("GET", "/user", before.value) == 401
    assert await play.status("GET", "/user", after["access_token"]) == 200
    assert (await exchange(**grant))["error"] == "bad_refresh_token"
    wrong = {"grant_type": "refresh_token", "refresh_token": after["access_token"]}
    assert (await exchange(**wrong))["error"] == "bad_refresh_token"


async def test_tokens_of_people_end(play, exchange, signed_in):
    people = play.github.people
    assert await play.status("GET", "/user", signed_in("bob").value) == 200
    people.access_lifetime = -1.0
    token = signed_in("bob")
    assert await play.status("GET", "/user", token.value) == 401
    assert "access_token" in await exchange(grant_type="refresh_token", refresh_token=token.refresh)
    people.refresh_lifetime = -1.0
    over = signed_in("bob")
    answer = await exchange(grant_type="refresh_token", refresh_token=over.refresh)
    assert answer["error"] == "bad_refresh_token"


async def test_who_takes_back_a_grant_ends_their_own_tokens(play, signed_in):
    bob, carol = signed_in("bob"), signed_in("carol")
    play.github.people.revoke(bob.user)
    assert await play.status("GET", "/user", bob.value) == 401
    assert await play.status("GET", "/user", carol.value) == 200
    assert await play.status("GET", "/user", play.token()) == 401  # an installation is nobody
    assert await play.status("GET", "/repos/ann/tool", carol.value) == 401


async def reached(play, token):
    """What a person sees: installations, and the role in each repository of the one there is."""
    _, found, _ = await play.call("GET", "/user/installations", token)
    path = f"/user/installations/{play.installation.id}/repositories"
    status, listed, _ = await play.call("GET", path, token)
    if status != 200:
        return [item["id"] for item in found["installations"]], status
    rows = {
        row["name"]: [name for name, has in row["permissions"].items() if has]
        for row in listed["repositories"]
    }
    return [item["id"] for item in found["installations"]], rows


EVERYTHING = ["pull", "triage", "push", "maintain", "admin"]


async def test_people_reach_what_they_have_a_role_in(play, signed_in):
    play.github.add_repositories(play.installation, [play.secret])
    play.secret.roles["bob"] = "write"
    assert await reached(play, signed_in("ann").value) == (
        [play.installation.id],
        {"tool": EVERYTHING, "secret": EVERYTHING},
    )
    assert await reached(play, signed_in("Bob").value) == (
        [play.installation.id],
        {"secret": EVERYTHING[:3]},
    )
    assert await reached(play, signed_in("mallory").value) == ([], 404)
    del play.secret.roles["bob"]
    assert await reached(play, signed_in("bob").value) == ([], 404)
    play.github.suspend(play.installation)
    assert await reached(play, signed_in("ann").value) == ([play.installation.id], 403)


async def test_an_organisation_has_owners_and_members(play, signed_in):
    owner, path = play.installation.account, f"/user/memberships/orgs/{play.installation.account.login}"
    for login, role, state in (
        ("olga", "admin", "active"),
        ("mel", "member", "active"),
        ("ivy", "admin", "pending"),
    ):
        play.github.join(owner, login, role, state)
    assert await reached(play, signed_in("olga").value) == ([play.installation.id], {"tool": EVERYTHING})
    for login in ("mel", "ivy"):
        assert await reached(play, signed_in(login).value) == ([play.installation.id], {})
    for login, role, state in (
        ("olga", "admin", "active"),
        ("mel", "member", "active"),
        ("ivy", "admin", "pending"),
    ):
        _, body, _ = await play.call("GET", path, signed_in(login).value)
        assert (body["role"], body["state"], body["organization"]["id"]) == (role, state, owner.id)
    assert await play.status("GET", path, signed_in("mallory").value) == 404
    play.github.leave(owner, "mel")
    assert await play.status("GET", path, signed_in("mel").value) == 404
    play.github.accept_permissions(play.installation, {"issues": "write"})
    status, body, _ = await play.call("GET", path, signed_in("olga").value)
    assert (status, body["message"]) == (403, "Resource not accessible by integration")


async def test_the_issuer_publishes_the_keys_it_signs_with(play):
    _, about, _ = await play.call("GET", "/.well-known/openid-configuration", "")
    assert about["issuer"] == play.url

    async def read(token):
        _, keys, _ = await play.call("GET", about["jwks_uri"], "")
        key = jwt.PyJWKSet.from_dict(keys)[jwt.get_unverified_header(token)["kid"]]
        return jwt.decode(token, key, ["RS256"], audience="me", issuer=play.url)

    first = play.github.actions.token(play.url, play.open, "me")
    said = await read(first)
    assert (said["repository"], said["repository_id"]) == ("ann/tool", str(play.open.id))
    assert said["repository_owner_id"] == str(play.open.owner.id)
    play.github.actions.rotate(keep=True)
    second = play.github.actions.token(play.url, play.secret, "me", actor=None)
    assert (await read(second))["repository_visibility"] == "private"
    assert "actor" not in await read(second)
    assert await read(first) == said
    play.github.actions.rotate()
    with pytest.raises(KeyError):
        await read(second)


async def test_a_job_asks_for_its_identity(play):
    token, path = play.github.actions.begin_job(play.open), f"{ID_TOKEN_PATH}?api-version=2.0"
    for audience, expected in (("&audience=https%3A%2F%2Fme", "https://me"), ("", "https://github.com/ann")):
        _, answer, _ = await play.call("GET", path + audience, token)
        said = jwt.decode(answer["value"], options={"verify_signature": False})
        assert (said["aud"], said["repository_id"]) == (expected, str(play.open.id))
        assert answer["count"] == len(answer["value"])
    assert await play.status("GET", path, "x") == 401
    assert await play.status("GET", path, "") == 401
