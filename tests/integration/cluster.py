"""Several ``twistd mmr`` on one database, one Redis and one store, and their load."""

from __future__ import annotations

import hashlib
import http.client
import os
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import psycopg2

from tests.datastores.s3_server import bucket_options, new_bucket
from tests.integration.process import free_port
from tests.integration.server import Server
from tests.postgres import create_database
from tests.redis import RedisServer

SECRET = "the-secret-of-the-admins"


def folder_store(folder: Path) -> dict[str, Any]:
    """A folder that all share."""
    return {"type": "file", "opts": {"path": str(folder / "media")}}


def s3_store(_: Path) -> dict[str, Any]:
    """A bucket."""
    return {"type": "s3", "opts": bucket_options(new_bucket())}


class Cluster:
    """Servers that differ in their port and machine id only.

    Args:
        make: Makes a server.
        store: ``type`` and ``opts`` of their datastore.
        database: PostgreSQL; an own one if none is given.
        numbers: Their machine ids.
    """

    def __init__(
        self,
        make: Callable[..., Server],
        store: dict[str, Any],
        database: str | None = None,
        numbers: tuple[int, ...] = (0, 1, 2),
    ) -> None:
        self.database = database or create_database()
        self.redis = RedisServer()
        self.redis.start()
        self.metrics = [free_port() for _ in numbers]
        token = "shared-by-all-of-them"
        shards = [{"name": "one", "addr": self.redis.address}]
        self.servers = []
        for number, metrics in zip(numbers, self.metrics, strict=True):
            server = make(
                {
                    "database": {"sqlite": None, "postgres": self.database},
                    "redis": {"enabled": True, "shards": shards},
                    "datastores": [{"id": "main", "forKinds": ["all"], **store}],
                    "sharedSecretAuth": {"enabled": True, "token": SECRET},
                    "metrics": {
                        "enabled": True,
                        "bindAddress": "127.0.0.1",
                        "port": metrics,
                    },
                },
                {"MACHINE_ID": str(number)},
            )
            appservice = server.config["accessTokens"]["appservices"][0]
            server.token = appservice["asToken"] = token
            server.write_config()
            self.servers.append(server)

    def start(self) -> None:
        """Start them, one after the other."""
        for server in self.servers:
            server.start()

    def stop(self) -> None:
        """Stop all of it."""
        for server in self.servers:
            server.stop()
        self.redis.remove()

    def quarantine(self, mxc: str) -> None:
        """Ask one of them for it, as an admin does."""
        path = f"/_matrix/media/unstable/admin/quarantine/{mxc.removeprefix('mxc://')}"
        answer = self.servers[1].request("POST", path, token=SECRET)
        assert answer.status == 200, answer
        assert answer.json["num_quarantined"] == 1

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of the database."""
        connection = psycopg2.connect(self.database)
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return list(cursor.fetchall())
        finally:
            connection.close()

    def count(self, table: str) -> int:
        """How many rows a table has."""
        return int(self.query(f"SELECT count(*) FROM {table}")[0][0])


class Load:
    """Clients that upload at one process and read at all, until told to stop.

    Args:
        clients: Threads.
        may_fail: Statuses that are no fault, and then connections that are cut in the
            middle of a body aren't, either.

    Attributes:
        kept: What was acknowledged, with its hash.
        wrong: What should not have happened.
        failed: How often something was refused, if that may be.
    """

    def __init__(
        self, cluster: Cluster, clients: int = 4, may_fail: Collection[int] = ()
    ) -> None:
        self._servers = cluster.servers
        self._may_fail = may_fail
        self._stop = threading.Event()
        self.kept: dict[str, str] = {}
        self.wrong: list[Any] = []
        self.requests = 0
        self.failed = 0
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
                self._once(number)
        except Exception as error:
            self.wrong.append(error)

    def _once(self, number: int) -> None:
        data = os.urandom(2000 + number)
        path, kind = "/_matrix/media/v3/upload", {"Content-Type": "image/png"}
        server = self._servers[number % len(self._servers)]
        answer = server.request("POST", path, data, headers=kind)
        if answer.status != 200:
            self._refused("upload", answer.status, answer.body)
            return
        mxc = str(answer.json["content_uri"])
        self.kept[mxc] = hashlib.sha256(data).hexdigest()
        for server in self._servers:
            self._read(server, mxc, data)

    def _read(self, server: Server, mxc: str, data: bytes) -> None:
        self.requests += 1
        try:
            answer = server.download(mxc)
        except http.client.IncompleteRead as error:
            self.failed += 1
            if not self._may_fail:
                self.wrong.append((mxc, "cut", error.partial[:300]))
            return
        if answer.status != 200:
            self._refused(mxc, answer.status, answer.body)
        elif answer.body != data:
            self.wrong.append((mxc, answer.status, answer.body[:300]))

    def _refused(self, what: str, status: int, body: bytes) -> None:
        self.failed += 1
        if status not in self._may_fail:
            self.wrong.append((what, status, body[:300]))
