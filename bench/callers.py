"""`python -m bench.callers`: whoever calls a server, in a process of their own, so that they are no part of it.

Reads parties as JSON from standard input and writes as JSON how long each request of each took. Parties take turns, block by
block, so that a machine that is busy with something else is busy for all of them. Within a block each connection sends its
next request when the last one is answered, or a while after that.
"""

import asyncio
import contextlib
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Party:
    """Requests of one kind, whole as they are sent, to one server."""

    name: str
    port: int
    requests: Sequence[str]


@dataclass(frozen=True, slots=True)
class Heard:
    """What a party heard: seconds of each answer, how often each status, and how long its blocks took together."""

    took: Sequence[float]
    statuses: Mapping[str, int]
    elapsed: float

    def all_are(self, status: int) -> bool:
        """Whether every answer had that status."""
        return set(self.statuses) == {str(status)}

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.took) / self.elapsed


def request(method: str, path: str, credential: str | None = None, body: str = "") -> str:
    """A request as it is sent."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    if credential is not None:
        lines.append(f"Authorization: Bearer {credential}")
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body.encode())}"]
    return "\r\n".join([*lines, "", body])


async def hear(
    parties: Sequence[Party], *, connections: int = 1, block: int = 1, pause: float = 0.0
) -> dict[str, Heard]:
    """Have another process make the requests; `block` of them are a party's turn.

    Each connection waits `pause` seconds on average before each request: longer and shorter, as calls of many people come.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.callers", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    plan = {
        "parties": [asdict(party) for party in parties],
        "connections": connections,
        "block": block,
        "pause": pause,
    }
    out, _ = await process.communicate(json.dumps(plan).encode())
    return {name: Heard(**found) for name, found in json.loads(out).items()}


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Callers:
    """The open connections of one party."""

    def __init__(self, requests: Sequence[str], streams: Sequence[Stream], pause: float) -> None:
        """Nothing is sent yet."""
        self._requests, self._streams, self._pause = iter(requests), streams, pause
        self._rng = random.Random(7)
        self._took: list[float] = []
        self._statuses = Counter[str]()
        self._elapsed = 0.0

    async def turn(self, block: int) -> None:
        """Make the next requests."""
        mine = iter([raw.encode() for _, raw in zip(range(block), self._requests, strict=False)])
        started = time.perf_counter()
        await asyncio.gather(*(self._call(mine, *stream) for stream in self._streams))
        self._elapsed += time.perf_counter() - started

    async def _call(
        self, requests: Iterator[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        for raw in requests:
            if self._pause:
                await asyncio.sleep(self._rng.expovariate(1 / self._pause))
            started = time.perf_counter()
            writer.write(raw)
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            await reader.readexactly(length_of(head))
            self._took.append(time.perf_counter() - started)
            self._statuses[head.split(" ", 2)[1]] += 1

    def heard(self) -> Heard:
        """What was answered so far."""
        return Heard(self._took, dict(self._statuses), self._elapsed)


def length_of(head: str) -> int:
    """Bytes of the body that follows."""
    lines = (line.partition(":") for line in head.split("\r\n"))
    return next((int(value) for name, _, value in lines if name.lower() == "content-length"), 0)


@contextlib.asynccontextmanager
async def connected(party: Party, connections: int, pause: float) -> AsyncIterator[Callers]:
    """A party with its connections."""
    streams = [await asyncio.open_connection("127.0.0.1", party.port) for _ in range(connections)]
    yield Callers(party.requests, streams, pause)
    for _, writer in streams:
        writer.close()
        await writer.wait_closed()


async def call(parties: Sequence[Party], connections: int, block: int, pause: float) -> dict[str, Heard]:
    """All requests, the parties in turns."""
    async with contextlib.AsyncExitStack() as stack:
        callers = [await stack.enter_async_context(connected(party, connections, pause)) for party in parties]
        for _ in range(0, max(len(party.requests) for party in parties), block):
            for one in callers:
                await one.turn(block)
        return {party.name: one.heard() for party, one in zip(parties, callers, strict=True)}


if __name__ == "__main__":
    given = json.load(sys.stdin)
    who = [Party(**party) for party in given["parties"]]
    answers = asyncio.run(call(who, given["connections"], given["block"], given["pause"]))
    json.dump({name: asdict(heard) for name, heard in answers.items()}, sys.stdout)
