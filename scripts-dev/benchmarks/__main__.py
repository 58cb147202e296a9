"""The command line of the bench."""

from __future__ import annotations

import argparse
import os
import signal
import sys

from benchmarks import (
    admin,
    archive_imports,
    archives,
    cluster,
    lookups,
    moves,
    remote,
    s3,
)
from benchmarks.errors import BenchError
from benchmarks.processes import LOAD_CORES
from benchmarks.profiling import profile
from benchmarks.report import as_json, table
from benchmarks.runner import Result, run
from benchmarks.thumbnails import table as thumbnail_table
from benchmarks.thumbnails.measure import measure as measure_thumbnails
from benchmarks.thumbnails.rows import NAME as THUMBNAILS
from benchmarks.workloads import PEERS

_PEERS = ("nginx", "naive", "synapse", "synapse-pg")
_DEFAULT_PEERS = ("nginx", "naive")
_MOST_ROUNDS = 20
_MOST_SECONDS = 60.0


def main() -> int:
    """Measure what was asked for and print it."""
    options = _options()
    os.sched_setaffinity(0, LOAD_CORES)
    # As an exception it ends the servers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    rounds = min(options.rounds, _MOST_ROUNDS)
    seconds = min(options.seconds, _MOST_SECONDS)
    results: list[Result] = []
    failed = False
    for name in options.workloads or PEERS:
        try:
            if options.profile:
                print(profile(name, seconds), flush=True)
                continue
            if name == THUMBNAILS:
                results += _thumbnails(rounds, seconds, as_json=options.json)
                continue
            if name == archives.NAME:
                measured = [archive_imports.measure(rounds), *archives.measure(rounds)]
            elif name == moves.NAME:
                measured = moves.measure(rounds)
            elif name == admin.NAME:
                measured = admin.measure()
            elif name == remote.NAME:
                measured = [remote.measure(rounds)]
            elif name in s3.NAMES:
                measured = [s3.measure(name, rounds)]
            elif name in cluster.NAMES:
                measured = [cluster.measure(name, rounds, seconds)]
            elif name == lookups.NAME:
                measured = [lookups.measure(rounds, seconds)]
            else:
                peers = options.peer or _DEFAULT_PEERS
                measured = [run(name, peers, rounds, seconds)]
        except BenchError as error:
            print(f"bench: {name}: {error}", file=sys.stderr)
            failed = True
            continue
        results += measured
        stream = sys.stderr if options.json else sys.stdout
        for result in measured:
            print(table(result), file=stream, flush=True)
    if options.json:
        print(as_json(results, rounds, seconds))
    return 1 if failed else 0


def _thumbnails(rounds: int, seconds: float, *, as_json: bool) -> list[Result]:
    """Minutes of work: each row is shown as soon as it is known."""
    stream = sys.stderr if as_json else sys.stdout
    print(thumbnail_table.heading(), file=stream, flush=True)
    results = []
    for result in measure_thumbnails(rounds, seconds):
        print(thumbnail_table.line(result), file=stream, flush=True)
        results.append(result)
    return results


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench", description="Measure mmr beside reference servers."
    )
    parser.add_argument(
        "workloads",
        nargs="*",
        metavar="workload",
        help=f"default: all of {', '.join(PEERS)}",
    )
    parser.add_argument(
        "--peer",
        action="append",
        choices=_PEERS,
        help="whom to compare with, may be repeated (default: nginx and naive)",
    )
    parser.add_argument("--json", action="store_true", help="JSON on standard output")
    parser.add_argument("--rounds", type=int, default=3, help="rounds each (3)")
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="longest round in seconds (3)"
    )
    parser.add_argument(
        "--profile", action="store_true", help="profile our server, without peers"
    )
    options = parser.parse_args()
    for name in options.workloads:
        if name not in PEERS:
            parser.error(f"there is no workload {name!r}; known: {', '.join(PEERS)}")
    own = {admin.NAME, archives.NAME, lookups.NAME, moves.NAME, remote.NAME}
    own.update(s3.NAMES, cluster.NAMES, {THUMBNAILS})
    for name in own & set(options.workloads):
        if options.profile:
            parser.error(f"{name} has no profile")
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("--rounds and --seconds must be positive")
    return options


if __name__ == "__main__":
    sys.exit(main())
