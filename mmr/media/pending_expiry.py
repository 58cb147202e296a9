"""Reserved ids whose upload didn't come in time."""

from __future__ import annotations

from mmr.media.patience import Patience
from mmr.storage.pending import PendingStore
from mmr.util.clock import Clock

# An upload that began in time may still run: it fills the row in the end.
_KEEP_MS = 3600 * 1000


class PendingExpiry:
    """Ends ids, for good whatever the clock does next, and removes them later (R100).

    Args:
        pending: The ids.
        clock: For the time.
    """

    def __init__(self, pending: PendingStore, clock: Clock) -> None:
        self._pending = pending
        self._clock = clock
        self._patience = Patience("reserved ids", "uploads.maxAgeSeconds", clock)

    async def expire(self) -> None:
        """End what is over now, and remove what has been for an hour."""
        now = self._clock.time_ms()
        if not await self._patience.must_wait(now, self._pending.count_around):
            await self._pending.end_expired(now)
        await self._pending.delete_ended(now - _KEEP_MS)
