"""Quotas over two real processes on one database (R81)."""

from __future__ import annotations

import os
import socket
import threading
from collections import Counter

import pytest

from tests.integration.conftest import MakeServer
from tests.integration.inside import rows, sweep
from tests.integration.process import poll
from tests.integration.server import SERVER_NAME, Answer, Server
from tests.postgres import create_database

UPLOADS = 50
SIZE = 10_000


@pytest.fixture(params=["postgres", "sqlite"])
def two(request: pytest.FixtureRequest, make_server: MakeServer) -> list[Server]:
    """Two running servers that differ in port and machine id only."""
    first = make_server()
    database = {"sqlite": None, "postgres": create_database()}
    if request.param == "sqlite":
        database = {"sqlite": str(first.folder / "shared.db"), "postgres": None}
    servers = [first, make_server(environment={"MACHINE_ID": "1"})]
    for server in servers:
        server.media, server.token = first.media, first.token
        server.config["accessTokens"] = first.config["accessTokens"]
        server.config["datastores"] = first.config["datastores"]
        server.write_config({"database": database, "uploads": {"minFreeBytes": 0}})
    return servers


def limit(servers: list[Server], **limits: int) -> None:
    """Give everybody these limits, and start."""
    pending = limits.pop("maxPending", 10_000)
    users = [{"glob": "@*", **limits}]
    quotas = {"enabled": True, "users": users}
    for server in servers:
        server.write_config({"uploads": {"quotas": quotas, "maxPending": pending}})
        server.start()


def at_once(servers: list[Server], method: str, path: str, size: int) -> list[Answer]:
    """Many requests, all ready before the first one is sent."""
    barrier = threading.Barrier(UPLOADS)
    answers: list[Answer] = []

    def run(number: int) -> None:
        body = os.urandom(size)
        server = servers[number % len(servers)]
        barrier.wait(30)
        answers.append(server.request(method, path, body))

    threads = [threading.Thread(target=run, args=(n,)) for n in range(UPLOADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return answers


@pytest.mark.parametrize("what", [{"maxFiles": 3}, {"maxBytes": 3 * SIZE + 9}])
def test_of_fifty_uploads_at_once_three_pass(
    two: list[Server], what: dict[str, int]
) -> None:
    limit(two, **what)
    answers = at_once(two, "POST", "/_matrix/media/v3/upload", SIZE)
    statuses = Counter(answer.status for answer in answers)
    assert statuses == {200: 3, 403: UPLOADS - 3}
    refused = {answer.json["mr_errcode"] for answer in answers if answer.status == 403}
    assert refused == {"M_QUOTA_EXCEEDED"}
    kept = [answer.json["content_uri"] for answer in answers if answer.status == 200]
    for mxc in kept:
        for server in two:
            assert len(server.download(mxc).body) == SIZE
    for server in two:
        server.stop()
    assert len(two[0].objects()) == 3
    for table in ("mmr_quota_reservations", "mmr_object_intents"):
        assert rows(two[0], f"SELECT * FROM {table}") == []


def test_of_fifty_ids_at_once_three_are_reserved(two: list[Server]) -> None:
    limit(two, maxPending=3)
    answers = at_once(two, "POST", "/_matrix/media/v1/create", 0)
    statuses = Counter(answer.status for answer in answers)
    assert statuses == {200: 3, 429: UPLOADS - 3}


def test_what_a_killed_process_reserved_is_free_again(two: list[Server]) -> None:
    limit(two, maxFiles=1)
    first, second = two
    with socket.create_connection(("127.0.0.1", first.port)) as client:
        head = (
            f"POST /_matrix/media/v3/upload HTTP/1.1\r\nHost: {SERVER_NAME}\r\n"
            f"Authorization: Bearer {first.token}\r\nContent-Length: 3000000\r\n\r\n"
        )
        client.sendall(head.encode() + bytes(1_000_000))
        poll(lambda: bool(first.objects()), "the temporary file", 10)
        path = "/_matrix/media/v3/upload"
        assert second.request("POST", path, os.urandom(SIZE)).status == 403
        first.child.kill()
    assert second.request("POST", path, os.urandom(SIZE)).status == 403
    # An hour later, by the database's clock.
    rows(second, "UPDATE mmr_quota_reservations SET since_ts = since_ts - 3600001")
    sweep(second)
    assert second.request("POST", path, os.urandom(SIZE)).status == 200
    assert len(second.objects()) == 1
