"""How slow a client may be, measured over windows (R61).

Nothing is timed for each request or byte: the site looks at all connections once a
second, so the hot path only notes when something began.
"""

from __future__ import annotations

from twisted.internet.interfaces import ITransport

from mmr.http.limits import HttpLimits
from mmr.http.sendfile import FileTransport


class Watch:
    """The measurements of one connection.

    Attributes:
        since: When the current wait for the client began (monotonic seconds).
    """

    __slots__ = ("_body_mark", "_body_since", "_out_mark", "_out_since", "since")

    def __init__(self, now: float) -> None:
        self.since = now
        self._body_since = now
        self._body_mark = 0
        self._out_since: float | None = None
        self._out_mark = 0

    def idle(self, now: float) -> None:
        """A wait for the client begins."""
        self.since = now

    def start_body(self, now: float) -> None:
        """The client may send (again): its window starts anew."""
        self._body_since = now
        self._body_mark = -1

    def sends_too_slowly(
        self, received: int | None, now: float, limits: HttpLimits
    ) -> bool:
        """Whether a whole window brought less of a body than it must.

        Args:
            received: Body bytes so far; None while it is us who don't read.
            now: Monotonic seconds.
            limits: The limits.
        """
        window = limits.slow_upload_seconds
        if received is None or self._body_mark < 0:
            self._body_since, self._body_mark = now, received or 0
            return False
        if now - self._body_since < window:
            return False
        progress = received - self._body_mark
        self._body_since, self._body_mark = now, received
        return progress < window * limits.slow_bytes_per_second

    def reads_too_slowly(
        self, transport: ITransport, now: float, limits: HttpLimits
    ) -> bool:
        """Whether a whole window took less of our bytes than it must."""
        if not isinstance(transport, FileTransport) or not transport.has_unsent:
            self._out_since = None
            return False
        if self._out_since is None:
            self._out_since, self._out_mark = now, transport.bytes_sent
            return False
        window = limits.slow_reader_seconds
        if now - self._out_since < window:
            return False
        progress = transport.bytes_sent - self._out_mark
        self._out_since, self._out_mark = now, transport.bytes_sent
        return progress < window * limits.slow_bytes_per_second
