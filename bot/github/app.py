"""GitHub as the App sees it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import aiohttp
from yarl import URL

from bot.core.pace import Kind, WritePace
from bot.core.payload import moment, repository_name_from
from bot.core.records import AppIdentity, HookAttempt, Repository, RepositoryName
from bot.github.access import Access, AppAccess
from bot.github.answers import each, part, unusable, usable
from bot.github.auth import AppKeys
from bot.github.client import Api, Heard, Request, Wire, get
from bot.github.pace import MemoryPauses, Pace, Pauses, Turns
from bot.github.pages import PER_PAGE, pages
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
        turns: Turns | None = None,
        heard: Heard | None = None,
    ) -> None:
        """The session stays its owner's to close. `pauses` and `turns` are shared by all processes where they are stored."""
        self._wire = Wire(session, api, MemoryPauses() if pauses is None else pauses, heard)
        self._app = AppAccess(self._wire, keys)
        self._tokens = Tokens(self._app.mint)
        self._pace = Pace(WritePace() if pace is None else pace, turns)
        self._interval = (WritePace() if pace is None else pace).write_interval
        self._identity: AppIdentity | None = None

    async def identity(self) -> AppIdentity:
        """Who we are; GitHub is asked once."""
        if self._identity is None:
            answer = await self._app.send(get("app"))
            self._identity = usable(lambda: AppIdentity(int(answer.data["id"]), str(answer.data["slug"])))
        return self._identity

    async def ping(self) -> None:
        """Raise GitHubError where GitHub does not answer us now."""
        await self._app.send(get("app"))

    def repository(self, repository: Repository) -> GitHubRepository:
        """The repository, through tokens scoped to its id."""
        access = Access(self._wire, self._tokens, self._pace, repository.installation_id, repository.id)
        return GitHubRepository(access, repository, self.identity)

    async def hook_attempts(self, cursor: str | None) -> tuple[list[HookAttempt], str | None]:
        """A page of the log of our webhook, newest first, and the cursor of the next; None for the last."""
        values: dict[str, str | int] = {"per_page": PER_PAGE} | ({"cursor": cursor} if cursor else {})
        answer = await self._app.send(get("app/hook/deliveries{?per_page,cursor}", values))
        if not isinstance(answer.data, list):
            raise unusable("no list")
        following = URL(answer.next).query.get("cursor") if answer.next else None
        return each(answer.data, hook_attempt_from), following

    async def hook_payload(self, attempt_id: int) -> dict[str, Any]:
        """What was delivered in a request of that log."""
        answer = await self._app.send(get("app/hook/deliveries/{attempt}", {"attempt": attempt_id}))
        return usable(lambda: dict(part(answer.data, "request", "payload")))

    async def redeliver(self, attempt_id: int) -> None:
        """Have a request of that log sent again; returns after the second that GitHub wants between writes."""
        path = "app/hook/deliveries/{attempt}/attempts"
        await self._app.send(Request(Kind.WRITE, "POST", path, {"attempt": attempt_id}))
        await asyncio.sleep(self._interval)

    async def installation_repositories(self, installation_id: int) -> AsyncIterator[list[RepositoryName]]:
        """All repositories that an installation sees, a page at a time."""
        access = Access(self._wire, self._tokens, self._pace, installation_id)
        path = "installation/repositories{?per_page,page,after}"

        async for _, rows in pages(
            lambda request: access.send(request, Purpose.LISTING), path, {}, key="repositories"
        ):
            yield each(rows, repository_name_from)


def hook_attempt_from(row: Any) -> HookAttempt:
    """One entry of the log of our webhook."""
    return HookAttempt(
        id=int(row["id"]),
        guid=UUID(row["guid"]),
        event=str(row["event"]),
        action=None if row.get("action") is None else str(row["action"]),
        installation_id=None if row.get("installation_id") is None else int(row["installation_id"]),
        repository_id=None if row.get("repository_id") is None else int(row["repository_id"]),
        answered=200 <= int(row["status_code"]) < 300,
        delivered_at=moment(row["delivered_at"], "delivered_at"),
    )
