"""When content was last asked for: table ``last_access``."""

from __future__ import annotations

from collections.abc import Mapping

from mmr.storage.database import Database
from mmr.storage.transaction import Transaction, placeholders

_ROWS_A_STATEMENT = 200


def touch_txn(txn: Transaction, times: Mapping[str, int]) -> None:
    """Note accesses: hash → ms since the epoch. The newest one counts."""
    # Sorted, so that concurrent batches lock rows in one order.
    rows = sorted(times.items())
    for start in range(0, len(rows), _ROWS_A_STATEMENT):
        groups, values = placeholders(rows[start : start + _ROWS_A_STATEMENT])
        txn.execute(
            "INSERT INTO last_access (sha256_hash, last_access_ts)"  # noqa: S608
            f" VALUES {groups} ON CONFLICT (sha256_hash) DO UPDATE"
            " SET last_access_ts = excluded.last_access_ts"
            " WHERE last_access.last_access_ts < excluded.last_access_ts",
            values,
        )


def rename_txn(txn: Transaction, old: str, new: str) -> None:
    """Note the accesses of one hash under another."""
    txn.execute(
        "DELETE FROM last_access WHERE sha256_hash = ? RETURNING last_access_ts", (old,)
    )
    if row := txn.fetchone():
        touch_txn(txn, {new: row[0]})


class LastAccessStore:
    """Writes access times, many at once."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def touch(self, times: Mapping[str, int]) -> None:
        """Note accesses: hash → ms since the epoch. The newest one counts."""
        await self._db.interaction("touch_last_access", touch_txn, times)
