"""Objects that move from one datastore to another (mmr-storage §7, §8)."""

from __future__ import annotations

import attrs

from mmr.storage import last_access, objects
from mmr.storage.database import Database
from mmr.storage.intents import IntentStore
from mmr.storage.media import MediaStore
from mmr.storage.objects import ObjectName
from mmr.storage.transaction import Transaction
from mmr.types import Mxc

# Requests that have looked the old place up already get this long to use it; signed
# URLs live for five minutes.
_KEEP_OLD_MS = 15 * 60 * 1000

_TABLES = ("media", "thumbnails")

# Thumbnails are accessed under their original's hash: their age has to do.
_WITH_ACCESS = "LEFT JOIN last_access AS a ON a.sha256_hash = m.sha256_hash"
_ACCESSED = "COALESCE(a.last_access_ts, m.creation_ts)"


@attrs.frozen
class MovableObject:
    """An object, as a row describes it."""

    location: str
    sha256_hash: str
    size_bytes: int
    content_type: str


@attrs.frozen
class Moving:
    """An object on its way.

    Attributes:
        known_hash: As the rows have it; maybe a stand-in.
        sha256_hash: Of the bytes.
        is_foreign: It is another program's, and stays where it is.
    """

    source: ObjectName
    known_hash: str
    sha256_hash: str
    size_bytes: int
    is_foreign: bool

    @property
    def was_unknown(self) -> bool:
        """Whether nobody knew the hash before."""
        return self.known_hash != self.sha256_hash

    def lock_txn(self, txn: Transaction) -> None:
        """Be the only one to add, share or delete it."""
        objects.lock_hashes_txn(txn, {self.known_hash, self.sha256_hash})


@attrs.frozen
class SizeEstimate:
    """What a transfer would move (mmr-http-api §11.4); the admin API's names."""

    thumbnails_affected: int
    thumbnail_hashes_affected: int
    thumbnail_bytes: int
    media_affected: int
    media_hashes_affected: int
    media_bytes: int
    total_hashes_affected: int
    total_bytes: int


