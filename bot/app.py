"""The composition root: the one place where adapters meet behaviour."""

import asyncio
import ctypes
import fcntl
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from subprocess import SubprocessError
from typing import Any, TypeVar

import aiohttp
import structlog
from aiohttp import web

import handlers
from bot.api import Search, parts_of
from bot.core.access import Act, Actor
from bot.core.backtest import Report, asked_of, judge
from bot.core.context import Context, Services, now
from bot.core.errors import (
    GitHubError,
    MissingError,
    MovedError,
    NotFoundError,
    PermissionMissingError,
    RateLimitedError,
    RetryError,
    SettingsError,
    StorageUnavailableError,
    SuspendedError,
)
from bot.core.indexing import index_job
from bot.core.pace import WritePace
from bot.core.periodic import PERIODIC
from bot.core.reconcile import reconcile_job
from bot.core.records import AppIdentity, InstallationState, Job, Lane, NewJob, Repository
from bot.core.repo_config import DEFAULT
from bot.core.tiers import over_limit
from bot.github.app import GitHubApp
from bot.github.auth import AppKeys
from bot.github.client import Api, Heard
from bot.github.configs import Configs
from bot.logs import configure
from bot.metrics import Metrics
from bot.report import job_text, jobs_text
from bot.settings import GitHubSettings, Settings
from bot.sign_in import SigningIn, signing_in
from bot.similarity.embedder import Embedder
from bot.similarity.histories import Histories
from bot.similarity.past import replayed
from bot.similarity.service import SimilarityService
from bot.web import docs, health, legacy, sign_in
from bot.web.api.routes import serve as serve_api
from bot.web.hooks import Intake
from bot.web.server import application
from bot.web.serving import Runner
from bot.worker import Worker
from storage import embedded
from storage.accounts import Accounts
from storage.audit import Audit
from storage.backtests import Backtests
from storage.chroma import CollectionsSettings
from storage.collections import Collections, open_collections
from storage.database import Database
from storage.effects import Effects
from storage.erasure import Erasure
from storage.expired import Expired
from storage.inbox import Inbox
from storage.issues import Issues
from storage.jobs import Jobs
from storage.listen import listen
from storage.marks import Marks
from storage.migrate import migrate as apply_migrations
from storage.migrate import pending
from storage.missed import Missed
from storage.paces import Paces
from storage.periodic import Periodic
from storage.repositories import Repositories
from storage.suggestions import Suggestions
from storage.usage import Usage
from storage.whitenings import Whitenings

log = structlog.get_logger()

T = TypeVar("T")

SCHEDULE_EVERY = 15.0
"""Seconds between looks at what is done again and again."""

WATCH_EVERY = 1.0
"""Seconds between looks at the embedded server."""

ASK_GITHUB_EVERY = 30.0
"""Seconds between requests that `GET /readyz` makes to GitHub, at the least."""

LET_GO_EVERY = 60.0
"""Seconds between looks at which repositories in memory were purged by another process."""

LONGEST_WAIT = 60.0
"""Seconds between attempts to ask GitHub who we are, at the most."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a composition may do otherwise than production: the demo and the tests say so here."""

    clock: Callable[[], datetime] = now
    monotonic: Callable[[], float] = time.monotonic  # how old an answer about a person's access is
    pace: WritePace = field(default_factory=WritePace)
    comment_gap: float = 60.0  # seconds between two comments of ours on one issue, at the least
    host: str = "0.0.0.0"  # noqa: S104  # a container's port is published by whoever runs it


@dataclass(frozen=True, slots=True)
class Base:
    """What every process has: the database and what is counted."""

    settings: Settings
    options: Options
    url: str
    database: Database
    jobs: Jobs
    periodic: Periodic
    metrics: Metrics
    checks: dict[str, health.Check]


# --- parts


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Only one process works on an embedded data folder. Raises SettingsError where another one does."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "process.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SettingsError(
                f"another Deja View works on {folder}: stop it, choose another --data-dir, or set DATABASE_URL for several processes"
            ) from None
        yield


async def open_database(settings: Settings, stack: AsyncExitStack) -> str:
    """The address of PostgreSQL: the one that is set, or a server of our own that stops with us."""
    if settings.database_url is not None:
        return settings.database_url
    stack.enter_context(owned(settings.data_dir))
    server = await asyncio.to_thread(embedded.start, settings.data_dir)
    stack.push_async_callback(asyncio.to_thread, server.stop)
    await stack.enter_async_context(beside(keep_up(server, settings.data_dir)))
    return server.url


