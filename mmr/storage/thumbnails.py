"""Thumbnail records: table ``thumbnails``."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from mmr.storage import objects, pairs
from mmr.storage.database import Database
from mmr.storage.engines.base import Row
from mmr.storage.objects import ObjectName
from mmr.storage.transaction import Transaction
from mmr.types import Method, Mxc

_COLUMNS = (
    "origin, media_id, width, height, method, content_type, size_bytes, location,"
    " creation_ts, animated, sha256_hash, datastore_id"
)
_KEY = (
    "media_id = ? AND origin = ? AND width = ? AND height = ? AND method = ?"
    " AND animated = ?"
)

_FOR_WEBP = "+webp"


@attrs.frozen
class ThumbnailKey:
    """Which thumbnail of which media.

    Attributes:
        width: Of the picked size, in pixels; the image itself may be smaller.
        height: Likewise.
        webp: The one for clients that take WebP. MMR's table has no place for it, so
            it is part of the method's name there, where MMR never looks for it.
    """

    origin: str
    media_id: str
    width: int
    height: int
    method: Method
    animated: bool
    webp: bool = False

    @property
    def stored_method(self) -> str:
        """What the column ``method`` holds."""
        return self.method.value + _FOR_WEBP if self.webp else self.method.value

    def params(self) -> tuple[object, ...]:
        """The values of the unique index."""
        return (
            self.media_id,
            self.origin,
            self.width,
            self.height,
            self.stored_method,
            self.animated,
        )


@attrs.frozen
class ThumbnailRecord:
    """One thumbnail and its content.

    Attributes:
        sha256_hash: Of the thumbnail itself. Empty in very old rows.
        creation_ts: ms since the epoch.
    """

    key: ThumbnailKey
    content_type: str
    size_bytes: int
    location: str
    creation_ts: int
    sha256_hash: str
    datastore_id: str

    @property
    def object_name(self) -> ObjectName:
        """Where the bytes are."""
        return ObjectName(self.datastore_id, self.location)


def _record(row: Row) -> ThumbnailRecord:
    origin, media_id, width, height, stored_method, *rest = row
    content_type, size_bytes, location, creation_ts, animated, sha256, store = rest
    method = Method(stored_method.removesuffix(_FOR_WEBP))
    webp = stored_method.endswith(_FOR_WEBP)
    key = ThumbnailKey(origin, media_id, width, height, method, bool(animated), webp)
    return ThumbnailRecord(
        key, content_type, size_bytes, location, creation_ts, sha256, store
    )


class ThumbnailStore:
    """Reads and writes thumbnail records."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def get_thumbnail(self, key: ThumbnailKey) -> ThumbnailRecord | None:
        """The record of one thumbnail."""
        row = await self._db.fetch_one(
            "get_thumbnail",
            f"SELECT {_COLUMNS} FROM thumbnails WHERE {_KEY}",  # noqa: S608
            key.params(),
        )
        return _record(row) if row else None

    def get_thumbnail_txn(
        self, txn: Transaction, key: ThumbnailKey
    ) -> ThumbnailRecord | None:
        """The record of one thumbnail, inside a transaction."""
        txn.execute(
            f"SELECT {_COLUMNS} FROM thumbnails WHERE {_KEY}",  # noqa: S608
            key.params(),
        )
        row = txn.fetchone()
        return _record(row) if row else None

    async def get_thumbnails_of(
        self, origin: str, media_id: str
    ) -> list[ThumbnailRecord]:
        """All thumbnails of one media."""
        rows = await self._db.fetch_all(
            "get_thumbnails_of",
            f"SELECT {_COLUMNS} FROM thumbnails"  # noqa: S608
            " WHERE media_id = ? AND origin = ?",
            (media_id, origin),
        )
        return [_record(row) for row in rows]

    async def get_older(self, before_ts: int, limit: int) -> list[ThumbnailRecord]:
        """The oldest of those made before a time (ms), so many at most."""
        rows = await self._db.fetch_all(
            "get_older_thumbnails",
            f"SELECT {_COLUMNS} FROM thumbnails WHERE creation_ts < ?"  # noqa: S608
            " ORDER BY creation_ts LIMIT ?",
            (before_ts, limit),
        )
        return [_record(row) for row in rows]

    async def count_around(self, ts: int, limit: int) -> tuple[int, int]:
        """How many were made before a time (ms), and since; each ``limit`` at most."""
        row = await self._db.fetch_one(
            "count_thumbnails_around",
            "SELECT (SELECT COUNT(*) FROM (SELECT 1 FROM thumbnails"
            " WHERE creation_ts < ? LIMIT ?) AS older),"
            " (SELECT COUNT(*) FROM (SELECT 1 FROM thumbnails"
            " WHERE creation_ts >= ? LIMIT ?) AS newer)",
            (ts, limit, ts, limit),
        )
        assert row is not None
        return row[0], row[1]

    def get_thumbnails_of_txn(
        self, txn: Transaction, origin: str, media_id: str
    ) -> list[ThumbnailRecord]:
        """All thumbnails of one media."""
        txn.execute(
            f"SELECT {_COLUMNS} FROM thumbnails"  # noqa: S608
            " WHERE media_id = ? AND origin = ?",
            (media_id, origin),
        )
        return [_record(row) for row in txn.fetchall()]

    async def get_of_all(self, media: Sequence[Mxc]) -> list[ThumbnailRecord]:
        """All thumbnails of several media."""
        if not media:
            return []
        where, values = pairs.of_media(media)
        rows = await self._db.fetch_all(
            "get_thumbnails",
            f"SELECT {_COLUMNS} FROM thumbnails WHERE {where}",  # noqa: S608
            values,
        )
        return [_record(row) for row in rows]

    def get_of_all_txn(
        self, txn: Transaction, media: Sequence[Mxc]
    ) -> list[ThumbnailRecord]:
        """All thumbnails of several media."""
        where, values = pairs.of_media(media)
        txn.execute(
            f"SELECT {_COLUMNS} FROM thumbnails WHERE {where}",  # noqa: S608
            values,
        )
        return [_record(row) for row in txn.fetchall()]

    def get_quarantined_txn(
        self, txn: Transaction, hashes: Sequence[str], origin: str | None, limit: int
    ) -> list[ThumbnailRecord]:
        """Some thumbnails that are one of these contents, if that is quarantined.

        Args:
            origin: Only of this server's media.
        """
        marks = ",".join("?" * len(hashes))
        txn.execute(
            f"SELECT {_COLUMNS} FROM thumbnails AS t"  # noqa: S608
            f" WHERE t.sha256_hash IN ({marks}) AND (? OR t.origin || '' = ?)"
            " AND EXISTS (SELECT 1 FROM media AS m"
            " WHERE m.sha256_hash = t.sha256_hash AND m.quarantined) LIMIT ?",
            (*hashes, origin is None, origin or "", limit),
        )
        return [_record(row) for row in txn.fetchall()]

    def insert_thumbnail_txn(
        self, txn: Transaction, record: ThumbnailRecord
    ) -> ThumbnailRecord:
        """Add a record; the caller holds the lock of its hash.

        Returns:
            The record that counts: another process's, when it was first (D70). Then
            the caller's object is not referred to.
        """
        key = record.key
        known = self.get_thumbnail_txn(txn, key)
        if known is not None:
            return known
        in_use = objects.is_in_use_txn(txn, record.object_name)
        txn.execute(
            f"INSERT INTO thumbnails ({_COLUMNS})"  # noqa: S608
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT"
            " (media_id, origin, width, height, method, animated) DO NOTHING",
            (
                key.origin,
                key.media_id,
                key.width,
                key.height,
                key.stored_method,
                record.content_type,
                record.size_bytes,
                record.location,
                record.creation_ts,
                key.animated,
                record.sha256_hash,
                record.datastore_id,
            ),
        )
        if txn.rowcount and not in_use:
            objects.count_object_txn(txn, record.object_name, record.size_bytes)
        return self.get_thumbnail_txn(txn, key) or record

    def delete_thumbnail_txn(self, txn: Transaction, record: ThumbnailRecord) -> bool:
        """Delete a record, and queue its object when nothing else refers to it.

        Returns:
            Whether there was a record.
        """
        objects.lock_hash_txn(txn, record.sha256_hash)
        txn.execute(
            f"DELETE FROM thumbnails WHERE {_KEY}"  # noqa: S608
            " RETURNING datastore_id, location, size_bytes",
            record.key.params(),
        )
        row = txn.fetchone()
        if row is None:
            return False
        objects.release_txn(txn, ObjectName(*row[:2]), row[2])
        return True

    def delete_all_txn(
        self, txn: Transaction, records: Sequence[ThumbnailRecord]
    ) -> list[ThumbnailRecord]:
        """Delete records without a look at their objects.

        The caller holds the locks of their hashes, and releases the objects.

        Returns:
            Those that were there.
        """
        if not records:
            return []
        columns = ("media_id", "origin", "width", "height", "method", "animated")
        where, values = pairs.among(columns, [each.key.params() for each in records])
        txn.execute(
            f"DELETE FROM thumbnails WHERE {where} RETURNING {_COLUMNS}",  # noqa: S608
            values,
        )
        return [_record(row) for row in txn.fetchall()]