class TransferStore:
    """Selects what is to move, and moves the rows."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._intents = IntentStore(db)
        self._media = MediaStore(db)

    async def get_old(
        self, table: str, datastore_id: str, before_ts: int, after: str, limit: int
    ) -> list[MovableObject]:
        """Some objects last accessed before that time, in the order of locations.

        Args:
            table: ``media`` or ``thumbnails``.
            after: Begin behind this location.
        """
        if table not in _TABLES:
            raise ValueError(table)
        rows = await self._db.fetch_all(
            "get_objects_to_transfer",
            "SELECT m.location, MAX(m.sha256_hash), MAX(m.size_bytes),"  # noqa: S608
            " MAX(m.content_type)"
            f" FROM {table} AS m"
            f" {_WITH_ACCESS}"
            f" WHERE m.datastore_id = ? AND m.location > ? AND {_ACCESSED} < ?"
            " GROUP BY m.location ORDER BY m.location LIMIT ?",
            (datastore_id, after, before_ts, limit),
        )
        return [MovableObject(*row) for row in rows]

    async def estimate(self, datastore_id: str, before_ts: int) -> SizeEstimate:
        """How much that would be. Reads all rows of the datastore."""
        groups = [
            await self._estimate_group(tables, datastore_id, before_ts)
            for tables in (("thumbnails",), ("media",), _TABLES)
        ]
        thumbnails, media, (_, *total) = groups
        return SizeEstimate(*thumbnails, *media, *total)

    async def _estimate_group(
        self, tables: tuple[str, ...], datastore_id: str, before_ts: int
    ) -> list[int]:
        selects = " UNION ALL ".join(
            "SELECT m.sha256_hash, m.size_bytes"  # noqa: S608
            f" FROM {table} AS m"
            f" {_WITH_ACCESS} WHERE m.datastore_id = ? AND {_ACCESSED} < ?"
            for table in tables
        )
        row = await self._db.fetch_one(
            "estimate_transfer",
            "SELECT COALESCE(SUM(number), 0), COUNT(*), COALESCE(SUM(size_bytes), 0)"  # noqa: S608
            " FROM (SELECT sha256_hash, COUNT(*) AS number,"
            f" MAX(size_bytes) AS size_bytes FROM ({selects}) AS found"
            " GROUP BY sha256_hash) AS hashes",
            (datastore_id, before_ts) * len(tables),
        )
        assert row is not None
        return [int(value) for value in row]

    async def is_named(self, name: ObjectName) -> bool:
        """Whether anything refers to an object still."""
        return await self._db.interaction(
            "is_object_named", objects.is_in_use_txn, name
        )

    async def find_copy(self, datastore_id: str, sha256_hash: str) -> ObjectName | None:
        """An object with this content in that datastore, to which records refer."""
        row = await self._db.fetch_one(
            "find_copy",
            # The concatenation keeps SQLite to the index of hashes.
            "SELECT location FROM media WHERE sha256_hash = ?"
            " AND datastore_id || '' = ? AND location <> '' LIMIT 1",
            (sha256_hash, datastore_id),
        )
        return ObjectName(datastore_id, row[0]) if row else None

    async def move(
        self, moving: Moving, target: ObjectName, keep_source_ms: int = _KEEP_OLD_MS
    ) -> list[Mxc] | None:
        """Let all rows of the source point at the copy that was just written.

        One transaction inside the lock of the hash: a crash leaves the one or the
        other, and whichever isn't named is deleted (R101, R102).

        Args:
            keep_source_ms: Not to be deleted before that.

        Returns:
            The media whose rows changed; None when nothing names the source any more
            or the copy was given up: then the copy is deleted.
        """
        return await self._db.interaction(
            "move_object", self._move_txn, moving, target, keep_source_ms
        )

    async def share(self, moving: Moving, target: ObjectName) -> list[Mxc] | None:
        """Let all rows of the source point at an object that others have already.

        Returns:
            The media whose rows changed; None when nothing names either any more.
        """
        return await self._db.interaction(
            "share_object_of", self._share_txn, moving, target
        )

    def _move_txn(
        self, txn: Transaction, moving: Moving, target: ObjectName, keep_source_ms: int
    ) -> list[Mxc] | None:
        moving.lock_txn(txn)
        if not self._intents.remove_txn(txn, target):
            return None
        if not objects.is_in_use_txn(txn, moving.source):
            objects.queue_delete_txn(txn, target)
            return None
        objects.count_object_txn(txn, target, moving.size_bytes)
        return self._turn_rows_txn(txn, moving, target, keep_source_ms)

    def _share_txn(
        self, txn: Transaction, moving: Moving, target: ObjectName
    ) -> list[Mxc] | None:
        moving.lock_txn(txn)
        if not objects.is_in_use_txn(txn, target):
            return None
        if not objects.is_in_use_txn(txn, moving.source):
            return None
        return self._turn_rows_txn(txn, moving, target, _KEEP_OLD_MS)

    def _turn_rows_txn(
        self, txn: Transaction, moving: Moving, target: ObjectName, keep_source_ms: int
    ) -> list[Mxc]:
        source = moving.source
        changed: set[Mxc] = set()
        for table in _TABLES:
            txn.execute(
                f"UPDATE {table} SET datastore_id = ?, location = ?, sha256_hash = ?"  # noqa: S608
                " WHERE datastore_id = ? AND location = ? RETURNING origin, media_id",
                (
                    target.datastore_id,
                    target.location,
                    moving.sha256_hash,
                    source.datastore_id,
                    source.location,
                ),
            )
            changed.update(Mxc(*row) for row in txn.fetchall())
        objects.uncount_object_txn(txn, source, moving.size_bytes)
        if not moving.is_foreign:
            objects.queue_delete_txn(txn, source, keep_source_ms)
        if moving.was_unknown:
            changed.update(self._learn_hash_txn(txn, moving))
        return sorted(changed, key=str)

    def _learn_hash_txn(self, txn: Transaction, moving: Moving) -> list[Mxc]:
        """Do what would have been done, had the hash been known from the first.

        Returns:
            Media that is quarantined now, as other media with this content is.
        """
        last_access.rename_txn(txn, moving.known_hash, moving.sha256_hash)
        if not self._media.is_quarantined_hash_txn(txn, moving.sha256_hash):
            return []
        return self._media.set_quarantined_by_hash_txn(txn, moving.sha256_hash, True)
