"""Clients that take up room and say nothing (R61, R69)."""

from __future__ import annotations

import contextlib
import resource
import socket
from collections.abc import Iterator

import pytest

from tests.integration.conftest import MakeServer
from tests.integration.server import Server

CONNECTIONS = 1000
# More than a server with so few descriptors takes.
STAYING = 100
DESCRIPTORS = 256
DATA = b"x" * 20_000


@pytest.fixture(autouse=True)
def _many_descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@contextlib.contextmanager
def connections(port: int, said: bytes) -> Iterator[list[socket.socket]]:
    """Open that many connections from 20 addresses, and say no more than that."""
    with contextlib.ExitStack() as stack:
        opened = []
        for number in range(CONNECTIONS):
            client = stack.enter_context(socket.socket())
            client.bind((f"127.0.1.{1 + number % 20}", 0))
            client.setblocking(False)
            # Not all of them get through, and that is the point.
            with contextlib.suppress(BlockingIOError):
                client.connect(("127.0.0.1", port))
            with contextlib.suppress(OSError):
                client.send(said)
            opened.append(client)
        yield opened


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nA: b\r\n"])
def test_a_thousand_silent_clients_keep_nobody_waiting(
    make_server: MakeServer, said: bytes
) -> None:
    """R61."""
    server = make_server({"repo": {"trustedProxies": []}})
    server.start()
    mxc = server.upload(DATA)
    with connections(server.port, said):
        assert server.download(mxc).body == DATA
        assert server.upload(DATA + b"more") != mxc


def test_a_server_with_few_descriptors_goes_on(make_server: MakeServer) -> None:
    """R69: it accepts what it can hold, and sends the silent ones away for the rest."""
    server = make_server({"repo": {"trustedProxies": []}})
    leave_descriptors(server, DESCRIPTORS)
    server.start()
    mxc = server.upload(DATA)
    with connections(server.port, b"GET /_matrix") as opened:
        for client in opened[STAYING:]:
            client.close()
        assert server.download(mxc).body == DATA
        assert server.upload(DATA + b"more") != mxc
    assert "Too many open files" not in server.child.log_text()


def leave_descriptors(server: Server, count: int) -> None:
    """Start it later with that few file descriptors."""
    script = f'ulimit -n {count} && exec "$@"'
    server.child._arguments[:0] = ["/bin/sh", "-c", script, "sh"]
