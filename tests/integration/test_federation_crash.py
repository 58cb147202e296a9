"""Killed in the middle of a remote fetch (R94)."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from OpenSSL import crypto

from mmr.crypto.keys import SigningKey

from tests.integration.conftest import MakeServer
from tests.integration.federation import CA, Address, mmr_settings, write_key
from tests.integration.inside import rows, sweep
from tests.integration.process import poll
from tests.integration.server import Server

_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: multipart/mixed; boundary=x\r\n"
    b"Content-Length: 100000000\r\n\r\n"
    b"--x\r\nContent-Type: application/json\r\n\r\n{}\r\n"
    b"--x\r\nContent-Type: text/plain\r\n\r\n"
)


class HalfAFile:
    """A server that sends a megabyte of a file, and then nothing more."""

    def __init__(self, folder: Path) -> None:
        pair = CA.issue("127.0.0.1")
        certificate = folder / "certificate.pem"
        key = pair.privateKey.dump(crypto.FILETYPE_PEM)
        certificate.write_bytes(pair.dumpPEM() + key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self._socket = context.wrap_socket(
            socket.create_server(("127.0.0.1", 0)), server_side=True
        )
        self._held: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self._socket.getsockname()[1]}"

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self._held.append(connection)
                connection.recv(65536)
                connection.sendall(_HEAD + b"x" * 1_000_000)

    def stop(self) -> None:
        for connection in (*self._held, self._socket):
            connection.close()


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[HalfAFile]:
    folder = tmp_path / "remote"
    folder.mkdir()
    server = HalfAFile(folder)
    yield server
    server.stop()


def test_nothing_of_it_stays(
    make_server: MakeServer, remote: HalfAFile, tmp_path: Path
) -> None:
    """Neither as a file of clients, nor in the store, nor in the database."""
    address = Address(tmp_path)
    key_file = write_key(tmp_path, SigningKey("one", b"1" * 32))
    settings = mmr_settings(address, "http://127.0.0.1:9", key_file)
    server: Server = make_server(settings)
    appservice = server.config["accessTokens"]["appservices"][0]
    appservice["senderUserId"] = f"@tests:{address.name}"
    server.write_config()
    server.start()
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    client.request(
        "GET",
        f"/_matrix/client/v1/media/download/{remote.name}/abc",
        headers={"Host": address.name, "Authorization": f"Bearer {server.token}"},
    )
    response = client.getresponse()
    assert response.status == 200
    assert response.read(100_000) == b"x" * 100_000
    poll(lambda: bool(server.objects()), "the temporary file", 10)
    server.child.kill()
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        response.read()
    sweep(server)
    assert server.objects() == set()
    assert rows(server, "SELECT count(*) FROM media") == [(0,)]
    assert rows(server, "SELECT count(*) FROM mmr_object_intents") == [(0,)]
