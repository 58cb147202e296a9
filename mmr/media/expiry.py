"""Removes old thumbnails, and the objects that nobody needs then (D43, D44)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import Any

from mmr.cache.records import RecordCache
from mmr.media.patience import Patience
from mmr.media.reports import Report, silent
from mmr.storage import objects
from mmr.storage.blurhashes import BlurhashStore
from mmr.storage.database import Database
from mmr.storage.media import MediaStore
from mmr.storage.shadows import delete_shadows_txn
from mmr.storage.thumbnails import ThumbnailRecord, ThumbnailStore
from mmr.storage.transaction import Transaction
from mmr.util.clock import Clock

logger = logging.getLogger(__name__)

_DAY_MS = 24 * 3600 * 1000
_BATCH = 50
_BLURHASH_BATCH = 500
_ALL = 1 << 31


class ThumbnailExpiry:
    """Applies ``thumbnails.expireAfterDays``, with patience (R100).

    What is removed is made again when somebody asks for it.

    Args:
        days: The setting, as it is now; 0 or less is never.
        our_servers: Names of the homeservers that are configured now.
        records: The cache that thumbnails are answered from.
    """

    def __init__(
        self,
        *,
        db: Database,
        media: MediaStore,
        thumbnails: ThumbnailStore,
        records: RecordCache[Any, ThumbnailRecord],
        clock: Clock,
        days: Callable[[], int],
        our_servers: Callable[[], Collection[str]],
    ) -> None:
        self._db = db
        self._media = media
        self._thumbnails = thumbnails
        self._records = records
        self._clock = clock
        self._days = days
        self._our_servers = our_servers
        self._patience = Patience("thumbnails", "thumbnails.expireAfterDays", clock)

    async def is_due(self) -> bool:
        """Whether there is something to remove now."""
        before_ts = self._before_ts()
        if before_ts is None:
            return False
        count = self._thumbnails.count_around
        if await self._patience.must_wait(before_ts, count):
            return False
        older, _ = await count(before_ts, 1)
        return older > 0

    async def count(self) -> int:
        """How many are too old now."""
        before_ts = self._before_ts()
        if before_ts is None:
            return 0
        older, _ = await self._thumbnails.count_around(before_ts, _ALL)
        return older

    async def expire(self, report: Report = silent) -> int:
        """Remove what is too old now.

        Returns:
            How many thumbnails were removed.
        """
        days, before_ts = self._days(), self._before_ts()
        if before_ts is None or not await self.is_due():
            return 0
        removed = 0
        while batch := await self._thumbnails.get_older(before_ts, _BATCH):
            await self._db.interaction("expire_thumbnails", self._expire_txn, batch)
            for record in batch:
                self._records.invalidate_media(record.key.origin, record.key.media_id)
            removed += len(batch)
            await report(removed)
        if removed:
            logger.info("Removed %d thumbnails older than %d days", removed, days)
        return removed

    def _before_ts(self) -> int | None:
        days = self._days()
        return self._clock.time_ms() - days * _DAY_MS if days > 0 else None

    def _expire_txn(self, txn: Transaction, batch: list[ThumbnailRecord]) -> None:
        ours = self._our_servers()
        # All at once, so that two runs don't wait for each other's locks.
        objects.lock_hashes_txn(txn, (record.sha256_hash for record in batch))
        for record in batch:
            self._thumbnails.delete_thumbnail_txn(txn, record)
            delete_shadows_txn(
                txn, self._media, record.object_name, record.sha256_hash, ours
            )


class BlurhashExpiry:
    """Removes blurhashes of content that is gone."""

    def __init__(self, blurhashes: BlurhashStore) -> None:
        self._blurhashes = blurhashes

    async def expire(self) -> None:
        """One run."""
        while await self._blurhashes.delete_orphans(_BLURHASH_BATCH):
            pass
