"""An HTTP client that sends exactly the bytes it is told to, and shows what came."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure


@attrs.frozen
class Answer:
    """What a client got."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Wire(Protocol):
    """One connection.

    Attributes:
        received: All bytes that came and no answer has taken.
        is_closed: The server has closed.
    """

    def __init__(self) -> None:
        self.received = b""
        self.is_closed = False
        self._waiter: Deferred[None] | None = None

    @classmethod
    async def connect(cls, reactor: Any, port: int) -> Wire:
        """Connect to a port of loopback."""
        return await connectProtocol(
            HostnameEndpoint(reactor, "127.0.0.1", port), cls()
        )

    def send(self, data: bytes) -> None:
        """Send bytes."""
        assert self.transport is not None
        self.transport.write(data)

    def send_chunk(self, data: bytes) -> None:
        """Send bytes as a chunk; without any, the last one."""
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def abort(self) -> None:
        """Hang up without a word."""
        if self.transport is not None:
            self.transport.abortConnection()

    async def answer(self, method: str = "GET") -> Answer:
        """The next whole answer; of a broken-off one, what came of it."""
        await self._until(lambda: b"\r\n\r\n" in self.received)
        head, _, rest = self.received.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        number = int(status.split()[1])
        has_body = method != "HEAD" and number not in (100, 204, 304)
        length = int(headers.get("content-length", 0)) if has_body else 0
        start = len(self.received) - len(rest)
        await self._until(lambda: len(self.received) >= start + length)
        body = self.received[start : start + length]
        self.received = self.received[start + length :]
        return Answer(number, headers, body)

    async def closed(self) -> bytes:
        """Wait for the end, and give what came until then."""
        await self._until(lambda: self.is_closed)
        return self.received

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition() and not self.is_closed:
            self._waiter = Deferred()
            await self._waiter

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self._wake()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.is_closed = True
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.callback(None)
