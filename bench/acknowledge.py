"""Durable acknowledgements a second, against the same server whose inbox stores nothing.

A process of its own sends signed `issues.opened` bodies of 20 KB over loopback; both servers run in turns, so that a
noisy machine is noisy for both.
"""

import asyncio
import hmac
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from hashlib import sha256
from typing import cast
from uuid import UUID

import handlers
from bench.measure import Result, a_secret, folder, median, quantile, say
from bot.app import site
from bot.core.records import Delivery, NewJob
from bot.metrics import Metrics
from bot.sandbox.tracker import packaged
from bot.web.hooks import Intake
from bot.web.server import HOOK_PATH, application
from storage import embedded
from storage.database import Database
from storage.inbox import Inbox
from storage.migrate import migrate

CALLERS = (16, 64)
"""Clients at once: GitHub opens a connection for each delivery it has."""

SIZE = 20_000
"""Bytes of a body."""

MANY = 500_000
PROSE = "\n".join(report.body for report in packaged().history)[: MANY + SIZE]
"""What people wrote in a real tracker."""

PLACES = (
    "followers following gists starred subscriptions organizations repos events received_events hooks teams keys "
    "collaborators forks branches tags blobs git_tags git_refs trees statuses languages stargazers contributors "
    "subscribers subscription commits git_commits comments issue_comment contents compare merges archive downloads "
    "issues pulls milestones notifications labels releases deployments clone mirror svn ssh html avatar"
)
FIELDS = PLACES.split()
"""What payloads have addresses of."""

LEAST = 0.5
"""Share of the rate without a database that durable acknowledgements are to reach."""


class NoInbox:
    """An inbox that keeps nothing: as much of one as intake asks."""

    async def accept(self, delivery: Delivery, job: NewJob) -> bool:
        """Say that it is stored."""
        return delivery.body != b"" and job.kind != ""


def body(number: int) -> bytes:
    """An `issues.opened` as large as GitHub's, and like it: mostly addresses, and a text that somebody wrote."""
    home, text = "https://api.github.com/repos/octo-org/hello-world", f"Case {number}. "
    people = {name: person(name, number) for name in ("user", "sender", "assignee")}
    repository = {f"{name}_url": f"{home}/{name}{{/{name[:3]}}}" for name in FIELDS} | {
        "owner": person("octo-org", 9)
    }
    issue = {
        "number": number,
        "id": 10**9 + number,
        "title": f"It breaks in case {number}",
        "user": people["user"],
    }
    labels = [{"id": n, "name": name, "url": f"{home}/labels/{name}"} for n, name in enumerate(FIELDS[:6])]
    rest = {
        "repository": repository | {"id": 7, "full_name": "octo-org/hello-world"},
        "installation": {"id": 9},
    }
    made = {"action": "opened", **rest, "sender": people["sender"]}
    payload = made | {"issue": issue | {"labels": labels, "assignees": [people["assignee"]]}}
    missing = SIZE - len(json.dumps(payload))
    payload["issue"] |= {"body": text + PROSE[number * 997 % MANY :][:missing]}
    return json.dumps(payload, ensure_ascii=False).encode()


def person(login: str, number: int) -> dict[str, object]:
    """A user as payloads have it."""
    urls = {f"{name}_url": f"https://api.github.com/users/{login}/{name}" for name in FIELDS[:12]}
    return {"login": login, "id": number, "node_id": f"MDQ6VXNlcj{number:08}", "type": "User", **urls}


def requests(secret: str) -> list[tuple[bytes, bytes]]:
    """Whole HTTP requests, signed beforehand, without the 36 characters of the delivery's id between their two parts."""
    found = []
    for raw in (body(number) for number in range(1, 200)):
        signature = hmac.new(secret.encode(), raw, sha256).hexdigest()
        head = (
            f"POST {HOOK_PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"X-GitHub-Event: issues\r\nX-Hub-Signature-256: sha256={signature}\r\n"
            f"Content-Length: {len(raw)}\r\nX-GitHub-Delivery: "
        )
        found.append((head.encode(), b"\r\n\r\n" + raw))
    return found


