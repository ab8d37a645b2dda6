"""GitHub as the App sees it."""

from collections.abc import AsyncIterator

import aiohttp

from bot.core.payload import repository_name_from
from bot.core.records import AppIdentity, Repository, RepositoryName
from bot.github.access import Access, AppAccess
from bot.github.answers import each, usable
from bot.github.auth import AppKeys
from bot.github.client import Api, Wire, get
from bot.github.pace import MemoryPauses, Pace, Pauses, WritePace
from bot.github.pages import pages
from bot.github.repository import GitHubRepository
from bot.github.tokens import Purpose, Tokens


class GitHubApp:
    """The App on one GitHub. See `ports.GitHub`."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        api: Api,
        keys: AppKeys,
        pace: WritePace | None = None,
        pauses: Pauses | None = None,
    ) -> None:
        """The session stays its owner's to close. `pauses` outlive a restart where they are stored."""
        self._wire = Wire(session, api, MemoryPauses() if pauses is None else pauses)
        self._app = AppAccess(self._wire, keys)
        self._tokens = Tokens(self._app.mint)
        self._pace = Pace(WritePace() if pace is None else pace)
        self._identity: AppIdentity | None = None

    async def identity(self) -> AppIdentity:
        """Who we are; GitHub is asked once."""
        if self._identity is None:
            answer = await self._app.send(get("app"))
            self._identity = usable(lambda: AppIdentity(int(answer.data["id"]), str(answer.data["slug"])))
        return self._identity

    def repository(self, repository: Repository) -> GitHubRepository:
        """The repository, through tokens scoped to its id."""
        access = Access(self._wire, self._tokens, self._pace, repository.installation_id, repository.id)
        return GitHubRepository(access, repository, self.identity)

    async def installation_repositories(self, installation_id: int) -> AsyncIterator[list[RepositoryName]]:
        """All repositories that an installation sees, a page at a time."""
        access = Access(self._wire, self._tokens, self._pace, installation_id)
        path = "installation/repositories{?per_page,page,after}"

        async for _, rows in pages(
            lambda request: access.send(request, Purpose.LISTING), path, {}, key="repositories"
        ):
            yield each(rows, repository_name_from)