async def keep_up(server: embedded.EmbeddedPostgres, data_dir: Path) -> None:
    """Start the embedded server again where somebody killed it; nobody else would."""
    while True:
        await asyncio.sleep(WATCH_EVERY)
        if not await asyncio.to_thread(embedded.answers, server):
            log.warning("postgresql_lost")
            starting = asyncio.create_task(asyncio.to_thread(start_again, data_dir))
            try:
                await asyncio.shield(starting)
            finally:
                # A thread cannot be cancelled: what it starts has to be up before it can be stopped.
                await starting


def start_again(data_dir: Path) -> None:
    """Start the embedded server; where that fails there is another try soon."""
    try:
        embedded.start(data_dir)
    except (SettingsError, OSError, SubprocessError) as error:  # a full disk, too: it will not stay full
        log.error("postgresql_not_started", reason=str(error))  # noqa: TRY400  # the reason is one line


async def bring_up_to_date(url: str, *, may_migrate: bool) -> None:
    """Apply migrations, or refuse to work on an old schema. Raises SettingsError."""
    if may_migrate:
        await apply_migrations(url)
    elif missing := await pending(url):
        raise SettingsError(f"the schema of DATABASE_URL lacks {missing[0]}: run `deja-view migrate` first")


def open_github(
    settings: GitHubSettings,
    options: Options,
    session: aiohttp.ClientSession,
    paces: Paces | None = None,
    heard: Heard | None = None,
) -> GitHubApp:
    """The GitHub client; without `paces` it keeps to its limits alone, which is enough for a question or two."""
    keys = AppKeys(settings.app_id, settings.private_keys)
    log.info("github", api=settings.api_url, app_id=settings.app_id, key_fingerprints=list(keys.fingerprints))
    return GitHubApp(session, Api(settings.api_url), keys, options.pace, paces, paces, heard)


def github_of(base: Base, session: aiohttp.ClientSession) -> GitHubApp | None:
    """The GitHub client of a process; None where no App is set."""
    if base.settings.github is None:
        return None
    return open_github(base.settings.github, base.options, session, Paces(base.database), base.metrics.heard)


def people_of(base: Base, session: aiohttp.ClientSession) -> SigningIn | None:
    """Signing in, and what people reach; None where that is not set up."""
    options = base.options
    return signing_in(
        base.settings, base.database, session, options.clock, options.monotonic, base.metrics.heard
    )


def collections_settings(settings: Settings) -> CollectionsSettings:
    """Which Chroma, as the store wants it."""
    chroma = settings.chroma
    return CollectionsSettings(
        folder=settings.data_dir / "chroma",
        url=chroma.url,
        api_key=chroma.api_key,
        tenant=chroma.tenant,
        database=chroma.database,
    )


async def request_rebuild(jobs: Jobs, repository: Repository) -> None:
    """Have a broken collection made anew; asked again while that waits, nothing more happens."""
    await jobs.enqueue(
        NewJob(
            kind="rebuild_collection",
            lane=Lane.BACKFILL,
            account_id=repository.account_id,
            serial=f"index:{repository.id}",
            dedupe=f"rebuild:{repository.id}",
            payload={"repository_id": repository.id},
        )
    )


@asynccontextmanager
async def open_base(settings: Settings, options: Options, *, may_migrate: bool) -> AsyncIterator[Base]:
    """Database, queue and numbers."""
    async with AsyncExitStack() as stack:
        url = await open_database(settings, stack)
        await bring_up_to_date(url, may_migrate=may_migrate)
        database = await Database.connect(url)
        stack.push_async_callback(database.close)
        yield Base(
            settings,
            options,
            url,
            database,
            Jobs(database),
            Periodic(database),
            Metrics(),
            {"postgresql": answering(database.ping)},
        )


@asynccontextmanager
async def open_similarity(base: Base, issues: Issues) -> AsyncIterator[tuple[SimilarityService, Collections]]:
    """Model and vector index."""
    collections = await asyncio.to_thread(open_collections, collections_settings(base.settings))
    try:
        embedder = await asyncio.to_thread(Embedder.load, base.settings.model_dir)
        await asyncio.to_thread(give_memory_back)  # 30 MB that loading the model took and left
        service = SimilarityService(
            issues,
            embedder,
            collections,
            on_broken=partial(request_rebuild, base.jobs),
            whitenings=Whitenings(base.database),
        )
        try:
            async with beside(let_go_forever(service)):
                yield service, collections
        finally:
            await service.close()
            embedder.close()
    finally:
        await asyncio.to_thread(collections.close)


