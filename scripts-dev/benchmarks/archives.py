"""Many small files into an archive, beside `tar` on the same folder.

Both may use all cores and write to the same disk. `tar` compresses everything as `gzip`
does by default, ours what gets smaller by it; only ours flushes what it has written.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import statistics
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.errors import BenchError
from benchmarks.processes import (
    LOAD_CORES,
    SERVER_CORES,
    busy_seconds,
    forget_peaks,
    own_seconds,
    usage,
)
from benchmarks.runner import OURS, Result, temporary_folder, warm_memory
from benchmarks.servers.base import fresh_bytes
from benchmarks.servers.mmr import Mmr
from benchmarks.targets import Target
from benchmarks.wire import Connection, request_head

NAME = "archives"
EXPORT = "archives-export"

_TAR = "tar"
TARGETS = (
    Target(EXPORT, "files_s", _TAR, 0.7),
    Target(EXPORT, "growth_mb", None, 50),
)

FILES = 10_000
SIZES = range(2_000, 38_000)
_UPLOADERS = 8
_SETTLE_S = 0.3
# The server that is measured has to answer each time.
_POLL_S = 0.02
_LONGEST_S = 600
_USER = "@bench:localhost"


class MmrWithArchives(Mmr):
    """Our server with media in one folder and archives in another."""

    def _config(self) -> dict[str, Any]:
        config = super()._config()
        (store,) = config["datastores"]
        kinds = ["thumbnails", "remote_media", "local_media"]
        archives = {"path": str(self.folder / "archives")}
        config["datastores"] = [
            {**store, "forKinds": kinds},
            {**store, "id": "archives", "forKinds": ["archives"], "opts": archives},
        ]
        config["admins"] = [_USER]
        return config

    def call(self, method: str, path: str) -> Any:
        """Call the admin API."""
        connection = Connection(self.port)
        head = request_head(
            method, f"/_matrix/media/unstable/admin/{path}", self.headers, 0
        )
        answer = connection.exchange(head)
        connection.close()
        if answer.status != 200:
            raise BenchError(f"{method} {path}: {answer.status} {answer.body!r}")
        return json.loads(answer.body)

    def finish(self, task_id: int) -> None:
        """Wait until a task is over."""
        deadline = time.monotonic() + _LONGEST_S
        while not (task := self.call("GET", f"tasks/{task_id}"))["is_finished"]:
            if time.monotonic() > deadline:
                raise BenchError(f"the task takes too long: {task}")
            time.sleep(_POLL_S)
        if task["error_message"]:
            raise BenchError(f"the task failed: {task['error_message']}")


def measure(rounds: int) -> list[Result]:
    """Export in rounds."""
    found: dict[str, dict[str, list[float]]] = {
        OURS: defaultdict(list),
        _TAR: defaultdict(list),
    }
    foreign = []
    with _started() as server:
        size_bytes = _fill(server)
        for _ in range(rounds):
            before = busy_seconds() - own_seconds() - usage(server.pid).cpu_s
            started = time.perf_counter()
            _export(server, size_bytes, found[OURS])
            _tar(server.folder, size_bytes, found[_TAR])
            took_s = time.perf_counter() - started
            spent_s = busy_seconds() - own_seconds() - usage(server.pid).cpu_s - before
            foreign.append(max(0.0, spent_s / took_s))
    rows = {label: dict(figures) for label, figures in found.items()}
    return [Result(EXPORT, rows, statistics.median(foreign), TARGETS)]


@contextlib.contextmanager
def _started() -> Iterator[MmrWithArchives]:
    with temporary_folder() as folder, contextlib.ExitStack() as stack:
        cores = SERVER_CORES | LOAD_CORES
        os.sched_setaffinity(0, cores)
        stack.callback(os.sched_setaffinity, 0, LOAD_CORES)
        server = MmrWithArchives(folder)
        stack.callback(server.stop)
        server.start()
        for thread in Path(f"/proc/{server.pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), cores)
        yield server


def _fill(server: MmrWithArchives) -> int:
    """Upload the files; gives their bytes."""
    sizes = random.Random(1).choices(SIZES, k=FILES)

    def upload(size: int) -> None:
        server.upload(fresh_bytes(size), "application/octet-stream")

    with ThreadPoolExecutor(_UPLOADERS) as pool:
        list(pool.map(upload, sizes))
    return sum(sizes)


def _export(
    server: MmrWithArchives, size_bytes: int, found: dict[str, list[float]]
) -> None:
    before = _ready(server)
    started = time.perf_counter()
    answer = server.call("POST", f"user/{_USER}/export")
    server.finish(answer["task_id"])
    took_s = time.perf_counter() - started
    after = usage(server.pid)
    note(found, size_bytes, took_s, after.cpu_s - before.cpu_s)
    found["rss_before_mb"].append(before.rss_mb)
    found["rss_peak_mb"].append(after.peak_mb)
    found["growth_mb"].append(after.peak_mb - before.rss_mb)
    server.call("DELETE", f"export/{answer['export_id']}")


def _tar(folder: Path, size_bytes: int, found: dict[str, list[float]]) -> None:
    time.sleep(_SETTLE_S)
    warm_memory()
    command = ["tar", "-C", str(folder / "media"), "-czf", str(folder / "all.tgz"), "."]
    started, cpu_s = time.perf_counter(), own_seconds()
    subprocess.run(command, check=True)
    took_s = time.perf_counter() - started
    note(found, size_bytes, took_s, own_seconds() - cpu_s)
    (folder / "all.tgz").unlink()


def note(
    found: dict[str, list[float]], size_bytes: int, took_s: float, cpu_s: float
) -> None:
    """Add the figures of one round over all files."""
    found["files_s"].append(FILES / took_s)
    found["mb_s"].append(size_bytes / took_s / 1e6)
    found["cpu_ms"].append(cpu_s * 1000 / FILES)


def _ready(server: MmrWithArchives) -> Any:
    time.sleep(_SETTLE_S)
    warm_memory()
    forget_peaks(server.pid)
    return usage(server.pid)
