"""Media records, from the cache where they are warm."""

from __future__ import annotations

from mmr.cache.records import RecordCache
from mmr.storage.media import MediaRecord, MediaStore
from mmr.types import Mxc


class MediaRecords:
    """Looks records up. What it gives out is as fresh as the last local change.

    Args:
        cache: Keyed by MXC. Only records that exist are kept.
        store: The table.
    """

    def __init__(self, cache: RecordCache[Mxc, MediaRecord], store: MediaStore) -> None:
        self._cache = cache
        self._store = store

    def cached(self, mxc: Mxc) -> MediaRecord | None:
        """The record if it is warm. Costs no wait: the hot path starts here."""
        return self._cache.get(mxc)

    async def get(self, mxc: Mxc) -> MediaRecord | None:
        """The record, by one indexed query when it is not warm."""
        while True:
            record = self._cache.get(mxc)
            if record is not None:
                return record
            fill = self._cache.start_fill()
            record = await self._store.get_media(mxc.origin, mxc.media_id)
            # What was read before it was quarantined must not go out after (R84).
            if record is None or self._cache.put(mxc, record, fill):
                return record

    async def was_frozen(self, mxc: Mxc) -> bool:
        """Whether media that isn't here was frozen when it was, and will be (D45)."""
        return await self._store.is_restricted(mxc.origin, mxc.media_id)

    def added(self, mxc: Mxc) -> None:
        """Forget that there was no record. Other processes don't remember that."""
        self._cache.forget_media(mxc)

    def invalidate(self, mxc: Mxc) -> None:
        """Forget a record that was written, changed or deleted."""
        self._cache.invalidate(mxc)

    def clear(self) -> None:
        """Forget everything, after a change of many records."""
        self._cache.clear()
