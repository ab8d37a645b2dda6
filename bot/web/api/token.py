"""Tokens of fifteen minutes: in exchange for an API key, a signed-in browser, or the identity of a GitHub Actions workflow."""

from dataclasses import replace
from typing import Annotated, Literal

import jwt
from aiohttp import web
from pydantic import Field, StringConstraints

from bot.core.identity import WorkflowIdentity
from bot.core.principal import Principal, Scope, ScopeWord, Source
from bot.core.records import Account, InstallationState
from bot.web.api import gate
from bot.web.api.call import Call, Parts, Reply, Route
from bot.web.api.credentials import KEY_PREFIX, Known, authenticate, bearer
from bot.web.api.pages import Out
from bot.web.api.problems import ApiError, forbidden, not_found, unauthenticated
from bot.web.api.reading import Schema
from bot.web.session import is_secure, session_of

TAG = "tokens"

Credential = Annotated[str, StringConstraints(min_length=1, max_length=8_000)]

LIFETIME = 900


class TokenIn(Schema):
    """What a token is asked for with. A credential stands here or in the Authorization header; a browser has its cookie."""

    api_key: Credential | None = Field(None, description="An API key (`djv_…`).")
    id_token: Credential | None = Field(
        None, description="A GitHub Actions OIDC token whose audience is this service's address."
    )
    account: Annotated[str, StringConstraints(min_length=1, max_length=100)] | None = Field(
        None, description="A signed-in person says for which account (its login)."
    )
    scope: ScopeWord | None = Field(
        None, description="Less than the credential allows; by default all of it."
    )
    repository_id: int | None = Field(None, ge=1, le=2**63 - 1, description="Only this repository.")


class TokenOut(Out):
    """A token, as RFC 6749, section 5.1 has it."""

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int = Field(description="Seconds.")
    scope: ScopeWord
    account_id: int
    repository_id: int | None


async def issue(call: Call) -> Reply:
    """`POST /v1/token`."""
    wanted: TokenIn = call.body
    known = await proven(call, wanted)
    if known.installation is None:
        raise unauthenticated("the App is not installed with this account")
    if known.installation is InstallationState.SUSPENDED:
        raise forbidden("GitHub has suspended the App for this account", "suspended")
    principal = await narrowed(call.parts, known.principal, wanted)
    token, expires = call.parts.tokens.issue(principal, call.parts.clock())
    left = int((expires - call.parts.clock()).total_seconds())
    return Reply(
        TokenOut(
            access_token=token,
            token_type="Bearer",  # noqa: S106  # a kind, not a secret
            expires_in=min(LIFETIME, max(0, left)),
            scope=principal.scope.word,
            account_id=principal.account_id,
            repository_id=principal.repository_id,
        )
    )


async def proven(call: Call, wanted: TokenIn) -> Known:
    """Who asks for a token. A failure counts against the address. Raises ApiError 400 or 401."""
    given = [bearer(call.request), wanted.api_key, wanted.id_token]
    texts = [text for text in given if text is not None]
    if len(texts) > 1:
        raise ApiError(400, "ambiguous", "there are two credentials: send one")
    try:
        if not texts:
            return await by_session(call, wanted.account)
        text = texts[0]
        if text.startswith(KEY_PREFIX):
            return await authenticate(call.parts, text)
        if wanted.api_key is not None or is_ours(text):
            raise unauthenticated(
                "a token is not given for this credential: send an API key or an Actions OIDC token"
            )
        return await by_workflow(call.parts, text)
    except ApiError as error:
        if error.status == 401:
            await gate.count(call.parts, f"sign_in:{call.address}", gate.FAILURES, {})
        raise


def is_ours(text: str) -> bool:
    """Whether it claims to be a token of ours: one is not exchanged for the next, or it would never end."""
    try:
        return jwt.get_unverified_header(text).get("alg") == "HS256"
    except jwt.InvalidTokenError:
        return True


