"""What goes into exports, and what is in them."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from mmr.storage.database import Database
from mmr.storage.exports import lock_txn
from mmr.storage.transaction import Transaction, placeholders

_COLUMNS = (
    "m.origin, m.media_id, m.upload_name, m.content_type, m.user_id, m.sha256_hash,"
    " m.size_bytes, m.location, m.creation_ts, m.quarantined, m.datastore_id"
)


@attrs.frozen
class ExportMedia:
    """A media record, as far as an export needs it."""

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


@attrs.frozen
class MediaPlace:
    """How far a walk has come: behind this record."""

    creation_ts: int = -(1 << 62)
    media_id: str = ""
    origin: str = ""


@attrs.frozen
class ExportEntry:
    """That a media is in a part."""

    origin: str
    media_id: str
    sha256_hash: str
    file_name: str


@attrs.frozen
class EntryPlace:
    """How far the entries of an export were read."""

    part: int = 0
    number: int = 0


def _owned_by(entity: str) -> str:
    """Whose media: a user's, or a server's (mmr-storage §5.2)."""
    return "m.user_id = ?" if entity.startswith("@") else "m.origin = ?"


class ExportEntryStore:
    """Walks through the media of an entity, and keeps what an export has of it."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def count_media(self, entity: str, until_ts: int) -> tuple[int, int]:
        """How many media an entity has, and their bytes."""
        row = await self._db.fetch_one(
            "count_media_to_export",
            "SELECT COUNT(*), COALESCE(SUM(m.size_bytes), 0) FROM media AS m"  # noqa: S608
            f" WHERE {_owned_by(entity)} AND m.creation_ts <= ?",
            (entity, until_ts),
        )
        assert row is not None
        return row[0], int(row[1])

    async def get_media(
        self, entity: str, after: MediaPlace, until_ts: int, limit: int
    ) -> list[ExportMedia]:
        """The next media of an entity, oldest first.

        Args:
            until_ts: Not what was created later than that, ms.
        """
        rows = await self._db.fetch_all(
            "get_media_to_export",
            f"SELECT {_COLUMNS} FROM media AS m WHERE {_owned_by(entity)}"  # noqa: S608
            " AND (m.creation_ts, m.media_id, m.origin) > (?, ?, ?)"
            " AND m.creation_ts <= ?"
            " ORDER BY m.creation_ts, m.media_id, m.origin LIMIT ?",
            (entity, *attrs.astuple(after), until_ts, limit),
        )
        return [ExportMedia(*row) for row in rows]

    async def is_there(self, media: ExportMedia) -> bool:
        """Whether there is a record still."""
        row = await self._db.fetch_one(
            "is_media_to_export_there",
            "SELECT 1 FROM media WHERE media_id = ? AND origin = ?",
            (media.media_id, media.origin),
        )
        return row is not None

    async def add(
        self, export_id: str, part: int, first: int, entries: Sequence[ExportEntry]
    ) -> None:
        """Note what is in a part.

        Args:
            first: Number of the first of them within the part; the others follow.

        Raises:
            ExportGone: the export was deleted.
        """

        def add_txn(txn: Transaction) -> None:
            lock_txn(txn, export_id)
            marks, values = placeholders(
                [
                    (export_id, part, first + at, *attrs.astuple(entry))
                    for at, entry in enumerate(entries)
                ]
            )
            txn.execute(
                "INSERT INTO mmr_export_entries (export_id, part, number, origin,"  # noqa: S608
                f" media_id, sha256_hash, file_name) VALUES {marks}",
                values,
            )

        if entries:
            await self._db.interaction("add_export_entries", add_txn)

    async def forget_behind(self, export_id: str, part: int) -> None:
        """Forget what was noted for parts behind this one: they were not finished."""

        def forget_txn(txn: Transaction) -> None:
            txn.execute(
                "DELETE FROM mmr_export_entries WHERE export_id = ? AND part > ?",
                (export_id, part),
            )

        await self._db.interaction("forget_export_entries", forget_txn)

    async def get_listed(
        self, export_id: str, after: EntryPlace, limit: int
    ) -> tuple[list[tuple[ExportMedia, str]], EntryPlace | None]:
        """The next media in an export, with its entry's name.

        What was deleted or quarantined meanwhile is left out.

        Returns:
            The media, and where to go on: None at the end.
        """
        rows = await self._db.fetch_all(
            "get_export_entries",
            f"SELECT e.part, e.number, e.file_name, {_COLUMNS}"  # noqa: S608
            " FROM mmr_export_entries AS e LEFT JOIN media AS m"
            " ON m.media_id = e.media_id AND m.origin = e.origin"
            " WHERE e.export_id = ? AND (e.part, e.number) > (?, ?)"
            " ORDER BY e.part, e.number LIMIT ?",
            (export_id, *attrs.astuple(after), limit),
        )
        media = [(ExportMedia(*row[3:]), row[2]) for row in rows if row[3] is not None]
        place = EntryPlace(*rows[-1][:2]) if rows else None
        return [pair for pair in media if not pair[0].quarantined], place

    async def is_withheld(self, export_id: str, part: int) -> bool:
        """Whether something in a part is quarantined by now (R84).

        What is quarantined as another's copy only stays (its reach is limited), unless
        the media itself is gone: then nothing says that it was out of reach.
        """
        row = await self._db.fetch_one(
            "is_export_part_withheld",
            "SELECT EXISTS (SELECT 1 FROM mmr_export_entries AS e LEFT JOIN media AS m"
            " ON m.media_id = e.media_id AND m.origin = e.origin"
            " WHERE e.export_id = ? AND e.part = ? AND (m.quarantined OR"
            " m.media_id IS NULL AND EXISTS (SELECT 1 FROM media AS c"
            " WHERE c.sha256_hash = e.sha256_hash AND c.quarantined)))",
            (export_id, part),
        )
        return row is not None and bool(row[0])

    async def has_quarantined(self, entity: str) -> bool:
        """Whether some media of an entity is quarantined."""
        row = await self._db.fetch_one(
            "has_quarantined_media",
            "SELECT EXISTS (SELECT 1 FROM media AS m"  # noqa: S608
            f" WHERE {_owned_by(entity)} AND m.quarantined)",
            (entity,),
        )
        return row is not None and bool(row[0])
