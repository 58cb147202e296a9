"""Media records as they leave for another server, page by page."""

from __future__ import annotations

import attrs

from mmr.storage.database import Database
from mmr.types import Mxc

_SELECT = """
    SELECT m.origin, m.media_id, m.user_id, m.upload_name, m.content_type,
        m.size_bytes, m.sha256_hash, m.datastore_id, m.location, m.creation_ts,
        l.last_access_ts, m.quarantined, COALESCE(a.purpose = 'pinned', FALSE),
        COALESCE(r.condition_value = 'true', FALSE)
    FROM media AS m
    LEFT JOIN last_access AS l ON l.sha256_hash = m.sha256_hash
    LEFT JOIN media_attributes AS a
        ON a.media_id = m.media_id AND a.origin = m.origin
    LEFT JOIN restricted_media AS r
        ON r.origin = m.origin AND r.media_id = m.media_id
        AND r.condition_type = 'io.t2bot.requires_authentication'
    WHERE (m.media_id, m.origin) > (?, ?) AND (? OR m.origin = ?)
    ORDER BY m.media_id, m.origin LIMIT ?
"""


@attrs.frozen(slots=True)
class Departure:
    """A record, with all that is known of its media.

    Attributes:
        location: Empty when only its quarantine is left.
        last_access_ts: Of its content; None when nobody asked for it, ms.
    """

    origin: str
    media_id: str
    user_id: str
    upload_name: str
    content_type: str
    size_bytes: int
    sha256_hash: str
    datastore_id: str
    location: str
    creation_ts: int
    last_access_ts: int | None
    is_quarantined: bool = attrs.field(converter=bool)
    is_pinned: bool = attrs.field(converter=bool)
    requires_auth: bool = attrs.field(converter=bool)

    @property
    def mxc(self) -> Mxc:
        """The media's address."""
        return Mxc(self.origin, self.media_id)


class DepartureStore:
    """Reads for tools that move media out."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def count(self, origin: str | None) -> int:
        """How many records there are.

        Args:
            origin: Of this server; None: of any.
        """
        row = await self._db.fetch_one(
            "count_departures",
            "SELECT COUNT(*) FROM media WHERE ? OR origin = ?",
            (origin is None, origin or ""),
        )
        return int(row[0]) if row else 0

    async def page(
        self, origin: str | None, after: Mxc | None, limit: int
    ) -> list[Departure]:
        """Some records, in the order of their ids.

        Args:
            origin: Of this server; None: of any.
            after: The last one of the page before.
        """
        place = (after.media_id, after.origin) if after else ("", "")
        rows = await self._db.fetch_all(
            "list_departures", _SELECT, (*place, origin is None, origin or "", limit)
        )
        return [Departure(*row) for row in rows]
