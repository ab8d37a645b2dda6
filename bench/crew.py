"""The service as a platform runs it: PostgreSQL, a Chroma server, a web process and a worker, started again when they die."""

import asyncio
import contextlib
import os
import random
import secrets
import signal
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import asyncpg

from bench.measure import environment, until
from bench.service import World, free_port, serves
from bot.core.crash import POINTS
from bot.core.errors import SettingsError, StorageUnavailableError
from storage import embedded
from storage.database import Database
from storage.migrate import migrate

START_AGAIN = 0.3
"""Seconds between the end of a process and its next start."""

PLACES = {
    "web": tuple(name for name in POINTS if name.startswith("delivery-")),
    "worker": tuple(name for name in POINTS if not name.startswith("delivery-")),
}
"""At which places of `bot.core.crash` each process can be ended."""

REACHED = 8.0
"""Seconds for a process to reach the place where it shall end; then it is killed wherever it is."""


@dataclass(frozen=True, slots=True)
class Kill:
    """One SIGKILL: to whom, after how many seconds, and at which place where it is not just anywhere."""

    whom: str
    delay: float
    place: str | None = None


def planned(rng: random.Random, deliveries: int, kills: Counter[str]) -> dict[int, list[Kill]]:
    """What is killed before which delivery: the first fifth is left alone, so that there is work under way."""
    plan: dict[int, list[Kill]] = {}
    for whom in sorted(kills.elements()):
        place = rng.choice(PLACES[whom]) if whom in PLACES and rng.random() < 0.5 else None
        moment = rng.randrange(deliveries // 5, max(deliveries // 5 + 1, deliveries))
        plan.setdefault(moment, []).append(Kill(whom, rng.random(), place))
    return plan


@dataclass(slots=True)
class Crew:
    """All processes of one service on the sandbox of `scene`.

    With `hurry` a worker's jobs are anybody's as soon as it is dead, and what waits for later is due at once: the same
    ways are gone in less time.
    """

    scene: World
    hurry: bool = False
    killed: Counter[str] = field(default_factory=Counter)  # SIGKILLs, by whom they hit
    places: list[str] = field(default_factory=list)  # where processes ended on purpose
    _ports: dict[str, int] = field(default_factory=dict)
    _running: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    _keepers: list[asyncio.Task[None]] = field(default_factory=list)
    _environ: dict[str, str] = field(default_factory=dict)
    _turns: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    @property
    def hook(self) -> str:
        """Where webhooks go."""
        return f"http://127.0.0.1:{self._ports['web']}/webhooks/github"

    @property
    def data(self) -> Path:
        """The folder of everything that is kept."""
        return self.scene.data / "data"

    async def __aenter__(self) -> Self:
        """Start everything; the web process serves then."""
        server = await asyncio.to_thread(embedded.start, self.data)
        await migrate(server.url)
        self._ports = {name: free_port() for name in ("chroma", "web")}
        self._environ = {
            **os.environ,
            **environment(self.scene.url, self.scene.app, self.scene.secret),
            "JWT_SECRET": secrets.token_hex(32),
            "DATABASE_URL": server.url,
            "CHROMA_URL": f"http://127.0.0.1:{self._ports['chroma']}",
            "LOG_FORMAT": "json",
        }
        self._keep(self._keep_database(server))
        self._keep(self._keep_process("chroma"))
        await until(lambda: serves(self._ports["chroma"]), 60.0)
        for name in ("web", "worker"):
            self._keep(self._keep_process(name))
        await self.serving()
        self.scene.app.webhook_url = self.hook
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything."""
        for task in self._keepers:
            task.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        await asyncio.to_thread(embedded.stop, self.data / "postgres")

    def _keep(self, coroutine: Any) -> None:
        self._keepers.append(asyncio.create_task(coroutine))

    async def _keep_database(self, server: embedded.EmbeddedPostgres) -> None:
        """Start PostgreSQL again, on the same rows, whenever it does not answer."""
        while True:
            await asyncio.sleep(START_AGAIN)
            if not await asyncio.to_thread(embedded.answers, server):
                starting = asyncio.create_task(asyncio.to_thread(embedded.start, self.data))
                with contextlib.suppress(SettingsError):
                    # A thread cannot be cancelled: what it starts has to be up before it can be stopped.
                    await asyncio.shield(starting)

    async def _keep_process(self, name: str) -> None:
        """Start a process, again and again."""
        with (self.scene.data / f"{name}.log").open("ab") as log:
            while True:
                process = await asyncio.create_subprocess_exec(
                    *self._command(name),
                    env=self._environ | {"PORT": str(self._ports.get(name, 0))},
                    stdout=log,
                    stderr=log,
                )
                self._running[name] = process
                if await process.wait() == -signal.SIGKILL:
                    self.killed[name] += 1
                if name == "worker" and self.hurry:
                    await self._end_leases()
                await asyncio.sleep(START_AGAIN)

    def _command(self, name: str) -> list[str]:
        if name == "chroma":
            path, port = str(self.scene.data / "chroma"), str(self._ports["chroma"])
            return [str(Path(sys.executable).parent / "chroma"), "run", "--path", path, "--port", port]
        soon = ["--hurry"] if self.hurry else []
        command = [sys.executable, "-m", "bench.part", name, str(self.data), "--crash", str(self._file(name))]
        return [*command, *soon]

    def _file(self, name: str) -> Path:
        """Which place is wanted, for the process that ends there."""
        return self.scene.data / f"crash-{name}"

    async def kill(self, kill: Kill) -> None:
        """SIGKILL, where it says or wherever the process is; whoever keeps it starts it again.

        Kills of one process take turns: one that hits nothing because the process is dead would not count.
        """
        await asyncio.sleep(kill.delay)
        async with self._turns[kill.whom]:
            if kill.whom == "database":
                await self._kill_database()
                return
            process = self._running[kill.whom]
            if kill.place is not None:
                self.arm(kill.whom, kill.place)
            if kill.place is None or not await self.reached(kill.whom, kill.place):
                process = self._running[kill.whom]
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            await until(partial(self._replaced, kill.whom, process), 60.0)

    async def _replaced(self, name: str, process: asyncio.subprocess.Process) -> bool | None:
        """Whether another process runs by now."""
        return True if self._running[name] is not process else None

    async def _kill_database(self) -> None:
        """SIGKILL to the postmaster, as soon as there is one."""
        folder = self.data / "postgres"

        async def running() -> int | None:
            return embedded.postmaster_pid(folder) if embedded.is_running(folder) else None

        os.kill(await until(running, 60.0), signal.SIGKILL)
        self.killed["database"] += 1

    def arm(self, name: str, place: str) -> None:
        """Have a process end when it comes to a place."""
        fresh = self._file(name).with_suffix(".new")
        fresh.write_text(place, encoding="utf-8")
        fresh.rename(self._file(name))

    async def reached(self, name: str, place: str, patience: float = REACHED) -> bool:
        """Wait for that end; False where the process did not come there in time, and shall not end there any more."""

        async def ended() -> bool | None:
            return None if self._file(name).exists() else True

        try:
            await until(ended, patience)
        except TimeoutError:
            with contextlib.suppress(FileNotFoundError):
                self._file(name).unlink()
                return False
        self.places.append(place)
        return True

    async def database(self) -> Database:
        """PostgreSQL, as soon as it answers."""

        async def answering() -> Database | None:
            with contextlib.suppress(StorageUnavailableError, OSError, asyncpg.PostgresError):
                return await Database.connect(self._environ["DATABASE_URL"], size=2)
            return None

        return await until(answering, 60.0)

    async def serving(self) -> None:
        """Wait until the web process takes webhooks."""
        await until(lambda: serves(self._ports["web"]), 60.0)

    async def make_due(self, database: Database) -> None:
        """What waits for later is due now."""
        async with database.system() as connection:
            await connection.execute(
                "UPDATE jobs SET run_at = now() WHERE state = 'ready' AND kind = 'delivery' AND run_at > now()"
            )

    async def _end_leases(self) -> None:
        """The only worker is dead: what it held is anybody's."""
        database = await self.database()
        try:
            with contextlib.suppress(StorageUnavailableError):
                async with database.system() as connection:
                    await connection.execute(
                        "UPDATE jobs SET lease_until = now() - interval '1 second' WHERE state = 'running'"
                    )
        finally:
            await database.close()
