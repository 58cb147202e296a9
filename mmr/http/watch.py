"""How slow a client may be, measured over windows (R61).

Nothing is timed for each request or byte: the site looks at all connections once a
second, so the hot path only notes when something began.
"""

from __future__ import annotations

from mmr.http.limits import HttpLimits
from mmr.http.sendfile import FileTransport


class Watch:
    """The measurements of one connection.

    Attributes:
        since: When the current wait for the client began (monotonic seconds).
    """

    __slots__ = ("_body_mark", "_out_mark", "since")

    def __init__(self, now: float) -> None:
        self.since = now
        self._body_mark: tuple[float, int] | None = None
        self._out_mark: tuple[float, int] | None = None

    def wait(self, now: float) -> None:
        """A wait for the client begins."""
        self.since = now

    def start_body(self) -> None:
        """The window for a body starts anew with the next look."""
        self._body_mark = None

    @property
    def is_reading_slowly(self) -> bool:
        """Whether something waited for the client at the last look."""
        return self._out_mark is not None

    def sends_too_slowly(
        self, received: int | None, now: float, limits: HttpLimits
    ) -> bool:
        """Whether a whole window brought less of a body than it must.

        Args:
            received: Body bytes so far; None while it is us who don't read.
            now: Monotonic seconds.
            limits: The limits.
        """
        if received is None:
            self._body_mark = None
            return False
        self._body_mark, is_slow = _progress(
            self._body_mark, received, now, limits, limits.slow_upload_seconds
        )
        return is_slow

    def reads_too_slowly(
        self, transport: object, now: float, limits: HttpLimits
    ) -> bool:
        """Whether a whole window took less of our bytes than it must."""
        if not isinstance(transport, FileTransport) or not transport.has_unsent:
            self._out_mark = None
            return False
        self._out_mark, is_slow = _progress(
            self._out_mark,
            transport.bytes_sent,
            now,
            limits,
            limits.slow_reader_seconds,
        )
        return is_slow


def _progress(
    mark: tuple[float, int] | None,
    count: int,
    now: float,
    limits: HttpLimits,
    window: float,
) -> tuple[tuple[float, int], bool]:
    """The window's beginning, and whether one ended with too little progress."""
    if mark is None:
        return (now, count), False
    if now - mark[0] < window:
        return mark, False
    return (now, count), count - mark[1] < window * limits.slow_bytes_per_second
