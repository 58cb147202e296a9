"""An S3 server that keeps objects in memory and costs as little as Python can.

Run as a module (port) it is that server: one bucket, any key, whole and ranged reads,
puts at once and in parts. It checks no signature.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from benchmarks.errors import BenchError
from benchmarks.processes import LOAD_CORES, Child, free_port

BUCKET = "bench"
_PIECE_BYTES = 1 << 20
_START_TIMEOUT_S = 20


class ObjectStore:
    """The server below.

    Args:
        folder: An empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._child = Child([sys.executable, "-m", __name__, str(self.port)], folder)
        # Beside the load: the other core is for the server that is measured.
        os.sched_setaffinity(self._child.pid, LOAD_CORES)
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise BenchError("the object store did not start")

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    def stop(self) -> None:
        """End it."""
        self._child.stop()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 0
    disable_nagle_algorithm = True
    objects: dict[str, bytes] = {}
    parts: dict[str, dict[int, bytes]] = {}

    def do_GET(self) -> None:
        body = self.objects.get(self._key())
        if body is None:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            self._answer(200, body)
            return
        start = int(wanted[1])
        end = min(int(wanted[2] or len(body)) + 1, len(body))
        extra = {"Content-Range": f"bytes {start}-{end - 1}/{len(body)}"}
        self._answer(206, memoryview(body)[start:end], extra)

    def do_HEAD(self) -> None:
        body = self.objects.get(self._key())
        self._answer(200 if body is not None else 404, body or b"")

    def do_PUT(self) -> None:
        body = self._read()
        query = parse_qs(urlsplit(self.path).query)
        if "uploadId" in query:
            upload = self.parts[query["uploadId"][0]]
            upload[int(query["partNumber"][0])] = body
        else:
            self.objects[self._key()] = body
        self._answer(200, b"")

    def do_POST(self) -> None:
        self._read()
        query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        if "uploads" in query:
            number = str(len(self.parts) + 1)
            self.parts[number] = {}
            text = f"<UploadId>{number}</UploadId>"
            self._answer(200, _xml("InitiateMultipartUploadResult", text))
            return
        parts = self.parts.pop(query["uploadId"][0])
        self.objects[self._key()] = b"".join(parts[key] for key in sorted(parts))
        self._answer(200, _xml("CompleteMultipartUploadResult", "<ETag>e</ETag>"))

    def do_DELETE(self) -> None:
        self.objects.pop(self._key(), None)
        self._answer(204, b"")

    def _key(self) -> str:
        return urlsplit(self.path).path

    def _read(self) -> bytes:
        length = int(self.headers.get("Content-Length", 0))
        if self.headers.get("Expect"):
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return self.rfile.read(length)

    def _answer(
        self, code: int, body: bytes | memoryview, extra: dict[str, str] | None = None
    ) -> None:
        self.send_response(code)
        for name, value in {"ETag": '"e"', **(extra or {})}.items():
            self.send_header(name, value)
        if code != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            for start in range(0, len(body), _PIECE_BYTES):
                self.wfile.write(body[start : start + _PIECE_BYTES])

    def handle_expect_100(self) -> bool:
        """Answered when the body is read."""
        return True

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def _xml(name: str, inside: str) -> bytes:
    namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
    return f'<{name} xmlns="{namespace}">{inside}</{name}>'.encode()


def _main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), _Handler)
    server.daemon_threads = True
    server.serve_forever()


if __name__ == "__main__":
    _main()
