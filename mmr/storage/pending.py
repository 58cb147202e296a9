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
        expires_ts: The last moment to do so, ms since the epoch. Below 0 once that is
            over, so that a clock that jumps back doesn't revive the id (R100).
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

    async def end(self, origin: str, media_id: str) -> None:
        """The id's time is over, whatever the clock will say."""

        def end_txn(txn: Transaction) -> None:
            txn.execute(
                "UPDATE expiring_media SET expires_ts = -expires_ts"
                " WHERE media_id = ? AND origin = ? AND expires_ts > 0",
                (media_id, origin),
            )

        await self._db.interaction("end_pending", end_txn)

    async def end_expired(self, now: int) -> int:
        """The same for all that have expired by then; returns how many."""

        def end_expired_txn(txn: Transaction) -> int:
            txn.execute(
                "UPDATE expiring_media SET expires_ts = -expires_ts"
                " WHERE expires_ts > 0 AND expires_ts < ?",
                (now,),
            )
            return txn.rowcount

        return await self._db.interaction("end_expired_pending", end_expired_txn)

    async def count_around(self, ts: int, limit: int) -> tuple[int, int]:
        """How many expire before a time, and how many later; each ``limit`` at most."""
        row = await self._db.fetch_one(
            "count_pending_around",
            "SELECT (SELECT COUNT(*) FROM (SELECT 1 FROM expiring_media"
            " WHERE expires_ts > 0 AND expires_ts < ? LIMIT ?) AS older),"
            " (SELECT COUNT(*) FROM (SELECT 1 FROM expiring_media"
            " WHERE expires_ts >= ? LIMIT ?) AS newer)",
            (ts, limit, ts, limit),
        )
        assert row is not None
        return row[0], row[1]

    async def delete_ended(self, before: int) -> int:
        """Delete the ids that have ended and expired before that time.

        Returns:
            How many.
        """

        def delete_ended_txn(txn: Transaction) -> int:
            txn.execute(
                "DELETE FROM expiring_media WHERE expires_ts <= 0 AND expires_ts > ?",
                (-before,),
            )
            return txn.rowcount

        return await self._db.interaction("delete_ended_pending", delete_ended_txn)
