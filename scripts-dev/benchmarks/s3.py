"""A large file through our server into S3 and out again, beside boto3 itself.

boto3 works from and to a file, on the core that our server has else. The object store
runs beside the load.
"""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3

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
from benchmarks.servers.object_store import BUCKET, ObjectStore
from benchmarks.wire import request_head

DOWNLOAD = "s3-download-100m"
UPLOAD = "s3-upload-100m"
NAMES = (DOWNLOAD, UPLOAD)

_BOTO3 = "boto3"
_SIZE = 100_000_000
_CLIENTS = 16
_SETTLE_S = 0.3
_READ_BYTES = 1 << 20


class MmrOnS3(Mmr):
    """Our server with a bucket instead of a folder."""

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(folder)
        self._s3_port = port

    def _config(self) -> dict[str, Any]:
        config = super()._config()
        config["datastores"] = [
            {
                "type": "s3",
                "id": "bench",
                "forKinds": ["all"],
                "opts": {
                    "endpoint": f"127.0.0.1:{self._s3_port}",
                    "bucketName": BUCKET,
                    "accessKeyId": "bench",
                    "accessSecret": "bench",
                    "ssl": "false",
                    "tempPath": str(self.folder / "spool"),
                },
            }
        ]
        # What is measured is the way to S3.
        config["downloads"] = {"cache": {"enabled": False}}
        return config


def measure(name: str, rounds: int) -> Result:
    """Measure one direction."""
    found: dict[str, dict[str, list[float]]] = {
        OURS: defaultdict(list),
        _BOTO3: defaultdict(list),
    }
    foreign = []
    with _started() as (server, store, folder):
        client = _client(store)
        key = server.upload(fresh_bytes(_SIZE), "application/octet-stream")
        for _ in range(rounds):
            before, started = _foreign_seconds(server, store), time.perf_counter()
            if name == DOWNLOAD:
                _download(server, key, found[OURS])
                _boto3_download(client, folder, found[_BOTO3])
            else:
                _upload(server, found[OURS])
                _boto3_upload(client, folder, found[_BOTO3])
            took_s = time.perf_counter() - started
            spent_s = _foreign_seconds(server, store) - before
            foreign.append(max(0.0, spent_s / took_s))
    rows = {label: dict(figures) for label, figures in found.items()}
    return Result(name, rows, statistics.median(foreign))


@contextlib.contextmanager
def _started() -> Iterator[tuple[MmrOnS3, ObjectStore, Path]]:
    with temporary_folder() as folder, contextlib.ExitStack() as stack:
        for name in ("store", "mmr", "boto3"):
            (folder / name).mkdir()
        store = ObjectStore(folder / "store")
        stack.callback(store.stop)
        server = MmrOnS3(folder / "mmr", store.port)
        stack.callback(server.stop)
        server.start()
        yield server, store, folder / "boto3"


def _foreign_seconds(server: MmrOnS3, store: ObjectStore) -> float:
    ours = own_seconds() + sum(usage(pid).cpu_s for pid in (server.pid, store.pid))
    return busy_seconds() - ours


def _client(store: ObjectStore) -> Any:
    return boto3.session.Session().client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{store.port}",
        region_name="us-east-1",
        aws_access_key_id="bench",
        aws_secret_access_key="bench",
    )


@contextlib.contextmanager
def _on_server_core() -> Iterator[None]:
    """Threads that are made inside inherit it."""
    os.sched_setaffinity(0, SERVER_CORES)
    try:
        yield
    finally:
        os.sched_setaffinity(0, LOAD_CORES)


def _download(server: MmrOnS3, key: str, found: dict[str, list[float]]) -> None:
    before = _ready(server)
    first_s, total_s = _fetch(server, key)
    after = usage(server.pid)
    found["mb_s"].append(_SIZE / total_s / 1e6)
    found["cpu_ms"].append((after.cpu_s - before.cpu_s) * 1000)
    found["first_ms"].append(first_s * 1000)
    found["rss_before_mb"].append(before.rss_mb)
    found["rss_peak_mb"].append(after.peak_mb)
    before = _ready(server)
    clients = [
        threading.Thread(target=_fetch, args=(server, key)) for _ in range(_CLIENTS)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    found["growth_mb"].append(usage(server.pid).peak_mb - before.rss_mb)


def _fetch(server: MmrOnS3, key: str) -> tuple[float, float]:
    head = request_head("GET", server.download_path(key), server.headers)
    started = time.perf_counter()
    with socket.create_connection(("127.0.0.1", server.port), 120) as connection:
        connection.sendall(head)
        received = b""
        while b"\r\n\r\n" not in received[:-1]:
            received += connection.recv(_READ_BYTES)
        head, _, rest = received.partition(b"\r\n\r\n")
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise BenchError(f"the answer was {head[:200]!r}")
        first_s = time.perf_counter() - started if rest else 0.0
        missing = _SIZE - len(rest)
        while missing:
            piece = connection.recv(_READ_BYTES)
            if not piece:
                raise BenchError(f"{missing} bytes are missing")
            first_s = first_s or time.perf_counter() - started
            missing -= len(piece)
    return first_s, time.perf_counter() - started


def _boto3_download(client: Any, folder: Path, found: dict[str, list[float]]) -> None:
    client.put_object(Bucket=BUCKET, Key="file", Body=bytes(_SIZE))
    warm_memory()
    with _on_server_core():
        started, cpu_s = time.perf_counter(), own_seconds()
        client.download_file(BUCKET, "file", str(folder / "file"))
        found["mb_s"].append(_SIZE / (time.perf_counter() - started) / 1e6)
        found["cpu_ms"].append((own_seconds() - cpu_s) * 1000)
        started = time.perf_counter()
        body = client.get_object(Bucket=BUCKET, Key="file")["Body"]
        body.read(1)
        found["first_ms"].append((time.perf_counter() - started) * 1000)
        body.close()


def _upload(server: MmrOnS3, found: dict[str, list[float]]) -> None:
    data = fresh_bytes(_SIZE)
    before = _ready(server)
    started = time.perf_counter()
    server.upload(data, "application/octet-stream")
    found["mb_s"].append(_SIZE / (time.perf_counter() - started) / 1e6)
    after = usage(server.pid)
    found["cpu_ms"].append((after.cpu_s - before.cpu_s) * 1000)
    found["rss_before_mb"].append(before.rss_mb)
    found["rss_peak_mb"].append(after.peak_mb)
    found["growth_mb"].append(after.peak_mb - before.rss_mb)


def _boto3_upload(client: Any, folder: Path, found: dict[str, list[float]]) -> None:
    path = folder / "file"
    path.write_bytes(fresh_bytes(_SIZE))
    warm_memory()
    with _on_server_core():
        started, cpu_s = time.perf_counter(), own_seconds()
        client.upload_file(str(path), BUCKET, "upload")
        found["mb_s"].append(_SIZE / (time.perf_counter() - started) / 1e6)
        found["cpu_ms"].append((own_seconds() - cpu_s) * 1000)


def _ready(server: MmrOnS3) -> Any:
    time.sleep(_SETTLE_S)
    warm_memory()
    forget_peaks(server.pid)
    return usage(server.pid)