class Caller(asyncio.Protocol):
    """One connection that sends the next request as soon as the last one is answered.

    It does nothing else, so that the sender takes as little as it can of the processors it shares with the server.
    """

    def __init__(self, work: Iterator[tuple[bytes, bytes]], took: list[float], refused: list[bytes]) -> None:
        """Adds seconds to `took`, and answers that are not 202 to `refused`."""
        self._work, self._took, self._refused = work, took, refused
        self.done = asyncio.get_running_loop().create_future()
        self.stopping = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start."""
        self._transport = cast("asyncio.Transport", transport)
        self._next()

    def _next(self) -> None:
        head, tail = next(self._work)
        self._answer, self._started = b"", time.perf_counter()
        self._transport.write(b"".join((head, str(UUID(bytes=os.urandom(16))).encode(), tail)))

    def data_received(self, data: bytes) -> None:
        """Our server's answers are small, and end with a brace."""
        self._answer += data
        if not self._answer.endswith(b"}"):
            return
        self._took.append(time.perf_counter() - self._started)
        if not self._answer.startswith(b"HTTP/1.1 202 "):
            self._refused.append(self._answer)
        if self.stopping:
            self._transport.close()
        else:
            self._next()

    def connection_lost(self, _error: Exception | None) -> None:
        """The end."""
        if not self.done.done():
            self.done.set_result(None)


async def send(port: int, secret: str, callers: int, seconds: float) -> None:
    """Send as fast as answers come, and print how many there were and how long they took."""
    took, refused, loop = list[float](), list[bytes](), asyncio.get_running_loop()
    work = itertools.cycle(requests(secret))
    started = time.perf_counter()
    made = [
        await loop.create_connection(lambda: Caller(work, took, refused), "127.0.0.1", port)
        for _ in range(callers)
    ]
    await asyncio.sleep(seconds)
    elapsed, answered = time.perf_counter() - started, len(took)
    for _, caller in made:
        caller.stopping = True
    await asyncio.gather(*(caller.done for _, caller in made))
    found = {"rate": answered / elapsed, "p50": quantile(took, 0.5), "p99": quantile(took, 0.99)}
    print(json.dumps(found | {"refused": len(refused)}))


async def measured(port: int, secret: str, callers: int, seconds: float) -> dict[str, float]:
    """One round, sent from another process."""
    arguments = (str(port), secret, str(callers), str(seconds))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.acknowledge", *arguments, stdout=subprocess.PIPE
    )
    out, _ = await process.communicate()
    return dict(json.loads(out))


async def run(*, quick: bool) -> Result:
    """Both servers in turns; the least ratio of the medians."""
    rounds, seconds = (1, 0.3) if quick else (5, 2.0)
    secret = a_secret()
    with folder() as data:
        server = await asyncio.to_thread(embedded.start, data)
        try:
            await migrate(server.url)
            database = await Database.connect(server.url)
            found = [await in_turns(database, secret, n, rounds, seconds) for n in CALLERS]
            await database.close()
        finally:
            await asyncio.to_thread(server.stop)
    ratio = min(item["ratio"] for item in found)
    refused = sum(item["refused"] for item in found)
    says = "; ".join(
        f"{item['callers']} callers {item['durable']:,.0f}/s, p50 {1000 * item['p50']:.0f} ms, p99 {1000 * item['p99']:.0f} ms, "
        f"without the database {item['bare']:,.0f}/s: {item['ratio']:.2f}"
        for item in found
    )
    good = ratio >= LEAST and refused == 0
    return Result("acknowledge", says, ratio, f"at least {LEAST}", good, {"rounds": found})


async def in_turns(
    database: Database, secret: str, callers: int, rounds: int, seconds: float
) -> dict[str, float]:
    """Medians over rounds of both servers, one after the other."""
    found: dict[str, list[dict[str, float]]] = {"durable": [], "bare": []}
    for name, inbox in (("durable", Inbox(database)), ("bare", NoInbox())) * rounds:
        intake = Intake(inbox, [secret.encode()], handlers.routed, 1, Metrics())
        async with site(application({}, intake, None), "127.0.0.1", 0) as port:
            found[name].append(await measured(port, secret, callers, seconds))
        say(f"  {callers} callers, {name}: {found[name][-1]['rate']:,.0f}/s")
    durable, bare = (median([item["rate"] for item in found[name]]) for name in ("durable", "bare"))
    p50, p99 = (median([item[name] for item in found["durable"]]) for name in ("p50", "p99"))
    refused = sum(item["refused"] for name in found for item in found[name])
    return {
        "callers": callers, "durable": durable, "bare": bare, "ratio": durable / bare, "p50": p50, "p99": p99,
        "refused": refused,
    }  # fmt: skip


if __name__ == "__main__":
    asyncio.run(send(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
