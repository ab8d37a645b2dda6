"""`deja-view import` and `deja-view export`: what is carried here from a parent or another service, and away again."""

import asyncio
import json
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any

import aiohttp

from bot.app import Options, beside_a_service, open_github
from bot.core.access import Act, Actor
from bot.core.carrying import (
    Found,
    Plan,
    Tally,
    backtest_job,
    embed_job,
    forecast,
    outcome_text,
    plan_text,
)
from bot.core.context import now
from bot.core.errors import GitHubError, SettingsError
from bot.core.exchange import Item, Mark, Recorded, belonging, exported, header_line, line_of, parsed, row_of
from bot.core.exchange import Settings as Chosen
from bot.core.records import Account, InstallationState, Issue, Repository, RepositoryState, Suggestion, Tier
from bot.core.repo_config import DEFAULT, Config, ConfigOk
from bot.core.tiers import room_in
from bot.github.configs import Configs
from bot.settings import Settings
from storage.accounts import Accounts
from storage.audit import Audit
from storage.chroma import CollectionsSettings
from storage.database import Database
from storage.exports import lines, private_file
from storage.issues import Issues
from storage.jobs import Jobs
from storage.marks import Marks
from storage.parents import records
from storage.repositories import Repositories
from storage.suggestions import Suggestions

PAGE = 200
"""Rows that are looked at, and written, at a time."""

TELL_EVERY = 2_000
"""Rows between two lines of progress."""

EMBED_LATER = 300.0
"""Seconds after which the worker looks for what an import left, should it have been broken off."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What shall be imported: from a file of an export (`-` is standard input), else from a parent's Chroma."""

    account: str
    jsonl: str | None = None
    chroma: CollectionsSettings = field(default_factory=CollectionsSettings)
    repository: str | None = None
    apply: bool = False
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where it goes: one account and its stores."""

    database: Database
    account: Account
    tier: Tier

    @property
    def issues(self) -> Issues:
        """Its issues."""
        return Issues(self.database)

    async def room(self, repository: Repository) -> int:
        """How many issues one of its repositories may hold now."""
        return await room_in(Accounts(self.database), self.issues, repository, now())


# --- import


async def bring_in(settings: Settings, wanted: Wanted, tell: Tell) -> tuple[str, bool]:
    """Read everything, tell what it is, and with `apply` store it; returns the text and whether all went well.

    It works beside a running service, whose worker embeds what was stored. Nothing here can lead to a comment: no issue is
    told to the handlers of events. Raises SettingsError in one line.
    """
    async with beside_a_service(settings) as database:
        place = await place_of(database, wanted.account)
        plan = Plan(await targets(place), wanted.repository and wanted.repository.casefold())
        if plan.only is not None and plan.only not in plan.targets:
            raise SettingsError(
                f"{wanted.repository} is not a repository that {place.account.login}'s installation sees and indexes: add it there first"
            )
        with spooled() as spool:
            async with configs_of(settings) as configs:
                with closing(found(wanted)) as pages:
                    await read(pages, plan, spool, partial(config_of, configs, tell), tell)
            text = await told(place, plan)
            if not wanted.apply:
                return f"{text}\nnothing was written: add --apply to import this", True
            if wanted.strict and plan.refused:
                return f"{text}\nnothing was written, since --strict takes all or nothing", False
            spool.seek(0)
            return f"{text}\n{await write(place, plan, spool, tell)}", not plan.stopped


@contextmanager
def spooled() -> Iterator[IO[str]]:
    """A file without a name. Raises SettingsError where there is no room for what is kept in it."""
    try:
        with tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n") as file:
            yield file
    except OSError as error:
        raise SettingsError(f"a copy of what is imported cannot be kept: {error.strerror}") from None


async def place_of(database: Database, login: str) -> Place:
    """An account by its login. Raises SettingsError where the App is not installed there, or may not work there."""
    accounts = Accounts(database)
    account = await accounts.find(login)
    if account is None:
        raise SettingsError(f"the App is not installed on {login}: install it there first")
    return Place(database, account, await accounts.tier(account.id))


async def targets(place: Place) -> dict[str, Tally]:
    """Where rows may go: the account's repositories that are indexed, or will be, by name."""
    repositories = await Repositories(place.database).list(place.account.id)
    return {
        item.full_name.casefold(): Tally(item)
        for item in repositories
        if item.state is not RepositoryState.INACTIVE and await working(place, item)
    }


