"""Objects whose unsigned URLs have to end when their content is quarantined (R88)."""

from __future__ import annotations

from mmr.storage.database import Database
from mmr.storage.objects import ObjectName
from mmr.storage.transfers import Moving
from mmr.types import Mxc

_MAX_LISTED = 100

_COLUMNS = "o.datastore_id, o.location, MAX(o.sha256_hash), MAX(o.size_bytes)"
_GROUPS = "o.location <> '' GROUP BY o.datastore_id, o.location"


class PublicObjectStore:
    """Finds what quarantined records point at."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def get_quarantined(self, sha256_hash: str) -> list[Moving]:
        """Objects of a quarantined content and of its thumbnails."""
        media = await self._db.fetch_all(
            "get_quarantined_media",
            f"SELECT {_COLUMNS} FROM media AS o"  # noqa: S608
            f" WHERE o.sha256_hash = ? AND o.quarantined AND {_GROUPS}",
            (sha256_hash,),
        )
        thumbnails = await self._db.fetch_all(
            "get_quarantined_thumbnails",
            f"SELECT {_COLUMNS} FROM media AS m JOIN thumbnails AS o"  # noqa: S608
            " ON o.origin = m.origin AND o.media_id = m.media_id"
            f" WHERE m.sha256_hash = ? AND m.quarantined AND {_GROUPS}",
            (sha256_hash,),
        )
        # An original may be its own thumbnail.
        found = {row[:2]: row for row in (*media, *thumbnails)}
        return [
            Moving(ObjectName(*row[:2]), row[2], row[2], row[3], is_foreign=False)
            for row in found.values()
        ]

    async def get_media_at(self, name: ObjectName) -> list[Mxc]:
        """Some of the media that an object belongs to."""
        at = "WHERE datastore_id = ? AND location = ?"
        rows = await self._db.fetch_all(
            "get_media_at",
            f"SELECT origin, media_id FROM media {at} UNION"  # noqa: S608
            f" SELECT origin, media_id FROM thumbnails {at} LIMIT ?",
            (name.datastore_id, name.location) * 2 + (_MAX_LISTED,),
        )
        return [Mxc(*row) for row in rows]
