"""Media records: table ``media``, with what restricts each."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from mmr.storage import last_access, objects
from mmr.storage.database import Database
from mmr.storage.engines.base import Row
from mmr.storage.errors import MediaExists
from mmr.storage.objects import ObjectName
from mmr.storage.transaction import Transaction
from mmr.types import Mxc

REQUIRES_AUTH = "io.t2bot.requires_authentication"
"""The condition of frozen media in ``restricted_media``."""

_SELECT = f"""
    SELECT m.origin, m.media_id, m.upload_name, m.content_type, m.user_id,
        m.sha256_hash, m.size_bytes, m.location, m.creation_ts, m.quarantined,
        m.datastore_id, r.condition_value
    FROM media AS m LEFT JOIN restricted_media AS r
        ON r.origin = m.origin AND r.media_id = m.media_id
        AND r.condition_type = '{REQUIRES_AUTH}'
"""  # noqa: S608


@attrs.frozen
class MediaRecord:
    """One media id and its content.

    Attributes:
        user_id: The uploader; empty for remote media and internal records.
        sha256_hash: Lower-case hex, of the content.
        location: The object's name inside the datastore.
        creation_ts: Uploaded or fetched at, ms since the epoch.
        requires_auth: Frozen: 404 for callers that nobody vouches for (MSC3916).
    """

    origin: str
    media_id: str
    upload_name: str
    content_type: str
    user_id: str
    sha256_hash: str
    size_bytes: int
    location: str
    creation_ts: int
    quarantined: bool
    datastore_id: str
    requires_auth: bool

    @property
    def object_name(self) -> ObjectName:
        """Where the bytes are."""
        return ObjectName(self.datastore_id, self.location)


_FIELDS = tuple(field.name for field in attrs.fields(MediaRecord))


def _record(row: Row) -> MediaRecord:
    values = dict(zip(_FIELDS, row, strict=True))
    values["quarantined"] = bool(values["quarantined"])
    values["requires_auth"] = values["requires_auth"] == "true"
    return MediaRecord(**values)


class MediaStore:
    """Reads and writes media records."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def get_media(self, origin: str, media_id: str) -> MediaRecord | None:
        """The record of one media id."""
        row = await self._db.fetch_one(
            "get_media",
            _SELECT + "WHERE m.media_id = ? AND m.origin = ?",
            (media_id, origin),
        )
        return _record(row) if row else None

    async def get_several(self, media: Sequence[Mxc]) -> dict[Mxc, MediaRecord]:
        """The records of some media, as far as there are any."""
        marks = ",".join("?" * len(media))
        rows = await self._db.fetch_all(
            "get_several_media",
            f"{_SELECT} WHERE m.media_id IN ({marks})",
            [mxc.media_id for mxc in media],
        )
        records = {Mxc(row[0], row[1]): _record(row) for row in rows}
        return {mxc: records[mxc] for mxc in media if mxc in records}

    async def is_restricted(self, origin: str, media_id: str) -> bool:
        """Whether an id is frozen, with or without a record (D45)."""
        row = await self._db.fetch_one(
            "is_restricted",
            "SELECT 1 FROM restricted_media WHERE origin = ? AND media_id = ?"
            " AND condition_type = ? AND condition_value = 'true'",
            (origin, media_id, REQUIRES_AUTH),
        )
        return row is not None

    async def is_quarantined_hash(self, sha256_hash: str) -> bool:
        """Whether any record with this content is quarantined (R86)."""
        return await self._db.interaction(
            "is_quarantined_hash", self.is_quarantined_hash_txn, sha256_hash
        )

    def get_media_txn(
        self, txn: Transaction, origin: str, media_id: str
    ) -> MediaRecord | None:
        """The record of one media id, inside a transaction."""
        txn.execute(
            _SELECT + "WHERE m.media_id = ? AND m.origin = ?", (media_id, origin)
        )
        row = txn.fetchone()
        return _record(row) if row else None

    def lock_hash_txn(self, txn: Transaction, sha256_hash: str) -> None:
        """Be the only one to add, share or delete objects with this content."""
        objects.lock_hash_txn(txn, sha256_hash)

    def is_quarantined_hash_txn(self, txn: Transaction, sha256_hash: str) -> bool:
        """Whether any record with this content is quarantined (R86)."""
        return bool(
            txn.fetch_value(
                "SELECT EXISTS (SELECT 1 FROM media"
                " WHERE sha256_hash = ? AND quarantined)",
                (sha256_hash,),
            )
        )

    def records_with_hash_txn(
        self, txn: Transaction, sha256_hash: str, *, limit: int = 100
    ) -> list[MediaRecord]:
        """Some records with this content. Anyone may add more: hence the limit."""
        txn.execute(_SELECT + "WHERE m.sha256_hash = ? LIMIT ?", (sha256_hash, limit))
        return [_record(row) for row in txn.fetchall()]

    def find_identical_txn(
        self, txn: Transaction, wanted: MediaRecord
    ) -> MediaRecord | None:
        """A record of the same server, user, name, type and content (D51)."""
        txn.execute(
            # The concatenations keep SQLite from the index of origin and user, by which
            # it would read all that the uploader ever stored.
            _SELECT + "WHERE m.sha256_hash = ?"
            " AND m.origin || '' = ? AND m.user_id || '' = ?"
            " AND m.upload_name = ? AND m.content_type = ? LIMIT 1",
            (
                wanted.sha256_hash,
                wanted.origin,
                wanted.user_id,
                wanted.upload_name,
                wanted.content_type,
            ),
        )
        row = txn.fetchone()
        return _record(row) if row else None

    def insert_media_txn(self, txn: Transaction, record: MediaRecord) -> MediaRecord:
        """Add a record; the caller holds the lock of its hash.

        Returns:
            The record as it is now: a restriction of an earlier life of this id
            stays in force (D45).

        Raises:
            MediaExists: when the id has content already.
        """
        in_use = objects.is_in_use_txn(txn, record.object_name)
        self._insert_row_txn(txn, record)
        if not in_use:
            objects.count_object_txn(txn, record.object_name, record.size_bytes)
        if record.requires_auth:
            txn.execute(
                "INSERT INTO restricted_media"
                " (origin, media_id, condition_type, condition_value)"
                " VALUES (?, ?, ?, 'true') ON CONFLICT (origin, media_id) DO NOTHING",
                (record.origin, record.media_id, REQUIRES_AUTH),
            )
        last_access.touch_txn(txn, {record.sha256_hash: record.creation_ts})
        stored = self.get_media_txn(txn, record.origin, record.media_id)
        if stored is None:
            raise LookupError(f"{record.origin}/{record.media_id} vanished")
        return stored

    def _insert_row_txn(self, txn: Transaction, record: MediaRecord) -> None:
        txn.execute(
            "INSERT INTO media (origin, media_id, upload_name, content_type, user_id,"
            " sha256_hash, size_bytes, location, creation_ts, quarantined,"
            " datastore_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (media_id, origin) DO NOTHING",
            attrs.astuple(record)[:-1],
        )
        if txn.rowcount == 0:
            raise MediaExists(f"{record.origin}/{record.media_id}")

    def move_media_txn(
        self, txn: Transaction, record: MediaRecord, moved: MediaRecord
    ) -> MediaRecord:
        """Let a record point at another object; gives the record as it is then.

        The caller holds the lock of the hash. The old object, which is gone or
        damaged, isn't deleted: its disk may only be away for a while.

        Args:
            moved: The same record with the new object, and its hash and size.
        """
        if not objects.is_in_use_txn(txn, moved.object_name):
            objects.count_object_txn(txn, moved.object_name, moved.size_bytes)
        txn.execute(
            "UPDATE media SET datastore_id = ?, location = ?, sha256_hash = ?,"
            " size_bytes = ? WHERE media_id = ? AND origin = ?",
            (
                moved.datastore_id,
                moved.location,
                moved.sha256_hash,
                moved.size_bytes,
                record.media_id,
                record.origin,
            ),
        )
        if not objects.is_in_use_txn(txn, record.object_name):
            objects.uncount_object_txn(txn, record.object_name, record.size_bytes)
        return moved

    def delete_media_txn(self, txn: Transaction, origin: str, media_id: str) -> bool:
        """Delete a record, and queue its object when nothing else refers to it.

        Returns:
            Whether there was a record.
        """
        record = self.get_media_txn(txn, origin, media_id)
        if record is None:
            return False
        objects.lock_hash_txn(txn, record.sha256_hash)
        # What it says now, inside the lock: the object may have moved meanwhile.
        txn.execute(
            "DELETE FROM media WHERE media_id = ? AND origin = ?"
            " RETURNING datastore_id, location, size_bytes",
            (media_id, origin),
        )
        row = txn.fetchone()
        if row is None:
            return False
        objects.release_txn(txn, ObjectName(*row[:2]), row[2])
        return True

    def set_quarantined_by_hash_txn(
        self,
        txn: Transaction,
        sha256_hash: str,
        quarantined: bool,
        *,
        origin: str | None = None,
    ) -> list[Mxc]:
        """Set the flag on each record with this content that is not pinned.

        Args:
            origin: Only records of this server.

        Returns:
            The records that changed: what caches know of them is void.
        """
        objects.lock_hash_txn(txn, sha256_hash)
        txn.execute(
            "UPDATE media SET quarantined = ? WHERE sha256_hash = ?"
            " AND quarantined <> ? AND (? OR origin = ?)"
            " AND NOT EXISTS (SELECT 1 FROM media_attributes AS a"
            " WHERE a.media_id = media.media_id AND a.origin = media.origin"
            " AND a.purpose = 'pinned') RETURNING origin, media_id",
            (quarantined, sha256_hash, quarantined, origin is None, origin or ""),
        )
        return [Mxc(*row) for row in txn.fetchall()]

    def object_in_use_txn(
        self, txn: Transaction, datastore_id: str, location: str
    ) -> bool:
        """Whether a media, thumbnail or export record refers to the object."""
        return objects.is_in_use_txn(txn, ObjectName(datastore_id, location))