async def working(place: Place, repository: Repository) -> bool:
    """Whether its installation is neither suspended nor parked."""
    installation = await Accounts(place.database).installation(repository.installation_id)
    return installation is not None and installation.state is InstallationState.ACTIVE


@asynccontextmanager
async def configs_of(settings: Settings) -> AsyncIterator[Configs | None]:
    """The repositories' own configs; None where the App is not registered here."""
    if settings.github is None:
        yield None
        return
    async with aiohttp.ClientSession() as session:
        yield Configs(open_github(settings.github, Options(), session))


async def config_of(configs: Configs | None, tell: Tell, repository: Repository) -> Config:
    """The config in force, as the backfill has it; the defaults where GitHub does not tell."""
    if configs is None:
        return DEFAULT
    try:
        outcome = (await configs.of(repository)).outcome
    except GitHubError as error:
        tell(f"{repository.full_name}: its config cannot be read, the defaults hold ({error})")
        return DEFAULT
    return outcome.config if isinstance(outcome, ConfigOk) else DEFAULT


def found(wanted: Wanted) -> Generator[list[Found], None, None]:
    """What the source holds, in pages. It blocks, and raises SettingsError where the source cannot be read."""
    if wanted.jsonl is None:
        for batch in records(wanted.chroma):
            yield [Found(f"record {json.dumps(record['id'])[:200]}", record) for record in batch]
        return
    with closing(lines(wanted.jsonl)) as numbered:
        while page := [
            Found(f"line {number}", text, problem) for number, text, problem in islice(numbered, PAGE)
        ]:
            yield page


async def read(
    pages: Iterator[list[Found]],
    plan: Plan,
    spool: IO[str],
    config_of: Callable[[Repository], Awaitable[Config]],
    tell: Tell,
) -> None:
    """Sort what is there, and keep aside what is taken: a source is read once, and may change meanwhile."""
    while page := await asyncio.to_thread(next, pages, None):
        before = plan.rows
        items = await asyncio.to_thread(lambda: list(filter(None, map(plan.read, page))))
        for tally, item in items:
            if tally.config is None:
                tally.config = await config_of(tally.repository)
            if tally.take(item):
                spool.write(line_of(tally.repository.full_name, item) + "\n")
        if plan.rows // TELL_EVERY > before // TELL_EVERY:
            tell(f"{plan.rows} rows read")


async def told(place: Place, plan: Plan) -> str:
    """What an import would do."""
    forecasts = []
    for tally in plan.tallies:
        key = (place.account.id, tally.repository.id)
        stored: dict[int, datetime] = {}
        numbers = list(tally.versions)
        for at in range(0, len(numbers), PAGE):
            known = await place.issues.get(*key, numbers[at : at + PAGE])
            stored |= {number: item.issue.updated_at for number, item in known.items()}
        total, room = await place.issues.count(*key), await place.room(tally.repository)
        forecasts.append((tally, forecast(tally, stored, total, room)))
    return plan_text(plan, forecasts, place.tier)


async def write(place: Place, plan: Plan, spool: IO[str], tell: Tell) -> str:
    """Store what was kept aside, page by page. Doing it again, or after it was broken off, ends in the same state."""
    done = 0
    while page := [row_of(parsed(text)) for text in islice(spool, PAGE)]:
        parts: dict[str, list[Item]] = defaultdict(list)
        for row in page:
            parts[row.repository.casefold()].append(row.item)
        for name, items in parts.items():
            await store(place, plan.targets[name], items)
        before, done = done, done + len(page)
        if done // TELL_EVERY > before // TELL_EVERY:
            tell(f"{done} rows stored")
    for tally in plan.tallies:
        await finish(place, tally)
        details = {"issues": tally.stored, "stopped": tally.stopped}
        await note(place, "issues.import", tally.repository, details)
    return outcome_text(plan, place.tier)


