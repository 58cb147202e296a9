"""A circuit breaker: a server that fails again and again is left alone for a while."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from mmr.http.client import UpstreamUnavailable
from mmr.util.clock import Clock

R = TypeVar("R")

_FIRST_WINDOW = 0.5
_LAST_WINDOW = 60.0
_GROWTH = 1.5
_JITTER = 0.5


class BreakerOpen(Exception):
    """The call was not made: the server failed too often just now."""


class Breaker:
    """Opens after consecutive faults; then one probe a window, until one succeeds.

    Only `UpstreamUnavailable` is a fault. An answer, even a refusal, is a success: the
    server is alive, whatever it thinks of one caller (R47, D34).

    Args:
        threshold: Consecutive faults that open it (``backoffAt``).
        clock: For the windows.
    """

    def __init__(self, threshold: int, clock: Clock) -> None:
        self._threshold = threshold
        self._clock = clock
        self._faults = 0
        self._window = _FIRST_WINDOW
        self._next_probe: float | None = None
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether calls are refused, probes apart."""
        return self._next_probe is not None

    async def call(self, function: Callable[[], Awaitable[R]]) -> R:
        """Make the call, if it may be made now.

        Raises:
            BreakerOpen: it may not.
            UpstreamUnavailable: from the function.
        """
        is_probe = self._admit()
        try:
            result = await function()
        except UpstreamUnavailable:
            self._failed(is_probe)
            raise
        except BaseException:
            # Cancelled, say: that tells nothing about the server.
            self._probing = self._probing and not is_probe
            raise
        self._succeeded()
        return result

    def _admit(self) -> bool:
        """Whether this call is a probe."""
        if self._next_probe is None:
            return False
        if self._probing or self._clock.monotonic() < self._next_probe:
            raise BreakerOpen
        self._probing = True
        return True

    def _succeeded(self) -> None:
        self._faults = 0
        self._window = _FIRST_WINDOW
        self._next_probe = None
        self._probing = False

    def _failed(self, is_probe: bool) -> None:
        if is_probe:
            self._probing = False
            self._window = min(self._window * _GROWTH, _LAST_WINDOW)
        elif self.is_open:
            # A call from before the opening: the window grows by probes only.
            return
        else:
            self._faults += 1
            if self._faults < self._threshold:
                return
        jitter = random.uniform(1 - _JITTER, 1 + _JITTER)
        self._next_probe = self._clock.monotonic() + self._window * jitter
