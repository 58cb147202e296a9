"""Objects that move from one datastore to another (mmr-storage §7, §8)."""

from __future__ import annotations

import attrs

from mmr.storage import objects
from mmr.storage.database import Database
from mmr.storage.intents import Intent, IntentStore
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
            "SELECT m.location, MAX(m.sha256_hash), MAX(m.size_bytes)"  # noqa: S608
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

    async def move(self, source: ObjectName, target: Intent) -> list[Mxc] | None:
        """Let all rows of the source point at the copy, and queue the source.

        One transaction inside the lock of the hash: a crash leaves the one or the
        other, and whichever isn't named is deleted (R101, R102).

        Returns:
            The media whose rows changed; None when nothing names the source any more
            or the copy was given up: then the copy is deleted.
        """
        return await self._db.interaction("move_object", self._move_txn, source, target)

    def _move_txn(
        self, txn: Transaction, source: ObjectName, target: Intent
    ) -> list[Mxc] | None:
        objects.lock_hash_txn(txn, target.sha256_hash)
        if not self._intents.remove_txn(txn, target.name):
            return None
        if not objects.is_in_use_txn(txn, source):
            objects.queue_delete_txn(txn, target.name)
            return None
        changed: set[Mxc] = set()
        size_bytes = 0
        for table in _TABLES:
            txn.execute(
                f"UPDATE {table} SET datastore_id = ?, location = ?"  # noqa: S608
                " WHERE datastore_id = ? AND location = ?"
                " RETURNING origin, media_id, size_bytes",
                (
                    target.name.datastore_id,
                    target.name.location,
                    source.datastore_id,
                    source.location,
                ),
            )
            for origin, media_id, size in txn.fetchall():
                changed.add(Mxc(origin, media_id))
                size_bytes = max(size_bytes, size)
        objects.count_object_txn(txn, target.name, size_bytes)
        objects.uncount_object_txn(txn, source, size_bytes)
        objects.queue_delete_txn(txn, source, _KEEP_OLD_MS)
        return sorted(changed, key=str)
