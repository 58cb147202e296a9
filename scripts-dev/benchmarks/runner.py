"""Runs a workload: our server and its peers side by side, round by round."""

from __future__ import annotations

import contextlib
import functools
import mmap
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs

from benchmarks.load import Load
from benchmarks.probe import Probe
from benchmarks.processes import busy_seconds, forget_peaks, own_seconds, usage
from benchmarks.servers.base import Server
from benchmarks.servers.mmr import Mmr
from benchmarks.servers.naive import Naive
from benchmarks.servers.nginx import Nginx
from benchmarks.servers.synapse import Synapse
from benchmarks.servers.synapse_postgres import SynapsePostgres
from benchmarks.stats import medians, percentile, ratios
from benchmarks.targets import TARGETS, Target, Verdict, judge
from benchmarks.wire import request_head
from benchmarks.workloads import PEERS, Workload, workload

OURS = "mmr"
_SETTLE_S = 0.3
_WARM_BYTES = 1 << 29
# Long enough to catch a stall, short enough not to double the run.
_LONGEST_PROBE_S = 2.0


@attrs.frozen
class Contender:
    """A server and what it has to do.

    Args:
        idle_mb: Its memory before it did anything.
    """

    label: str
    server: Server
    workload: Workload
    idle_mb: float


@attrs.frozen
class Result:
    """All figures of one workload.

    Args:
        rounds: Label to metric to one value a round.
        foreign_cores: Median of the cores that other programs kept busy.
        targets: Wishes to hold it against.
    """

    workload: str
    rounds: dict[str, dict[str, list[float]]]
    foreign_cores: float
    targets: Sequence[Target] = TARGETS

    @property
    def figures(self) -> dict[str, dict[str, float]]:
        """Label to metric to median."""
        return {label: medians(rounds) for label, rounds in self.rounds.items()}

    @property
    def ratios(self) -> dict[str, dict[str, float]]:
        """Peer to metric to how many times better we are."""
        ours = self.rounds[OURS]
        peers = (label for label in self.rounds if label != OURS)
        return {label: ratios(ours, self.rounds[label]) for label in peers}

    @property
    def verdicts(self) -> list[Verdict]:
        """How the figures stand against the targets."""
        return judge(self.workload, self.figures[OURS], self.ratios, self.targets)


def run(name: str, peers: Sequence[str], rounds: int, seconds: float) -> Result:
    """Measure one workload with fresh servers."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    foreign = []
    with _contenders(name, peers) as contenders:
        for _ in range(rounds):
            for contender in contenders:
                foreign.append(_measure(contender, seconds, found[contender.label]))
        for _ in range(rounds):
            for contender in contenders:
                _probe(contender, min(seconds, _LONGEST_PROBE_S), found)
    plain = {label: dict(metrics) for label, metrics in found.items()}
    return Result(name, plain, statistics.median(foreign))


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Give a folder on a real disk that disappears afterwards."""
    # Not /tmp by name: TMPDIR decides, and a tmpfs would make flushing free.
    with tempfile.TemporaryDirectory(prefix="mmr-bench-") as folder:
        yield Path(folder)


@contextlib.contextmanager
def _contenders(name: str, peers: Sequence[str]) -> Iterator[list[Contender]]:
    task = workload(name)
    # By default Synapse serves what it made during the upload.
    on_demand = name.startswith("thumbnail-cold")
    makers: dict[str, Callable[[Path], Server]] = {
        "nginx": Nginx,
        "naive": Naive,
        "synapse": functools.partial(Synapse, dynamic_thumbnails=on_demand),
        "synapse-pg": functools.partial(SynapsePostgres, dynamic_thumbnails=on_demand),
    }
    with temporary_folder() as folder, contextlib.ExitStack() as stack:

        def started(label: str, maker: Callable[[Path], Server]) -> Contender:
            (folder / label).mkdir()
            server = maker(folder / label)
            stack.callback(server.stop)
            server.start()
            return Contender(label, server, task, usage(server.pid).rss_mb)

        contenders = [started(OURS, Mmr)]
        if task.sibling is not None:
            label, other = task.sibling
            contenders.append(attrs.evolve(contenders[0], label=label, workload=other))
        for peer in peers:
            if peer in PEERS[name]:
                contenders.append(started(peer, makers[peer]))
        for contender in contenders:
            contender.workload.prepare(contender.server)
        yield contenders


def warm_memory() -> None:
    """Touch free memory, so that the page cache gets pages that really exist.

    A virtual machine gives freed pages back to its host; to get them again costs more
    than to copy a file, and whoever comes first in a round would pay for the others.
    """
    with mmap.mmap(-1, _WARM_BYTES) as free:
        for start in range(0, _WARM_BYTES, mmap.PAGESIZE):
            free[start] = 1


def _measure(
    contender: Contender, seconds: float, found: dict[str, list[float]]
) -> float:
    server = contender.server
    upload_ms = contender.workload.before(server)
    time.sleep(_SETTLE_S)
    warm_memory()
    forget_peaks(server.pid)
    before, busy, own = usage(server.pid), busy_seconds(), own_seconds()
    started = time.perf_counter()
    load = contender.workload.drive(server, seconds)
    after = usage(server.pid)
    cpu_s = after.cpu_s - before.cpu_s
    took_s = time.perf_counter() - started
    others_s = busy_seconds() - busy - (own_seconds() - own) - cpu_s
    for key, value in _figures(load, cpu_s).items():
        found[key].append(value)
    found["rss_before_mb"].append(before.rss_mb)
    found["rss_after_mb"].append(after.rss_mb)
    found["rss_peak_mb"].append(after.peak_mb)
    found["growth_mb"].append(after.peak_mb - contender.idle_mb)
    if upload_ms is not None:
        found["upload_ms"].append(upload_ms)
    return max(0.0, others_s / took_s)


def _figures(load: Load, cpu_s: float) -> dict[str, float]:
    figures = {
        "rate": load.requests / load.seconds,
        "mb_s": load.body_bytes / load.seconds / 1e6,
        "p50_ms": load.p50_ms,
        "p95_ms": load.p95_ms,
        "p99_ms": load.p99_ms,
        "cpu_ms": cpu_s * 1000 / load.requests,
        "errors": float(load.errors),
    }
    if load.answer_ms is not None:
        figures["answer_ms"] = load.answer_ms
    return figures


def _probe(
    contender: Contender, seconds: float, found: dict[str, dict[str, list[float]]]
) -> None:
    server = contender.server
    contender.workload.before(server)
    time.sleep(_SETTLE_S)
    warm_memory()
    head = request_head("GET", server.health_path, server.headers)
    with Probe(server.port, head) as probe:
        contender.workload.drive(server, seconds)
    metrics = found[contender.label]
    metrics["stall_ms"].append(max(probe.latencies_ms))
    metrics["probe_p99_ms"].append(percentile(probe.latencies_ms, 99))
