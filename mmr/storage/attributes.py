"""What media is for: table ``media_attributes``."""

from __future__ import annotations

import enum

from mmr.storage.database import Database
from mmr.storage.transaction import Transaction


class Purpose(enum.Enum):
    """The attribute that MMR knows."""

    NONE = "none"
    PINNED = "pinned"
    """Neither quarantined nor purged."""


def set_purpose_txn(
    txn: Transaction, origin: str, media_id: str, purpose: Purpose
) -> None:
    """Set the purpose of one media, inside a transaction."""
    txn.execute(
        "INSERT INTO media_attributes (origin, media_id, purpose)"
        " VALUES (?, ?, ?) ON CONFLICT (media_id, origin) DO UPDATE"
        " SET purpose = excluded.purpose",
        (origin, media_id, purpose.value),
    )


class AttributeStore:
    """Reads and writes purposes."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def get_purpose(self, origin: str, media_id: str) -> Purpose:
        """The purpose of one media; `Purpose.NONE` when nothing was ever set."""
        row = await self._db.fetch_one(
            "get_purpose",
            "SELECT purpose FROM media_attributes WHERE media_id = ? AND origin = ?",
            (media_id, origin),
        )
        return Purpose(row[0]) if row else Purpose.NONE

    async def set_purpose(self, origin: str, media_id: str, purpose: Purpose) -> None:
        """Set the purpose of one media."""
        await self._db.interaction(
            "set_purpose", set_purpose_txn, origin, media_id, purpose
        )
