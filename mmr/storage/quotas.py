"""What users have used, and what their uploads under way will use (R81)."""

from __future__ import annotations

import attrs

from mmr.storage.database import Database
from mmr.storage.transaction import Transaction

# One statement, so one snapshot: an upload that is committed meanwhile is seen either
# as a reservation or as a record, never as both or neither.
_USED = """
    SELECT
        COALESCE((SELECT uploaded_bytes FROM user_stats WHERE user_id = ?), 0)
        + COALESCE((SELECT SUM(bytes) FROM mmr_quota_reservations
                    WHERE user_id = ? AND id <> ?), 0),
        (SELECT COUNT(*) FROM (SELECT 1 FROM media WHERE user_id = ? LIMIT ?) AS own)
        + COALESCE((SELECT SUM(files) FROM mmr_quota_reservations
                    WHERE user_id = ? AND id <> ?), 0)
"""


@attrs.frozen
class QuotaLimits:
    """A user's share. 0 is no limit (D52)."""

    max_bytes: int = 0
    max_files: int = 0


@attrs.frozen
class Usage:
    """What a user has stored, duplicates included."""

    size_bytes: int
    files: int


class QuotaStore:
    """Tables ``user_stats`` (kept by MMR's trigger) and ``mmr_quota_reservations``."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def reserve(
        self, reservation_id: str, user_id: str, size_bytes: int, limits: QuotaLimits
    ) -> bool:
        """Reserve space for one upload, see `reserve_txn`."""
        return await self._db.interaction(
            "reserve_quota",
            self.reserve_txn,
            reservation_id,
            user_id,
            size_bytes,
            limits,
        )

    def reserve_txn(
        self,
        txn: Transaction,
        reservation_id: str,
        user_id: str,
        size_bytes: int,
        limits: QuotaLimits,
    ) -> bool:
        """Reserve space for one upload, or change (and renew) its reservation.

        Args:
            reservation_id: A random name of the upload.
            size_bytes: All that the upload needs, what it reserved before included.

        Returns:
            False when that is more than the limits allow. An earlier reservation of
            this upload is left as it was.
        """
        txn.lock("quota", user_id)
        used = self._used_txn(txn, reservation_id, user_id, limits.max_files)
        if limits.max_bytes and used.size_bytes + size_bytes > limits.max_bytes:
            return False
        if limits.max_files and used.files >= limits.max_files:
            return False
        txn.execute(
            "INSERT INTO mmr_quota_reservations (id, user_id, bytes, files, since_ts)"
            " VALUES (?, ?, ?, 1, ?) ON CONFLICT (id) DO UPDATE"
            " SET bytes = excluded.bytes, since_ts = excluded.since_ts",
            (reservation_id, user_id, size_bytes, txn.now_ms()),
        )
        return True

    def _used_txn(
        self, txn: Transaction, reservation_id: str, user_id: str, max_files: int
    ) -> Usage:
        """What the user's records and other uploads take; files up to the limit."""
        reserved = (user_id, reservation_id)
        txn.execute(_USED, (user_id, *reserved, user_id, max_files, *reserved))
        row = txn.fetchone()
        return Usage(int(row[0]), int(row[1])) if row else Usage(0, 0)

    def release_txn(self, txn: Transaction, reservation_id: str) -> bool:
        """End a reservation, in the transaction that inserts the record.

        Returns:
            Whether it was still there, see `delete_old`.
        """
        txn.execute(
            "DELETE FROM mmr_quota_reservations WHERE id = ?", (reservation_id,)
        )
        return txn.rowcount > 0

    async def release(self, reservation_id: str) -> None:
        """End the reservation of a failed upload."""
        await self._db.interaction("release_quota", self.release_txn, reservation_id)

    async def delete_old(self, age_ms: int) -> int:
        """End reservations older than that by the database's clock.

        Their process died, or the upload is so slow that it is counted anew at its end.

        Returns:
            How many there were.
        """

        def delete_old_txn(txn: Transaction) -> int:
            txn.execute(
                "DELETE FROM mmr_quota_reservations WHERE since_ts < ?",
                (txn.now_ms() - age_ms,),
            )
            return txn.rowcount

        return await self._db.interaction("delete_old_reservations", delete_old_txn)

    async def get_usage(self, user_id: str) -> Usage:
        """What the user has stored. Counts the user's files: not for each request."""
        row = await self._db.fetch_one(
            "get_usage",
            "SELECT COALESCE("
            "(SELECT uploaded_bytes FROM user_stats WHERE user_id = ?), 0),"
            " (SELECT COUNT(*) FROM media WHERE user_id = ?)",
            (user_id, user_id),
        )
        return Usage(int(row[0]), int(row[1])) if row else Usage(0, 0)
