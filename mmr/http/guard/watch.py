"""How slowly a body may arrive (R15)."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall

from mmr.http.guard.body import IncomingBody
from mmr.http.guard.limits import Purpose
from mmr.util.clock import Clock

_LOOKS_PER_IDLE_LIMIT = 10


class Watch:
    """Looks at a body now and then; nothing is measured for each batch of bytes.

    Time during which our own reader lags counts for neither limit but the deadline.

    Args:
        clock: The time.
        purpose: The limits.
        body: What is watched.
        deadline: Monotonic time at which all must be over.
        late: Told the limit that was passed.
    """

    def __init__(
        self,
        clock: Clock,
        purpose: Purpose,
        body: IncomingBody,
        deadline: float | None,
        late: Callable[[str], None],
    ) -> None:
        self._clock = clock
        self._purpose = purpose
        self._body = body
        self._deadline = deadline
        self._late = late
        self._interval = purpose.idle_seconds / _LOOKS_PER_IDLE_LIMIT
        self._call: IDelayedCall | None = None
        self._restart()
        self._plan()

    def stop(self) -> None:
        """Stop looking."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None

    def _restart(self) -> None:
        self._last_growth = self._window_start = self._clock.monotonic()
        self._last_count = self._window_count = self._body.received

    def _plan(self) -> None:
        wait = self._interval
        if self._deadline is not None:
            wait = max(0.0, min(wait, self._deadline - self._clock.monotonic()))
        self._call = self._clock.call_later(wait, self._look)

    def _look(self) -> None:
        now = self._clock.monotonic()
        if self._deadline is not None and now >= self._deadline:
            self._late(f"not done within {self._purpose.total_seconds:g} s")
        elif self._body.is_paused:
            self._restart()
            self._plan()
        elif reason := self._too_slow(now):
            self._late(reason)
        else:
            self._plan()

    def _too_slow(self, now: float) -> str | None:
        purpose, count = self._purpose, self._body.received
        if count != self._last_count:
            self._last_growth, self._last_count = now, count
        elif now - self._last_growth >= purpose.idle_seconds:
            return f"nothing arrived for {purpose.idle_seconds:g} s"
        if now - self._window_start < purpose.window_seconds:
            return None
        least = purpose.slowest_bytes_per_second * (now - self._window_start)
        grown = count - self._window_count
        self._window_start, self._window_count = now, count
        if purpose.total_seconds is None and grown < least:
            return f"slower than {purpose.slowest_bytes_per_second} bytes/s"
        return None
