"""API keys of the account: made, listed, revoked. The text of a key is shown once, in the answer that makes it."""

from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints

from bot.core.access import ApiKey, NewApiKey
from bot.core.api_keys import digest, mint
from bot.core.principal import Scope, ScopeWord
from bot.web.api.call import Call, Reply, Route
from bot.web.api.pages import Out
from bot.web.api.problems import not_found, unprocessable
from bot.web.api.reading import Schema, lies_ahead

TAG = "keys"


class KeyOut(Out):
    """A key without its secret."""

    id: str
    name: str
    scope: ScopeWord
    repository_id: int | None = Field(
        description="The only repository it reaches; null: all of the account's."
    )
    created_at: datetime
    created_by: int | None = Field(
        description="GitHub's id of the person; null: the operator, or another key."
    )
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")
    revoked_at: datetime | None


class Keys(Out):
    """All keys, the latest first; those that ended too, for 30 days."""

    items: list[KeyOut]


class KeyIn(Schema):
    """A new key."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    scope: ScopeWord
    repository_id: int | None = Field(None, ge=1, le=2**63 - 1)
    expires_at: datetime | None = Field(
        None, description="With a time zone; null: it does not end by itself."
    )


class NewKey(Out):
    """A key that was just made. Its text is not kept and never shown again."""

    key: str
    details: KeyOut


def key_out(key: ApiKey) -> KeyOut:
    """A key as the API shows it."""
    return KeyOut(
        id=key.id,
        name=key.name,
        scope=key.scope.word,
        repository_id=key.repository_id,
        created_at=key.created_at,
        created_by=key.created_by,
        expires_at=key.expires_at,
        last_used_at=key.last_used_at,
        revoked_at=key.revoked_at,
    )


async def listed(call: Call) -> Reply:
    """`GET /v1/keys`."""
    found = await call.parts.keys.list(call.account_id)
    return Reply(Keys(items=[key_out(item) for item in found]))


async def add(call: Call) -> Reply:
    """`POST /v1/keys`. Raises QuotaError, and MissingError for a repository that is not the account's."""
    wanted: KeyIn = call.body
    if wanted.expires_at is not None and not lies_ahead(wanted.expires_at, call.parts.clock()):
        raise unprocessable(("expires_at", "it has to lie ahead, with a time zone"))
    if not (name := wanted.name.strip()) or not name.isprintable():
        raise unprocessable(("name", "it has to have printable characters, and no others"))
    text = mint()
    new = NewApiKey(
        id=text.id,
        name=name,
        digest=digest(text.secret),
        scope=Scope.of(wanted.scope),
        repository_id=wanted.repository_id,
        created_by=call.principal.user_id,
        expires_at=wanted.expires_at,
    )
    key = await call.parts.keys.add(call.account_id, new)
    await call.record("key.create", f"key:{key.id}", scope=wanted.scope, repository=wanted.repository_id)
    return Reply(NewKey(key=text.text, details=key_out(key)))


async def revoke(call: Call) -> Reply:
    """`DELETE /v1/keys/{key_id}`: it is good for nothing from now on, and so are the tokens that came from it."""
    if not await call.parts.keys.revoke(call.account_id, call.path["key_id"]):
        raise not_found()
    await call.record("key.revoke", f"key:{call.path['key_id']}")
    return Reply(None)


ROUTES = (
    Route(
        name="listKeys",
        method="GET",
        path="/keys",
        run=listed,
        summary="The account's API keys, without their secrets",
        tag=TAG,
        scope=Scope.ADMIN,
        reads=True,
        answer=Keys,
    ),
    Route(
        name="createKey",
        method="POST",
        path="/keys",
        run=add,
        summary="Make an API key; its text is shown this once",
        tag=TAG,
        scope=Scope.ADMIN,
        body=KeyIn,
        answer=NewKey,
        status=201,
        idempotent=False,  # a kept answer would be a kept secret
    ),
    Route(
        name="revokeKey",
        method="DELETE",
        path="/keys/{key_id}",
        run=revoke,
        summary="Revoke an API key, at once and everywhere",
        tag=TAG,
        scope=Scope.ADMIN,
        status=204,
    ),
)
