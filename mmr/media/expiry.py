"""Removes old thumbnails, and the objects that nobody needs then (D43, D44)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import Any

from mmr.cache.records import RecordCache
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
_UNUSUAL_COUNT = 1000
_PATIENCE_S = 24 * 3600.0


class ThumbnailExpiry:
    """Applies ``thumbnails.expireAfterDays``.

    A clock that jumped ahead would make nearly everything old at once, so a run that
    would remove more than it leaves says so and waits a day, by the clock that doesn't
    jump (R100). What is removed is made again when somebody asks for it.

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
        self._unusual_since: float | None = None

    async def expire(self) -> int:
        """Remove what is too old now.

        Returns:
            How many thumbnails were removed.
        """
        days = self._days()
        if days <= 0:
            return 0
        before_ts = self._clock.time_ms() - days * _DAY_MS
        if await self._must_wait(before_ts):
            return 0
        removed = 0
        while batch := await self._thumbnails.get_older(before_ts, _BATCH):
            await self._db.interaction("expire_thumbnails", self._expire_txn, batch)
            for record in batch:
                self._records.invalidate_media(record.key.origin, record.key.media_id)
            removed += len(batch)
        if removed:
            logger.info("Removed %d thumbnails older than %d days", removed, days)
        return removed

    async def _must_wait(self, before_ts: int) -> bool:
        older, _ = await self._thumbnails.count_around(before_ts, _UNUSUAL_COUNT)
        if older == _UNUSUAL_COUNT:
            # Counting is bounded by what is there; only runs of this size pay for it.
            older, newer = await self._thumbnails.count_around(before_ts, 1 << 31)
        if older < _UNUSUAL_COUNT or older <= newer:
            self._unusual_since = None
            return False
        now = self._clock.monotonic()
        if self._unusual_since is None:
            self._unusual_since = now
        if now - self._unusual_since >= _PATIENCE_S:
            return False
        logger.warning(
            "Not removing %d old thumbnails yet: that is most of them (%d would stay)."
            " Is the clock right? If it stays so for a day they are removed. Change"
            " `thumbnails.expireAfterDays` to keep them.",
            older,
            newer,
        )
        return True

    def _expire_txn(self, txn: Transaction, batch: list[ThumbnailRecord]) -> None:
        ours = self._our_servers()
        # In one order, so that two runs don't wait for each other's locks.
        for record in sorted(batch, key=lambda record: record.sha256_hash):
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
