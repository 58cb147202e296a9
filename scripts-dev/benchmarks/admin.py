"""The admin API on a million media rows, and downloads beside its longest calls."""

from __future__ import annotations

import contextlib
import socket
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import million
from benchmarks.errors import BenchError
from benchmarks.probe import Probe
from benchmarks.processes import busy_seconds, forget_peaks, own_seconds, usage
from benchmarks.runner import OURS, Result, temporary_folder
from benchmarks.servers.base import fresh_bytes
from benchmarks.servers.mmr import Mmr
from benchmarks.servers.services import Postgres
from benchmarks.stats import percentile
from benchmarks.targets import Target
from benchmarks.wire import Connection, request_head

NAME = "admin"
SIZES = million.Sizes()
_ADMIN = "/_matrix/media/unstable/admin"
_SYNAPSE = "/_synapse/admin/v1"
_SECRET = "the-shared-secret-of-the-bench"
_FILE_BYTES = 20_000
_IDLE_S = 10.0
_REPEATS = 5
_WARM_UP_REQUESTS = 50
_READ_BYTES = 1 << 20
_LONGEST_CALL_S = 1800

_HEAVY = f"{_SYNAPSE}/users/{million.HEAVY_USER}/media"
QUERIES = {
    "admin-usage": f"{_ADMIN}/usage/{million.OWN}",
    "admin-usage-small": f"{_ADMIN}/usage/{million.SMALL}",
    "admin-users-stats": f"{_ADMIN}/usage/{million.OWN}/users-stats",
    "admin-users-stats-size": (
        f"{_ADMIN}/usage/{million.OWN}/users-stats?order_by=media_length&dir=b"
    ),
    "admin-users-stats-week": (
        f"{_ADMIN}/usage/{million.OWN}/users-stats?order_by=media_count&dir=b"
        "&from_ts=1690000000000&until_ts=1690604800000"
    ),
    "admin-user-media": _HEAVY,
    "admin-user-media-last": f"{_HEAVY}?from={SIZES.heavy - 100}",
    "admin-statistics": (
        f"{_SYNAPSE}/statistics/users/media?order_by=media_length&dir=b"
    ),
    "admin-uploads-small": f"{_ADMIN}/usage/{million.SMALL}/uploads",
}
"""What is asked again and again; one connection, one after the other."""

STREAM = "admin-uploads"
PURGE = "admin-purge"
QUARANTINE = "admin-quarantine"


TARGETS = (
    *(Target(name, "p50_ms", None, 1000) for name in QUERIES),
    Target(STREAM, "growth_mb", None, 20),
    *(
        target
        for name in (PURGE, QUARANTINE)
        for target in (
            Target(name, "growth_mb", None, 50),
            Target(name, "busy_p99_ms", None, 50),
        )
    ),
)


class MmrOnMillion(Mmr):
    """Our server on PostgreSQL, with the shared secret."""

    def __init__(self, folder: Path, postgres: Postgres) -> None:
        super().__init__(folder)
        self._postgres = postgres
        self.admin_headers = {"Host": "localhost", "Authorization": f"Bearer {_SECRET}"}

    def _config(self) -> dict[str, Any]:
        return {
            **super()._config(),
            "database": {"postgres": self._postgres.url},
            "sharedSecretAuth": {"enabled": True, "token": _SECRET},
        }


def measure() -> list[Result]:
    """One table for each kind of call. Takes some minutes."""
    with _started() as (server, postgres):
        busy, began = _foreign_seconds(server), time.perf_counter()
        rows = {name: _query(server, path) for name, path in QUERIES.items()}
        rows[STREAM] = _stream(server)
        head = _download_head(server)
        rows[PURGE] = _order(server, head, f"purge/server/{million.TO_PURGE}")
        _expect_none(postgres, f"origin = '{million.TO_PURGE}'")
        path = f"quarantine/server/{million.TO_QUARANTINE}"
        rows[QUARANTINE] = _order(server, head, path)
        _expect_none(
            postgres, f"origin = '{million.TO_QUARANTINE}' AND NOT quarantined"
        )
        spent_s = _foreign_seconds(server) - busy
        foreign = max(0.0, spent_s / (time.perf_counter() - began))
    return [
        Result(name, {OURS: figures}, foreign, TARGETS)
        for name, figures in rows.items()
    ]


