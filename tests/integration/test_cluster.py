"""Three ``twistd mmr`` on one PostgreSQL, one Redis and one folder, under load."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.harness import jpeg
from tests.integration.process import free_port, poll
from tests.integration.server import SERVER_NAME, Server
from tests.postgres import create_database
from tests.redis import RedisServer

SECONDS = 5.0
CONTENT = b"content" * 100


class Cluster:
    """Three servers that differ in their port and machine id only."""

    def __init__(self, make: Callable[..., Server], folder: Path) -> None:
        self.database = create_database()
        self.redis = RedisServer()
        self.redis.start()
        self.metrics = [free_port() for _ in range(3)]
        store = {
            "type": "file",
            "id": "main",
            "forKinds": ["all"],
            "opts": {"path": str(folder / "media")},
        }
        token = "shared-by-all-three"
        shards = [{"name": "one", "addr": self.redis.address}]
        self.servers = []
        for number in range(3):
            server = make(
                {
                    "database": {"sqlite": None, "postgres": self.database},
                    "redis": {"enabled": True, "shards": shards},
                    "datastores": [store],
                    "metrics": {
                        "enabled": True,
                        "bindAddress": "127.0.0.1",
                        "port": self.metrics[number],
                    },
                },
                {"MACHINE_ID": str(number)},
            )
            appservice = server.config["accessTokens"]["appservices"][0]
            server.token = appservice["asToken"] = token
            server.write_config()
            self.servers.append(server)

    def start(self) -> None:
        for server in self.servers:
            server.start()

    def quarantine(self, mxc: str) -> None:
        """What an admin's call does in one process: the rows, and a message."""
        origin, _, media_id = mxc.removeprefix("mxc://").partition("/")
        connection = psycopg2.connect(self.database)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(
                    "UPDATE media SET quarantined = true"
                    " WHERE origin = %s AND media_id = %s",
                    (origin, media_id),
                )
                cursor.execute("SELECT pg_notify('mmr:record_changed', %s)", (mxc,))
        finally:
            connection.close()

    def count(self, table: str) -> int:
        connection = psycopg2.connect(self.database)
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT count(*) FROM {table}")
                row = cursor.fetchone()
                assert row is not None
                return int(row[0])
        finally:
            connection.close()


@pytest.fixture
def cluster(make_server: Callable[..., Server], tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(make_server, tmp_path)
    made.start()
    yield made
    for server in made.servers:
        server.stop()
    made.redis.remove()


class Load:
    """Clients that upload at one process and read at all, until told to stop."""

    def __init__(self, cluster: Cluster, clients: int = 4) -> None:
        self._servers = cluster.servers
        self._stop = threading.Event()
        self.kept: dict[str, str] = {}
        self.wrong: list[Any] = []
        self.requests = 0
        self._threads = [
            threading.Thread(target=self._run, args=(number,))
            for number in range(clients)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        try:
            while not self._stop.is_set():
                data = os.urandom(2000 + number)
                mxc = self._servers[number % 3].upload(data)
                self.kept[mxc] = hashlib.sha256(data).hexdigest()
                for server in self._servers:
                    answer = server.download(mxc)
                    self.requests += 1
                    if answer.status != 200 or answer.body != data:
                        self.wrong.append((mxc, answer.status, answer.body[:300]))
        except Exception as error:
            self.wrong.append(error)


def test_what_one_takes_all_give_while_redis_comes_and_goes(cluster: Cluster) -> None:
    """R99: killed, restarted, flushed and paused, Redis costs no request."""
    with Load(cluster) as load:
        for step in (
            lambda: None,
            cluster.redis.kill,
            cluster.redis.start,
            lambda: cluster.redis.command("FLUSHALL"),
            cluster.redis.pause,
            cluster.redis.resume,
        ):
            step()
            time.sleep(1.0)
    assert not load.wrong, load.wrong[:3]
    assert load.requests > 50
    for mxc, sha256 in list(load.kept.items())[-20:]:
        for server in cluster.servers:
            answer = server.download(mxc)
            assert hashlib.sha256(answer.body).hexdigest() == sha256
    assert cluster.count("media") == len(load.kept)
    assert cluster.count("mmr_object_intents") == 0


def test_a_quarantine_reaches_every_process_within_5_s(cluster: Cluster) -> None:
    """R84: with warm caches, under load, and with Redis away."""

    def is_gone(mxc: str) -> bool:
        return all(server.download(mxc).status == 404 for server in cluster.servers)

    with Load(cluster, clients=2) as load:
        for step in (lambda: None, cluster.redis.pause, cluster.redis.resume):
            step()
            mxc = cluster.servers[0].upload(os.urandom(3000))
            for _ in range(6):
                for server in cluster.servers:
                    assert server.download(mxc).status == 200
            cluster.quarantine(mxc)
            poll(lambda mxc=mxc: is_gone(mxc), "quarantine", SECONDS)
    assert not load.wrong, load.wrong[:3]


def test_a_quarantine_is_seen_even_when_nobody_said_so(cluster: Cluster) -> None:
    """A process that may have missed a message forgets everything."""
    mxc = cluster.servers[0].upload(os.urandom(3000))
    for server in cluster.servers:
        assert server.download(mxc).status == 200
    cluster.redis.kill()
    connection = psycopg2.connect(cluster.database)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("UPDATE media SET quarantined = true")
            # Their connections for notifications break.
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
    finally:
        connection.close()
    poll(
        lambda: all(server.download(mxc).status == 404 for server in cluster.servers),
        "quarantine",
        SECONDS,
    )


def test_an_upload_at_one_wakes_a_download_at_another(cluster: Cluster) -> None:
    first, second, third = cluster.servers
    mxc = first.request("POST", "/_matrix/media/v1/create").json["content_uri"]
    answers: list[bytes] = []

    def wait_at(server: Server) -> None:
        answers.append(server.download(mxc).body)

    threads = [
        threading.Thread(target=wait_at, args=(each,)) for each in (second, third)
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    path = f"/_matrix/media/v3/upload/{mxc.removeprefix('mxc://')}"
    assert first.request("PUT", path, CONTENT).status == 200
    for thread in threads:
        thread.join()
    assert answers == [CONTENT] * 2


def test_three_processes_render_a_thumbnail_once(cluster: Cluster) -> None:
    mxc = cluster.servers[0].upload(jpeg(3000, 2000), "image/jpeg")
    path = f"/_matrix/client/v1/media/thumbnail/{mxc.removeprefix('mxc://')}"
    statuses: list[int] = []

    def ask(server: Server) -> None:
        query = "?width=640&height=480&method=scale"
        statuses.append(server.request("GET", path + query).status)

    threads = [
        threading.Thread(target=ask, args=(server,))
        for server in cluster.servers
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 9
    assert sum(map(_rendered, cluster.metrics)) == 1
    assert mxc.startswith(f"mxc://{SERVER_NAME}/")


def _rendered(port: int) -> int:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return sum(
        int(float(line.rpartition(" ")[2]))
        for line in text.splitlines()
        if line.startswith("media_thumbnails_generated_total{")
    )