def give_memory_back() -> None:
    """Have the allocator return to the system what is free; nothing happens where it is not glibc's."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


async def let_go_forever(similarity: SimilarityService) -> None:
    """Drop from memory what another process purged, as each holds its own copies, and what is free anyway."""
    while True:
        await asyncio.sleep(LET_GO_EVERY)
        await asyncio.to_thread(give_memory_back)
        try:
            await similarity.let_go()
        except StorageUnavailableError as error:
            log.warning("let_go_failed", reason=str(error))


async def services_of(base: Base, similarity: SimilarityService, github: GitHubApp) -> Services:
    """Everything behaviour can reach. Waits until GitHub says who we are."""
    database = base.database
    return Services(
        inbox=Inbox(database),
        jobs=base.jobs,
        accounts=Accounts(database, default_tier=base.settings.default_tier),
        repositories=Repositories(database),
        issues=Issues(database),
        suggestions=Suggestions(database),
        marks=Marks(database),
        backtests=Backtests(database),
        effects=Effects(database),
        usage=Usage(database),
        erasure=erasure_of(base),
        expired=Expired(database),
        periodic=base.periodic,
        missed=Missed(database),
        paces=Paces(database),
        github=github,
        configs=Configs(github),
        similarity=similarity,
        observations=base.metrics,
        app=await who_we_are(github),
        routed=handlers.routed,
        marker_key=base.settings.marker_key,
        web_url=base.settings.web_url,
        clock=base.options.clock,
        comment_gap=base.options.comment_gap,
    )


def erasure_of(base: Base) -> Erasure:
    """What can be rewritten here: a server of our own wholly, one that others run as far as its users allow."""
    own, chroma = base.settings.database_url is None, base.settings.chroma
    folder = None if chroma.url or chroma.api_key else collections_settings(base.settings).folder
    return Erasure(base.database, embedded.as_superuser(base.url) if own else base.url, own, folder)


async def who_we_are(github: GitHubApp) -> AppIdentity:
    """Ask GitHub, again and again while it does not answer: deliveries are stored meanwhile, and nothing is lost."""
    wait = 1.0
    while True:
        try:
            return await github.identity()
        except (GitHubError, StorageUnavailableError) as error:
            log.warning("github_does_not_know_us", reason=str(error), again_in=wait)
        await asyncio.sleep(wait)
        wait = min(wait * 2, LONGEST_WAIT)


def reachable(github: GitHubApp) -> health.Check:
    """GitHub as a part: asked seldom, and fine where it answers us. That it limits us is no failure."""

    async def check() -> str:
        try:
            await github.ping()
        except RateLimitedError as error:
            return f"limited: {error.retry_after or 0.0:.0f} s from now we may ask again"
        return "ok"

    return health.seldom(check, ASK_GITHUB_EVERY)


def answering(ask: Callable[[], Awaitable[object]]) -> health.Check:
    """A part that is fine where asking it does not fail."""

    async def check() -> str:
        await ask()
        return "ok"

    return check


# --- what runs


async def run_job(services: Services, job: Job) -> None:
    """Run behaviour; where GitHub says that we may not work for an installation, its work is parked.

    Raises RetryError where the repository turned out to have another name than the one that was asked under.
    """
    try:
        await handlers.run(Context(services, job))
    except (MovedError, NotFoundError) as error:
        if await renamed(services, job):
            raise RetryError("the repository has another name now", after=1.0) from error
        raise
    except SuspendedError:
        await park(services, job, InstallationState.SUSPENDED)
        raise
    except PermissionMissingError:
        await park(services, job, InstallationState.NEEDS_PERMISSION)
        raise


async def park(services: Services, job: Job, state: InstallationState) -> None:
    """Ask nothing more of GitHub for the job's installation until an event says that we may."""
    installation = await services.accounts.installation(await installation_of(services, job) or 0)
    if installation is not None and installation.state is InstallationState.ACTIVE:
        log.warning("installation_parked", audit=True, account_id=installation.account_id, state=state.value)
        await services.accounts.set_state(installation.account_id, installation.id, state)


