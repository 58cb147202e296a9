"""Downloads that wait for an asynchronous upload (MSC2246)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from twisted.internet.defer import Deferred

from mmr.types import Mxc
from mmr.util.clock import Clock

T = TypeVar("T")

# Another process may take the upload: its row is looked for this often.
_POLL_S = 1.0


class UploadWaiters:
    """Wakes those who wait for a media id to be filled.

    Args:
        clock: For the time-outs.
        announce: Told what was filled, for those who wait in other processes.
    """

    def __init__(
        self, clock: Clock, announce: Callable[[Mxc], object] = lambda _: None
    ) -> None:
        self._announce = announce
        self._clock = clock
        self._waiting: dict[Mxc, set[Deferred[None]]] = {}

    def notify(self, mxc: Mxc) -> None:
        """The media is there now."""
        self.wake(mxc)
        self._announce(mxc)

    def wake(self, mxc: Mxc) -> None:
        """The media is there now, as another process says."""
        for waiter in self._waiting.pop(mxc, set()):
            waiter.callback(None)

    async def wait_for(
        self, mxc: Mxc, look: Callable[[], Awaitable[T | None]], timeout_s: float
    ) -> T | None:
        """Look until something is found or the time is over.

        The waiter is registered before each look, so an upload that ends in between
        is not missed (D49).
        """
        deadline = self._clock.monotonic() + timeout_s
        while True:
            waiter: Deferred[None] = Deferred(lambda _: None)
            self._waiting.setdefault(mxc, set()).add(waiter)
            try:
                found = await look()
                remaining = deadline - self._clock.monotonic()
                if found is not None or remaining <= 0:
                    return found
                await self._sleep_or_wake(waiter, min(remaining, _POLL_S))
            finally:
                self._forget(mxc, waiter)

    async def _sleep_or_wake(self, waiter: Deferred[None], seconds: float) -> None:
        def time_is_up() -> None:
            if not waiter.called:
                waiter.callback(None)

        alarm = self._clock.call_later(seconds, time_is_up)
        try:
            await waiter
        finally:
            if alarm.active():
                alarm.cancel()

    def _forget(self, mxc: Mxc, waiter: Deferred[None]) -> None:
        waiters = self._waiting.get(mxc)
        if waiters is not None:
            waiters.discard(waiter)
            if not waiters:
                del self._waiting[mxc]
