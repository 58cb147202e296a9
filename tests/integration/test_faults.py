"""The parts of a cluster fail under load: nothing acknowledged is lost or left over."""

from __future__ import annotations

import hashlib
import time
import unittest
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.datastores.faulty_s3 import (
    Fault,
    FaultyS3,
    ends_after,
    error,
    reset,
    reset_after,
)
from tests.datastores.s3_server import (
    bucket_options,
    moto_endpoint,
    new_bucket,
    raw_client,
)
from tests.integration.cluster import Cluster, Load
from tests.integration.inside import rows, sweep
from tests.integration.process import poll
from tests.integration.server import Server
from tests.postgres import PostgresCluster

MakeServer = Callable[..., Server]
BACK_SECONDS = 10.0


def check_all_is_there(cluster: Cluster, load: Load) -> None:
    """Every acknowledged upload is whole, at every process."""
    assert not load.wrong, load.wrong[:3]
    assert load.kept
    for mxc, sha256 in load.kept.items():
        for server in cluster.servers:
            answer = server.download(mxc)
            assert answer.status == 200, (mxc, answer)
            assert hashlib.sha256(answer.body).hexdigest() == sha256, mxc


def check_nothing_is_left(server: Server, keys: Callable[[], set[str]]) -> None:
    """Records and objects are the same, once the sweep was there."""
    sweep(server)
    recorded = {row[0] for row in rows(server, "SELECT location FROM media")}
    assert keys() == recorded
    for table in ("mmr_object_intents", "mmr_object_deletes"):
        assert rows(server, f"SELECT * FROM {table}") == []


@pytest.fixture
def postgres() -> Iterator[PostgresCluster]:
    """A PostgreSQL that really writes to the disk, to be hurt."""
    made = PostgresCluster(durable=True)
    made.start()
    yield made
    made.remove()


def test_postgres_crashes_and_comes_back(
    make_server: MakeServer, postgres: PostgresCluster
) -> None:
    """R96: 503 at most, no hang, nothing lost or doubled, no restart of ours."""
    bucket = new_bucket()
    store = {"type": "s3", "opts": bucket_options(bucket)}
    cluster = Cluster(make_server, store, postgres.create_database(), (0, 1))
    cluster.start()
    try:
        with Load(cluster, may_fail={503}) as load:
            for _ in range(3):
                time.sleep(0.7)
                postgres.stop()
                time.sleep(0.3)
                postgres.start()
            kept = len(load.kept)
            poll(lambda: len(load.kept) > kept + 10, "uploads again", BACK_SECONDS)
        assert load.failed
        check_all_is_there(cluster, load)
        ids = cluster.query("SELECT count(DISTINCT media_id), count(*) FROM media")
        assert ids[0][0] == ids[0][1] >= len(load.kept)
    finally:
        cluster.stop()

    def keys() -> set[str]:
        raw: Any = raw_client(moto_endpoint())
        pages = raw.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {item["Key"] for page in pages for item in page.get("Contents", ())}

    # Redis isn't there any more: the sweep needs none.
    check_nothing_is_left(cluster.servers[0], keys)


def test_s3_fails_in_every_way(make_server: MakeServer) -> None:
    """R98: clients get the right bytes, an error or a cut connection."""
    case = unittest.TestCase()
    stub = FaultyS3(case)  # type: ignore[arg-type]
    opts = bucket_options("media", stub.endpoint, multipartUploads="false")
    cluster = Cluster(make_server, {"type": "s3", "opts": opts}, numbers=(0,))
    faults: list[Fault] = [
        error(403, "AccessDenied"),
        error(404, "NoSuchBucket"),
        error(500, "InternalError"),
        error(503, "SlowDown"),
        reset,
        reset_after(1000),
        ends_after(1000),
    ]
    try:
        cluster.start()
        with Load(cluster, may_fail={500, 503}) as load:
            for fault in faults:
                for method in ("PUT", "GET", "HEAD", "DELETE"):
                    cluster.redis.command("FLUSHALL")
                    stub.always[method] = fault
                    time.sleep(0.3)
                    del stub.always[method]
            kept = len(load.kept)
            poll(lambda: len(load.kept) > kept + 10, "uploads again", BACK_SECONDS)
        assert load.failed
        cluster.redis.command("FLUSHALL")
        check_all_is_there(cluster, load)
        cluster.servers[0].stop()
        check_nothing_is_left(cluster.servers[0], lambda: set(stub.objects))
    finally:
        cluster.stop()
        case.doCleanups()


def test_a_missing_bucket_stops_the_start(make_server: MakeServer) -> None:
    store = {"type": "s3", "opts": bucket_options("no-such-bucket")}
    server = make_server({"datastores": [{"id": "main", "forKinds": ["all"], **store}]})
    status, output = server.run_to_its_end()
    assert status == 1
    assert "no-such-bucket" in output
    assert "Traceback" not in output


def test_two_processes_with_one_number(make_server: MakeServer, tmp_path: Path) -> None:
    """Both serve; the second says so; what is to be done once is done once."""
    store = {"type": "file", "opts": {"path": str(tmp_path / "media")}}
    cluster = Cluster(make_server, store, numbers=(0, 0))
    cluster.start()
    try:
        with Load(cluster) as load:
            time.sleep(1)
        check_all_is_there(cluster, load)
        first, second = (server.child.log_text(200_000) for server in cluster.servers)
        assert "MACHINE_ID 0" not in first
        assert "MACHINE_ID 0" in second
        # The one that serves on takes the work over.
        cluster.servers[0].stop()
        assert cluster.servers[1].upload(bytes(200))
    finally:
        cluster.stop()
