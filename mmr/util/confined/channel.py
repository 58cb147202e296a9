"""Messages between the server and a worker process.

JSON with a length in front, over a socket pair. Open files go along with a message, so
that the worker needs no right to open any.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct
import time
from typing import Any

MAX_MESSAGE = 64 * 1024
_LENGTH = struct.Struct("!I")


class ProtocolError(Exception):
    """The other side said something that makes no sense, or hung up."""


class Channel:
    """Messages over one end of a socket pair."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._deadline: float | None = None

    @classmethod
    def inherited(cls) -> Channel:
        """The worker's end: the socket that is its standard input."""
        return cls(socket.socket(fileno=os.dup(0)))

    def limit(self, seconds: float) -> None:
        """From now on all that is sent and received together takes at most this."""
        self._deadline = time.monotonic() + seconds

    def _keep_to_deadline(self) -> socket.socket:
        if self._deadline is not None:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
        return self._socket

    def send(self, message: dict[str, Any], files: tuple[int, ...] = ()) -> None:
        """Send a message and copies of open files.

        Raises:
            OSError: when the other side is gone or doesn't listen.
        """
        body = json.dumps(message).encode()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))]
        head = _LENGTH.pack(len(body))
        sock = self._keep_to_deadline()
        sock.sendmsg([head], rights if files else [])
        sock.sendall(body)

    def receive(self, max_files: int = 0) -> tuple[dict[str, Any], list[int]] | None:
        """The next message and its files; None when the other side has hung up.

        Raises:
            ProtocolError: when it is no message of ours.
            OSError: on a time-out, or when the connection breaks.
        """
        head, files = self._receive_head(max_files)
        if not head:
            return None
        try:
            (length,) = _LENGTH.unpack(head + self._receive_exactly(4 - len(head)))
            if length > MAX_MESSAGE:
                raise ProtocolError("message too long")
            message = json.loads(self._receive_exactly(length))
            if not isinstance(message, dict):
                raise ProtocolError("not a message")
        except (ProtocolError, ValueError, RecursionError) as error:
            for file in files:
                os.close(file)
            raise ProtocolError("not a message") from error
        return message, files

    def _receive_head(self, max_files: int) -> tuple[bytes, list[int]]:
        sock = self._keep_to_deadline()
        if not max_files:
            return sock.recv(4), []
        head, files, _, _ = socket.recv_fds(sock, 4, max_files)
        return head, files

    def _receive_exactly(self, length: int) -> bytes:
        pieces = bytearray()
        while len(pieces) < length:
            piece = self._keep_to_deadline().recv(length - len(pieces))
            if not piece:
                raise ProtocolError("cut off")
            pieces += piece
        return bytes(pieces)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
