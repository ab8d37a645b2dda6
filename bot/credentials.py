"""`deja-view admin api-key` and `deja-view admin reseal`: what the operator does with credentials."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from bot.app import beside_a_service
from bot.core.access import Act, Actor, ApiKey, NewApiKey, UserRecord
from bot.core.api_keys import digest, mint
from bot.core.context import now
from bot.core.errors import MissingError, QuotaError, SealError, SettingsError
from bot.core.ports import Sessions as SessionsPort
from bot.core.principal import Scope
from bot.core.records import Account, Repository
from bot.core.sealed_tokens import opened_tokens, sealed_tokens
from bot.core.sealing import Sealer
from bot.report import keys_text
from bot.settings import Settings
from storage.accounts import Accounts
from storage.api_keys import ApiKeys
from storage.audit import Audit
from storage.database import Database
from storage.repositories import Repositories
from storage.sessions import Sessions

PAGE = 200
"""People whose tokens are looked at at a time."""

RENEWED_IN = 40
"""Seconds after which a turn to renew tokens is over, whoever had it."""

LOOK_AGAIN = 0.2
"""Seconds between two looks at tokens that are being renewed."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class WantedKey:
    """The key that shall be made."""

    account: str
    scope: Scope
    repository: str | None = None
    days: int | None = None  # None: it does not expire
    name: str = "made by the operator"


async def create_key(settings: Settings, wanted: WantedKey) -> str:
    """A new key's whole text, which nobody sees again. Raises SettingsError for an account or repository that is not known."""
    async with beside_a_service(settings) as database:
        account = await account_of(database, wanted.account)
        repository = await repository_of(database, account, wanted.repository)
        key = mint()
        ends = None if wanted.days is None else now() + timedelta(days=wanted.days)
        new = NewApiKey(
            key.id,
            wanted.name,
            digest(key.secret),
            wanted.scope,
            repository.id if repository else None,
            None,
            ends,
        )
        try:
            await ApiKeys(database).add(account.id, new)
        except (MissingError, QuotaError) as error:
            raise SettingsError(f"{account.login}: {error}") from None
        await record(database, "key.create", account.id, key.id, describe(new))
        return key.text


async def list_keys(settings: Settings, login: str) -> str:
    """An account's keys, as far as people may see them. Raises SettingsError for an account that is not known."""
    async with beside_a_service(settings) as database:
        account = await account_of(database, login)
        names = {item.id: item.full_name for item in await Repositories(database).list(account.id)}
        return keys_text(await ApiKeys(database).list(account.id), names, now())


async def revoke_key(settings: Settings, key_id: str) -> str:
    """Let a key be good for nothing. Raises SettingsError where there is none of that id that was not revoked."""
    async with beside_a_service(settings) as database:
        keys = ApiKeys(database)
        found = await keys.find(key_id) if re.fullmatch("[0-9A-Za-z]{1,100}", key_id) else None
        if found is None or not await keys.revoke(found.key.account_id, key_id):
            raise SettingsError("no key that was not revoked has that id: `admin api-key list` shows them")
        await record(database, "key.revoke", found.key.account_id, key_id, describe(found.key))
        return f"{key_id} is revoked"


async def reseal(settings: Settings, tell: Tell) -> tuple[str, bool]:
    """Seal everybody's tokens with the first of ENCRYPTION_KEYS; returns what was done and whether nothing is left."""
    if not settings.encryption_keys:
        raise SettingsError("ENCRYPTION_KEYS is missing: nothing is sealed here")
    async with beside_a_service(settings) as database:
        tally = await reseal_all(Sessions(database), Sealer(settings.encryption_keys), tell)
        await Audit(database).record(
            Act("tokens.reseal", Actor.OPERATOR, details={"sealed": tally.sealed, "left": tally.left})
        )
    return tally.text, tally.left == 0


@dataclass(slots=True)
class Tally:
    """How the tokens of people fared."""

    looked_at: int = 0
    sealed: int = 0
    lost: int = 0  # no key opens them
    left: int = 0  # somebody else was at them all the time

    @property
    def text(self) -> str:
        """For a terminal."""
        said = [f"{self.looked_at} people, tokens of {self.sealed} sealed with the first key"]
        if self.lost:
            said.append(f"{self.lost} cannot be opened with any key: these people have to sign in again")
        if self.left:
            said.append(f"{self.left} were being renewed: run this again before the old key is left out")
        return "\n".join(said)


async def reseal_all(
    sessions: SessionsPort, sealer: Sealer, tell: Tell, patience: float = RENEWED_IN
) -> Tally:
    """Page by page, beside a service that goes on; `patience` is how many seconds are waited for a renewal to end."""
    tally, after = Tally(), 0
    while users := await sessions.users_after(after, PAGE):
        for user in users:
            await reseal_one(sessions, sealer, user, tally, patience)
        tally.looked_at += len(users)
        after = users[-1].id
        tell(f"{tally.looked_at} people")
    return tally


async def reseal_one(
    sessions: SessionsPort, sealer: Sealer, user: UserRecord, tally: Tally, patience: float
) -> None:
    """Exchange a person's tokens for the same ones under the first key, unless they changed meanwhile: then look again."""
    deadline = asyncio.get_running_loop().time() + patience
    found: UserRecord | None = user
    while found is not None and is_old(sealer, found):
        try:
            fresh = sealed_tokens(sealer, found.id, opened_tokens(sealer, found.id, found.tokens))
        except SealError:
            tally.lost += 1
            return
        if await sessions.replace_tokens(found.id, found.tokens, fresh):
            tally.sealed += 1
            return
        if asyncio.get_running_loop().time() > deadline:
            tally.left += 1
            return
        await asyncio.sleep(LOOK_AGAIN)
        found = await sessions.user(found.id)


def is_old(sealer: Sealer, user: UserRecord) -> bool:
    """Whether another key than the first has sealed either token."""
    return any(
        sealer.needs_resealing(token)
        for token in (user.tokens.access, user.tokens.refresh)
        if token is not None
    )


async def account_of(database: Database, login: str) -> Account:
    """Raises SettingsError where the App is not installed there."""
    account = await Accounts(database).find(login)
    if account is None:
        raise SettingsError(f"{login} is not an account that has the App installed")
    return account


async def repository_of(database: Database, account: Account, full_name: str | None) -> Repository | None:
    """The account's repository of that name, None for all. Raises SettingsError where it has none."""
    if full_name is None:
        return None
    repository = await Repositories(database).find(full_name)
    if repository is None or repository.account_id != account.id:
        raise SettingsError(f"{full_name} is not a repository that {account.login}'s installation sees")
    return repository


def describe(key: ApiKey | NewApiKey) -> dict[str, str | int | None]:
    """What an audit line says of a key."""
    return {"name": key.name, "scope": key.scope.word, "repository_id": key.repository_id}


async def record(
    database: Database, action: str, account_id: int, key_id: str, details: dict[str, str | int | None]
) -> None:
    """A line of the audit log about a key."""
    await Audit(database).record(
        Act(action, Actor.OPERATOR, f"key:{key_id}", account_id=account_id, details=details)
    )
