"""What admins did: table ``mmr_admin_audit``. Rows are only ever added (R90)."""

from __future__ import annotations

import attrs

from mmr.storage.database import Database
from mmr.storage.transaction import Transaction

_MAX_TEXT = 500
_COLUMNS = (
    "id, started_ts, finished_ts, actor, action, target, reason, affected, bytes,"
    " skipped, error"
)


@attrs.frozen
class AuditEntry:
    """One action.

    Attributes:
        started_ts: ms since the epoch, by the database's clock.
        finished_ts: 0 while it runs, and for ever when a crash broke it off.
        actor: A user id, or a name with ``@`` for what acts without a user.
        affected: Media (or what else the action is about).
        bytes: Freed.
        skipped: Left as they were.
        error: Why it ended early; empty else.
    """

    id: int
    started_ts: int
    finished_ts: int
    actor: str
    action: str
    target: str
    reason: str
    affected: int
    bytes: int
    skipped: int
    error: str


class AuditStore:
    """Writes and reads the log."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def begin_txn(
        self, txn: Transaction, actor: str, action: str, target: str, reason: str
    ) -> int:
        """Add an entry before the action begins.

        Returns:
            Its id. Ids grow with time and have no gaps.
        """
        txn.lock("audit", "")
        entry_id = txn.fetch_value(
            "SELECT COALESCE(MAX(id), 0) + 1 FROM mmr_admin_audit"
        )
        texts = [
            text.replace("\0", "")[:_MAX_TEXT]
            for text in (actor, action, target, reason)
        ]
        txn.execute(
            "INSERT INTO mmr_admin_audit"
            " (id, started_ts, actor, action, target, reason)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (entry_id, txn.now_ms(), *texts),
        )
        return entry_id

    async def begin(self, actor: str, action: str, target: str, reason: str) -> int:
        """As `begin_txn`."""
        return await self._db.interaction(
            "begin_audit", self.begin_txn, actor, action, target, reason
        )

    def add_txn(
        self, txn: Transaction, entry_id: int, affected: int, freed_bytes: int
    ) -> None:
        """Count what was done, in the transaction that does it."""
        txn.execute(
            "UPDATE mmr_admin_audit SET affected = affected + ?, bytes = bytes + ?"
            " WHERE id = ?",
            (affected, freed_bytes, entry_id),
        )

    async def count(self, entry_id: int, affected: int) -> None:
        """As `add_txn`, in a transaction of its own."""
        await self._db.interaction("count_audit", self.add_txn, entry_id, affected, 0)

    async def finish(self, entry_id: int, skipped: int, error: str = "") -> None:
        """Note that the action is over."""

        def finish_txn(txn: Transaction) -> None:
            txn.execute(
                "UPDATE mmr_admin_audit SET finished_ts = ?, skipped = ?, error = ?"
                " WHERE id = ?",
                (txn.now_ms(), skipped, error.replace("\0", "")[:_MAX_TEXT], entry_id),
            )

        await self._db.interaction("finish_audit", finish_txn)

    async def get_page(
        self,
        before_id: int | None,
        limit: int,
        *,
        actor: str = "",
        action: str = "",
        target: str = "",
    ) -> list[AuditEntry]:
        """The newest entries with an id below this one; None: the newest of all."""
        conditions, params = ["id < ?"], [before_id if before_id else 1 << 62]
        wanted: list[object] = [*params]
        for column, value in (("actor", actor), ("action", action), ("target", target)):
            if value:
                conditions.append(f"{column} = ?")
                wanted.append(value)
        rows = await self._db.fetch_all(
            "get_audit_page",
            f"SELECT {_COLUMNS} FROM mmr_admin_audit"  # noqa: S608
            f" WHERE {' AND '.join(conditions)} ORDER BY id DESC LIMIT ?",
            (*wanted, limit),
        )
        return [AuditEntry(*row) for row in rows]
