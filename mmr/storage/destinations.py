"""Servers that are left alone for a while: table ``mmr_destinations``."""

from __future__ import annotations

import attrs

from mmr.storage.database import Database
from mmr.storage.transaction import Transaction

_SELECT = (
    "SELECT destination, failure_ts, retry_last_ts, retry_interval"
    " FROM mmr_destinations"
)


@attrs.frozen
class Destination:
    """A server that failed too often. All times in ms.

    Attributes:
        destination: Its server name.
        failure_ts: When that began.
        retry_last_ts: The last try.
        retry_interval: How long to wait after that.
    """

    destination: str
    failure_ts: int
    retry_last_ts: int
    retry_interval: int

    @property
    def retry_ts(self) -> int:
        """When it may be tried again."""
        return self.retry_last_ts + self.retry_interval


class DestinationStore:
    """Reads and writes back-off."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def get(self, destination: str) -> Destination | None:
        """The back-off of a server; None when all is well."""
        row = await self._db.fetch_one(
            "get_destination",
            f"{_SELECT} WHERE destination = ?",
            (destination,),
        )
        return Destination(*row) if row else None

    async def list_failing(self, limit: int, after: str = "") -> list[Destination]:
        """Servers in back-off, by name.

        Args:
            limit: How many at most.
            after: Go on behind this name.
        """
        rows = await self._db.fetch_all(
            "list_destinations",
            f"{_SELECT} WHERE destination > ? ORDER BY destination LIMIT ?",
            (after, limit),
        )
        return [Destination(*row) for row in rows]

    async def save(self, destination: Destination) -> None:
        """Keep a server's back-off. Of two writers the longer wait counts."""
        await self._db.interaction("save_destination", _save_txn, destination)

    async def clear(self, destination: str) -> bool:
        """End a server's back-off; False when there was none."""

        def clear_txn(txn: Transaction) -> bool:
            txn.execute(
                "DELETE FROM mmr_destinations WHERE destination = ?", (destination,)
            )
            return txn.rowcount > 0

        return await self._db.interaction("clear_destination", clear_txn)

    async def delete_old(self, before: int) -> int:
        """Forget servers that nobody has asked since; returns how many."""

        def delete_old_txn(txn: Transaction) -> int:
            txn.execute(
                "DELETE FROM mmr_destinations WHERE retry_last_ts < ?", (before,)
            )
            return txn.rowcount

        return await self._db.interaction("delete_old_destinations", delete_old_txn)


def _save_txn(txn: Transaction, destination: Destination) -> None:
    txn.execute(
        "INSERT INTO mmr_destinations"
        " (destination, failure_ts, retry_last_ts, retry_interval)"
        " VALUES (?, ?, ?, ?)"
        " ON CONFLICT (destination) DO UPDATE SET"
        " retry_last_ts = excluded.retry_last_ts,"
        " retry_interval = excluded.retry_interval"
        " WHERE excluded.retry_last_ts + excluded.retry_interval"
        " > mmr_destinations.retry_last_ts + mmr_destinations.retry_interval",
        attrs.astuple(destination),
    )
