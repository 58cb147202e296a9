"""Purging: records go, then the objects that nothing refers to any more.

Records and the orders to delete their objects are written in one transaction a batch;
the objects follow from a retried queue (R101, D65). A crash between any two steps
leaves no record without an object, and no object that is never deleted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection

import attrs

from mmr.errors import forbidden
from mmr.media.audit import AuditLog, RunningAction
from mmr.media.purge_estimate import PurgeEstimate
from mmr.media.selection import Order, Reach, Selection, Skipped
from mmr.storage.database import Database
from mmr.storage.removal import RemovalStore, Removed
from mmr.storage.selection import SelectedMedia, SelectionStore
from mmr.storage.thumbnails import ThumbnailStore
from mmr.storage.transaction import Transaction
from mmr.types import Mxc
from mmr.util.shield import shield

ACTION = "purge"
"""Its name in the audit log."""

MAX_LISTED = 50_000
"""Media that a result names at most; the counts are of all."""

# Records a transaction: it holds SQLite's only write lock for some 20 ms.
_BATCH = 50


@attrs.define
class PurgeResult:
    """What was purged, or would be.

    Attributes:
        affected: The media, the first `MAX_LISTED` of them.
        media: How many media there were.
        thumbnails: How many thumbnails went with them.
        bytes: Of the objects that nothing refers to any more.
        skipped: Media left as they are, the first `MAX_LISTED` of them.
        num_skipped: How many those were.
    """

    affected: list[Mxc] = attrs.Factory(list)
    media: int = 0
    thumbnails: int = 0
    bytes: int = 0
    skipped: list[Skipped] = attrs.Factory(list)
    num_skipped: int = 0

    def add(self, mxc: Mxc) -> None:
        """One media more."""
        self.media += 1
        if len(self.affected) < MAX_LISTED:
            self.affected.append(mxc)

    def skip(self, mxc: Mxc, reason: str) -> None:
        """One media that stays."""
        self.num_skipped += 1
        if len(self.skipped) < MAX_LISTED:
            self.skipped.append(Skipped(mxc, reason))


Progress = Callable[[PurgeResult], Awaitable[None]]
"""Told what was done so far."""


async def _unwatched(result: PurgeResult) -> None:
    """For purges that nobody follows."""


class Purge:
    """Removes media.

    Args:
        our_servers: Names of the homeservers that are configured now.
        changed: Told each media that is gone, after the commit.
        purged: Told the hashes of contents that nothing refers to any more.
    """

    def __init__(
        self,
        *,
        db: Database,
        selections: SelectionStore,
        removal: RemovalStore,
        thumbnails: ThumbnailStore,
        audit: AuditLog,
        our_servers: Callable[[], Collection[str]],
        changed: Callable[[Mxc], None],
        purged: Callable[[Collection[str]], Awaitable[None]],
    ) -> None:
        self._db = db
        self._selections = selections
        self._removal = removal
        self._thumbnails = thumbnails
        self._audit = audit
        self._our_servers = our_servers
        self._changed = changed
        self._purged = purged

    async def is_large(self, selection: Selection) -> bool:
        """Whether that is more than a single step."""
        wanted = attrs.evolve(selection.filter, has_object=True)
        _, place = await self._selections.page(wanted, None, _BATCH)
        return place is not None

    async def count(self, selection: Selection) -> int:
        """How many media are selected, pinned ones and those out of reach too."""
        wanted = attrs.evolve(selection.filter, has_object=True)
        return await self._selections.count(wanted)

    async def estimate(self, selection: Selection, reach: Reach) -> PurgeResult:
        """Only say what would be purged.

        Raises:
            MatrixError: 403 when a single media is out of reach; 503.
        """
        estimate = PurgeEstimate(self._selections, self._thumbnails)
        result = PurgeResult()
        async for rows in self._pages(selection, reach, result):
            free = [row for row in rows if not row.is_pinned]
            for row in rows:
                if row.is_pinned:
                    result.skip(row.mxc, "pinned")
                else:
                    result.add(row.mxc)
            await estimate.add(selection.filter, free)
        result.thumbnails, result.bytes = estimate.thumbnails, estimate.bytes
        return result

    async def run(self, order: Order, progress: Progress | None = None) -> PurgeResult:
        """Purge what is selected, within reach and not pinned.

        Quarantined records stay without their object, so that the hash stays blocked
        and the media is not fetched again (R89). It goes on when the caller leaves.

        Args:
            progress: Awaited after each batch, by those who can begin again: with it
                the purge ends when the caller is cancelled, or when it raises.

        Raises:
            MatrixError: 403 when a single media is out of reach; 503.
        """
        if progress is not None:
            return await self._run(order, progress)
        return await shield(self._run(order, _unwatched))

    async def _run(self, order: Order, progress: Progress) -> PurgeResult:
        result = PurgeResult()
        async with self._audit.action(
            order.actor,
            ACTION,
            order.selection.target,
            order.reason,
            # Everybody may delete their own: that writes no rows that stay.
            keep=order.reach.user_id is None,
            entry_id=order.entry_id,
        ) as action:
            async for rows in self._pages(order.selection, order.reach, result):
                removed = await self._db.interaction(
                    "purge_media", self._purge_txn, rows, action
                )
                self._note(removed, result)
                if removed.contents:
                    await self._purged(removed.contents)
                action.added(len(removed.media), removed.bytes)
                action.skipped = result.num_skipped
                await progress(result)
        return result

    def _note(self, removed: Removed, result: PurgeResult) -> None:
        for mxc in removed.media:
            self._changed(mxc)
            result.add(mxc)
        for mxc in removed.pinned:
            result.skip(mxc, "pinned")
        result.thumbnails += removed.thumbnails
        result.bytes += removed.bytes

    async def _pages(
        self, selection: Selection, reach: Reach, result: PurgeResult
    ) -> AsyncIterator[list[SelectedMedia]]:
        """Records within reach that have an object."""
        wanted = attrs.evolve(selection.filter, has_object=True)
        place = None
        while True:
            page, place = await self._selections.page(wanted, place, _BATCH)
            rows = [row for row in page if reach.covers(row)]
            if len(rows) < len(page):
                if selection.is_single:
                    raise forbidden()
                for row in page:
                    if not reach.covers(row):
                        result.skip(row.mxc, "not_permitted")
            if rows:
                yield rows
            if place is None:
                return

    def _purge_txn(
        self, txn: Transaction, rows: list[SelectedMedia], action: RunningAction
    ) -> Removed:
        removed = self._removal.remove_txn(txn, rows, self._our_servers())
        action.add_txn(txn, len(removed.media), removed.bytes)
        return removed
