"""What the database says of objects, for those who compare it with the stores."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from mmr.storage import objects
from mmr.storage.database import Database
from mmr.storage.objects import ObjectName
from mmr.storage.transaction import Transaction
from mmr.types import Mxc

# Where an object may be named without being queued for deletion.
_PARTS = ("export_parts", "mmr_import_parts")
_LISTED = ("media", "thumbnails", *_PARTS)
_NAMED = (*_LISTED, "mmr_object_intents")
_MAX_MEDIA = 100


@attrs.frozen
class NamedObject:
    """An object as a row names it.

    Attributes:
        sha256_hash: Empty where the table has none.
    """

    location: str
    sha256_hash: str
    size_bytes: int


class ConsistencyStore:
    """Reads in steps, so that no reader holds the database up."""

    TABLES = _LISTED

    def __init__(self, db: Database) -> None:
        self._db = db

    async def get_named(
        self, table: str, datastore_id: str, after: str, limit: int
    ) -> list[NamedObject]:
        """Some objects that rows of a table name, in the order of locations."""
        if table not in _LISTED:
            raise ValueError(table)
        sha256 = "''" if table in _PARTS else "MAX(sha256_hash)"
        rows = await self._db.fetch_all(
            "get_named_objects",
            f"SELECT location, {sha256}, MAX(size_bytes) FROM {table}"  # noqa: S608
            " WHERE datastore_id = ? AND location > ?"
            " GROUP BY location ORDER BY location LIMIT ?",
            (datastore_id, after, limit),
        )
        return [NamedObject(*row) for row in rows]

    async def is_named(self, table: str, name: ObjectName) -> bool:
        """Whether a row of a table names an object still."""
        if table not in _LISTED:
            raise ValueError(table)
        row = await self._db.fetch_one(
            "is_object_named",
            f"SELECT 1 FROM {table}"  # noqa: S608
            " WHERE datastore_id = ? AND location = ? LIMIT 1",
            (name.datastore_id, name.location),
        )
        return row is not None

    async def get_unnamed(
        self, datastore_id: str, locations: Sequence[str]
    ) -> list[str]:
        """Those locations that nothing names, not even an upload under way.

        What is queued for deletion is left out as well: it will go.
        """
        return await self._db.interaction(
            "get_unnamed_objects", self._get_unnamed_txn, datastore_id, locations
        )

    def _get_unnamed_txn(
        self, txn: Transaction, datastore_id: str, locations: Sequence[str]
    ) -> list[str]:
        left = list(locations)
        for table in (*_NAMED, "mmr_object_deletes"):
            if not left:
                break
            marks = ",".join("?" * len(left))
            txn.execute(
                f"SELECT location FROM {table}"  # noqa: S608
                f" WHERE datastore_id = ? AND location IN ({marks})",
                (datastore_id, *left),
            )
            found = {row[0] for row in txn.fetchall()}
            left = [location for location in left if location not in found]
        return left

    async def get_media_of(self, name: ObjectName) -> list[tuple[Mxc, bool]]:
        """Some media that an object belongs to, and whether each is quarantined."""
        rows = await self._db.fetch_all(
            "get_media_of_object",
            "SELECT origin, media_id, quarantined FROM media"
            " WHERE datastore_id = ? AND location = ? LIMIT ?",
            (name.datastore_id, name.location, _MAX_MEDIA),
        )
        return [(Mxc(row[0], row[1]), bool(row[2])) for row in rows]

    async def delete_unnamed(self, name: ObjectName) -> bool:
        """Queue an object for deletion, if still nothing names it."""

        def delete_txn(txn: Transaction) -> bool:
            if not self._get_unnamed_txn(txn, name.datastore_id, [name.location]):
                return False
            objects.queue_delete_txn(txn, name)
            return True

        return await self._db.interaction("delete_unnamed_object", delete_txn)

    async def forget_thumbnails(self, name: ObjectName) -> int:
        """Delete thumbnail rows whose object is gone: they are drawn again."""

        def forget_txn(txn: Transaction) -> int:
            txn.execute(
                "DELETE FROM thumbnails WHERE datastore_id = ? AND location = ?"
                " RETURNING size_bytes",
                (name.datastore_id, name.location),
            )
            rows = txn.fetchall()
            if rows and not objects.is_in_use_txn(txn, name):
                objects.uncount_object_txn(txn, name, rows[0][0])
            return len(rows)

        return await self._db.interaction("forget_thumbnails", forget_txn)
