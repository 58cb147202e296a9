"""PostgreSQL crashes and comes back while clients upload (R96)."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.integration.conftest import MakeServer
from tests.integration.inside import rows
from tests.integration.process import poll
from tests.integration.server import Server
from tests.integration.truth import Truth
from tests.postgres import PostgresCluster

CLIENTS = 6


@pytest.fixture
def cluster() -> Iterator[PostgresCluster]:
    made = PostgresCluster(durable=True)
    made.start()
    yield made
    made.remove()


class Clients:
    """Upload without end, and note what is answered and how long that takes."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._stop = threading.Event()
        self.kept: dict[str, str] = {}
        self.sent = 0
        self.statuses: Counter[int] = Counter()
        self.longest_s = 0.0
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(120)
            assert not thread.is_alive(), "a request hangs"

    def _run(self) -> None:
        while not self._stop.is_set():
            body = os.urandom(5000)
            self.sent += 1
            began = time.monotonic()
            answer = self._server.request("POST", "/_matrix/media/v3/upload", body)
            self.longest_s = max(self.longest_s, time.monotonic() - began)
            self.statuses[answer.status] += 1
            if answer.status == 200:
                digest = hashlib.sha256(body).hexdigest()
                self.kept[answer.json["content_uri"]] = digest
            else:
                self._stop.wait(0.05)


def test_nothing_hangs_or_is_lost_or_doubled(
    make_server: MakeServer, cluster: PostgresCluster
) -> None:
    """503 while it is away; then all goes on, without a restart of ours."""
    database = {"sqlite": None, "postgres": cluster.create_database()}
    server = make_server({"database": database})
    server.start()
    with Clients(server) as clients:
        for pause in (0.0, 0.8):
            before = len(clients.kept)
            poll(lambda n=before: len(clients.kept) > n + 20, "uploads", 60)
            cluster.stop()
            time.sleep(pause)
            if pause:
                poll(lambda: clients.statuses[503] > 5, "503", 30)
                assert server.request("GET", "/healthz").status == 200
            cluster.start()
            before = len(clients.kept)
            poll(lambda n=before: len(clients.kept) > n + 20, "recovery", 60)
    assert set(clients.statuses) <= {200, 503}
    assert clients.longest_s < 30
    for mxc, digest in clients.kept.items():
        body = server.download(mxc).body
        assert hashlib.sha256(body).hexdigest() == digest
    server.stop()
    [(records, different)] = rows(
        server, "SELECT count(*), count(DISTINCT sha256_hash) FROM media"
    )
    # A 503 may hide a commit whose answer was lost; no upload became two.
    assert len(clients.kept) <= records <= clients.sent
    assert records == different
    Truth(server).check()