async def store(place: Place, tally: Tally, items: Sequence[Item]) -> None:
    """Store items of one repository, unless it was removed meanwhile."""
    key = (place.account.id, tally.repository.id)
    here = await Repositories(place.database).get(*key)
    if here is None or here.state is RepositoryState.INACTIVE:
        tally.stopped = "it was removed meanwhile" if here is None else f"it is inactive: {here.reason}"
        return
    # First, and for later: what is stored when an import is broken off shall be embedded too.
    await Jobs(place.database).enqueue(embed_job(tally.repository, EMBED_LATER))
    own = [belonging(item, here) for item in items]
    saved = await place.issues.save(
        place.account.id, [item for item in own if isinstance(item, Issue)], room=await place.room(here)
    )
    tally.stored += len(saved.changed)
    tally.evicted += len(saved.evicted)
    await store_rest(place, here, own)


async def store_rest(place: Place, here: Repository, items: Sequence[Item]) -> None:
    """Store what was said and done about issues, and what was chosen, where nothing is known of it here."""
    suggestions, marks, key = Suggestions(place.database), Marks(place.database), (place.account.id, here.id)
    given = {item.number: item.original for item in items if isinstance(item, Mark)}
    if given:
        known = await marks.all(*key)
        await marks.save(
            *key, {number: original for number, original in given.items() if number not in known}
        )
    await suggestions.restore(key[0], [item for item in items if isinstance(item, Suggestion)])
    outcomes = [(item.outcome, item.at) for item in items if isinstance(item, Recorded)]
    await suggestions.restore_outcomes(key[0], outcomes)
    for item in items:
        if isinstance(item, Chosen) and item.override is not None and here.override is None:
            await Repositories(place.database).set_override(*key, item.override, item.override_until)


async def finish(place: Place, tally: Tally) -> None:
    """Have everything embedded, and the past judged anew; a repository that is still being indexed does both itself."""
    here = await Repositories(place.database).get(place.account.id, tally.repository.id)
    if here is None:
        tally.stopped = "it was removed meanwhile"
    elif tally.stopped is None:
        jobs = [embed_job(tally.repository)]
        if here.state is RepositoryState.ACTIVE:
            jobs.append(backtest_job(here))
        await Jobs(place.database).enqueue(*jobs)


async def note(place: Place, action: str, repository: Repository, details: dict[str, Any]) -> None:
    """Let the account see in its audit log what the operator did."""
    account_id, name = place.account.id, repository.full_name
    await Audit(place.database).record(
        Act(action, Actor.OPERATOR, name, account_id=account_id, details=details)
    )


# --- export


async def carry_out(settings: Settings, login: str, only: str | None, out: Path) -> str:
    """Write an account's repositories, or one of them, to a file. Raises SettingsError in one line."""
    async with beside_a_service(settings) as database:
        place = await place_of(database, login)
        repositories = [
            item
            for item in await Repositories(database).list(place.account.id)
            if only is None or item.full_name.casefold() == only.casefold()
        ]
        if only is not None and not repositories:
            raise SettingsError(f"{only} is not a repository of {place.account.login}")
        with private_file(out) as file:
            file.write(header_line(place.account.login, now()) + "\n")
            count = 1
            for repository in repositories:
                stores = (place.issues, Marks(database), Suggestions(database))
                async for text in exported(repository, *stores):
                    file.write(text + "\n")
                    count += 1
                await note(place, "issues.export", repository, {})
    return f"{count} lines about {len(repositories)} repositories are in {out}"
