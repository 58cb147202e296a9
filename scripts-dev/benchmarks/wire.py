"""A small HTTP/1.1 client on a blocking socket, cheap enough not to be the limit."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from time import perf_counter

import attrs

from benchmarks.errors import BenchError

_TIMEOUT_S = 120
_READ_BYTES = 1 << 20
# More than the largest answer that anybody here looks into.
_KEPT_BYTES = 1 << 16


@attrs.frozen
class Answer:
    """A response; of a long body only the beginning is kept.

    Args:
        waited_s: From the last byte of the request to the first of the response.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    length: int
    waited_s: float


def request_head(
    method: str, path: str, headers: Mapping[str, str], length: int | None = None
) -> bytes:
    """Build the head of a request."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Connection:
    """One keep-alive connection to a server on loopback."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), _TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._space = memoryview(bytearray(_READ_BYTES))
        self._rest = b""

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def exchange(self, head: bytes, body: bytes | memoryview = b"") -> Answer:
        """Send one request and read its response to the end."""
        self._socket.sendall(head)
        if body:
            self._socket.sendall(body)
        sent = perf_counter()
        status, headers = self._read_head()
        waited_s = perf_counter() - sent
        if status in (204, 304):
            return Answer(status, headers, b"", 0, waited_s)
        if headers.get("transfer-encoding", "").lower() == "chunked":
            kept = self._read_chunked()
            return Answer(status, headers, kept, len(kept), waited_s)
        length = int(headers.get("content-length", "0"))
        return Answer(status, headers, self._read_sized(length), length, waited_s)

    def _receive(self) -> memoryview:
        count = self._socket.recv_into(self._space)
        if not count:
            raise BenchError("the server closed the connection within an answer")
        return self._space[:count]

    def _read_until(self, mark: bytes) -> bytes:
        while mark not in self._rest:
            self._rest += self._receive()
        found, _, self._rest = self._rest.partition(mark)
        return found

    def _read_head(self) -> tuple[int, dict[str, str]]:
        first, *lines = self._read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        fields = (line.split(":", 1) for line in lines)
        headers = {name.lower(): value.strip() for name, value in fields}
        return int(first.split(" ", 2)[1]), headers

    def _read_sized(self, length: int) -> bytes:
        kept, self._rest = self._rest[:length], self._rest[length:]
        missing = length - len(kept)
        while missing:
            piece = self._receive()
            if len(piece) > missing:
                raise BenchError("the server sent more than the length it named")
            missing -= len(piece)
            if len(kept) < _KEPT_BYTES:
                kept += piece
        return kept

    def _read_chunked(self) -> bytes:
        body = b""
        while size := int(self._read_until(b"\r\n"), 16):
            while len(self._rest) < size + 2:
                self._rest += self._receive()
            body, self._rest = body + self._rest[:size], self._rest[size + 2 :]
        self._read_until(b"\r\n")
        return body
