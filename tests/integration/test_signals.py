"""What SIGTERM and SIGHUP do, and what the service manager is told."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import tempfile
from pathlib import Path

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


def test_the_service_manager_hears_of_start_and_stop(make_server: MakeServer) -> None:
    # A socket's path has 107 characters at most: pytest's folders are too deep.
    with tempfile.TemporaryDirectory() as short:
        address = Path(short) / "notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(address))
            manager.settimeout(60)
            server = make_server(environment={"NOTIFY_SOCKET": str(address)})
            server.child.start()
            states: list[str] = []
            while "READY=1" not in states:
                states += manager.recv(1000).decode().split("\n")
            assert answers(server.port, "/healthz")
            server.stop()
            while "STOPPING=1" not in states:
                states += manager.recv(1000).decode().split("\n")
