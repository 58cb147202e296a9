"""Removes old previews together with their pictures (``expireAfterDays``)."""

from __future__ import annotations

import logging
from collections.abc import Callable

from mmr.media.patience import Patience
from mmr.media.records import MediaRecords
from mmr.media.reports import Report, silent
from mmr.storage.previews import PreviewStore, bucket_of
from mmr.util.clock import Clock

logger = logging.getLogger(__name__)

_DAY_MS = 24 * 3600 * 1000
_BATCH = 100
# Previews without a picture are rows and nothing else.
_PLAIN_BATCH = 1000
_ALL = 1 << 31


class PreviewExpiry:
    """Applies ``urlPreviews.expireAfterDays``, with patience (R100).

    Args:
        days: The setting, as it is now; 0 or less is never.
    """

    def __init__(
        self,
        store: PreviewStore,
        records: MediaRecords,
        clock: Clock,
        days: Callable[[], int],
    ) -> None:
        self._store = store
        self._records = records
        self._clock = clock
        self._days = days
        self._patience = Patience("previews", "urlPreviews.expireAfterDays", clock)

    async def is_due(self) -> bool:
        """Whether there is something to remove now."""
        until = self._until()
        if until is None:
            return False
        count = self._store.count_around
        if await self._patience.must_wait(until, count):
            return False
        older, _ = await count(until, 1)
        return older > 0

    async def count(self) -> int:
        """How many are too old now."""
        until = self._until()
        if until is None:
            return 0
        older, _ = await self._store.count_around(until, _ALL)
        return older

    async def expire(self, report: Report = silent) -> int:
        """Remove what is too old now.

        Returns:
            How many previews were removed.
        """
        days, until = self._days(), self._until()
        if until is None or not await self.is_due():
            return 0
        removed = 0
        while count := await self._store.delete_old_without_image(until, _PLAIN_BATCH):
            removed += count
            await report(removed)
        while await self._store.delete_old_of_mmr(until, _PLAIN_BATCH):
            await report(removed)
        while batch := await self._store.get_old_with_image(until, _BATCH):
            for preview in batch:
                await self._store.delete_with_image(preview)
                self._records.invalidate(preview.image)
            removed += len(batch)
            await report(removed)
        if removed:
            logger.info("Removed %d previews older than %d days", removed, days)
        return removed

    def _until(self) -> int | None:
        days = self._days()
        if days <= 0:
            return None
        return bucket_of(self._clock.time_ms() - days * _DAY_MS)
