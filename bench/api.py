"""What a call of the API costs: what stands before every answer, a search by text, and ten thousand accounts beside the caller's.

The server is the one of production in this process, over loopback HTTP, on an embedded PostgreSQL that waits for its disk;
whoever calls is another process (`bench.callers`). What is compared takes turns request by request, or block by block where
several connections call at once.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import chromadb
from aiohttp import web
from chromadb.config import Settings as ChromaSettings

from bench.callers import Heard, Party, hear, request
from bench.indexing import chromas
from bench.measure import Result, folder, model_dir, quantile, say
from bench.similarity import Work, asking, chroma, finding, serving, stored
from bench.tenants import FIRST, Asker, Tenants
from bench.vector_query import like_texts
from bot.api import Search, parts_of
from bot.app import site
from bot.core.context import now
from bot.core.ports import Similarity
from bot.core.records import Issue, Repository
from bot.settings import Settings, load
from bot.similarity.embedder import Embedder
from bot.web.api.routes import serve
from bot.web.server import application
from bot.web.tokens import TokenIssuer
from storage import embedded
from storage.collections import open_collections
from storage.database import Database
from storage.migrate import migrate

MOST_ADDED = 5.0
"""Milliseconds that a request may take longer for being authenticated, counted and kept to its account, at the 99th percentile."""

MOST_SEARCH = 80.0
"""Milliseconds for a search by text at the median."""

MOST_GROWTH = 1.2
"""How many times as long the 99th percentile may be with ten thousand accounts."""

ACCOUNTS = 10_000
INDEXED = 10_000
CALLS = 10
"""Of each account in a run: as many as Free has in a minute."""

FULL = 1_000
"""Calls a minute on Enterprise."""

CONNECTIONS = 8
CONSTANT = "/constant"
OURS = "ours"
PARENT, PARENT_OURS = "/parent", "/parent-with-our-encoder"
WAYS_OF_PARENT = {PARENT: "the parent's way", PARENT_OURS: "the parent's way with our encoder"}
NAME = "deja-view"


@contextlib.asynccontextmanager
async def served(
    url: str, settings: Settings, similarity: Similarity | None = None, *routes: web.RouteDef
) -> AsyncIterator[int]:
    """The API on a database, and beside it a route that answers as much with nothing before it."""
    database = await Database.connect(url)
    try:
        async with aiohttp.ClientSession() as session:
            parts = parts_of(settings, database, Search(similarity), session, None, None, now)
            app = application({}, None, None, [*serve(parts), web.get(CONSTANT, constant), *routes])
            async with site(app, "127.0.0.1", 0) as port:
                yield port
    finally:
        await database.close()


async def constant(_request: web.Request) -> web.Response:
    """As many bytes as a repository has."""
    return web.Response(
        body=b'{"text":"' + b"x" * 240 + b'"}', content_type="application/json", charset="utf-8"
    )


def issuer_of(settings: Settings) -> TokenIssuer:
    """Who issues the service's tokens."""
    return TokenIssuer(settings.jwt_secrets, settings.public_url or NAME)


@contextlib.asynccontextmanager
async def migrated(data: Path) -> AsyncIterator[str]:
    """The address of a database server with our tables."""
    server = await asyncio.to_thread(embedded.start, data)
    try:
        await migrate(server.url)
        yield server.url
    finally:
        await asyncio.to_thread(server.stop)


def ms(heard: Heard, share: float) -> float:
    """A quantile in milliseconds."""
    return 1000 * quantile(heard.took, share)


def numbers(heard: Mapping[str, Heard]) -> dict[str, dict[str, float]]:
    """What is told of each party. Raises AssertionError where one was not answered."""
    for name, one in heard.items():
        assert one.all_are(200), (name, one.statuses)  # a bench of refusals would be no bench
    return {
        name: {"p50": ms(one, 0.5), "p95": ms(one, 0.95), "p99": ms(one, 0.99), "rate": one.rate}
        for name, one in heard.items()
    }


def look(asker: Asker, *, token: bool = False) -> str:
    """A request for the repository's row, which no handler adds anything to."""
    return request("GET", f"/v1/repositories/{asker.repository_id}", asker.token if token else asker.key)