async def by_workflow(parts: Parts, text: str) -> Known:
    """A workflow speaks for the one repository that GitHub says it runs in, where the App is installed there."""
    who: WorkflowIdentity = await parts.workflows.verify(text)
    repository = await parts.repositories.anywhere(who.repository_id)
    if repository is None:
        raise unauthenticated("the App is not installed with the repository of this workflow")
    installation = await parts.accounts.installation(repository.installation_id)
    principal = Principal(repository.account_id, Scope.WRITE, Source.ACTIONS, repository.id, login=who.actor)
    return Known(principal, installation.state if installation else None)


async def by_session(call: Call, login: str | None) -> Known:
    """A person who is signed in, for an account that they reach on GitHub."""
    ensure_same_origin(call.parts, call.request)
    secure = is_secure(call.parts.public_url)
    session = await session_of(call.parts.sessions, call.request, secure=secure)
    if session is None:
        raise unauthenticated("this needs an API key, an Actions OIDC token or a signed-in browser")
    account = await call.parts.accounts.find(login or session.user.login)
    if account is None:
        raise not_found()
    return await person(call.parts, session.user.id, session.user.login, account)


async def person(parts: Parts, user_id: int, login: str, account: Account) -> Known:
    """A person for an account: its administrator everything, others what GitHub lets them do in each repository."""
    reach = parts.reach()
    reached = [item for item in await reach.installations(user_id) if item.account_id == account.id]
    if not reached:
        raise not_found()
    rights = await reach.account_role(user_id, account)
    scope = Scope.ADMIN if rights is Scope.ADMIN else Scope.WRITE
    installation = await parts.accounts.installation(reached[0].id)
    return Known(
        Principal(account.id, scope, Source.USER, user_id=user_id, login=login),
        installation.state if installation else None,
    )


def ensure_same_origin(parts: Parts, request: web.Request) -> None:
    """Raises ApiError 403 where another site's page sends the browser's cookie along (T111)."""
    origin = request.headers.get("Origin")
    own = parts.public_url or f"{request.scheme}://{request.host}"
    if origin is not None and origin.rstrip("/") != own.rstrip("/"):
        raise forbidden("this page is not ours", "cross_origin")


async def narrowed(parts: Parts, principal: Principal, wanted: TokenIn) -> Principal:
    """No more than was asked for. Raises ApiError 403 where that is more than the credential allows, 404 for a foreign repository."""
    scope = Scope.of(wanted.scope) if wanted.scope else principal.scope
    if scope > principal.scope:
        raise forbidden(f"the credential allows no more than {principal.scope.word}", "insufficient_scope")
    repository_id = principal.repository_id
    if wanted.repository_id is not None:
        found = await gate.repository_for(parts, principal, wanted.repository_id, gate.SEE)
        repository_id = found.id
    return replace(principal, scope=scope, repository_id=repository_id)


async def revoke(call: Call) -> Reply:
    """`DELETE /v1/token`: the token that the request is made with ends now."""
    text = bearer(call.request)
    assert text is not None
    if call.principal.token_id is None:
        raise ApiError(409, "not_a_token", "this is an API key: revoke it with DELETE /v1/keys/{id}")
    claims = call.parts.tokens.verify(text, call.parts.clock())
    await call.parts.revocations.revoke(call.account_id, claims.id, claims.expires_at)
    return Reply(None)


ROUTES = (
    Route(
        name="createToken",
        method="POST",
        path="/token",
        run=issue,
        summary="A token of fifteen minutes",
        description=(
            "With an API key or a GitHub Actions OIDC token as `Authorization: Bearer` or in the body, or from a signed-in browser. "
            "A workflow's token reaches its own repository, with the scope write."
        ),
        tag=TAG,
        scope=None,
        body=TokenIn,
        answer=TokenOut,
        open_to_credentials=True,
        statuses=(401, 403, 404),
    ),
    Route(
        name="revokeToken",
        method="DELETE",
        path="/token",
        run=revoke,
        summary="End the token that the request is made with",
        tag=TAG,
        scope=Scope.READ,
        own=True,
        status=204,
        statuses=(409,),
    ),
)
