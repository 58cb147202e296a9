"""Time, as one object that tests can replace."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Clock:
    """Wall time for records, monotonic time for limits (R100), and sleeping.

    Args:
        reactor: The reactor, or a `twisted.internet.task.Clock` in tests, whose
            ``seconds()`` then serves as both times.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._is_fake = not hasattr(reactor, "addSystemEventTrigger")
        self.monotonic: Callable[[], float] = (
            reactor.seconds if self._is_fake else time.monotonic
        )
        """Seconds that only ever grow. For time-outs and rates."""

    def time_ms(self) -> int:
        """Milliseconds since the Unix epoch. It may jump."""
        if self._is_fake:
            return int(self._reactor.seconds() * 1000)
        return time.time_ns() // 1_000_000

    def sleep(self, seconds: float) -> Deferred[None]:
        """Wait; cancelling the Deferred ends the wait."""
        call: IDelayedCall

        def cancel(_: Deferred[None]) -> None:
            if call.active():
                call.cancel()

        waiting: Deferred[None] = Deferred(cancel)
        call = self._reactor.callLater(seconds, waiting.callback, None)
        return waiting

    def call_later(
        self, seconds: float, function: Callable[..., object], *args: Any
    ) -> IDelayedCall:
        """Call once, later."""
        return self._reactor.callLater(seconds, function, *args)
