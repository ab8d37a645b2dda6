"""Signing in with GitHub: the web flow, and the issuer of workflow identities with its published keys.

These answers are not the API's: errors come with status 200, or in the address that a browser is sent to.
"""

import json
from collections.abc import Mapping
from urllib.parse import urlencode

from aiohttp import web
from yarl import URL

from bot.sandbox.access import credentials, github_of
from bot.sandbox.people import GrantError, UserToken
from bot.sandbox.state import App, NoSuchError

routes = web.RouteTableDef()

PARAMETERS = frozenset(
    {"client_id", "redirect_uri", "state", "code_challenge", "code_challenge_method", "login", "allow_signup"}
)

DESCRIPTIONS = {
    "access_denied": "The user has denied your application access.",
    "bad_verification_code": "The code passed is incorrect or expired.",
    "bad_refresh_token": "The refresh token passed is incorrect or expired.",
    "incorrect_client_credentials": "The client_id and/or client_secret passed are incorrect.",
    "redirect_uri_mismatch": "The redirect_uri MUST match the registered callback URL for this application.",
    "unsupported_grant_type": "The grant type is not supported.",
}
"""What GitHub says to each error: docs.github.com, "Troubleshooting OAuth app access token request errors"."""


def problem(code: str) -> dict[str, str]:
    """An error of OAuth as GitHub words it."""
    return {
        "error": code,
        "error_description": DESCRIPTIONS[code],
        "error_uri": f"https://docs.github.com/apps/oauth#{code.replace('_', '-')}",
    }


def app_of(client_id: str | None, apps: Mapping[int, App]) -> App:
    """The App of a client id. Raises NoSuchError."""
    for app in apps.values():
        if app.client_id == client_id:
            return app
    raise NoSuchError("client_id")


@routes.get("/login/oauth/authorize")
async def authorize(request: web.Request) -> web.Response:
    """Ask whoever is signed in, and send the browser back."""
    github, asked = github_of(request), request.query
    if odd := set(asked) - PARAMETERS:
        raise web.HTTPNotImplemented(reason=f"sandbox: unknown parameters {sorted(odd)}")
    app = app_of(asked.get("client_id"), github.world.apps)
    if not app.callback_urls:
        raise NoSuchError("the App has no callback URL")
    wanted = asked.get("redirect_uri", app.callback_urls[0])
    if wanted not in app.callback_urls:
        return back(app.callback_urls[0], problem("redirect_uri_mismatch"), asked)
    if github.people.denies:
        return back(wanted, problem("access_denied"), asked)
    if github.people.signed_in is None:
        return web.Response(text="Sign in to GitHub", status=200)
    challenge = asked.get("code_challenge")
    if challenge is not None and asked.get("code_challenge_method") != "S256":
        raise web.HTTPNotImplemented(reason="sandbox: code_challenge_method is not S256")
    code = github.people.code(app, github.people.signed_in, wanted, challenge)
    return back(wanted, {"code": code}, asked)


def back(address: str, said: Mapping[str, str], asked: Mapping[str, str]) -> web.Response:
    """Send the browser to a callback URL."""
    state = {"state": asked["state"]} if "state" in asked else {}
    return web.Response(status=302, headers={"Location": str(URL(address).update_query({**said, **state}))})


@routes.post("/login/oauth/access_token")
async def access_token(request: web.Request) -> web.Response:
    """Tokens for a code or a refresh token. Without `Accept: application/json` the answer is a form."""
    given = await fields_of(request)
    answer: Mapping[str, str | int]
    try:
        answer = tokens_of(granted(request, given))
    except GrantError as error:
        answer = problem(str(error))
    if request.headers.get("Accept") == "application/json":
        return web.json_response(answer)
    return web.Response(text=urlencode(answer), content_type="application/x-www-form-urlencoded")


def granted(request: web.Request, given: Mapping[str, str]) -> UserToken:
    """What was asked for. Raises GrantError."""
    github = github_of(request)
    try:
        app = app_of(given.get("client_id"), github.world.apps)
    except NoSuchError:
        raise GrantError("incorrect_client_credentials") from None
    if given.get("client_secret") != app.client_secret:
        raise GrantError("incorrect_client_credentials")
    kind = given.get("grant_type", "authorization_code")
    if kind == "refresh_token":
        return github.people.refresh(app, given.get("refresh_token", ""))
    if kind != "authorization_code":
        raise GrantError("unsupported_grant_type")
    code, verifier = given.get("code", ""), given.get("code_verifier")
    return github.people.exchange(app, code, given.get("redirect_uri"), verifier)


def tokens_of(token: UserToken) -> dict[str, str | int]:
    """The tokens as GitHub answers them."""
    return {
        "access_token": token.value,
        "expires_in": round(token.expires_at - token.made_at),
        "refresh_token": token.refresh,
        "refresh_token_expires_in": round(token.refresh_expires_at - token.made_at),
        "scope": "",
        "token_type": "bearer",
    }


async def fields_of(request: web.Request) -> dict[str, str]:
    """The parameters of a request, in JSON, a form or the query."""
    if request.content_type == "application/json":
        given = json.loads(await request.text())
    else:
        given = await request.post()
    return {**request.query, **{str(name): str(value) for name, value in given.items()}}


@routes.get("/.well-known/openid-configuration")
async def configuration(request: web.Request) -> web.Response:
    """Where the issuer's keys are."""
    url = github_of(request).url
    return web.json_response(
        {
            "issuer": url,
            "jwks_uri": f"{url}/.well-known/jwks",
            "subject_types_supported": ["public", "pairwise"],
            "response_types_supported": ["id_token"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid"],
        }
    )


@routes.get("/.well-known/jwks")
async def keys(request: web.Request) -> web.Response:
    """The keys that identity tokens are signed with."""
    return web.json_response(github_of(request).actions.published())


ID_TOKEN_PATH = "/actions/id-token"  # noqa: S105  # an address


@routes.get(ID_TOKEN_PATH)
async def id_token(request: web.Request) -> web.Response:
    """What the runner's ACTIONS_ID_TOKEN_REQUEST_URL answers to a step (docs.github.com, "OpenID Connect reference")."""
    github, asked = github_of(request), request.query
    if odd := set(asked) - {"api-version", "audience"}:
        raise web.HTTPNotImplemented(reason=f"sandbox: unknown parameters {sorted(odd)}")
    value = github.actions.identity(github.url, credentials(request), asked.get("audience"))
    return web.json_response({"count": len(value), "value": value})
