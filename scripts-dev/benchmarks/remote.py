"""Files of another server: how soon the first byte, how much memory, how many requests.

Not a workload like the others: each file is fetched once, from an origin that runs
beside the load, and compared with what that origin itself needs.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from benchmarks.errors import BenchError
from benchmarks.processes import busy_seconds, forget_peaks, own_seconds, usage
from benchmarks.runner import OURS, Result, temporary_folder, warm_memory
from benchmarks.servers.mmr import Mmr
from benchmarks.servers.origin import MEDIA, Origin, write_certificate
from benchmarks.wire import request_head

NAME = "remote"
_LARGE = 100_000_000
_SHARED = 10_000_000
_CLIENTS = 100
# Long enough for all clients to have asked.
_SILENCE_S = 0.5
_SETTLE_S = 0.3
_READ_BYTES = 1 << 20


class FederatingMmr(Mmr):
    """Our server, with a signing key and the right to reach the origins.

    Args:
        certificate: That of the origins.
    """

    def __init__(self, folder: Path, certificate: Path) -> None:
        super().__init__(folder)
        self._ca = certificate
        self._key = folder / "signing.key"
        self._key.write_text(f"ed25519 bench {'A' * 43}\n")
        self._key.chmod(0o600)

    def _config(self) -> dict[str, Any]:
        config = super()._config()
        config["homeservers"][0]["signingKeyPath"] = str(self._key)
        config["federation"] = {
            "exemptNetworks": ["127.0.0.0/8"],
            "caFile": str(self._ca),
        }
        return config


@attrs.define
class _Fetched:
    """One client's view.

    Args:
        first_s: From the request to the first byte of the body.
        total_s: To the last one.
    """

    first_s: float
    total_s: float
    body_bytes: int


def measure(rounds: int) -> Result:
    """Fetch in rounds, with one client and with many."""
    found: dict[str, list[float]] = defaultdict(list)
    foreign = []
    with _started() as (server, large, shared):
        _through(server, large.server_name)  # connections, pools, database
        for _ in range(rounds):
            pids = [server.pid, large.pid, shared.pid]
            before, started = _foreign_seconds(pids), time.perf_counter()
            _one_client(server, large, found)
            _many_clients(server, shared, found)
            took_s = time.perf_counter() - started
            foreign.append(max(0.0, (_foreign_seconds(pids) - before) / took_s))
    return Result(NAME, {OURS: dict(found)}, statistics.median(foreign))


def _foreign_seconds(pids: list[int]) -> float:
    """CPU seconds that neither the bench nor these processes have spent."""
    ours = own_seconds() + sum(usage(pid).cpu_s for pid in pids)
    return busy_seconds() - ours


@contextlib.contextmanager
def _started() -> Iterator[tuple[FederatingMmr, Origin, Origin]]:
    with temporary_folder() as folder, contextlib.ExitStack() as stack:

        def origin(name: str, size: int, silence_s: float) -> Origin:
            (folder / name).mkdir()
            made = Origin(folder / name, certificate, size, silence_s)
            stack.callback(made.stop)
            made.wait()
            return made

        certificate = folder / "certificate.pem"
        write_certificate(certificate)
        large = origin("large", _LARGE, 0)
        shared = origin("shared", _SHARED, _SILENCE_S)
        (folder / "mmr").mkdir()
        server = FederatingMmr(folder / "mmr", certificate)
        stack.callback(server.stop)
        server.start()
        yield server, large, shared


def _one_client(
    server: FederatingMmr, origin: Origin, found: dict[str, list[float]]
) -> None:
    direct = _direct(origin)
    before = _ready(server)
    fetched = _through(server, origin.server_name)
    after = usage(server.pid)
    if fetched.body_bytes != _LARGE:
        raise BenchError(f"{fetched.body_bytes} bytes instead of {_LARGE}")
    found["mb_s"].append(_LARGE / fetched.total_s / 1e6)
    found["cpu_ms"].append((after.cpu_s - before.cpu_s) * 1000)
    found["direct_ms"].append(direct.first_s * 1000)
    found["first_ms"].append(fetched.first_s * 1000)
    found["added_ms"].append((fetched.first_s - direct.first_s) * 1000)
    found["rss_before_mb"].append(before.rss_mb)
    found["rss_peak_mb"].append(after.peak_mb)
    found["growth_mb"].append(after.peak_mb - before.rss_mb)


def _many_clients(
    server: FederatingMmr, origin: Origin, found: dict[str, list[float]]
) -> None:
    media_id = secrets.token_hex(16)
    results: list[_Fetched] = []

    def fetch() -> None:
        # A wrong answer is counted, below.
        with contextlib.suppress(BenchError, OSError):
            results.append(_through(server, origin.server_name, media_id))

    before = _ready(server)
    threads = [threading.Thread(target=fetch) for _ in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = usage(server.pid)
    whole = sum(each.body_bytes == _SHARED for each in results)
    found["errors"].append(_CLIENTS - whole)
    found["origin_requests"].append(origin.requests_for(media_id))
    found["growth_many_mb"].append(after.peak_mb - before.rss_mb)


def _ready(server: FederatingMmr) -> Any:
    time.sleep(_SETTLE_S)
    warm_memory()
    forget_peaks(server.pid)
    return usage(server.pid)


def _direct(origin: Origin) -> _Fetched:
    """What the origin itself needs: connection, TLS, answer."""
    started = time.perf_counter()
    with origin.connect() as connection:
        target = MEDIA + secrets.token_hex(16)
        connection.sendall(request_head("GET", target, {"Host": origin.server_name}))
        return _read(connection, started, _LARGE)


def _through(
    server: FederatingMmr, server_name: str, media_id: str | None = None
) -> _Fetched:
    """A cold file over our server."""
    key = f"{server_name}/{media_id or secrets.token_hex(16)}"
    head = request_head("GET", server.download_path(key), server.headers)
    started = time.perf_counter()
    with socket.create_connection(("127.0.0.1", server.port), 120) as connection:
        connection.sendall(head)
        return _read(connection, started, None)


def _read(connection: socket.socket, started: float, length: int | None) -> _Fetched:
    """Read to the end of the chunks, or so many bytes."""
    received = b""
    while b"\r\n\r\n" not in received[:-1]:
        received += _piece(connection)
    head, _, rest = received.partition(b"\r\n\r\n")
    if b" 200 " not in head.partition(b"\r\n")[0]:
        raise BenchError(f"the answer was {head[:100]!r} {rest[:300]!r}")
    while not rest:
        rest = _piece(connection)
    first_s = time.perf_counter() - started
    if length is not None:
        count = len(rest)
        while count < length:
            count += len(_piece(connection))
        return _Fetched(first_s, time.perf_counter() - started, length)
    count = _read_chunks(connection, rest)
    return _Fetched(first_s, time.perf_counter() - started, count)


def _read_chunks(connection: socket.socket, rest: bytes) -> int:
    count = 0
    while True:
        while b"\r\n" not in rest:
            rest += _piece(connection)
        line, _, rest = rest.partition(b"\r\n")
        missing = int(line, 16) + 2
        if missing == 2:
            return count
        count += missing - 2
        while len(rest) < missing:
            missing -= len(rest)
            rest = _piece(connection)
        rest = rest[missing:]


def _piece(connection: socket.socket) -> bytes:
    piece = connection.recv(_READ_BYTES)
    if not piece:
        raise BenchError("the connection was closed within an answer")
    return piece
