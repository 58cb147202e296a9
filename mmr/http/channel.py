"""One client connection: heads in, bodies on to their readers, answers out in order.

This replaces Twisted's ``HTTPChannel`` rather than extending it: there the line
parser, the spooled body and the timer of every byte are the base class, and each of
them would have to be switched off (performance.md §1, R61, R63, R64).
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from mmr.errors import MatrixError, bad_request
from mmr.http.body import ClientGone, RequestBody
from mmr.http.framing import Framing, malformed_chunk
from mmr.http.head import (
    RequestHead,
    head_too_large,
    refused_head,
    target_too_long,
)
from mmr.http.interfaces import ChannelOwner, ClientTransport
from mmr.http.request import MediaRequest
from mmr.http.sendfile import FileTransport
from mmr.http.watch import Watch

_HEAD_END = b"\r\n\r\n"
_USUAL_READ = 64 * 1024
# A long body in larger pieces costs a tenth less CPU (performance.md §2).
_LARGE_READ = 1024 * 1024
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@implementer(IPushProducer)
class MediaChannel(Protocol):
    """Serves the requests of one connection, one after the other.

    Args:
        site: The owner.
        peer: The peer's address; None on a unix socket.
        peer_is_trusted: Whether forwarding headers from this peer count (R74).
        address_group: What the limit of connections counts it under, if anything.
    """

    transport: ClientTransport

    def __init__(
        self,
        site: ChannelOwner,
        peer: str | None,
        peer_is_trusted: bool,
        address_group: str | None = None,
    ) -> None:
        self.site = site
        self.address_group = address_group
        self.peer = peer
        self.peer_is_trusted = peer_is_trusted
        self.request: MediaRequest | None = None
        self.is_closing = False
        self.is_lingering = False
        self._watch = Watch(site.now())
        self._buffer = b""
        self._scanned = 0
        self._head_began = False
        self._framing: Framing | None = None
        self._owes_continue = False
        self._is_refused = False
        self._lingered_bytes = 0
        self._is_reading = True
        self._is_serving = False
        self._is_write_blocked = False
        self._drained: Deferred[None] | None = None

    # What the transport calls.

    def connectionMade(self) -> None:
        """Start to take part in back-pressure."""
        self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        """Take bytes: of a body, of heads, or from somebody who was refused."""
        if self.is_lingering:
            self._lingered_bytes += len(data)
            self._adjust_reading()
        elif self._framing is not None:
            self._body_received(self._framing, data)
        else:
            self._buffer = self._buffer + data if self._buffer else data
            if self.request is None:
                self._serve_buffered()
            else:
                self._adjust_reading()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """End what waits for this client (R66)."""
        self.is_closing = True
        request, self.request = self.request, None
        drained, self._drained = self._drained, None
        if request is not None:
            request.is_gone = True
        if self._framing is not None:
            self._framing.body.fail(ClientGone("the client left within its body"))
        if drained is not None and not drained.called:
            drained.errback(ClientGone("the client left within the answer"))
        if request is not None:
            request.cancel()
        self.site.connection_closed(self)

    def pauseProducing(self) -> None:
        """The client reads slower than we write."""
        self._is_write_blocked = True

    def resumeProducing(self) -> None:
        """All that was written is on its way."""
        self._is_write_blocked = False
        drained, self._drained = self._drained, None
        if drained is not None and not drained.called:
            drained.callback(None)
        else:
            self._serve_buffered()

    def stopProducing(self) -> None:
        """The transport is about to tell `connectionLost`."""

    # What the request calls.

    def write(self, pieces: tuple[bytes, ...]) -> None:
        """Write without waiting."""
        if not self.is_closing:
            self.transport.writeSequence(pieces)

    def file_sender(self) -> FileTransport | None:
        """The transport, if it can send files itself."""
        transport = self.transport
        return transport if isinstance(transport, FileTransport) else None

    async def drained(self) -> None:
        """Wait until the client has taken most of what was written.

        Raises:
            ClientGone: it won't.
        """
        if self.is_closing:
            raise ClientGone("the client left within the answer")
        if self._is_write_blocked:
            self._drained = Deferred()
            await self._drained

    def may_stay_open(self) -> bool:
        """Whether the connection can serve another request after the current one.

        Not when more of a body is to come than is worth waiting for (R62), or when a
        client with ``Expect`` may or may not send it.
        """
        request, framing = self.request, self._framing
        if request is None or not request.head.keep_alive or self.site.is_draining:
            return False
        if framing is None:
            return True
        body, limit = framing.body, self.site.limits.discarded_body_bytes
        is_small = body.length is not None and body.length <= limit
        is_refused = body.has_failed or request.status == 413
        return is_small and not (is_refused or self._owes_continue)

    def request_done(self, keep_alive: bool) -> None:
        """The answer is written: go on with the next request, or close."""
        self.request = None
        if self.is_closing:
            return
        if self._framing is not None:
            if keep_alive and not self._framing.is_broken:
                self._framing.body.ignore()
                self._adjust_reading()
            else:
                self._linger()
        elif keep_alive:
            self._next_or_close()
        elif self._is_refused:
            self._linger()
        else:
            self.close()

    def close(self) -> None:
        """Close once everything is written."""
        self.is_closing = True
        # A registered producer would keep the transport from closing.
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def abort(self) -> None:
        """Close at once; the client sees a broken transfer (R68)."""
        self.is_closing = True
        self.transport.abortConnection()

    # What the site calls.

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        return self.request is None and not self.is_closing

    def check(self, now: float, haste: float) -> None:
        """Close the connection if the client is slower than it may be (R61).

        Args:
            now: Monotonic seconds.
            haste: What the waits for heads are multiplied with; below 1 when the
                server is full.
        """
        limits, watch, framing = self.site.limits, self._watch, self._framing
        if watch.reads_too_slowly(self.transport, now, limits):
            self.abort()
        elif self.is_lingering:
            if now - watch.since >= limits.linger_seconds:
                self.abort()
        elif framing is not None:
            is_our_turn = self._owes_continue or not self._is_reading
            received = None if is_our_turn else framing.body.received
            if watch.sends_too_slowly(received, now, limits):
                self.abort()
        elif self.is_idle and not watch.is_reading_slowly:
            wait = limits.head_seconds if self._head_began else limits.idle_seconds
            if now - watch.since >= wait * haste:
                # Not aborted: the kernel may still hold bytes for a slow reader.
                self.close()

    # Heads.

    def _serve_buffered(self) -> None:
        """Serve the requests in the buffer, for as long as each is done at once."""
        if self._is_serving:
            return
        self._is_serving = True
        try:
            while (
                self._buffer
                and self.request is None
                and self._framing is None
                and not (self._is_write_blocked or self.is_closing or self.is_lingering)
                and self._serve_next()
            ):
                pass
        finally:
            self._is_serving = False
        self._adjust_reading()

    def _serve_next(self) -> bool:
        """Serve one request; False when its head isn't complete."""
        try:
            head = self._next_head()
        except MatrixError as error:
            self._refuse(error)
            return False
        if head is None:
            return False
        self.request = request = MediaRequest(self, head, self.site.now())
        if head.length != 0:
            self._start_body(request)
        if self._framing is not None and self._framing.is_broken:
            self.site.refuse(request, malformed_chunk())
        else:
            self.site.serve(request)
        return True

    def _next_head(self) -> RequestHead | None:
        buffer, limits = self._buffer, self.site.limits
        end = buffer.find(_HEAD_END, self._scanned)
        if end < 0 or end > limits.head_bytes:
            self._check_partial_head(buffer)
            if not self._head_began:
                self._head_began = True
                self._watch.wait(self.site.now())
            self._scanned = max(0, len(buffer) - 3)
            return None
        self._buffer = buffer[end + 4 :]
        self._scanned = 0
        self._head_began = False
        # Some old clients send an empty line after a body (RFC 9112 §2.2).
        block = buffer[2:end] if buffer.startswith(b"\r\n") else buffer[:end]
        return self.site.heads.read(block)

    def _check_partial_head(self, buffer: bytes) -> None:
        """Refuse what no further byte can mend, so that it need not time out."""
        start = self._scanned
        if buffer.count(b"\n", start) != buffer.count(b"\r\n", max(0, start - 1)):
            raise bad_request("Bare line feed in the request head")
        if len(buffer) > self.site.limits.head_bytes:
            raise head_too_large() if b"\r\n" in buffer else target_too_long()

    def _refuse(self, error: MatrixError) -> None:
        head = refused_head()
        head.keep_alive = False
        # Nothing of what follows is looked at: it can't be told where it begins.
        self._is_refused = True
        self._buffer = b""
        self.request = request = MediaRequest(self, head, self.site.now())
        self.site.refuse(request, error)

    def _next_or_close(self) -> None:
        """Wait for the next request, or serve it if it is here already."""
        if self.site.is_draining:
            self.close()
            return
        self._watch.wait(self.site.now())
        if self._buffer:
            self._serve_buffered()

    # Bodies.

    def _start_body(self, request: MediaRequest) -> None:
        request.body = RequestBody(request.head.length, self._body_wanted)
        self._framing = Framing(request.body)
        self._owes_continue = request.head.expects_continue
        self._watch.start_body()
        length = request.head.length
        if length is None or length > _LARGE_READ:
            self.transport.bufferSize = _LARGE_READ
        data, self._buffer = self._buffer, b""
        if data:
            self._body_received(self._framing, data)

    def _body_received(self, framing: Framing, data: bytes) -> None:
        self._owes_continue = False
        rest = framing.receive(data)
        if self._framing is not framing:
            return  # The reader had enough, and the client was shown out.
        if rest is not None:
            self._framing = None
            self._buffer = rest
            self.transport.bufferSize = _USUAL_READ
            framing.body.finish()
            if self.request is None and not self.is_closing:
                self._next_or_close()
        elif framing.is_broken and self.request is None:
            self._linger()
        self._adjust_reading()

    def _body_wanted(self) -> None:
        request = self.request
        if self._owes_continue and request is not None and not request.is_started:
            self._owes_continue = False
            self.transport.write(_CONTINUE)
        self._adjust_reading()

    # The way out for those who were refused.

    def _linger(self) -> None:
        """Half-close, and read on a little.

        Closing a socket with unread bytes resets it, and the client would lose the
        answer that tells it why.
        """
        self.is_lingering = True
        self._framing = None
        self._buffer = b""
        self._watch.wait(self.site.now())
        self.transport.unregisterProducer()
        self.transport.loseWriteConnection()
        self._adjust_reading()

    def _adjust_reading(self) -> None:
        if self.is_closing:
            return
        limits = self.site.limits
        if self.is_lingering:
            wanted = self._lingered_bytes < limits.discarded_body_bytes
        elif self._framing is not None:
            wanted = self.request is None or not self._framing.body.is_full
        else:
            wanted = len(self._buffer) <= limits.head_bytes
        if wanted != self._is_reading:
            self._is_reading = wanted
            if wanted:
                self.transport.resumeProducing()
            else:
                self.transport.pauseProducing()
                self._watch.start_body()
