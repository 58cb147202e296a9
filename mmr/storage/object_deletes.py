"""The queue of objects to delete (R101): rows first, bytes after the commit."""

from __future__ import annotations

import attrs

from mmr.storage import objects
from mmr.storage.database import Database
from mmr.storage.objects import ObjectName
from mmr.storage.transaction import Transaction


@attrs.frozen
class QueuedDelete:
    """An object that waits for its deletion.

    Attributes:
        since_ts: Queued at, ms, by the database's clock.
        attempts: Failed tries.
        last_error: Why the last one failed.
    """

    name: ObjectName
    since_ts: int
    attempts: int
    last_error: str


class ObjectDeleteStore:
    """Table ``mmr_object_deletes``."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def get_due(self, limit: int) -> list[ObjectName]:
        """Objects whose (next) try is due, longest overdue first."""

        def get_due_txn(txn: Transaction) -> list[ObjectName]:
            txn.execute(
                "SELECT datastore_id, location FROM mmr_object_deletes"
                " WHERE next_try_ts <= ? ORDER BY next_try_ts LIMIT ?",
                (txn.now_ms(), limit),
            )
            return [ObjectName(*row) for row in txn.fetchall()]

        return await self._db.interaction("get_due_object_deletes", get_due_txn)

    async def get_failing(self, limit: int) -> list[QueuedDelete]:
        """Objects whose deletion has failed so far, for the operator."""
        rows = await self._db.fetch_all(
            "get_failing_object_deletes",
            "SELECT datastore_id, location, since_ts, attempts, last_error"
            " FROM mmr_object_deletes WHERE next_try_ts > 0 AND attempts > 0"
            " ORDER BY next_try_ts LIMIT ?",
            (limit,),
        )
        return [QueuedDelete(ObjectName(*row[:2]), *row[2:]) for row in rows]

    async def queue_delete(self, name: ObjectName) -> None:
        """Have the object deleted, whatever refers to it."""
        await self._db.interaction(
            "queue_object_delete", objects.queue_delete_txn, name
        )

    async def mark_deleted(self, name: ObjectName) -> None:
        """Take a deleted object off the queue."""

        def mark_deleted_txn(txn: Transaction) -> None:
            txn.execute(
                "DELETE FROM mmr_object_deletes"
                " WHERE datastore_id = ? AND location = ?",
                (name.datastore_id, name.location),
            )

        await self._db.interaction("mark_object_deleted", mark_deleted_txn)

    async def mark_failed(self, name: ObjectName, error: str) -> None:
        """Try again later."""
        await self._db.interaction(
            "mark_object_delete_failed", objects.delete_failed_txn, name, error
        )
