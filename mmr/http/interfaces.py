"""What the parts of the server know of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport

from mmr.errors import MatrixError
from mmr.http.head import HeadReader
from mmr.http.limits import HttpLimits

if TYPE_CHECKING:
    from mmr.http.channel import MediaChannel
    from mmr.http.request import MediaRequest


class FileSender(Protocol):
    """A transport that sends files itself (`mmr.http.sendfile.FileTransport`)."""

    def send_file(self, descriptor: int, offset: int, count: int) -> Deferred[None]:
        """Send a part of an open file."""
        ...


class RequestChannel(Protocol):
    """The connection, as its current request uses it."""

    peer: str | None
    peer_is_trusted: bool

    def write(self, pieces: tuple[bytes, ...]) -> None:
        """Write without waiting."""
        ...

    async def drained(self) -> None:
        """Wait until the client has taken most of what was written."""
        ...

    def file_sender(self) -> FileSender | None:
        """The transport, if it can send files itself."""
        ...

    def may_stay_open(self) -> bool:
        """Whether another request can follow."""
        ...

    def request_done(self, keep_alive: bool) -> None:
        """The answer is written."""
        ...

    def abort(self) -> None:
        """Close at once."""
        ...


class ClientTransport(ITCPTransport, IConsumer, IPushProducer):
    """What sockets of servers provide in Twisted.

    Attributes:
        bufferSize: Bytes that one read may bring.
    """

    bufferSize: int


class ChannelOwner(Protocol):
    """What a connection needs from its site."""

    limits: HttpLimits
    heads: HeadReader
    is_draining: bool

    def now(self) -> float:
        """Monotonic seconds."""
        ...

    def serve(self, request: MediaRequest) -> None:
        """Answer a request, soon or later."""
        ...

    def refuse(self, request: MediaRequest, error: MatrixError) -> None:
        """Answer a request whose head can't be read."""
        ...

    def connection_closed(self, channel: MediaChannel) -> None:
        """The connection is gone."""
        ...