async def renamed(services: Services, job: Job) -> bool:
    """Whether GitHub calls the job's repository by another name than we did; the new one is then known."""
    repository = await repository_of(services, job)
    if repository is None:
        return False
    try:
        name = await services.github.repository(repository).name()
    except GitHubError:
        return False
    if name.full_name == repository.full_name:
        return False
    log.info("renamed", repository_id=repository.id)
    await services.repositories.rename(repository.account_id, name)
    return True


async def repository_of(services: Services, job: Job) -> Repository | None:
    """The repository that a job is about, where we know it."""
    repository_id = job.payload.get("repository_id")
    if job.delivery_id is not None:
        repository_id = (await services.inbox.read(job)).repository_id
    installation = await services.accounts.installation(await installation_of(services, job) or 0)
    if installation is None or repository_id is None:
        return None
    return await services.repositories.get(installation.account_id, repository_id)


async def installation_of(services: Services, job: Job) -> int | None:
    """Through which installation a job works."""
    if job.delivery_id is not None:
        return (await services.inbox.read(job)).installation_id
    if job.account_id is None:
        return None
    repository = await services.repositories.get(job.account_id, job.payload.get("repository_id", 0))
    return repository.installation_id if repository else None


async def live(
    base: Base, search: Search, github: GitHubApp | None, stop: asyncio.Event, *, jobs: bool
) -> None:
    """Load the search, and do jobs where this process does any, until `stop`."""
    async with AsyncExitStack() as stack:
        opened = await unless(stop, stack.enter_async_context(open_similarity(base, Issues(base.database))))
        if opened is None:
            return
        similarity, collections = opened
        base.checks["chroma"] = answering(collections.ping)
        search.loaded = similarity
        # aiohttp remembers applications beyond their end, and with them all that their routes reach.
        stack.callback(base.checks.pop, "chroma")
        stack.callback(search.unload)
        if jobs and github is not None:
            await work(base, similarity, github, stop)
        else:
            await stop.wait()


async def work(base: Base, similarity: SimilarityService, github: GitHubApp, stop: asyncio.Event) -> None:
    """Do jobs until `stop`."""
    base.checks["github"] = still_waiting
    services = await unless(stop, services_of(base, similarity, github))
    if services is None:
        return
    base.checks["github"] = reachable(github)
    hint = asyncio.Event()
    async with beside(listen(base.url, hint), schedule_forever(base)):
        await Worker(base.jobs, partial(run_job, services), hint, base.metrics).work(stop)


async def unless(stop: asyncio.Event, wanted: Coroutine[Any, Any, T]) -> T | None:
    """What `wanted` gives; None, and it is cancelled, where `stop` comes first."""
    task, stopped = asyncio.create_task(wanted), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        task.cancel()
        stopped.cancel()
        await asyncio.gather(task, stopped, return_exceptions=True)


async def still_waiting() -> str:
    """What is said of GitHub before it answered for the first time."""
    return "failed: it has not answered yet"


async def not_registered() -> str:
    """What is said of GitHub where no App is set."""
    return "not configured: set GITHUB_APP_ID and GITHUB_APP_PRIVATE_KEY"


