"""An archive of many small files into a server, beside `tar xzf` of it.

`cp -r` of the same files is there as well. Neither hashes or flushes, or keeps a
database. Nothing is deleted before the end: ext4 gives out no inode again for
some seconds, and makes whatever comes next pay for the search.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import random
import statistics
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.archives import FILES, SIZES, MmrWithArchives, note
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
from benchmarks.targets import Target
from benchmarks.wire import Connection, request_head
from mmr.archives.manifest import ManifestWriter, MediaEntry
from mmr.archives.writer import EntryHead, PartEncoder, entry_name, part_name

IMPORT = "archives-import"
_TAR, _CP = "tar", "cp -r"
TARGETS = (
    Target(IMPORT, "files_s", _TAR, 0.7),
    Target(IMPORT, "growth_mb", None, 100),
)

Figures = dict[str, list[float]]

_SETTLE_S = 0.5
_ORIGIN, _WHEN_MS = "localhost", 1_700_000_000_000


def measure(rounds: int) -> Result:
    """Import in rounds, into an empty server each."""
    found: dict[str, Figures] = {
        label: defaultdict(list) for label in (OURS, _TAR, _CP)
    }
    foreign = []
    with temporary_folder() as folder, all_cores():
        size_bytes = _make(folder)
        for number in range(rounds):
            place = folder / f"round-{number}"
            place.mkdir()
            before, started = busy_seconds() - own_seconds(), time.perf_counter()
            cpu_s = _import(folder, place, size_bytes, found[OURS])
            (place / "unpacked").mkdir()
            unpack = ["tar", "-C", str(place / "unpacked"), "-xzf"]
            run([*unpack, str(folder / part_name(1))], size_bytes, found[_TAR])
            copy = ["cp", "-r", str(folder / "files"), str(place / "copy")]
            run(copy, size_bytes, found[_CP])
            took_s = time.perf_counter() - started
            spent_s = busy_seconds() - own_seconds() - before - cpu_s
            foreign.append(max(0.0, spent_s / took_s))
    rows = {label: dict(figures) for label, figures in found.items()}
    return Result(IMPORT, rows, statistics.median(foreign), TARGETS)


@contextlib.contextmanager
def all_cores() -> Iterator[None]:
    os.sched_setaffinity(0, SERVER_CORES | LOAD_CORES)
    try:
        yield
    finally:
        os.sched_setaffinity(0, LOAD_CORES)


def _make(folder: Path) -> int:
    """Make files in our layout, and an archive of them; gives their bytes."""
    encoder = PartEncoder(part_name(1))
    text = io.BytesIO()
    manifest = ManifestWriter(text, _ORIGIN, _WHEN_MS)
    sizes = random.Random(1).choices(SIZES, k=FILES)
    with (folder / part_name(1)).open("wb") as part:
        for number, size in enumerate(sizes):
            data, digest = fresh_bytes(size), hashlib.sha256(b"%d" % number).hexdigest()
            path = folder / "files" / digest[:2] / digest[2:4] / digest[4:]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            name = entry_name(_ORIGIN, f"m{number}", ".bin")
            head = EntryHead(name, size, _WHEN_MS // 1000)
            part.write(encoder.encode([head, data]))
            manifest.add(_entry(f"m{number}", name, data))
        part.write(encoder.close())
    manifest.close()
    encoder = PartEncoder("export-manifest.tgz")
    head = EntryHead("manifest.json", len(text.getvalue()), 0)
    packed = encoder.encode([head, text.getvalue()]) + encoder.close()
    (folder / "manifest").write_bytes(packed)
    subprocess.run(["sync"], check=True)
    return sum(sizes)


def _entry(media_id: str, file_name: str, data: bytes) -> MediaEntry:
    return MediaEntry(
        origin=_ORIGIN,
        media_id=media_id,
        name="file",
        file_name=file_name,
        size_bytes=len(data),
        content_type="application/octet-stream",
        sha256=hashlib.sha256(data).hexdigest(),
        s3_url="",
        created_ts=_WHEN_MS,
        uploader=f"@bench:{_ORIGIN}",
    )


def _import(folder: Path, place: Path, size_bytes: int, found: Figures) -> float:
    """Import into a new server; gives its CPU seconds.

    The part waits there already: the clock runs from the manifest's arrival.
    """
    server = MmrWithArchives(place)
    try:
        server.start()
        for thread in Path(f"/proc/{server.pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), SERVER_CORES | LOAD_CORES)
        answer = _post(server, "import", (folder / part_name(1)).read_bytes())
        settle()
        forget_peaks(server.pid)
        before, started = usage(server.pid), time.perf_counter()
        _post(
            server,
            f"import/{answer['import_id']}/part",
            (folder / "manifest").read_bytes(),
        )
        server.finish(answer["task_id"])
        took_s, after = time.perf_counter() - started, usage(server.pid)
    finally:
        server.stop()
    note(found, size_bytes, took_s, after.cpu_s - before.cpu_s)
    found["rss_before_mb"].append(before.rss_mb)
    found["rss_peak_mb"].append(after.peak_mb)
    found["growth_mb"].append(after.peak_mb - before.rss_mb)
    return after.cpu_s


def _post(server: MmrWithArchives, path: str, body: bytes) -> Any:
    connection = Connection(server.port)
    head = request_head(
        "POST", f"/_matrix/media/unstable/admin/{path}", server.headers, len(body)
    )
    answer = connection.exchange(head, body)
    connection.close()
    if answer.status != 200:
        raise BenchError(f"{path}: {answer.status} {answer.body!r}")
    return json.loads(answer.body)


def run(command: list[str], size_bytes: int, found: Figures) -> None:
    """Have a program deal with all files."""
    settle()
    started, cpu_s = time.perf_counter(), own_seconds()
    done = subprocess.run(command, capture_output=True, text=True)
    took_s = time.perf_counter() - started
    if done.returncode:
        raise BenchError(f"{command}: {done.stdout[-500:]} {done.stderr[-500:]}")
    note(found, size_bytes, took_s, own_seconds() - cpu_s)


def settle() -> None:
    """What was written before is no burden of what comes."""
    subprocess.run(["sync"], check=True)
    time.sleep(_SETTLE_S)
    warm_memory()
