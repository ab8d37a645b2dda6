"""The tokens of people who signed in: kept sealed, renewed by one process at a time. See `ports.People`."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

import structlog

from bot.core.access import UserRecord
from bot.core.context import now as wall_clock
from bot.core.errors import GitHubError, GitHubUnavailableError, SealError, SignInError
from bot.core.identity import GitHubUser, UserTokens
from bot.core.ports import Sessions, SignIn
from bot.core.sealed_tokens import opened_tokens, sealed_tokens
from bot.core.sealing import Sealer

log = structlog.get_logger()

T = TypeVar("T")

LOOKS, LOOK_EVERY = 50, 0.2
"""How often, and how many seconds apart, the tokens are looked at again while somebody else renews them."""

SIGN_IN_AGAIN = "sign in again"


class People:
    """Everybody's tokens."""

    def __init__(
        self,
        sign_in: SignIn,
        sessions: Sessions,
        sealer: Sealer,
        clock: Callable[[], datetime] = wall_clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`clock` says whether tokens are over."""
        self._sign_in, self._sessions, self._sealer = sign_in, sessions, sealer
        self._clock, self._sleep = clock, sleep

    async def keep(self, user: GitHubUser, tokens: UserTokens) -> None:
        """Keep the tokens of somebody who signed in. Raises SealError where there is no key to seal them with."""
        kept = sealed_tokens(self._sealer, user.id, tokens)
        await self._sessions.save_user(UserRecord(user.id, user.login, kept))

    async def ask(self, user_id: int, question: Callable[[str], Awaitable[T]]) -> T:
        """Ask GitHub in a person's name. Raises SignInError where they have to sign in again, GitHubError, StorageUnavailableError."""
        token = await self._token(user_id)
        try:
            return await question(token)
        except SignInError:
            # Renewing ends the token before at once, so that one which was just read may be refused without a fault of the person's.
            fresh = await self._token(user_id)
            if fresh == token:
                raise
        return await question(fresh)

    async def _token(self, user_id: int) -> str:
        """An access token that is not over, renewed where it has to be."""
        for _ in range(LOOKS):
            record, tokens = await self._read(user_id)
            moment = self._clock()
            if not tokens.over(moment):
                return tokens.access
            if not tokens.renewable(moment):
                raise SignInError(SIGN_IN_AGAIN)
            if await self._sessions.begin_refresh(user_id, record.tokens):
                return (await self._renewed(record, tokens)).access
            await self._sleep(LOOK_EVERY)
        raise GitHubUnavailableError("somebody else renews this person's tokens for too long")

    async def _read(self, user_id: int) -> tuple[UserRecord, UserTokens]:
        """What is kept of a person. Tokens that do not open are none."""
        record = await self._sessions.user(user_id)
        if record is None:
            raise SignInError(SIGN_IN_AGAIN)
        try:
            return record, opened_tokens(self._sealer, user_id, record.tokens)
        except SealError as error:
            log.warning("tokens_not_opened", user_id=user_id, reason=str(error))
            raise SignInError(SIGN_IN_AGAIN) from None

    async def _renewed(self, record: UserRecord, old: UserTokens) -> UserTokens:
        """New tokens, in place of those that they were got with. It is our turn."""
        assert old.refresh is not None
        try:
            new = await self._sign_in.refresh(old.refresh)
        except (GitHubError, SignInError):
            await self._sessions.end_refresh(record.id, record.tokens, None)
            raise
        kept = sealed_tokens(self._sealer, record.id, new)
        if await self._sessions.end_refresh(record.id, record.tokens, kept):
            return new
        _, newer = await self._read(record.id)  # the person signed in meanwhile
        return newer
