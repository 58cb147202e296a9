"""One connection to a judged address.

Not Twisted's Agent: it limits neither the response head nor interim responses, gives
no way to judge the peer before TLS begins, and buffers what arrives before a body is
read. Keeping every limit on top of it would be more code than this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from OpenSSL import SSL

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from mmr.http.guard.body import IncomingBody
from mmr.http.guard.errors import FetchFailed, Step
from mmr.http.guard.head import MAX_HEAD_BYTES, MAX_INTERIM, ResponseHead, parse_head
from mmr.http.guard.limits import Purpose
from mmr.http.guard.tls import TlsIdentity
from mmr.http.guard.watch import Watch
from mmr.util.clock import Clock

_HEAD_END = b"\r\n\r\n"


@attrs.frozen
class Place:
    """What a connection is good for: only requests of the very same place share it."""

    address: str
    port: int
    tls_name: str | None
    verify: bool


def _nothing(_: Any) -> None:
    """Nobody minds."""


@implementer(IHandshakeListener)
class GuardedConnection(Protocol):
    """Speaks HTTP/1.1 to one peer, one request after the other.

    Args:
        clock: The time.
        place: What it is connected to.
        may_reach: Judges the peer's address once more (R11).
        identity: For TLS; None: plain HTTP.

    Attributes:
        ready: Fires once a request may be sent.
        has_answered: Anything at all came back for the current request.
        idle: Called when the connection can serve another request.
        gone: Called when it is lost while idle.
    """

    def __init__(
        self,
        clock: Clock,
        place: Place,
        may_reach: Callable[[str], bool],
        identity: TlsIdentity | None,
    ) -> None:
        self.place = place
        self.ready: Deferred[None] = Deferred(self._stop_dialling)
        self.has_answered = False
        self.idle: Callable[[GuardedConnection], None] = _nothing
        self.gone: Callable[[GuardedConnection], None] = _nothing
        self._clock = clock
        self._may_reach = may_reach
        self._identity = identity
        self._is_up = False
        self._is_dead = False
        self._connector: Any = None
        self._purpose = Purpose("none")
        self._deadline: float | None = None
        self._is_head_request = False
        self._block = b""
        self._interim = 0
        self._head: ResponseHead | None = None
        self._head_waiter: Deferred[tuple[ResponseHead, IncomingBody]] | None = None
        self._body: IncomingBody | None = None
        self._watch: Watch | None = None

    # Connecting

    def dial(self, reactor: Any, seconds: float) -> None:
        """Connect. The address is no name: nothing is looked up."""
        factory = _Dial(self)
        self._connector = reactor.connectTCP(
            self.place.address, self.place.port, factory, timeout=max(1.0, seconds)
        )

    def connectionMade(self) -> None:
        """Judge the peer before a byte is sent, then start TLS."""
        transport: Any = self.transport
        peer = transport.getPeer().host
        if not self._may_reach(peer):
            self._fail_ready(FetchFailed(Step.DENIED, f"connected to {peer}"))
            return
        transport.setTcpNoDelay(True)
        if self._identity is None:
            self._is_ready()
        else:
            transport.startTLS(self._identity)

    def handshakeCompleted(self) -> None:
        """Check whose certificate it is before anything is sent."""
        assert self._identity is not None
        transport: Any = self.transport
        objection = self._identity.objection(transport.getHandle())
        if objection is None:
            self._is_ready()
        else:
            self._fail_ready(FetchFailed(Step.TLS, objection))

    def connection_failed(self, reason: Failure) -> None:
        """There is no connection at all."""
        self._is_dead = True
        if not self.ready.called:
            self.ready.errback(FetchFailed(Step.CONNECT, _describe(reason)))

    def _stop_dialling(self, ready: Deferred[None]) -> None:
        # First, or the end of the attempt would be taken for a failure of the peer.
        ready.errback(CancelledError())
        self.abort()

    def _is_ready(self) -> None:
        self._is_up = True
        if not self.ready.called:
            self.ready.callback(None)

    def _fail_ready(self, failure: FetchFailed) -> None:
        ready = self.ready
        self.abort()
        if not ready.called:
            ready.errback(failure)

    # Requests

    @property
    def is_usable(self) -> bool:
        """Whether a request can be sent now."""
        return self._is_up and not self._is_dead and self._body is None

    async def exchange(
        self,
        request: bytes,
        *,
        is_head: bool,
        purpose: Purpose,
        deadline: float | None,
    ) -> tuple[ResponseHead, IncomingBody]:
        """Send a request and wait for the final head of its response.

        The caller limits the time of that; the body has limits of its own.

        Raises:
            FetchFailed: with `Step.HEADERS`.
        """
        self._purpose, self._deadline = purpose, deadline
        self._is_head_request = is_head
        self._block, self._interim, self.has_answered = b"", 0, False
        waiter: Deferred[tuple[ResponseHead, IncomingBody]]
        waiter = self._head_waiter = Deferred(lambda _: self.abort())
        transport: Any = self.transport
        transport.write(request)
        return await waiter

    def abort(self) -> None:
        """Hang up without draining (R16)."""
        was_dead, self._is_dead = self._is_dead, True
        self._stop_watch()
        if was_dead:
            return
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()
        elif self._connector is not None:
            self._connector.disconnect()

    def give_up(self, body: IncomingBody) -> None:
        """Hang up, unless the body has ended and the connection serves others."""
        if self._body is body:
            self.abort()

    def close(self) -> None:
        """End an idle connection."""
        self._is_dead = True
        transport: Any = self.transport
        transport.loseConnection()

    # What arrives

    def dataReceived(self, data: bytes) -> None:
        """Bytes of a head or of a body; at any other time there must be none."""
        if self._is_dead:
            return
        self.has_answered = True
        try:
            if self._body is not None:
                self._receive_body(self._body, data)
            elif self._head_waiter is not None:
                self._receive_head(data)
            else:
                self.abort()
        except FetchFailed as failure:
            self._fail(failure)

    def _receive_head(self, data: bytes) -> None:
        # An end may span two reads; what was searched before is not searched again.
        start = max(0, len(self._block) - len(_HEAD_END) + 1)
        self._block += data
        while (end := self._block.find(_HEAD_END, start, MAX_HEAD_BYTES)) >= 0:
            block, start = self._block[:end], 0
            self._block = self._block[end + len(_HEAD_END) :]
            head = parse_head(block, is_answer_to_head=self._is_head_request)
            if not head.is_interim:
                self._begin_body(head)
                return
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise FetchFailed(Step.HEADERS, "too many interim responses")
        if len(self._block) >= MAX_HEAD_BYTES:
            raise FetchFailed(Step.HEADERS, f"longer than {MAX_HEAD_BYTES} bytes")

    def _begin_body(self, head: ResponseHead) -> None:
        waiter, rest = self._head_waiter, self._block
        assert waiter is not None
        self._head_waiter, self._block, self._head = None, b"", head
        transport: Any = self.transport
        body = IncomingBody(
            head,
            transport.pauseProducing,
            transport.resumeProducing,
            self.abort,
        )
        self._body = body
        self._watch = Watch(
            self._clock, self._purpose, body, self._deadline, self._is_late
        )
        try:
            self._receive_body(body, rest)
        except FetchFailed as failure:
            self._fail(failure)
        waiter.callback((head, body))

    def _receive_body(self, body: IncomingBody, data: bytes) -> None:
        if data:
            body.receive(data)
        # Before the reader hears of it: its next request may want this connection.
        if body.is_complete:
            self._end_body(body)
        body.wake()

    def _end_body(self, body: IncomingBody) -> None:
        assert self._head is not None
        self._stop_watch()
        self._body = None
        # Bytes behind the end make the next response's beginning doubtful.
        if self._head.is_persistent and not body.rest and not self._is_dead:
            self.idle(self)
        else:
            self.abort()

    def _is_late(self, reason: str) -> None:
        self._fail(FetchFailed(Step.BODY, reason, timed_out=True))

    def _fail(self, failure: FetchFailed) -> None:
        waiter, self._head_waiter = self._head_waiter, None
        body, self._body = self._body, None
        self.abort()
        if waiter is not None and not waiter.called:
            waiter.errback(failure)
        if body is not None:
            body.fail(failure)

    def _stop_watch(self) -> None:
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell whoever waits."""
        self._is_dead = True
        self._stop_watch()
        if not self._is_up:
            step = Step.CONNECT if self._identity is None else Step.TLS
            if not self.ready.called:
                self.ready.errback(FetchFailed(step, _describe(reason)))
            return
        body, self._body = self._body, None
        if body is not None:
            is_clean = reason.check(ConnectionDone) is not None
            body.connection_ended(is_clean, _describe(reason))
        elif self._head_waiter is not None:
            self._fail(FetchFailed(Step.HEADERS, _describe(reason)))
        else:
            self.gone(self)


class _Dial(ClientFactory):
    """Lets one protocol make one connection."""

    noisy = False

    def __init__(self, connection: GuardedConnection) -> None:
        self._connection = connection

    def buildProtocol(self, _: object) -> GuardedConnection:
        """The protocol that dials."""
        return self._connection

    def clientConnectionFailed(self, _: object, reason: Failure) -> None:
        """Pass it on."""
        self._connection.connection_failed(reason)


def _describe(reason: Failure) -> str:
    error = reason.value
    if isinstance(error, SSL.Error) and error.args and isinstance(error.args[0], list):
        return "; ".join(str(entry[-1]) for entry in error.args[0]) or "TLS failed"
    return f"{type(error).__name__}: {error}"
