"""ClamAV's ``clamd``, asked with INSTREAM."""

from __future__ import annotations

import os
import struct
from collections.abc import Hashable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from mmr.errors import ConfigError
from mmr.http.endpoints import trusted_endpoint, unix_endpoint
from mmr.plugins.base import CheckFailed, FileInfo, FileToCheck
from mmr.util.threads import Runner

_CONNECT_SECONDS = 5.0
_PIECE_BYTES = 256 * 1024
_MAX_REPLY = 4096


class ClamAv:
    """Refuses what ``clamd`` has a signature for.

    Args:
        config: ``address``: ``host:port``, or the path of its socket.
        threads: For reading files.
        reactor: The reactor.

    Raises:
        ConfigError: no address.
    """

    name = "ClamAV"

    def __init__(self, config: dict[str, Any], threads: Runner, reactor: Any) -> None:
        self._threads = threads
        self._endpoint = _endpoint(str(config.get("address", "")), reactor)

    def context(self, info: FileInfo) -> Hashable:
        """It looks at the content alone."""
        return None

    async def check(self, file: FileToCheck) -> bool:
        """See `Plugin.check`."""
        protocol = _Conversation()
        try:
            await self._endpoint.connect(Factory.forProtocol(lambda: protocol))
        except Exception as error:
            raise CheckFailed(f"clamd can't be reached: {error}") from error
        try:
            await self._send(file, protocol)
            reply = await protocol.reply
        finally:
            protocol.hang_up()
        text = reply.rstrip(b"\0\n").decode("utf-8", "replace")
        if text == "stream: OK":
            return False
        if text.endswith(" FOUND"):
            return True
        raise CheckFailed(f"clamd answers {text[:200]!r}")

    async def _send(self, file: FileToCheck, protocol: _Conversation) -> None:
        protocol.write(b"zINSTREAM\0")
        descriptor = await self._threads.run(os.open, file.path, os.O_RDONLY)
        try:
            offset = 0
            while data := await self._threads.run(
                os.pread, descriptor, _PIECE_BYTES, offset
            ):
                offset += len(data)
                protocol.write(struct.pack("!I", len(data)) + data)
                await protocol.drained()
                if protocol.reply.called:
                    # It has seen enough.
                    return
        finally:
            os.close(descriptor)
        protocol.write(struct.pack("!I", 0))

    async def stop(self) -> None:
        """Nothing runs for it."""


def _endpoint(address: str, reactor: Any) -> IStreamClientEndpoint:
    if address.startswith("/"):
        return unix_endpoint(reactor, address, timeout_s=_CONNECT_SECONDS)
    if address.rpartition(":")[2].isdigit():
        return trusted_endpoint(reactor, address, timeout_s=_CONNECT_SECONDS)
    raise ConfigError(
        "the plugin `clamav` needs `address`: host:port, or the path of clamd's socket",
        key="plugins",
    )


class _Conversation(Protocol):
    """One file, one reply; a producer's pauses reach us through `drained`."""

    transport: Any

    def __init__(self) -> None:
        self.reply: Deferred[bytes] = Deferred(lambda _: self.hang_up())
        self._received = b""
        self._paused: Deferred[None] | None = None
        self._is_over = False

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)

    def write(self, data: bytes) -> None:
        if not self._is_over:
            self.transport.write(data)

    async def drained(self) -> None:
        if self._paused is not None:
            await self._paused

    def pauseProducing(self) -> None:
        if self._paused is None and not self._is_over:
            self._paused = Deferred(lambda _: None)

    def resumeProducing(self) -> None:
        paused, self._paused = self._paused, None
        if paused is not None and not paused.called:
            paused.callback(None)

    def stopProducing(self) -> None:
        self.resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        if b"\0" in self._received or len(self._received) > _MAX_REPLY:
            self._settle(self._received)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self._is_over:
            self._is_over = True
            self.resumeProducing()
            gone = CheckFailed(f"clamd hung up: {reason.getErrorMessage()}")
            self._settle(self._received or Failure(gone))

    def hang_up(self) -> None:
        if not self._is_over:
            self._is_over = True
            self.resumeProducing()
            self.transport.unregisterProducer()
            self.transport.abortConnection()

    def _settle(self, result: bytes | Failure) -> None:
        if not self.reply.called:
            self.reply.callback(result)
