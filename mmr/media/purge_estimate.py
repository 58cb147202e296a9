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
        thumbnails = await self._thumbnails.get_of_all([row.mxc for row in rows])
        self.thumbnails += len(thumbnails)
        sizes = {each.object_name: each.size_bytes for each in thumbnails}
        sizes |= {row.object_name: row.size_bytes for row in rows}
        new = [name for name in sizes if name not in self._seen]
        for name in new:
            self._seen[name] = None
            if len(self._seen) > _MAX_SEEN:
                self._seen.popitem(last=False)
        used = await self._selections.get_used_outside(wanted, new)
        self.bytes += sum(sizes[name] for name in new if name not in used)
