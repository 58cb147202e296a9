"""An S3 stub that fails in the ways in which object stores fail (R98).

It answers put, get (with ranges), head and delete of one bucket, and does to a request
what the next fault of the script says.
"""

from __future__ import annotations

import hashlib
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from twisted.trial.unittest import TestCase

Fault = Callable[["Handler", bytes], bool]
"""Does something to a request; tells whether that was the answer.

Args: the handler, and the body that would be sent.
"""

SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Reduce your rate</Message></Error>"


def status(code: int, body: bytes = b"") -> Fault:
    """Answer with a status."""

    def answer(handler: Handler, _: bytes) -> bool:
        handler.reply(code, b"" if handler.command == "HEAD" else body)
        return True

    return answer


def error(code: int, name: str) -> Fault:
    """Answer with S3's XML."""
    return status(code, b"<Error><Code>%s</Code></Error>" % name.encode())


def reset(handler: Handler, _: bytes) -> bool:
    """Break the connection before any answer."""
    handler.break_off()
    return True


def silence(handler: Handler, _: bytes) -> bool:
    """Take so long that the client gives up."""
    time.sleep(1.5)
    handler.break_off()
    return True


def reset_after(count: int) -> Fault:
    """Break the connection in the middle of a body."""

    def answer(handler: Handler, body: bytes) -> bool:
        handler.reply(handler.code, body[:count], length=len(body))
        handler.wfile.flush()
        handler.break_off()
        return True

    return answer


def stall_after(count: int) -> Fault:
    """Fall silent in the middle of a body."""

    def answer(handler: Handler, body: bytes) -> bool:
        handler.reply(handler.code, body[:count], length=len(body))
        handler.wfile.flush()
        time.sleep(1.5)
        handler.break_off()
        return True

    return answer


def ends_after(count: int) -> Fault:
    """End the connection properly, but too early."""

    def answer(handler: Handler, body: bytes) -> bool:
        handler.reply(handler.code, body[:count], length=len(body))
        handler.close_connection = True
        return True

    return answer


def ignores_range(handler: Handler, _: bytes) -> bool:
    """Send the whole object although a part was asked for."""
    handler.reply(200, handler.stub.objects[handler.key], {})
    return True


def loses(handler: Handler, _: bytes) -> bool:
    """Say that a put worked, and keep nothing."""
    handler.stub.objects.pop(handler.key, None)
    handler.reply(200, b"")
    return True


def cuts_put(handler: Handler, _: bytes) -> bool:
    """Say that a put worked, and keep a part of it."""
    handler.stub.objects[handler.key] = handler.stub.objects[handler.key][:-1]
    handler.reply(200, b"")
    return True


def keeps_checksums(handler: Handler, _: bytes) -> bool:
    """Take a checksum that came with a put for content, as some providers do."""
    if handler.headers.get("x-amz-sdk-checksum-algorithm"):
        handler.stub.objects[handler.key] += b"\r\nx-amz-checksum-crc32:AAAAAA=="
    return False


def refuses_checksums(handler: Handler, _: bytes) -> bool:
    """Know nothing of newer checksums."""
    if handler.headers.get("x-amz-sdk-checksum-algorithm"):
        handler.stub.objects.pop(handler.key)
        return error(501, "NotImplemented")(handler, b"")
    return False


class FaultyS3:
    """The stub.

    Attributes:
        objects: By key.
        faults: For the next requests of a method, in order; each is used once.
        always: For every request of a method.
        requests: Method, and the Range header if there was one.
    """

    def __init__(self, case: TestCase) -> None:
        self.objects: dict[str, bytes] = {}
        self.faults: dict[str, list[Fault]] = {}
        self.always: dict[str, Fault] = {}
        self.requests: list[tuple[str, str | None]] = []
        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.stub = self
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        thread.start()
        case.addCleanup(thread.join)
        case.addCleanup(self._server.server_close)
        case.addCleanup(self._server.shutdown)

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def count(self, method: str) -> int:
        """Requests of a method so far."""
        return sum(1 for name, _ in self.requests if name == method)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    stub: FaultyS3

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Broken connections are what the tests are about."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    code = 200
    extra: dict[str, str] = {}

    @property
    def stub(self) -> FaultyS3:
        server = self.server
        assert isinstance(server, Server)
        return server.stub

    @property
    def key(self) -> str:
        return self.path.partition("?")[0].split("/", 2)[-1]

    def do_GET(self) -> None:
        body = self.stub.objects.get(self.key)
        if body is None:
            self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        extra = {}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if wanted:
            start, last = int(wanted[1]), int(wanted[2])
            extra["Content-Range"] = f"bytes {start}-{last}/{len(body)}"
            body = body[start : last + 1]
        self.answer(206 if wanted else 200, body, extra)

    def do_HEAD(self) -> None:
        body = self.stub.objects.get(self.key)
        if body is None:
            self.answer(404, b"")
        else:
            self.answer(200, b"", {}, length=len(body))

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.stub.objects[self.key] = body
        self.answer(200, b"", {"ETag": f'"{hashlib.md5(body).hexdigest()}"'})

    def do_DELETE(self) -> None:
        self.stub.objects.pop(self.key, None)
        self.answer(204, b"")

    def answer(
        self,
        code: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        length: int | None = None,
    ) -> None:
        """Answer, unless a fault comes first."""
        self.stub.requests.append((self.command, self.headers.get("Range")))
        self.code = code
        self.extra = headers or {}
        faults = self.stub.faults.get(self.command, [])
        fault = faults.pop(0) if faults else self.stub.always.get(self.command)
        if fault is None or not fault(self, body):
            self.reply(code, body, self.extra, length)

    def reply(
        self,
        code: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        length: int | None = None,
    ) -> None:
        """Write an answer."""
        self.send_response(code)
        for name, value in (self.extra if headers is None else headers).items():
            self.send_header(name, value)
        if code != 204:
            self.send_header(
                "Content-Length", str(len(body) if length is None else length)
            )
        self.end_headers()
        self.wfile.write(body)

    def break_off(self) -> None:
        """Reset the connection."""
        self.close_connection = True
        self.connection.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        # The file objects hold the socket open as well.
        self.rfile.close()
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""