@contextlib.contextmanager
def _started() -> Iterator[tuple[MmrOnMillion, Postgres]]:
    with temporary_folder() as folder, contextlib.ExitStack() as stack:
        for name in ("postgres", "mmr"):
            (folder / name).mkdir()
        postgres = Postgres(folder / "postgres", ("shared_buffers=512MB",))
        stack.callback(postgres.stop)
        server = MmrOnMillion(folder / "mmr", postgres)
        stack.callback(server.stop)
        # It makes the tables.
        server.start()
        server.stop()
        million.fill(postgres, SIZES)
        server.start()
        yield server, postgres


def _foreign_seconds(server: MmrOnMillion) -> float:
    # What PostgreSQL does counts as foreign: it shares the load's core.
    return busy_seconds() - own_seconds() - usage(server.pid).cpu_s


def _query(server: MmrOnMillion, path: str) -> dict[str, list[float]]:
    head = request_head("GET", path, server.admin_headers)
    connection = Connection(server.port)
    times_ms = []
    for _ in range(_REPEATS + 1):
        began = time.perf_counter()
        answer = connection.exchange(head)
        times_ms.append((time.perf_counter() - began) * 1000)
        if answer.status != 200:
            raise BenchError(f"{path} answered {answer.status}: {answer.body[:300]!r}")
    connection.close()
    # The first one reads from the disk.
    return {"first_call_ms": times_ms[:1], "p50_ms": [statistics.median(times_ms[1:])]}


def _stream(server: MmrOnMillion) -> dict[str, list[float]]:
    """All that is known of half a million media, in one answer."""
    headers = {**server.admin_headers, "Connection": "close"}
    path = f"{_ADMIN}/usage/{million.OWN}/uploads"
    forget_peaks(server.pid)
    before, began = usage(server.pid), time.perf_counter()
    with socket.create_connection(("127.0.0.1", server.port), 120) as connection:
        connection.sendall(request_head("GET", path, headers))
        received = connection.recv(_READ_BYTES)
        first_s = time.perf_counter() - began
        count = len(received)
        while piece := connection.recv(_READ_BYTES):
            count += len(piece)
    took_s = time.perf_counter() - began
    return {
        "first_ms": [first_s * 1000],
        "mb_s": [count / took_s / 1e6],
        "growth_mb": [usage(server.pid).peak_mb - before.rss_mb],
    }


def _download_head(server: MmrOnMillion) -> bytes:
    path = server.download_path(
        server.upload(fresh_bytes(_FILE_BYTES), "application/octet-stream")
    )
    for _ in range(_WARM_UP_REQUESTS):
        server.get(path)
    return request_head("GET", path, server.headers)


def _order(server: MmrOnMillion, download: bytes, path: str) -> dict[str, list[float]]:
    """One of the longest calls, with a download 100 times a second beside it."""
    with Probe(server.port, download) as idle:
        time.sleep(_IDLE_S)
    forget_peaks(server.pid)
    before = usage(server.pid)
    with Probe(server.port, download) as beside:
        done_s = _call(server, path)
    after = usage(server.pid)
    figures: dict[str, list[float]] = defaultdict(list)
    figures["media_s"].append(SIZES.each / done_s)
    figures["cpu_ms"].append((after.cpu_s - before.cpu_s) * 1000 / SIZES.each)
    figures["growth_mb"].append(after.peak_mb - before.rss_mb)
    quiet, busy = (percentile(each.latencies_ms, 99) for each in (idle, beside))
    figures["idle_p99_ms"].append(quiet)
    figures["busy_p99_ms"].append(busy)
    figures["slowdown"].append(busy / quiet)
    figures["stall_ms"].append(max(beside.latencies_ms))
    return dict(figures)


def _call(server: MmrOnMillion, path: str) -> float:
    """Seconds until the answer."""
    head = request_head("POST", f"{_ADMIN}/{path}", server.admin_headers, 0)
    began = time.perf_counter()
    with socket.create_connection(
        ("127.0.0.1", server.port), _LONGEST_CALL_S
    ) as connection:
        connection.sendall(head)
        answer = connection.recv(_READ_BYTES)
    if b" 200 " not in answer.partition(b"\r\n")[0]:
        raise BenchError(f"{path}: {answer[:300]!r}")
    return time.perf_counter() - began


def _expect_none(postgres: Postgres, condition: str) -> None:
    left = million.remaining(postgres, condition)
    if left:
        raise BenchError(f"{left} media are left with {condition}")
