"""What a person may reach: what GitHub says, kept for five minutes at the most. See `ports.Reach`."""

import time
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from bot.core.errors import SignInError
from bot.core.ports import SignIn
from bot.core.principal import Scope
from bot.core.records import Account, Installation, Repository, Role
from bot.github.asked import Asked

T = TypeVar("T")

YES_FOR = 300.0
"""Seconds for which access holds that GitHub granted: whoever loses it there loses it here within that time."""

NO_FOR = 30.0
"""Seconds after which somebody who was given no access is asked about again: it may have been granted since."""

CAPACITY = 10_000
"""Answers of each kind that are kept."""


class Asking(Protocol):
    """Whose tokens they are is their keeper's business."""

    async def ask(self, user_id: int, question: Callable[[str], Awaitable[T]]) -> T:
        """Ask GitHub in a person's name: `question` is given an access token. Raises SignInError."""
        ...


class GitHubReach:
    """Answers by person, and installation or account. Without an answer of GitHub's there is an error, never a yes."""

    def __init__(self, sign_in: SignIn, people: Asking, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is in seconds and never goes back."""
        self._sign_in, self._people = sign_in, people
        self._roles: Asked[tuple[int, int], dict[int, Role]] = Asked(clock, CAPACITY)
        self._scopes: Asked[tuple[int, int], Scope | None] = Asked(clock, CAPACITY)
        self._installations: Asked[tuple[int, int], list[Installation]] = Asked(clock, CAPACITY)

    async def role_in(self, user_id: int, repository: Repository) -> Role:
        """Their role in a repository."""
        for younger in (YES_FOR, NO_FOR):
            roles = await self._asked(
                self._roles,
                (user_id, repository.installation_id),
                lambda token: self._sign_in.repositories(token, repository.installation_id),
                younger,
            )
            if repository.id in roles:
                return roles[repository.id]
        return Role.NONE

    async def account_role(self, user_id: int, account: Account) -> Scope | None:
        """How much they may do with an account."""
        for younger in (YES_FOR, NO_FOR):
            scope = await self._asked(
                self._scopes,
                (user_id, account.id),
                lambda token: self._sign_in.account_role(token, account),
                younger,
            )
            if scope is not None:
                return scope
        return None

    async def installations(self, user_id: int) -> list[Installation]:
        """The App's installations that they can reach: asked again after half a minute, for people wait for a new one."""
        return await self._asked(self._installations, (user_id, 0), self._sign_in.installations, NO_FOR)

    async def _asked(
        self,
        answers: Asked[tuple[int, int], T],
        key: tuple[int, int],
        question: Callable[[str], Awaitable[T]],
        younger: float,
    ) -> T:
        """An answer. Where GitHub does not know the person's sign-in, nothing that it said to them before holds."""
        user_id = key[0]
        try:
            return await answers.get(key, lambda: self._people.ask(user_id, question), younger)
        except SignInError:
            self.forget(user_id)
            raise

    def forget(self, user_id: int) -> None:
        """Ask GitHub anew about a person."""
        for answers in (self._roles, self._scopes, self._installations):
            answers.forget(lambda key: key[0] == user_id)
