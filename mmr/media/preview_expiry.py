"""Removes old previews together with their pictures (``expireAfterDays``)."""

from __future__ import annotations

import logging
from collections.abc import Callable

from mmr.media.records import MediaRecords
from mmr.storage.previews import PreviewStore, bucket_of
from mmr.util.clock import Clock

logger = logging.getLogger(__name__)

_DAY_MS = 24 * 3600 * 1000
_BATCH = 100
_UNUSUAL_COUNT = 1000
_PATIENCE_S = 24 * 3600.0


class PreviewExpiry:
    """Applies ``urlPreviews.expireAfterDays``.

    A clock that jumped ahead would make all previews old at once, so a run that would
    remove more than it leaves says so and waits a day, by the clock that doesn't jump
    (R100).

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
        self._unusual_since: float | None = None

    async def expire(self) -> int:
        """Remove what is too old now.

        Returns:
            How many previews were removed.
        """
        days = self._days()
        if days <= 0:
            return 0
        until = bucket_of(self._clock.time_ms() - days * _DAY_MS)
        if await self._must_wait(until):
            return 0
        removed = await self._store.delete_old_without_image(until)
        while batch := await self._store.get_old_with_image(until, _BATCH):
            for preview in batch:
                await self._store.delete_with_image(preview)
                self._records.invalidate(preview.image)
            removed += len(batch)
        if removed:
            logger.info("Removed %d previews older than %d days", removed, days)
        return removed

    async def _must_wait(self, until: int) -> bool:
        older, newer = await self._store.count_around(until, _UNUSUAL_COUNT)
        if older == _UNUSUAL_COUNT:
            # Only runs of this size pay for counting them all.
            older, newer = await self._store.count_around(until, 1 << 31)
        if older < _UNUSUAL_COUNT or older <= newer:
            self._unusual_since = None
            return False
        now = self._clock.monotonic()
        if self._unusual_since is None:
            self._unusual_since = now
        if now - self._unusual_since >= _PATIENCE_S:
            return False
        logger.warning(
            "Not removing %d old previews yet: that is most of them (%d would stay)."
            " Is the clock right? If it stays so for a day they are removed. Change"
            " `urlPreviews.expireAfterDays` to keep them.",
            older,
            newer,
        )
        return True