def spread(count: int, among: int) -> list[int]:
    """So many ids of accounts, evenly among so many."""
    return [FIRST + n * (among // count) for n in range(count)]


# --- what stands before every answer


@dataclass(frozen=True, slots=True)
class Way:
    """How the gate is called."""

    name: str
    calls: int  # of each account
    connections: int
    block: int
    pause: float  # seconds between the calls of one connection, on average


WAYS = (
    Way("one connection", 10, 1, 1, 0.0),
    Way("eight connections, each 20 calls a second", 5, 8, 40, 0.05),
)


async def run_gate(*, quick: bool) -> Result:
    """Keys and tokens, of accounts whose window is empty and of such whose window is nearly full."""
    each = 2 if quick else 100
    ids = spread(4 * each, 4 * each)
    free, busy = ids[: 2 * each], ids[2 * each :]
    found: dict[str, dict[str, dict[str, float]]] = {}
    with folder() as data:
        settings = load({}, data_dir=data)
        async with migrated(data) as url:
            tenants = Tenants(url)
            await tenants.add(free, "free")
            await tenants.add(busy, "enterprise")
            await tenants.analyze()
            askers = await tenants.credentials(ids, issuer_of(settings))
            groups = [askers[n * each : (n + 1) * each] for n in range(4)]
            async with served(url, settings) as port:

                async def fill() -> None:
                    await tenants.called(free, 0)
                    await tenants.called(busy, FULL - CALLS)

                # A process that serves has its connections, and each of them its statements.
                await hear(gate_parties(port, groups, 1), connections=CONNECTIONS, block=each)
                for way in WAYS:
                    await fill()
                    parties = gate_parties(port, groups, way.calls)
                    found[way.name] = numbers(
                        await hear(parties, connections=way.connections, block=way.block, pause=way.pause)
                    )
                    say(f"  {way.name}: {found[way.name]}")
                await fill()
                parties = gate_parties(port, groups, CALLS)
                # Each is a process more: what the constant costs says whether it can be measured at all.
                costs = {party.name: await cost(data, party) for party in parties[: 1 if quick else None]}
                say(f"  {costs}")
    return gate_result(found, costs)


async def cost(data: Path, party: Party, connections: int = CONNECTIONS) -> tuple[float, float]:
    """Milliseconds of the processors for a call, PostgreSQL's included, and calls a second, one following the other."""
    work = Work(data)
    with work.step():
        heard = (await hear([party], connections=connections, block=len(party.requests)))[party.name]
    assert heard.all_are(200), heard.statuses  # as above
    return work.processor_ms() / len(heard.took), heard.rate


def gate_parties(port: int, groups: Sequence[Sequence[Asker]], calls: int) -> list[Party]:
    """Whoever calls at the gate, and the constant to compare them with."""
    kinds = ("key, Free", "token, Free", "key, full window", "token, full window")
    parties = [
        # Round and round the accounts: calls at once are of different ones, and wait for each other no more than they do.
        Party(name, port, [look(item, token=name.startswith("token")) for item in group] * calls)
        for name, group in zip(kinds, groups, strict=True)
    ]
    return [Party("constant", port, [request("GET", CONSTANT)] * len(parties[0].requests)), *parties]


def gate_result(
    found: Mapping[str, Mapping[str, Mapping[str, float]]], costs: Mapping[str, tuple[float, float]]
) -> Result:
    """What is added at most, over all kinds and ways."""
    added = {
        way: max(one["p99"] for one in kinds.values()) - kinds["constant"]["p99"]
        for way, kinds in found.items()
    }
    worst = max(added.values())
    says = "; ".join(
        f"{way}: {added[way]:.1f} ms added ("
        + ", ".join(f"{name} p50 {one['p50']:.1f} p99 {one['p99']:.1f}" for name, one in kinds.items())
        + ")"
        for way, kinds in found.items()
    ) + "; processor time and most calls a second: " + ", ".join(
        f"{name} {took:.2f} ms, {rate:,.0f}/s" for name, (took, rate) in costs.items()
    )  # fmt: skip
    details = {**found, "costs": dict(costs)}
    limit = f"at most {MOST_ADDED:.0f} ms added at p99"
    return Result("api-gate", says, worst, limit, worst <= MOST_ADDED, details)


# --- a search by text


def texts(issues: Sequence[Issue]) -> list[str]:
    """What somebody is about to file."""
    return [json.dumps({"title": issue.title, "body": issue.body}) for issue in issues]


def searches(asker: Asker, bodies: Sequence[str]) -> list[str]:
    """Those, asked for."""
    return [
        request("POST", f"/v1/repositories/{asker.repository_id}/similar", asker.key, body) for body in bodies
    ]


async def run_similar(*, quick: bool) -> Result:
    """Beside the parent's way, with Chroma's default embedding function on our weights, and with our encoder in its place."""
    count, calls, at_once = (100, 4, 2) if quick else (INDEXED, 150, 4)
    async with stored(count, collection=True) as scene:
        settings = load({}, data_dir=scene.data)
        url = (await asyncio.to_thread(embedded.start, scene.data)).url
        asker = await asker_of(url, scene.repository, settings)
        new = asking(scene.known, 2 * calls)
        embedder = await asyncio.to_thread(Embedder.load, model_dir())
        try:
            # Its model is loaded from a file of its own, which takes longer than a quick run has.
            parent = await asyncio.to_thread(Parent, scene.data / "parent", scene.known, default=not quick)
            ways = {PARENT: None, PARENT_OURS: embedder} if not quick else {PARENT_OURS: embedder}
            routes = [web.post(path, partial(parent.find, way)) for path, way in ways.items()]
            async with (
                serving(scene.data, scene.database, embedder) as service,
                served(url, settings, service, *routes) as port,
            ):
                await hear(search_parties(port, asker, new[:2], ways))  # loads what is loaded once
                alone = numbers(await hear(search_parties(port, asker, new[:calls], ways)))
                say(f"  one connection: {alone}")
                several = search_parties(port, asker, new[calls:], ways)
                together = numbers(await hear(several, connections=at_once, block=5 * at_once))
                say(f"  {at_once} connections: {together}")
                took, _ = await cost(scene.data, several[0], 1)
        finally:
            embedder.close()
    ours = alone.pop(OURS), together.pop(OURS)
    theirs = "; ".join(
        f"{WAYS_OF_PARENT[path]} p50 {one['p50']:.0f} ms, {together[path]['rate']:.1f} calls/s"
        for path, one in alone.items()
    )
    p50 = ours[0]["p50"]
    says = (
        f"{count:,} issues: p50 {p50:.0f} ms, p99 {ours[0]['p99']:.0f} ms, {took:.0f} ms of processor time; "
        f"{ours[1]['rate']:.1f} calls/s of {at_once} callers; {theirs}"
    )
    details = {"ours": ours, "parent alone": alone, "parent together": together, "processor": took}
    limit = f"p50 at most {MOST_SEARCH:.0f} ms"
    return Result("api-similar", says, p50, limit, p50 <= MOST_SEARCH, details)


def search_parties(port: int, asker: Asker, issues: Sequence[Issue], ways: Iterable[str]) -> list[Party]:
    """The same texts, for each."""
    bodies = texts(issues)
    parents = [Party(path, port, [request("POST", path, None, body) for body in bodies]) for path in ways]
    return [Party(OURS, port, searches(asker, bodies)), *parents]


async def asker_of(url: str, repository: Repository, settings: Settings) -> Asker:
    """Who asks about the repository that has issues."""
    (asker,) = await Tenants(url).credentials([repository.account_id], issuer_of(settings), repository.id)
    return asker


class Parent:
    """How the parent project finds: one collection of everything, the text embedded by the collection, filtered by metadata.

    It asks GitHub for the issue first, which is left out here. Its server does all of this on its one event loop.
    """

    def __init__(self, data: Path, known: Sequence[Issue], *, default: bool) -> None:
        """The same vectors as ours, in a Chroma of its own, with its default embedding function or with none."""
        data.mkdir()
        client = chromadb.PersistentClient(str(data), ChromaSettings(anonymized_telemetry=False))
        embedding: Any = None
        if default:
            embedding = chromas(data)
            embedding.__dict__["_download_model_if_not_exists"] = lambda: None  # it was given one
        self._collection = client.create_collection(
            "github_issues", metadata={"hnsw:space": "cosine"}, embedding_function=embedding
        )
        vectors = like_texts(len(known), seed=8)
        for start in range(0, len(known), 500):
            part = known[start : start + 500]
            self._collection.add(
                ids=[f"octo/hello/issues/{item.number}" for item in part],
                embeddings=vectors[start : start + 500],
                documents=[document(item.title, item.body) for item in part],
                metadatas=[
                    {
                        "owner": "octo",
                        "repo": "hello",
                        "number": str(item.number),
                        "title": item.title,
                        "state": item.state,
                        "url": f"https://github.com/octo/hello/issues/{item.number}",
                        "type": "issue",
                        "labels": "",
                    }
                    for item in part
                ],
            )

    async def find(self, embedder: Embedder | None, asked: web.Request) -> web.Response:
        """Its answer; the text is embedded by `embedder`, or where there is none by the collection."""
        given = await asked.json()
        text = document(given["title"], given["body"])
        query: dict[str, Any] = (
            {"query_texts": [text]}
            if embedder is None
            else {"query_embeddings": await embedder.embed([text], urgent=True)}
        )
        found = self._collection.query(
            **query, n_results=6, where={"$and": [{"owner": "octo"}, {"repo": "hello"}]}
        )
        pairs = zip((found["metadatas"] or [[]])[0], (found["distances"] or [[]])[0], strict=True)
        similar = [{**row, "similarity": round(1 - distance, 4)} for row, distance in pairs]
        return web.json_response({"similar_issues": similar, "count": len(similar)})


def document(title: str, body: str) -> str:
    """The text of an issue as the parent embeds it."""
    return "\n\n".join([f"Title: {title}", "Type: Issue", "State: open", f"Body: {body[:10_000]}"])


# --- ten thousand accounts


async def run_tenants(*, quick: bool) -> Result:
    """The same callers with hardly anybody beside them, and with ten thousand accounts in the same tables."""
    accounts, askers, looks, count, calls = (
        (200, 10, 2, 100, 3) if quick else (ACCOUNTS, 100, 20, INDEXED, 150)
    )
    async with stored(count, collection=True) as scene:
        await scene.database.close()
        settings, few = (
            load({}, data_dir=scene.data),
            (await asyncio.to_thread(embedded.start, scene.data)).url,
        )
        ids, tenants = spread(askers, accounts), Tenants(few)
        await tenants.add(ids, "enterprise")
        looking = await tenants.credentials(ids, issuer_of(settings))
        searching = await asker_of(few, scene.repository, settings)
        many = await tenants.copy("many")
        await Tenants(many).add(sorted(set(range(FIRST, FIRST + accounts)) - set(ids)), "free")
        for url in (few, many):
            await Tenants(url).analyze()
        new = texts(asking(scene.known, calls + 1))
        found: dict[str, dict[str, dict[str, float]]] = {}
        embedder = await asyncio.to_thread(Embedder.load, model_dir())
        collections = await asyncio.to_thread(open_collections, chroma(scene.data))
        try:
            async with contextlib.AsyncExitStack() as stack:
                ports = {}
                for name, url in (("few", few), ("many", many)):
                    database = await Database.connect(url)
                    stack.push_async_callback(database.close)
                    service = await stack.enter_async_context(finding(collections, database, embedder))
                    ports[name] = await stack.enter_async_context(served(url, settings, service))
                asked = {
                    "warm": searches(searching, new[:1]),
                    "look": [look(item) for item in looking] * looks,
                    "search": searches(searching, new[1:]),
                }
                for kind, requests in asked.items():
                    found[kind] = numbers(await hear([Party(*item, requests) for item in ports.items()]))
                    say(f"  {kind}: {found[kind]}")
        finally:
            await asyncio.to_thread(collections.close)
            embedder.close()
    found.pop("warm")
    return tenants_result(accounts, askers, found)


def tenants_result(
    accounts: int, askers: int, found: Mapping[str, Mapping[str, Mapping[str, float]]]
) -> Result:
    """How much longer the slowest calls take; the worse of both kinds counts."""
    growth = {name: one["many"]["p99"] / one["few"]["p99"] for name, one in found.items()}
    worst = max(growth.values())
    words = {"look": "a repository", "search": "a search by text"}
    says = f"{askers} accounts, and {accounts:,} with three repositories each: " + "; ".join(
        f"{words[name]} p99 {one['few']['p99']:.1f} and {one['many']['p99']:.1f} ms: {growth[name]:.2f} times (p50 {one['few']['p50']:.1f} and "
        f"{one['many']['p50']:.1f})"
        for name, one in found.items()
    )
    limit = f"at most {MOST_GROWTH} times"
    return Result("api-tenants", says, worst, limit, worst <= MOST_GROWTH, dict(found))
