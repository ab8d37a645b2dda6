import time

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bot.sandbox.server import Call
from bot.sandbox.tokens import LIFETIME, Token


def mint(play):
    return f"/app/installations/{play.installation.id}/access_tokens"


async def test_an_app_says_who_it_is(play):
    status, body, _ = await play.call("GET", "/app", play.jwt())
    assert status == 200
    assert (body["id"], body["slug"], body["events"]) == (
        play.app.id,
        "deja-view",
        ["installation_target", "issue_comment", "issues", "repository"],
    )


def another_key():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"exp": int(time.time()) - 5}, id="over"),
        pytest.param({"exp": int(time.time()) + 86_400}, id="too-long"),
        pytest.param({"exp": None}, id="endless"),
        pytest.param({"iat": None}, id="no-start"),
        pytest.param({"iat": int(time.time()) + 86_400}, id="not-yet"),
        pytest.param({"iss": None}, id="nobody"),
        pytest.param({"iss": "5"}, id="another-app"),
        pytest.param({"iss": "deja-view"}, id="a-name"),
        pytest.param({"key": another_key()}, id="another-key"),
    ],
)
async def test_what_is_no_token_of_the_app_is_401(play, changes):
    for method, path in (("GET", "/app"), ("POST", mint(play)), ("GET", "/app/hook/deliveries")):
        assert await play.status(method, path, play.jwt(**changes)) == 401


async def test_nobody_is_401(play):
    for path in ("/app", "/repos/ann/tool", "/installation/repositories", "/none/such"):
        status = await play.status("GET", path, "")
        assert status == (501 if path == "/none/such" else 401)
    assert await play.status("GET", "/repos/ann/tool", "ghs_made_up") == 401
    assert await play.status("GET", "/app", play.token()) == 401  # an installation is not the App
    assert await play.status("GET", "/repos/ann/tool", play.jwt()) == 401  # and the App is no installation


async def test_a_token_has_what_was_asked_for(play):
    status, body, _ = await play.call(
        "POST",
        mint(play),
        play.jwt(),
        {"permissions": {"metadata": "read"}, "repository_ids": [play.open.id]},
    )
    assert (status, body["permissions"]) == (201, {"metadata": "read"})
    assert body["token"].startswith("ghs_")
    assert await play.status("GET", "/repos/ann/tool", body["token"]) == 200
    assert await play.status("GET", "/repos/ann/tool/issues", body["token"]) == 403


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ({}, 201),
        ({"permissions": {"issues": "read"}}, 201),
        ({"permissions": {"metadata": "write"}}, 422),
        ({"permissions": {"administration": "read"}}, 422),
        ({"permissions": {"issues": "everything"}}, 422),
        ({"repository_ids": [1]}, 422),
    ],
)
async def test_a_token_never_has_more_than_was_granted(play, wanted, status):
    assert await play.status("POST", mint(play), play.jwt(), wanted) == status


async def test_a_token_for_a_repository_outside_is_refused(play):
    assert await play.status("POST", mint(play), play.jwt(), {"repository_ids": [play.other.id]}) == 422


async def test_another_apps_installation_is_404(play):
    stranger = play.github.create_app("other", None, "x" * 40)
    play.app, mine = stranger, play.installation
    assert await play.status("POST", f"/app/installations/{mine.id}/access_tokens", play.jwt()) == 404
    assert await play.status("POST", "/app/installations/1/access_tokens", play.jwt()) == 404


async def test_tokens_end(play):
    assert LIFETIME == 3_600
    play.github.tokens.lifetime = 0.05
    token = play.token()
    assert await play.status("GET", "/repos/ann/tool", token) == 200
    time.sleep(0.06)
    assert await play.status("GET", "/repos/ann/tool", token) == 401


async def test_a_suspended_installation_does_nothing_until_it_is_back(play):
    token = play.token()
    play.github.suspend(play.installation)
    for method, path, who in (
        ("GET", "/repos/ann/tool", token),
        ("POST", mint(play), play.jwt()),
        ("POST", "/graphql", token),
    ):
        status, body, _ = await play.call(method, path, who, {})
        assert (status, body["message"]) == (403, "This installation has been suspended")
    play.github.unsuspend(play.installation)
    assert await play.status("GET", "/repos/ann/tool", token) == 200


async def test_a_removed_installation_ends_its_tokens_at_once(play):
    token = play.token()
    play.github.uninstall(play.installation)
    assert await play.status("GET", "/repos/ann/tool", token) == 401
    assert await play.status("POST", mint(play), play.jwt()) == 404


async def test_a_removed_repository_leaves_the_scope_of_tokens_that_are_out(play):
    token = play.token()
    play.github.add_repositories(play.installation, [play.secret])
    assert await play.status("GET", "/repos/ann/secret", token) == 200
    play.github.remove_repositories(play.installation, [play.secret])
    assert await play.status("GET", "/repos/ann/secret", token) == 404


def test_no_secret_is_in_a_repr():
    assert "ghs_x" not in repr(Token("ghs_x", None, None, {}, 0.0))
    assert "Bearer" not in repr(Call("GET", "/", 200, 0.0, "Bearer ghs_x"))
