"""What a purge would free, for ``?dry_run=true``."""

from __future__ import annotations

from collections import OrderedDict

from mmr.storage.media_filter import MediaFilter
from mmr.storage.objects import ObjectName
from mmr.storage.selection import SelectedMedia, SelectionStore
from mmr.storage.thumbnails import ThumbnailStore

# Shared objects remembered, so that each counts once. Only of more than these may
# some count twice.
_MAX_SEEN = 50_000


class PurgeEstimate:
    """Adds up objects that nothing outside of the selection refers to.

    Attributes:
        thumbnails: Of the selected media.
        bytes: Of their objects and of the media's own.
    """

    def __init__(self, selections: SelectionStore, thumbnails: ThumbnailStore) -> None:
        self.thumbnails = 0
        self.bytes = 0
        self._selections = selections
        self._thumbnails = thumbnails
        self._seen: OrderedDict[ObjectName, None] = OrderedDict()

    async def add(self, wanted: MediaFilter, rows: list[SelectedMedia]) -> None:
        """Count these records of the selection, none of them pinned."""
        for row in rows:
            await self._add_object(wanted, row.object_name, row.size_bytes)
            for each in await self._thumbnails.get_thumbnails_of(
                row.origin, row.media_id
            ):
                self.thumbnails += 1
                await self._add_object(wanted, each.object_name, each.size_bytes)

    async def _add_object(
        self, wanted: MediaFilter, name: ObjectName, size_bytes: int
    ) -> None:
        if name in self._seen:
            return
        self._seen[name] = None
        if len(self._seen) > _MAX_SEEN:
            self._seen.popitem(last=False)
        if not await self._selections.is_used_outside(wanted, name):
            self.bytes += size_bytes
