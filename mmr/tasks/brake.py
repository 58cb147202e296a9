"""Work in the background that leaves others their share of disk and network."""

from __future__ import annotations

from mmr.util.clock import Clock


class Brake:
    """Keeps all copying together below a rate.

    Args:
        rate: Bytes a second; 0 for no limit.
    """

    def __init__(self, clock: Clock, rate: int) -> None:
        self._clock = clock
        self._rate = rate
        self._due = clock.monotonic()

    async def copied(self, count: int) -> None:
        """Wait until so many more bytes are due."""
        if self._rate <= 0:
            return
        now = self._clock.monotonic()
        self._due = max(now, self._due) + count / self._rate
        await self._clock.sleep(self._due - now)