@asynccontextmanager
async def beside(*coroutines: Awaitable[None]) -> AsyncIterator[None]:
    """Run these while the block runs, and cancel them at its end."""
    tasks = [asyncio.ensure_future(item) for item in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def schedule_forever(base: Base) -> None:
    """Put on the queue what is done again and again, each kind when its time has come, whichever process sees it first."""
    while True:
        try:
            for kind in PERIODIC:
                await base.periodic.take(kind, now())
        except StorageUnavailableError as error:
            log.warning("schedule_failed", reason=str(error))
        await asyncio.sleep(SCHEDULE_EVERY)


# --- HTTP


def intake_of(base: Base) -> Intake:
    """The webhook route."""
    app_id = base.settings.github.app_id if base.settings.github else None
    return Intake(Inbox(base.database), base.settings.webhook_secrets, handlers.routed, app_id, base.metrics)


async def refresh(base: Base) -> None:
    """Read the queue and what goes nowhere for the gauges; without PostgreSQL the last numbers stay."""
    try:
        depths, stuck = await base.jobs.depth(), await base.jobs.stuck()
        ages, missed = await base.periodic.ages(), await Missed(base.database).count()
    except StorageUnavailableError:
        return
    base.metrics.periodic(ages)
    base.metrics.missed(*missed)
    base.metrics.stuck(*(sum(bool(item.repository) is one for item in stuck) for one in (False, True)))
    base.metrics.queue((item.lane.name.lower(), item.state, item.jobs, item.oldest) for item in depths)


@asynccontextmanager
async def listening(base: Base, routes: Sequence[web.RouteDef], *, hooks: bool) -> AsyncIterator[int]:
    """Serve on the settings' ports; gives the main one, which matters where it was 0."""
    shown = health.exposition(base.metrics, partial(refresh, base))
    private = base.settings.metrics_port
    https = (base.settings.public_url or "").startswith("https://")
    intake = intake_of(base) if hooks else None
    main = application(base.checks, intake, None if private else shown, routes, https=https)
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(site(main, base.options.host, base.settings.port))
        if private:
            await stack.enter_async_context(site(application({}, None, shown), base.options.host, private))
        yield port


@asynccontextmanager
async def site(app: web.Application, host: str, port: int) -> AsyncIterator[int]:
    """Serve an application. Raises SettingsError where the port is taken."""
    runner = Runner(app, shutdown_timeout=10.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise SettingsError(f"PORT {port} cannot be used: {error.strerror}") from None
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


# --- commands


@dataclass(frozen=True, slots=True)
class Process:
    """A running process; `worker` ends only with it, or with an error that ends it."""

    base: Base
    port: int
    worker: asyncio.Task[object]
    search: Search
    routes: Sequence[web.RouteDef] = ()  # what it serves beside health and webhooks


@asynccontextmanager
async def running(
    settings: Settings, options: Options | None = None, *, hooks: bool = True, jobs: bool = True
) -> AsyncIterator[Process]:
    """A whole process. At the end running jobs are finished or given back."""
    async with (
        open_base(settings, options or Options(), may_migrate=hooks and jobs) as base,
        AsyncExitStack() as stack,
    ):
        if jobs and settings.github is None:
            base.checks["github"] = not_registered
        stop, search = asyncio.Event(), Search()
        session = await stack.enter_async_context(aiohttp.ClientSession())
        github, people = github_of(base, session), people_of(base, session)
        reach = people.reach if people else None
        parts = parts_of(settings, base.database, search, session, github, reach, base.options.clock)
        routes = [
            *serve_api(parts),
            *legacy.serve(parts),
            *docs.routes(),
            *sign_in.routes(people.parts if people else None),
        ]
        async with listening(base, routes if hooks else [], hooks=hooks) as port:
            worker = asyncio.create_task(live(base, search, github, stop, jobs=jobs))
            log.info("started", port=port, hooks=hooks, jobs=jobs)
            try:
                yield Process(base, port, worker, search, routes if hooks else [])
            finally:
                stop.set()
                await asyncio.wait({worker})
                log.info("stopped")
        await worker


async def serve(settings: Settings, *, hooks: bool, jobs: bool) -> None:
    """Run until SIGTERM or SIGINT, or until the worker cannot go on."""
    configure(settings.log_format, secrets=settings.secrets())
    stop = asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, stop.set)
    async with running(settings, hooks=hooks, jobs=jobs) as process:
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({stopping, process.worker}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()


async def migrate(settings: Settings) -> list[str]:
    """Apply migrations; returns the names of those that were missing."""
    configure(settings.log_format, secrets=settings.secrets())
    async with AsyncExitStack() as stack:
        return await apply_migrations(await open_database(settings, stack))


async def doctor(settings: Settings) -> dict[str, str]:
    """Ask every part; an answer that begins with "failed" is one."""
    answers = {}
    async with (
        open_base(settings, Options(), may_migrate=settings.database_url is None) as base,
        open_similarity(base, Issues(base.database)) as (similarity, collections),
    ):
        answers["model"] = similarity.model
        checks = base.checks | {"chroma": answering(collections.ping)}
        answers |= {name: await health.ask(check) for name, check in checks.items()}
    answers["github"] = await ask_github(settings)
    return answers


@asynccontextmanager
async def beside_a_service(settings: Settings) -> AsyncIterator[Database]:
    """The database for a command that may run while the service does: it then leaves the embedded server alone."""
    async with AsyncExitStack() as stack:
        folder = settings.data_dir / "postgres"
        if settings.database_url is None and not (folder / "data").exists():
            raise SettingsError(
                f"{settings.data_dir} holds no database: name the service's --data-dir or DATABASE_URL"
            )
        if settings.database_url is None and embedded.is_running(folder):
            url = (await asyncio.to_thread(embedded.start, settings.data_dir)).url
        else:
            url = await open_database(settings, stack)
        await bring_up_to_date(url, may_migrate=False)
        database = await Database.connect(url, size=2)
        stack.push_async_callback(database.close)
        yield database


async def backtest(settings: Settings, full_name: str, budget: float | None, target: float | None) -> Report:
    """Replay a repository's past from what is stored; nothing is asked of GitHub, and nothing is changed.

    Budget and target are those of the last back-test unless they are given. Raises SettingsError for a repository that is
    not known.
    """
    async with beside_a_service(settings) as database:
        repository = await Repositories(database).find(full_name)
        if repository is None:
            raise SettingsError(f"{full_name} is not a repository that an installation sees")
        key = (repository.account_id, repository.id)
        last = await Backtests(database).get(*key)
        known = last.report if last else {}
        past = await replayed(Histories(Issues(database), Whitenings(database)), repository)
        asked = asked_of(past.shown, await Marks(database).all(*key))
    wanted = DEFAULT.model_copy(
        update={
            "budget": budget or known.get("budget", DEFAULT.budget),
            "precision_target": known.get("precision_target", DEFAULT.precision_target)
            if target is None
            else target,
        }
    )
    return judge(asked, past.lowest, past.careful, wanted)


async def admin(
    settings: Settings,
    action: str,
    *,
    verb: str | None = None,
    job_id: int | None = None,
    account: str | None = None,
    tier: str | None = None,
) -> str:
    """What the operator asked for, as text. Raises SettingsError where there is nothing of that id or name."""
    async with beside_a_service(settings) as database:
        if action == "reconcile":
            return await reconcile(database, account)
        if action == "tier":
            assert account is not None
            assert tier is not None
            return await admin_tier(database, account, tier)
        return await admin_jobs(Jobs(database), verb or "list", job_id)


async def reconcile(database: Database, login: str | None) -> str:
    """Queue a comparison with GitHub of every active repository, or of one account's."""
    repositories = await Repositories(database).active(login)
    if login is not None and not repositories:
        raise SettingsError(f"{login} has no repository that is indexed")
    new = await Jobs(database).enqueue(*(reconcile_job(item) for item in repositories))
    return (
        f"{new} repositories will be compared with GitHub; {len(repositories) - new} waited for that already"
    )


async def admin_tier(database: Database, login: str, tier: str) -> str:
    """Give an account another tier. Raises SettingsError where account or tier are not known."""
    accounts = Accounts(database)
    account = await accounts.find(login)
    if account is None:
        raise SettingsError(f"{login} is not an account that has the App installed")
    try:
        wanted = await accounts.set_tier(account.id, tier)
    except MissingError as error:
        raise SettingsError(f"{tier}: {error}") from None
    await Jobs(database).enqueue(*(index_job(repository) for repository in wanted))
    reason = over_limit(await accounts.tier(account.id))
    frozen = sum(
        (item.reason or "").startswith(reason) for item in await Repositories(database).list(account.id)
    )
    change = {"from": account.tier, "to": tier}
    await Audit(database).record(
        Act("account.tier", Actor.OPERATOR, account.login, account_id=account.id, details=change)
    )
    return f"{account.login} has the tier {tier}: {len(wanted)} repositories will be indexed, {frozen} have no room"


async def admin_jobs(jobs: Jobs, verb: str, job_id: int | None) -> str:
    """Look at jobs, put dead ones back, end one. Raises SettingsError where there is none of that id."""
    if verb == "list":
        return jobs_text(await jobs.view(), await jobs.stuck(), now())
    if verb == "retry":
        put_back = await jobs.retry(*([] if job_id is None else [job_id]))
        if job_id is not None and not put_back:
            raise SettingsError(f"no dead job has the id {job_id}")
        return f"{len(put_back)} jobs are ready again"
    assert job_id is not None
    if verb == "bury":
        if not await jobs.bury_by_hand(job_id, "buried by the operator"):
            raise SettingsError(f"no job that waits or runs has the id {job_id}")
        return f"job {job_id} is dead"
    found = await jobs.view(job_id)
    if not found:
        raise SettingsError(f"no job has the id {job_id}")
    return job_text(found[0], now())


async def ask_github(settings: Settings) -> str:
    """Whether GitHub knows the App."""
    if settings.github is None:
        return await not_registered()
    async with aiohttp.ClientSession() as session:
        try:
            identity = await open_github(settings.github, Options(), session).identity()
        except GitHubError as error:
            return f"failed: {error}"
    return f"ok: {identity.slug}"
