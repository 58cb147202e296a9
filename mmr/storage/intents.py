"""Intents: objects that are about to get a record (design §6, R94, R95)."""

from __future__ import annotations

import attrs

from mmr.storage import objects
from mmr.storage.database import Database
from mmr.storage.objects import ObjectName
from mmr.storage.transaction import Transaction


@attrs.frozen
class Intent:
    """A row that names an object before it becomes visible in its datastore."""

    name: ObjectName
    sha256_hash: str


class IntentStore:
    """Table ``mmr_object_intents``."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def add(self, intent: Intent) -> None:
        """Note the intent. Only then may the object become visible."""
        await self._db.interaction("add_intent", self.add_txn, intent)

    def add_txn(self, txn: Transaction, intent: Intent) -> None:
        """Note the intent, inside a transaction."""
        txn.execute(
            "INSERT INTO mmr_object_intents"
            " (datastore_id, location, sha256_hash, since_ts) VALUES (?, ?, ?, ?)",
            (
                intent.name.datastore_id,
                intent.name.location,
                intent.sha256_hash,
                txn.now_ms(),
            ),
        )

    def remove_txn(self, txn: Transaction, name: ObjectName) -> bool:
        """End the intent, in the transaction that inserts the record.

        Returns:
            Whether it was still there. False means that the sweep has given the
            object up: the commit must fail, the object is about to be deleted.
        """
        txn.execute(
            "DELETE FROM mmr_object_intents WHERE datastore_id = ? AND location = ?",
            (name.datastore_id, name.location),
        )
        return txn.rowcount > 0

    async def get_old(self, age_ms: int, limit: int) -> list[Intent]:
        """Intents older than that by the database's clock, oldest first."""

        def get_old_txn(txn: Transaction) -> list[Intent]:
            txn.execute(
                "SELECT datastore_id, location, sha256_hash FROM mmr_object_intents"
                " WHERE since_ts < ? ORDER BY since_ts LIMIT ?",
                (txn.now_ms() - age_ms, limit),
            )
            return [Intent(ObjectName(*row[:2]), row[2]) for row in txn.fetchall()]

        return await self._db.interaction("get_old_intents", get_old_txn)

    async def sweep(self, intent: Intent) -> bool:
        """End an old intent; queue its object for deletion unless a record uses it.

        Returns:
            Whether the object was queued.
        """
        return await self._db.interaction("sweep_intent", self.sweep_txn, intent)

    def sweep_txn(self, txn: Transaction, intent: Intent) -> bool:
        """End an old intent, inside a transaction. Looks again inside the lock."""
        objects.lock_hash_txn(txn, intent.sha256_hash)
        if not self.remove_txn(txn, intent.name):
            return False
        if objects.is_in_use_txn(txn, intent.name):
            return False
        objects.queue_delete_txn(txn, intent.name)
        return True
