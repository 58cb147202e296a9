"""Many media records removed in one transaction, with a fixed number of statements."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import attrs

from mmr.storage import objects, pairs
from mmr.storage.database import Database
from mmr.storage.media import MediaStore
from mmr.storage.media_ids import MediaIdStore
from mmr.storage.objects import ObjectName
from mmr.storage.selection import SelectedMedia, SelectionStore
from mmr.storage.shadows import delete_shadows_txn, find_suspects_txn
from mmr.storage.thumbnails import ThumbnailRecord, ThumbnailStore
from mmr.storage.transaction import Transaction
from mmr.types import Mxc

_RESERVED_REASON = "purged / deleted"


@attrs.define
class Removed:
    """What one transaction did.

    Attributes:
        media: Whose bytes are not theirs any more.
        pinned: Those that stay as they are.
        thumbnails: How many went along.
        bytes: Of the objects that nothing refers to any more.
        contents: Their hashes.
    """

    media: list[Mxc] = attrs.Factory(list)
    pinned: list[Mxc] = attrs.Factory(list)
    thumbnails: int = 0
    bytes: int = 0
    contents: set[str] = attrs.Factory(set)


class RemovalStore:
    """Removes records, and queues the objects that nobody needs then (R101)."""

    def __init__(self, db: Database) -> None:
        self._selections = SelectionStore(db)
        self._media = MediaStore(db)
        self._media_ids = MediaIdStore(db)
        self._thumbnails = ThumbnailStore(db)

    def remove_txn(
        self,
        txn: Transaction,
        media: Sequence[SelectedMedia],
        our_servers: Collection[str],
    ) -> Removed:
        """Remove media as it is now: what was pinned meanwhile stays.

        Quarantined records stay without their object, so that the hash stays blocked
        (R89).

        Args:
            media: As it was when it was selected.
            our_servers: Ids of theirs are never issued again.
        """
        names = [row.mxc for row in media]
        thumbnails = self._thumbnails.get_of_all_txn(txn, names)
        hashes = {row.sha256_hash for row in media}
        hashes.update(each.sha256_hash for each in thumbnails)
        objects.lock_hashes_txn(txn, hashes)
        removed = Removed()
        now = {row.mxc: row for row in self._selections.get_all_txn(txn, names)}
        gone = []
        for row in (now[mxc] for mxc in names if mxc in now):
            if row.is_pinned:
                removed.pinned.append(row.mxc)
            elif row.location and row.sha256_hash in hashes:
                gone.append(row)
        if not gone:
            return removed
        removed.media = [row.mxc for row in gone]
        deleted = self._delete_thumbnails_txn(txn, thumbnails, set(removed.media))
        removed.thumbnails = len(deleted)
        self._delete_media_txn(txn, gone, our_servers)
        sizes = {each.object_name: each.size_bytes for each in deleted}
        sizes |= {row.object_name: row.size_bytes for row in gone}
        self._delete_shadows_txn(txn, deleted, our_servers)
        free = release_all_txn(txn, sizes)
        removed.bytes = sum(free.values())
        hashes_of = {each.object_name: each.sha256_hash for each in deleted}
        hashes_of |= {row.object_name: row.sha256_hash for row in gone}
        removed.contents = {hashes_of[name] for name in free}
        return removed

    def _delete_thumbnails_txn(
        self,
        txn: Transaction,
        thumbnails: Sequence[ThumbnailRecord],
        media: Collection[Mxc],
    ) -> list[ThumbnailRecord]:
        wanted = [
            each
            for each in thumbnails
            if Mxc(each.key.origin, each.key.media_id) in media
        ]
        return self._thumbnails.delete_all_txn(txn, wanted)

    def _delete_media_txn(
        self,
        txn: Transaction,
        gone: Sequence[SelectedMedia],
        our_servers: Collection[str],
    ) -> None:
        """Without a look at their objects."""
        blocked = [row.mxc for row in gone if row.quarantined]
        if blocked:
            where, values = pairs.of_media(blocked)
            txn.execute(
                "UPDATE media SET location = '', size_bytes = 0"  # noqa: S608
                f" WHERE {where}",
                values,
            )
        free = [row.mxc for row in gone if not row.quarantined]
        if free:
            where, values = pairs.of_media(free)
            for table in ("media", "media_attributes"):
                txn.execute(f"DELETE FROM {table} WHERE {where}", values)  # noqa: S608
        ours = [mxc for mxc in free if mxc.origin in our_servers]
        self._media_ids.reserve_all_txn(txn, ours, _RESERVED_REASON)

    def _delete_shadows_txn(
        self,
        txn: Transaction,
        deleted: Sequence[ThumbnailRecord],
        our_servers: Collection[str],
    ) -> None:
        """Databases of ours have none: one look tells."""
        suspects = find_suspects_txn(txn, {each.object_name for each in deleted})
        for each in deleted:
            if each.object_name in suspects:
                delete_shadows_txn(
                    txn, self._media, each.object_name, each.sha256_hash, our_servers
                )


def release_all_txn(
    txn: Transaction, sizes: Mapping[ObjectName, int]
) -> dict[ObjectName, int]:
    """`objects.release_txn` for many. Those that are queued already stay so.

    Args:
        sizes: In bytes, by object.

    Returns:
        Those to which nothing refers.
    """
    if not sizes:
        return {}
    where, values = pairs.of_objects(sizes)
    used: set[ObjectName] = set()
    for table in ("media", "thumbnails", "export_parts", "mmr_object_deletes"):
        txn.execute(
            f"SELECT DISTINCT datastore_id, location FROM {table}"  # noqa: S608
            f" WHERE {where}",
            values,
        )
        used.update(ObjectName(*row) for row in txn.fetchall())
    free = {name: size for name, size in sizes.items() if name not in used}
    objects.queue_all_txn(txn, free)
    return free
