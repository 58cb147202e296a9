"""Each media that was quarantined or released: table ``mmr_quarantine_changes`` (R90).

Rows are only ever added. Their ids grow in the order of the commits, without gaps, so
that who has read up to one misses nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from mmr.storage.database import Database
from mmr.storage.transaction import Transaction, placeholders
from mmr.types import Mxc


@attrs.frozen
class QuarantineChange:
    """One media at one time.

    Attributes:
        id: Its place in the list; the first is 1.
        audit_id: The action, in the audit log.
        quarantined: What it is since then.
    """

    id: int
    audit_id: int
    origin: str
    media_id: str
    quarantined: bool = attrs.field(converter=bool)


class QuarantineChangeStore:
    """Writes and reads the list."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add_txn(
        self, txn: Transaction, audit_id: int, media: Sequence[Mxc], quarantined: bool
    ) -> None:
        """Note what the transaction has changed.

        To be called last: others that change something wait from here to the commit.
        """
        if not media:
            return
        txn.lock("quarantine_changes", "")
        last = txn.fetch_value(
            "SELECT COALESCE(MAX(id), 0) FROM mmr_quarantine_changes"
        )
        marks, values = placeholders(
            [
                (last + number, audit_id, mxc.origin, mxc.media_id, quarantined)
                for number, mxc in enumerate(media, 1)
            ]
        )
        txn.execute(
            "INSERT INTO mmr_quarantine_changes"  # noqa: S608
            f" (id, audit_id, origin, media_id, quarantined) VALUES {marks}",
            values,
        )

    async def get_last_id(self) -> int:
        """The newest; 0 when there are none."""
        row = await self._db.fetch_one(
            "get_last_quarantine_change",
            "SELECT COALESCE(MAX(id), 0) FROM mmr_quarantine_changes",
        )
        return int(row[0]) if row else 0

    async def get_after(
        self, after_id: int, limit: int, origin: str | None = None
    ) -> list[QuarantineChange]:
        """The next changes, oldest first, of all media or of one server's."""
        condition, wanted = "", list[object]((after_id,))
        if origin is not None:
            condition = " AND origin = ?"
            wanted.append(origin)
        rows = await self._db.fetch_all(
            "get_quarantine_changes",
            "SELECT id, audit_id, origin, media_id, quarantined"  # noqa: S608
            f" FROM mmr_quarantine_changes WHERE id > ?{condition}"
            " ORDER BY id LIMIT ?",
            (*wanted, limit),
        )
        return [QuarantineChange(*row) for row in rows]
