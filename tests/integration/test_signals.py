"""What SIGTERM and SIGHUP do, and what the service manager is told."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import MakeServer
from tests.integration.process import answers, poll
from tests.integration.server import SERVER_NAME, Server


def begin_upload(server: Server, body: bytes) -> http.client.HTTPConnection:
    """Send three quarters of an upload; returns when they are in the datastore."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.putrequest("POST", "/_matrix/media/v3/upload", skip_host=True)
    connection.putheader("Host", SERVER_NAME)
    connection.putheader("Authorization", f"Bearer {server.token}")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body[: len(body) * 3 // 4])
    poll(lambda: any(p.stat().st_size for p in server.objects()), "upload begun", 20)
    return connection


def test_a_running_upload_finishes_when_the_server_is_stopped(
    server: Server,
) -> None:
    """R103: stopping lets running uploads finish."""
    body = os.urandom(4_000_000)
    connection = begin_upload(server, body)
    server.child.signal(signal.SIGTERM)
    poll(lambda: not answers(server.port, "/healthz"), "listener closed", 20)
    connection.send(body[3_000_000:])
    with contextlib.closing(connection):
        response = connection.getresponse()
        assert response.status == 200
        mxc = json.loads(response.read())["content_uri"]
    # Twisted ends by the signal that stopped it: a clean stop for service managers.
    assert server.child.wait() in {0, -signal.SIGTERM}
    server.start()
    assert server.download(mxc).body == body


def test_a_running_download_finishes_when_the_server_is_stopped(
    server: Server,
) -> None:
    """R103: more than what fits between two sockets."""
    body = os.urandom(20_000_000)
    path = server.upload(body).removeprefix("mxc://")
    with socket.create_connection(("127.0.0.1", server.port), 60) as client:
        head = [
            f"GET /_matrix/client/v1/media/download/{path} HTTP/1.1",
            f"Host: {SERVER_NAME}",
            f"Authorization: Bearer {server.token}",
        ]
        client.sendall("\r\n".join([*head, "", ""]).encode())
        response = http.client.HTTPResponse(client)
        response.begin()
        begun = response.read(1000)
        server.child.signal(signal.SIGTERM)
        poll(lambda: not answers(server.port, "/healthz"), "listener closed", 20)
        assert begun + response.read() == body
    assert server.child.wait() in {0, -signal.SIGTERM}


def test_an_upload_that_does_not_finish_in_time_is_given_up_without_traces(
    make_server: MakeServer,
) -> None:
    """R103: … or removes their traces."""
    server = make_server({"repo": {"shutdownGraceSeconds": 1}})
    server.start()
    connection = begin_upload(server, os.urandom(4_000_000))
    server.child.signal(signal.SIGTERM)
    assert server.child.wait() in {0, -signal.SIGTERM}
    connection.close()
    assert server.objects() == set()


def test_a_new_limit_holds_after_sighup(server: Server) -> None:
    upload = "/_matrix/media/v3/upload"
    assert server.request("POST", upload, b"x" * 5000).status == 200
    server.write_config({"uploads": {"maxBytes": 1000}})
    server.reload()
    poll(
        lambda: server.request("POST", upload, b"y" * 5000).status == 413,
        "the new limit",
        20,
    )


def test_a_broken_file_changes_nothing(server: Server) -> None:
    good = server.config_path.read_text()
    server.config_path.write_text("uploads: {maxBytes: [")
    server.reload()
    poll(lambda: "mmr.yaml" in server.child.log_text(), "the complaint", 20)
    mxc = server.upload(b"x" * 5000)
    assert server.download(mxc).status == 200
    server.config_path.write_text(good)


class Manager:
    """Listens as systemd does."""

    def __init__(self, address: Path) -> None:
        self.environment = {"NOTIFY_SOCKET": str(address)}
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(address))
        self.socket.settimeout(60)

    def hear(self, state: str) -> None:
        """Wait until it was said; what was said before is forgotten."""
        while state not in self.socket.recv(1000).decode().split("\n"):
            pass

    def falls_silent(self) -> bool:
        """Whether nothing more comes, once what was said has been heard."""
        for _ in range(100):
            if not select.select([self.socket], [], [], 1)[0]:
                return True
            self.socket.recv(1000)
        return False


@pytest.fixture
def manager() -> Iterator[Manager]:
    # A socket's path has 107 characters at most: pytest's folders are too deep.
    with tempfile.TemporaryDirectory() as short:
        made = Manager(Path(short) / "notify")
        with made.socket:
            yield made


def test_the_service_manager_hears_of_start_and_stop(
    make_server: MakeServer, manager: Manager
) -> None:
    server = make_server(environment=manager.environment)
    server.child.start()
    manager.hear("READY=1")
    assert answers(server.port, "/healthz")
    server.stop()
    manager.hear("STOPPING=1")


def test_the_watchdog_is_fed_while_the_reactor_turns(
    make_server: MakeServer, manager: Manager
) -> None:
    """A server that hangs says nothing: then systemd starts it anew."""
    period = {"WATCHDOG_USEC": "400000"}
    server = make_server(environment={**manager.environment, **period})
    server.child.start()
    manager.hear("READY=1")
    for _ in range(3):
        manager.hear("WATCHDOG=1")
    server.child.signal(signal.SIGSTOP)
    assert manager.falls_silent()
    server.child.signal(signal.SIGCONT)
    manager.hear("WATCHDOG=1")
    server.stop()
