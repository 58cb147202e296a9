"""Measures the rows, one after the other; our server and the naive one take turns."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from benchmarks.picture import Size
from benchmarks.probe import Probe
from benchmarks.processes import busy_seconds, own_seconds, usage
from benchmarks.runner import OURS, Result, temporary_folder
from benchmarks.servers.base import MatrixServer
from benchmarks.servers.naive import Naive
from benchmarks.stats import percentile
from benchmarks.thumbnails.client import (
    RoamingMmr,
    ThumbnailingMmr,
    fetch,
    fetch_at_once,
    ready,
    started,
    thumbnail_path,
    upload,
)
from benchmarks.thumbnails.files import (
    BASELINE,
    OTHERS,
    SEE_THROUGH,
    Source,
    animation,
    decoded_mb,
    small_copy,
)
from benchmarks.thumbnails.rows import (
    ANIMATED,
    FEW_FRAMES,
    FIVE_SIZES,
    MANY_FRAMES,
    PEER,
    ROWS,
    SIZES,
    TARGETS,
    WHILE_RENDERING,
    Row,
    animation_name,
    memory_name,
)
from benchmarks.thumbnails.similarity import similarity
from benchmarks.wire import request_head

_LARGEST = SIZES[-1]
_USUAL = (320, 240)
_FILE_BYTES = 20_000
_EIGHTS = 4
"""In a round, one after the other: one would be over after a hundred downloads."""

Figures = dict[str, dict[str, list[float]]]


def measure(rounds: int, seconds: float) -> Iterator[Result]:
    """Measure each row of `rows`; a result as soon as it is known."""
    with temporary_folder() as folder, contextlib.ExitStack() as stack:
        servers = {}
        for label, maker in ((OURS, ThumbnailingMmr), (PEER, Naive)):
            servers[label] = started(maker, folder / label)
            stack.callback(servers[label].stop)
        for server in servers.values():
            _warm_up(server)
        for row in ROWS:
            yield _still(servers, row, rounds)
        yield _five_sizes(servers, rounds)
        for kind in ANIMATED:
            yield _animation(servers[OURS], folder, kind, rounds)
    with temporary_folder() as folder:
        yield _beside_renders(folder, rounds, seconds)
        for source in (*OTHERS, *SEE_THROUGH):
            yield _memory(folder, source)


def _result(name: str, figures: Figures, foreign: list[float]) -> Result:
    plain = {label: dict(metrics) for label, metrics in figures.items()}
    cores = statistics.median(foreign) if foreign else 0.0
    return Result(name, plain, cores, TARGETS)


def _figures() -> Figures:
    return defaultdict(lambda: defaultdict(list))


def _warm_up(server: MatrixServer) -> None:
    key = upload(server, BASELINE[0])
    fetch_at_once(server, [thumbnail_path(server, key, size) for size in SIZES])


def _cpu_ms(server: MatrixServer, paths: list[str], *, at_once: bool) -> list[float]:
    """CPU of the server, and the cores that other programs kept busy meanwhile."""
    before = ready(server)
    begun, foreign = time.perf_counter(), _foreign_seconds(server)
    if at_once:
        fetch_at_once(server, paths)
    else:
        for path in paths:
            fetch(server, path)
    cpu_s = usage(server.pid).cpu_s - before.cpu_s
    others_s = _foreign_seconds(server) - foreign
    took_s = time.perf_counter() - begun
    return [cpu_s * 1000, max(0.0, others_s / took_s)]


def _still(servers: dict[str, MatrixServer], row: Row, rounds: int) -> Result:
    figures, foreign = _figures(), []
    for _ in range(rounds):
        for label, server in servers.items():
            keys = [upload(server, row.source) for _ in range(row.repeats)]
            paths = [thumbnail_path(server, key, row.size) for key in keys]
            cpu_ms, others = _cpu_ms(server, paths, at_once=False)
            figures[label]["cpu_ms"].append(cpu_ms / row.repeats)
            foreign.append(others)
    bodies = {
        label: fetch(
            server, thumbnail_path(server, upload(server, row.source), row.size)
        )
        for label, server in servers.items()
    }
    figures[OURS]["ssim_lost"].append(
        _likeness(row, bodies[PEER]) - _likeness(row, bodies[OURS])
    )
    return _result(row.name, figures, foreign)


def _likeness(row: Row, body: bytes) -> float:
    with Image.open(io.BytesIO(body)) as image:
        return similarity(image, _reference(row.source, image.size))


@functools.lru_cache(maxsize=2)
def _reference(source: Source, size: Size) -> Image.Image:
    """Decoded in full, scaled with Lanczos, and never encoded."""
    with Image.open(io.BytesIO(source.make())) as image:
        return image.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _five_sizes(servers: dict[str, MatrixServer], rounds: int) -> Result:
    figures, foreign = _figures(), []
    for _ in range(rounds):
        for label, server in servers.items():
            key = upload(server, BASELINE[0])
            paths = [thumbnail_path(server, key, size) for size in SIZES]
            cpu_ms, others = _cpu_ms(server, paths, at_once=True)
            figures[label]["cpu_ms"].append(cpu_ms)
            foreign.append(others)
    return _result(FIVE_SIZES, figures, foreign)


def _beside_renders(folder: Path, rounds: int, seconds: float) -> Result:
    """Small downloads while one picture of each format, and another, render."""
    figures, foreign = _figures(), []
    server = started(RoamingMmr, folder / "roaming")
    try:
        _warm_up(server)
        for _ in range(rounds):
            foreign.append(_beside_eights(server, seconds, figures[OURS]))
    finally:
        server.stop()
    return _result(WHILE_RENDERING, figures, foreign)


def _beside_eights(
    server: MatrixServer, seconds: float, ours: dict[str, list[float]]
) -> float:
    """A round; returns how many cores other programs kept busy."""
    key = server.upload(os.urandom(_FILE_BYTES), "application/octet-stream")
    head = request_head("GET", server.download_path(key), server.headers)
    eights = [_paths_of_eight(server) for _ in range(_EIGHTS)]
    ready(server)
    begun, busy_before = time.perf_counter(), _foreign_seconds(server)
    with Probe(server.port, head) as idle:
        time.sleep(seconds)
    with Probe(server.port, head) as busy:
        for paths in eights:
            fetch_at_once(server, paths)
    took_s = time.perf_counter() - begun
    ours["idle_p99_ms"].append(percentile(idle.latencies_ms, 99))
    ours["busy_p99_ms"].append(percentile(busy.latencies_ms, 99))
    ours["slowdown"].append(ours["busy_p99_ms"][-1] / ours["idle_p99_ms"][-1])
    return max(0.0, (_foreign_seconds(server) - busy_before) / took_s)


def _paths_of_eight(server: MatrixServer) -> list[str]:
    sources = (*BASELINE, *OTHERS, animation("GIF", MANY_FRAMES))
    keys = [upload(server, source) for source in sources]
    return [thumbnail_path(server, key, _LARGEST) for key in keys]


def _foreign_seconds(server: MatrixServer) -> float:
    """CPU that neither the server nor we have used."""
    return busy_seconds() - own_seconds() - usage(server.pid).cpu_s


def _memory(folder: Path, source: Source) -> Result:
    figures = _figures()
    decoded = decoded_mb(source.make())
    growth = _growth_mb(folder / memory_name(source.name).replace("/", "-"), source)
    figures[OURS]["growth_mb"].append(growth)
    figures[OURS]["decoded_mb"].append(decoded)
    figures[OURS]["memory_ratio"].append(growth / decoded)
    return _result(memory_name(source.name), figures, [])


def _growth_mb(folder: Path, source: Source) -> float:
    """What a render adds to a fresh server, whose worker has loaded its decoder."""
    server = started(ThumbnailingMmr, folder)
    try:
        small = small_copy(source)
        fetch(server, thumbnail_path(server, upload(server, small), SIZES[0]))
        path = thumbnail_path(server, upload(server, source), _USUAL)
        before = ready(server)
        fetch(server, path)
        return usage(server.pid).peak_mb - before.rss_mb
    finally:
        server.stop()


def _animation(server: MatrixServer, folder: Path, kind: str, rounds: int) -> Result:
    figures, foreign = _figures(), []
    few, many = animation(kind, FEW_FRAMES), animation(kind, MANY_FRAMES)
    for _ in range(rounds):
        path = thumbnail_path(server, upload(server, many), _USUAL)
        cpu_ms, others = _cpu_ms(server, [path], at_once=False)
        figures[OURS]["cpu_ms"].append(cpu_ms)
        foreign.append(others)
    growth = [_growth_mb(folder / source.name, source) for source in (few, many)]
    # The worker holds the file, which is larger with more frames.
    file_mb = (len(many.make()) - len(few.make())) / 2**20
    figures[OURS]["growth_mb"].append(growth[1])
    figures[OURS]["frames_mb"].append(growth[1] - growth[0] - file_mb)
    return _result(animation_name(kind), figures, foreign)
