"""Three ``twistd mmr`` on one PostgreSQL, one Redis and one S3, under load."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest

from tests.harness import jpeg
from tests.integration.cluster import Cluster, Load, folder_store, s3_store
from tests.integration.process import poll
from tests.integration.server import SERVER_NAME, Server

SECONDS = 5.0
CONTENT = b"content" * 100
# Other bytes of the same length, in all content.
POISON = """
for _, key in ipairs(redis.call('KEYS', '*')) do
    if #key == 64 then redis.call('SETRANGE', key, 0, 'something else') end
end
return 1
"""


@pytest.fixture
def cluster(
    request: pytest.FixtureRequest, make_server: Callable[..., Server], tmp_path: Path
) -> Iterator[Cluster]:
    """On S3, unless the test says otherwise."""
    store = getattr(request, "param", s3_store)
    made = Cluster(make_server, store(tmp_path))
    made.start()
    yield made
    made.stop()


def check_content(cluster: Cluster, kept: list[tuple[str, str]]) -> None:
    """Every process has the right bytes."""
    for mxc, sha256 in kept:
        for server in cluster.servers:
            answer = server.download(mxc)
            assert hashlib.sha256(answer.body).hexdigest() == sha256


def poison(cluster: Cluster, load: Load) -> None:
    """Spoil what is in Redis, and ask for it."""
    kept = list(load.kept.items())[-5:]
    check_content(cluster, kept)
    assert cluster.redis.command("EVAL", POISON, "0") == b":1\r\n"
    check_content(cluster, kept)


@pytest.mark.parametrize("cluster", [s3_store, folder_store], indirect=True)
def test_what_one_takes_all_give_while_redis_comes_and_goes(cluster: Cluster) -> None:
    """R99: killed, restarted, flushed, poisoned and paused, Redis costs no request."""
    with Load(cluster) as load:
        for step in (
            lambda: None,
            cluster.redis.kill,
            cluster.redis.start,
            lambda: cluster.redis.command("FLUSHALL"),
            lambda: poison(cluster, load),
            cluster.redis.pause,
            cluster.redis.resume,
        ):
            step()
            time.sleep(1.0)
    assert not load.wrong, load.wrong[:3]
    assert load.requests > 50
    check_content(cluster, list(load.kept.items())[-20:])
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
