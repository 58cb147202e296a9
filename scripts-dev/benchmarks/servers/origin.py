"""A remote homeserver that has any file one asks for, over TLS.

Run as a module (port, certificate, bytes of each file, seconds of silence before each
answer as arguments) it is that server.
"""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import os
import socket
import ssl
import sys
import time
from collections import Counter
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.errors import BenchError
from benchmarks.processes import LOAD_CORES, Child, free_port

MEDIA = "/_matrix/federation/v1/media/download/"
_COUNTS = "/counts"
_BOUNDARY = "bench"
_PIECE = bytes(range(256)) * 256
_START_TIMEOUT_S = 20


class Origin:
    """The server below. Its name is its address, so that nothing has to be resolved.

    Args:
        folder: An empty folder.
        certificate: From `write_certificate`; origins share it.
        size: Bytes of each file.
        silence_s: How long each answer waits.
    """

    def __init__(
        self, folder: Path, certificate: Path, size: int, silence_s: float
    ) -> None:
        self.port = free_port()
        self.certificate = certificate
        arguments = [self.port, self.certificate, size, silence_s]
        command = [sys.executable, "-m", __name__, *map(str, arguments)]
        self._child = Child(command, folder)
        # Beside the load: the other core is for the server that is measured.
        os.sched_setaffinity(self._child.pid, LOAD_CORES)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    @property
    def server_name(self) -> str:
        """Its name in MXC URIs."""
        return f"127.0.0.1:{self.port}"

    def wait(self) -> None:
        """Wait until it accepts connections."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            self._child.ensure_alive()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise BenchError("the origin doesn't answer")

    def stop(self) -> None:
        """End the process."""
        self._child.stop()

    def connect(self) -> ssl.SSLSocket:
        """A connection as another server makes it."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        plain = socket.create_connection(("127.0.0.1", self.port), 60)
        return context.wrap_socket(plain, server_hostname="127.0.0.1")

    def requests_for(self, media_id: str) -> int:
        """How often the file was asked for."""
        with self.connect() as connection:
            connection.sendall(f"GET {_COUNTS} HTTP/1.1\r\n\r\n".encode())
            received = b""
            while piece := connection.recv(1 << 16):
                received += piece
        counts = json.loads(received.partition(b"\r\n\r\n")[2])
        return int(counts.get(media_id, 0))


def write_certificate(path: Path) -> None:
    """A certificate that vouches for itself and for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bench")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)


class _Site:
    def __init__(self, size: int, silence_s: float) -> None:
        self._size = size
        self._silence_s = silence_s
        self._counts: Counter[str] = Counter()

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.decode().split(" ", 2)[1].partition("?")[0]
                if path.startswith(MEDIA):
                    await self._send_file(writer, path.removeprefix(MEDIA))
                else:
                    body = json.dumps(self._counts).encode()
                    writer.write(_head(len(body), "application/json") + body)
                    await writer.drain()
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def _send_file(self, writer: asyncio.StreamWriter, media_id: str) -> None:
        self._counts[media_id] += 1
        await asyncio.sleep(self._silence_s)
        # Another file for each id, so that none is found to be there already.
        first = media_id.encode()
        before = (
            f"--{_BOUNDARY}\r\nContent-Type: application/json\r\n\r\n{{}}\r\n"
            f"--{_BOUNDARY}\r\nContent-Type: application/octet-stream\r\n\r\n"
        ).encode()
        after = f"\r\n--{_BOUNDARY}--\r\n".encode()
        length = len(before) + self._size + len(after)
        content_type = f"multipart/mixed; boundary={_BOUNDARY}"
        writer.write(_head(length, content_type) + before + first)
        left = self._size - len(first)
        while left:
            piece = _PIECE[:left]
            writer.write(piece)
            left -= len(piece)
            await writer.drain()
        writer.write(after)
        await writer.drain()


def _head(length: int, content_type: str) -> bytes:
    lines = f"Content-Length: {length}\r\nContent-Type: {content_type}\r\n\r\n"
    return b"HTTP/1.1 200 OK\r\n" + lines.encode()


async def _main() -> None:
    port, certificate, size, silence_s = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    site = _Site(int(size), float(silence_s))
    server = await asyncio.start_server(
        site.serve, "127.0.0.1", int(port), ssl=context, limit=1 << 16
    )
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())
