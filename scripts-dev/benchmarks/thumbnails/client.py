"""Uploads pictures and asks for their thumbnails, one by one or all at once."""

from __future__ import annotations

import http.client
import os
import secrets
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.errors import BenchError
from benchmarks.picture import Size
from benchmarks.processes import (
    LOAD_CORES,
    SERVER_CORES,
    Child,
    Usage,
    forget_peaks,
    usage,
)
from benchmarks.runner import warm_memory
from benchmarks.servers.base import MatrixServer, media_key
from benchmarks.servers.mmr import Mmr
from benchmarks.thumbnails.files import Source
from benchmarks.wire import Connection, request_head

_SETTLE_S = 0.3
_TIMEOUT_S = 120


class ThumbnailingMmr(Mmr):
    """Our server, taking every format, and files as large as the PNG."""

    def _config(self) -> dict[str, Any]:
        config = super()._config()
        kinds = ("jpeg", "png", "gif", "webp", "avif", "heic")
        config["thumbnails"] = {
            "types": [f"image/{kind}" for kind in kinds],
            "maxSourceBytes": 50_000_000,
        }
        return config


class RoamingMmr(ThumbnailingMmr):
    """Our server on all cores, as anywhere but in the bench.

    On one, the server would share it with workers that have another to themselves.
    """

    def launch(self) -> Child:
        """Start it; its threads and workers may run where it may."""
        child = super().launch()
        os.sched_setaffinity(child.pid, SERVER_CORES | LOAD_CORES)
        return child


def started(maker: type[MatrixServer], folder: Path) -> MatrixServer:
    """Start a server with its files in a new folder."""
    folder.mkdir()
    server = maker(folder)
    try:
        server.start()
    except BenchError:
        server.stop()
        raise
    return server


def upload(server: MatrixServer, source: Source) -> str:
    """Store a picture as a media of its own, whose thumbnails nobody has made."""
    data = source.make()
    # Under a name of its own it isn't taken for a duplicate.
    path = f"{server.upload_path}?filename={secrets.token_hex(8)}"
    headers = {**server.headers, "Content-Type": source.content_type}
    connection = Connection(server.port)
    answer = connection.exchange(request_head("POST", path, headers, len(data)), data)
    connection.close()
    return media_key(server.name, answer)


def fetch(server: MatrixServer, path: str) -> bytes:
    """The whole body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, _TIMEOUT_S)
    connection.request("GET", path, headers=dict(server.headers))
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200:
        raise BenchError(f"{server.name}: {answer.status} to {path}: {body[:300]!r}")
    return body


def fetch_at_once(server: MatrixServer, paths: Iterable[str]) -> None:
    """Fetch each over a connection of its own."""
    wanted = list(paths)
    with ThreadPoolExecutor(len(wanted)) as threads:
        list(threads.map(lambda path: fetch(server, path), wanted))


def thumbnail_path(server: MatrixServer, key: str, size: Size) -> str:
    """Where a thumbnail is; an animation's moves."""
    return server.thumbnail_path(key, size) + "&animated=true"


def ready(server: MatrixServer) -> Usage:
    """Let everything settle; what the server uses then."""
    time.sleep(_SETTLE_S)
    warm_memory()
    forget_peaks(server.pid)
    return usage(server.pid)
