"""Ids that wait for their asynchronous upload: table ``expiring_media``."""

from __future__ import annotations

import attrs

from mmr.storage.database import Database
from mmr.storage.transaction import Transaction

_OF_USER = "FROM expiring_media WHERE user_id = ? AND expires_ts >= ?"


@attrs.frozen
class PendingMedia:
    """An id that its creator may upload to.

    Attributes:
        expires_ts: The last moment to do so, ms since the epoch.
    """

    origin: str
    media_id: str
    user_id: str
    expires_ts: int


class PendingStore:
    """Reads and writes pending ids. Times are ms since the epoch."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def reserve_txn(
        self, txn: Transaction, pending: PendingMedia, max_pending: int | None, now: int
    ) -> bool:
        """Add a pending id, unless the user has too many already (R81).

        Args:
            max_pending: None is no limit.

        Returns:
            False when the limit is reached.
        """
        txn.lock("pending", pending.user_id)
        if max_pending is not None:
            count = txn.fetch_value(
                f"SELECT COUNT(*) {_OF_USER}",
                (pending.user_id, now),
            )
            if count >= max_pending:
                return False
        txn.execute(
            "INSERT INTO expiring_media (origin, media_id, user_id, expires_ts)"
            " VALUES (?, ?, ?, ?)",
            attrs.astuple(pending),
        )
        return True

    async def get_pending(self, origin: str, media_id: str) -> PendingMedia | None:
        """The pending id, expired or not."""
        row = await self._db.fetch_one(
            "get_pending",
            "SELECT origin, media_id, user_id, expires_ts FROM expiring_media"
            " WHERE media_id = ? AND origin = ?",
            (media_id, origin),
        )
        return PendingMedia(*row) if row else None

    async def count_of_user(self, user_id: str, now: int) -> int:
        """How many ids of the user wait for their upload."""
        row = await self._db.fetch_one(
            "count_pending_of_user",
            f"SELECT COUNT(*) {_OF_USER}",
            (user_id, now),
        )
        return int(row[0]) if row else 0

    def delete_txn(self, txn: Transaction, origin: str, media_id: str) -> bool:
        """End the wait; False when it had ended already."""
        txn.execute(
            "DELETE FROM expiring_media WHERE media_id = ? AND origin = ?",
            (media_id, origin),
        )
        return txn.rowcount > 0

    async def delete_expired(self, before: int) -> int:
        """Delete the ids that expired before that time; returns how many."""

        def delete_expired_txn(txn: Transaction) -> int:
            txn.execute("DELETE FROM expiring_media WHERE expires_ts < ?", (before,))
            return txn.rowcount

        return await self._db.interaction("delete_expired_pending", delete_expired_txn)
