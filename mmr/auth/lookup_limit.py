"""Limits how often a stranger makes us ask servers of its choice (R55)."""

from __future__ import annotations

from collections import OrderedDict

from mmr.errors import rate_limited
from mmr.http.addresses import address_group
from mmr.util.clock import Clock

_PER_MINUTE = 20
_WINDOW_SECONDS = 60.0
_MAX_ADDRESSES = 100_000


class LookupLimit:
    """Counts look-ups of unknown servers by the address that caused them.

    Twenty a minute for an IPv4 address or an IPv6 /64: a server is one name, and comes
    from few addresses.

    Args:
        clock: For the minutes.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Start of the window and look-ups in it; oldest windows first.
        self._windows: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._windows)

    def spend(self, address: str) -> None:
        """Count one look-up.

        Raises:
            MatrixError: 429 when the address has caused too many.
        """
        now = self._clock.monotonic()
        self._drop_ended(now)
        group = address_group(address)
        began, spent = self._windows.get(group, (now, 0))
        if spent >= _PER_MINUTE:
            raise rate_limited(int((began + _WINDOW_SECONDS - now) * 1000))
        self._windows[group] = (began, spent + 1)
        if len(self._windows) > _MAX_ADDRESSES:
            self._windows.popitem(last=False)

    def _drop_ended(self, now: float) -> None:
        while self._windows:
            group, (began, _) = next(iter(self._windows.items()))
            if now - began < _WINDOW_SECONDS:
                return
            del self._windows[group]
