"""One request: what handlers read of it, and how its answer is written."""

from __future__ import annotations

import itertools
from http import HTTPStatus
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.web.http_headers import Headers

from mmr.http.admission import Limits, NoLimits
from mmr.http.body import RequestBody
from mmr.http.fixed_headers import MEDIA_POLICY, fixed_headers
from mmr.http.head import RequestHead
from mmr.http.interfaces import RequestChannel
from mmr.http.parameters import Query
from mmr.types import ANONYMOUS, Requester

if TYPE_CHECKING:
    from mmr.config import DomainConfig
    from mmr.http.routing import Route

_STATUS_LINES = {
    status.value: b"HTTP/1.1 %d %s\r\n" % (status, status.phrase.encode("ascii"))
    for status in HTTPStatus
}
_BODILESS = frozenset({204, 304})
_numbers = itertools.count(1)
_NO_LIMITS = NoLimits()


class MediaRequest:
    """A request and its answer.

    Attributes:
        method: Such as ``b"GET"``.
        target: Path and query as they came.
        path_text: The path as it came; percent-encoded ASCII.
        request_id: Such as ``GET-17``; unique in this process.
        query: The parameters of the URL.
        client_address: Who is asking, behind trusted proxies (R74).
        host: The server name that was asked for; empty where any host is served.
        route: What the request was matched to.
        requester: Who is asking, once proven.
        started: When its head was complete (monotonic seconds).
        handled: When the handler had its answer.
        status: Of the answer; 0 before it is written.
        sent_bytes: Body bytes written so far.
        limits: Who counts requests and bytes.
        charged_address: Who was charged while the caller wasn't proven.
        reservation: Who was charged for how many bytes of the answer.
        is_rate_described: The headers of the rate limit are set.
        is_started: The head of the answer is written.
        is_gone: The client left, or was cut off.
    """

    __slots__ = (
        "_body",
        "_channel",
        "_chunked",
        "_domain",
        "_extra_headers",
        "_keep_alive",
        "_no_body",
        "_policy",
        "_request_headers",
        "charged_address",
        "client_address",
        "handled",
        "handling",
        "head",
        "host",
        "is_gone",
        "is_rate_described",
        "is_started",
        "limits",
        "method",
        "path_text",
        "query",
        "request_id",
        "requester",
        "reservation",
        "route",
        "sent_bytes",
        "started",
        "status",
        "target",
    )

    def __init__(self, channel: RequestChannel, head: RequestHead, now: float) -> None:
        self._channel = channel
        self.head = head
        self.started = self.handled = now
        self.method = head.method
        self.target = head.target
        self.path_text = head.path
        self.query = Query(head.query)
        self.request_id = f"{head.method.decode('ascii')}-{next(_numbers)}"
        self.client_address = channel.peer or ""
        self.host = ""
        self.requester: Requester = ANONYMOUS
        self.route: Route | None = None
        self.status = 0
        self.sent_bytes = 0
        self.is_started = False
        self.is_gone = False
        self.limits: Limits = _NO_LIMITS
        self.charged_address: str | None = None
        self.reservation: tuple[str, int] | None = None
        self.is_rate_described = False
        self.handling: Deferred[None] | None = None
        self._domain: DomainConfig | None = None
        self._body: RequestBody | None = None
        self._request_headers: Headers | None = None
        self._extra_headers = b""
        self._policy = b""
        self._keep_alive = False
        self._chunked = False
        self._no_body = False

    # What was asked.

    @property
    def body(self) -> RequestBody:
        """The bytes that come with the request."""
        if self._body is None:
            self._body = RequestBody(0)
        return self._body

    @body.setter
    def body(self, body: RequestBody) -> None:
        self._body = body

    @property
    def domain(self) -> DomainConfig:
        """The configuration of the host that was asked for.

        Raises:
            RuntimeError: on a route that serves any host.
        """
        if self._domain is None:
            raise RuntimeError(f"{self.path_text} is served without a host")
        return self._domain

    @domain.setter
    def domain(self, domain: DomainConfig) -> None:
        self._domain = domain

    def header(self, name: bytes) -> bytes | None:
        """The only value of a header, by lower-cased name.

        Several values of one header say nothing, rather than the first of them.
        """
        values = self.head.headers.get(name)
        return values[0] if values is not None and len(values) == 1 else None

    @property
    def requestHeaders(self) -> Headers:
        """All headers in Twisted's form."""
        if self._request_headers is None:
            self._request_headers = Headers(self.head.headers)
        return self._request_headers

    @property
    def peer(self) -> str | None:
        """The address at the other end of the socket; None on a unix socket."""
        return self._channel.peer

    @property
    def peer_is_trusted(self) -> bool:
        """Whether the peer is a proxy whose forwarding headers count."""
        return self._channel.peer_is_trusted

    # The answer. Used by `mmr.http.responses`.

    def add_header(self, name: bytes, value: bytes) -> None:
        """Send one more header, whatever the answer will be.

        Raises:
            ValueError: the value would end the header.
        """
        self._extra_headers += header_line(name, value)

    def replace_policy(self, policy: bytes) -> None:
        """Send this as content security policy, in the place of the one for media.

        Only for pages that we have written ourselves (R2).
        """
        self._policy = header_line(b"Content-Security-Policy", policy)

    def respond(self, status: int, headers: bytes, body: bytes) -> None:
        """Write a whole answer at once.

        Args:
            status: HTTP status.
            headers: Lines, each with its CRLF, beside the fixed ones and the framing.
            body: All of it; not sent for HEAD and bodiless statuses.
        """
        head = self._head(status, headers, len(body))
        if self._no_body or not body:
            self._channel.write((head,))
        else:
            self.sent_bytes = len(body)
            self._channel.write((head, body))

    def start(self, status: int, headers: bytes, length: int | None) -> bool:
        """Write the head of an answer whose body follows in pieces.

        Args:
            status: HTTP status.
            headers: As for `respond`.
            length: Of the body; None when it isn't known.

        Returns:
            Whether a body is to be written at all.
        """
        self._channel.write((self._head(status, headers, length),))
        return not self._no_body and length != 0

    async def write(self, data: bytes) -> None:
        """Write a piece of the body, and wait until the client keeps up.

        Raises:
            ClientGone: nobody is left to read it.
        """
        if self._chunked and data:
            self._channel.write((b"%x\r\n" % len(data), data, b"\r\n"))
        elif data:
            self._channel.write((data,))
        self.sent_bytes += len(data)
        await self._channel.drained()

    @property
    def can_send_file(self) -> bool:
        """Whether `send_file` works here: not under TLS, and with a length only."""
        return not self._chunked and self._channel.file_sender() is not None

    async def send_file(self, descriptor: int, offset: int, count: int) -> None:
        """Let the kernel send a part of an open file."""
        sender = self._channel.file_sender()
        assert sender is not None
        await sender.send_file(descriptor, offset, count)
        self.sent_bytes += count

    def finish(self) -> None:
        """The answer is complete."""
        if self._chunked and not self._no_body:
            self._channel.write((b"0\r\n\r\n",))
        self._channel.request_done(self._keep_alive)

    def abort(self) -> None:
        """Break the connection off: what was sent can't be made whole (R68)."""
        self.is_gone = True
        self._channel.abort()

    def cancel(self) -> None:
        """Nobody waits for the answer: stop working for it (R66)."""
        if self.handling is not None:
            self.handling.cancel()

    def _head(self, status: int, headers: bytes, length: int | None) -> bytes:
        self.is_started = True
        self.status = status
        self._keep_alive = keep_alive = self._channel.may_stay_open()
        self._no_body = self.method == b"HEAD" or status in _BODILESS
        framing = b"\r\n"
        if length is not None:
            if status not in _BODILESS:
                framing = b"Content-Length: %d\r\n\r\n" % length
        elif not self.head.is_http11:
            self._keep_alive = keep_alive = False
        elif not self._no_body:
            self._chunked = True
            framing = b"Transfer-Encoding: chunked\r\n\r\n"
        if not keep_alive:
            framing = b"Connection: close\r\n" + framing
        elif not self.head.is_http11:
            framing = b"Connection: keep-alive\r\n" + framing
        fixed = fixed_headers()
        if self._policy:
            fixed = fixed.replace(MEDIA_POLICY, self._policy)
        parts = (
            _STATUS_LINES[status],
            fixed,
            headers,
            self._extra_headers,
            framing,
        )
        return b"".join(parts)


def header_line(name: bytes, value: bytes) -> bytes:
    """One header line with its end.

    Raises:
        ValueError: the value holds a control character.
    """
    if value.translate(None, _CONTROLS) != value:
        raise ValueError(f"control character in the header {name!r}")
    return b"%s: %s\r\n" % (name, value)


_CONTROLS = bytes([*range(32), 127])
