"""Which media ids may be issued: tables ``media_id_hold`` and ``reserved_media``."""

from __future__ import annotations

from collections.abc import Sequence

from mmr.storage.database import Database
from mmr.storage.transaction import Transaction, placeholders
from mmr.types import Mxc

_HOLD_REASON = "media_create"
_HOLD_MS = 7 * 24 * 3600 * 1000


class MediaIdStore:
    """Makes sure that no id is issued twice, by any process."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def hold_txn(self, txn: Transaction, origin: str, media_id: str, now: int) -> bool:
        """Take a fresh id.

        Args:
            now: ms since the epoch.

        Returns:
            False when it is taken: try another one.
        """
        txn.execute(
            "INSERT INTO media_id_hold (origin, media_id, reason, held_ts)"
            " VALUES (?, ?, ?, ?) ON CONFLICT (media_id, origin) DO NOTHING",
            (origin, media_id, _HOLD_REASON, now),
        )
        if txn.rowcount == 0:
            return False
        key = (media_id, origin)
        return not txn.fetch_value(
            "SELECT EXISTS (SELECT 1 FROM media WHERE media_id = ? AND origin = ?)"
            " OR EXISTS (SELECT 1 FROM reserved_media"
            " WHERE media_id = ? AND origin = ?)",
            key * 2,
        )

    def reserve_txn(
        self, txn: Transaction, origin: str, media_id: str, reason: str
    ) -> None:
        """Never issue the id again, for instance because its media was purged."""
        txn.execute(
            "INSERT INTO reserved_media (origin, media_id, reason) VALUES (?, ?, ?)"
            " ON CONFLICT (media_id, origin) DO NOTHING",
            (origin, media_id, reason),
        )

    def reserve_all_txn(
        self, txn: Transaction, media: Sequence[Mxc], reason: str
    ) -> None:
        """The same for several."""
        if not media:
            return
        marks, values = placeholders([(m.origin, m.media_id, reason) for m in media])
        txn.execute(
            "INSERT INTO reserved_media (origin, media_id, reason)"  # noqa: S608
            f" VALUES {marks} ON CONFLICT (media_id, origin) DO NOTHING",
            values,
        )

    async def delete_old_holds(self, now: int) -> int:
        """Delete holds of issued ids after seven days, as MMR does."""

        def delete_old_holds_txn(txn: Transaction) -> int:
            txn.execute(
                "DELETE FROM media_id_hold WHERE reason = ? AND held_ts < ?",
                (_HOLD_REASON, now - _HOLD_MS),
            )
            return txn.rowcount

        return await self._db.interaction("delete_old_holds", delete_old_holds_txn)
