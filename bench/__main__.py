"""`python -m bench [NAME …] [--quick] [--json FILE]`: run benches and print each result beside its limit."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import (
    acknowledge,
    api,
    flood,
    indexing,
    memory,
    neighbours,
    opened_to_comment,
    similarity,
    vector_query,
)
from bench.measure import Result, cores, say
from bot.logs import configure

BENCHES = {
    "acknowledge": acknowledge.run,
    "flood": flood.run,
    "opened-to-comment": opened_to_comment.run,
    "neighbours": neighbours.run,
    "indexing": indexing.run,
    "vector-query": vector_query.run,
    "new-issue": similarity.run_new,
    "cold-start": similarity.run_cold,
    "back-test": similarity.run_backtest,
    "words-in-memory": similarity.run_words,
    "memory": memory.run,
    "api-gate": api.run_gate,
    "api-similar": api.run_similar,
    "api-tenants": api.run_tenants,
}


async def run(names: Sequence[str], *, quick: bool) -> list[Result]:
    """Run these benches, one after the other."""
    results = []
    for name in names:
        say(f"{name} …")
        results.append(await BENCHES[name](quick=quick))
        print(results[-1].line(), flush=True)
    return results


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; exit code 1 where a limit was missed by a full run."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHES], metavar="NAME", help=", ".join(BENCHES))
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it runs, says little")
    parser.add_argument("--json", type=Path, help="write the results there, one JSON object a line")
    args = parser.parse_args(argv)
    say(f"{cores()} cores")
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        configure("json", nowhere)
        results = asyncio.run(run(args.names or list(BENCHES), quick=args.quick))
    if args.json:
        args.json.write_text("".join(f"{item.as_json()}\n" for item in results), encoding="utf-8")
    return 0 if args.quick or all(item.good for item in results) else 1


if __name__ == "__main__":
    sys.exit(main())
