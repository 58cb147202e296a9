"""Media as admins list them, page by page."""

from __future__ import annotations

import enum

import attrs

from mmr.storage.database import Database

_COLUMNS = """
    m.origin, m.media_id, m.user_id, m.upload_name, m.content_type, m.size_bytes,
    m.sha256_hash, m.location, m.creation_ts, l.last_access_ts, m.quarantined,
    COALESCE(a.purpose = 'pinned', FALSE),
    COALESCE(r.condition_value = 'true', FALSE)
"""
_ACCESSED = "LEFT JOIN last_access AS l ON l.sha256_hash = m.sha256_hash"
_ATTRIBUTES = """
    LEFT JOIN media_attributes AS a
        ON a.media_id = m.media_id AND a.origin = m.origin
"""
_JOINED = f"""
    {_ACCESSED} {_ATTRIBUTES}
    LEFT JOIN restricted_media AS r
        ON r.origin = m.origin AND r.media_id = m.media_id
        AND r.condition_type = 'io.t2bot.requires_authentication'
"""
_TABLES = f"media AS m {_JOINED}"


class MediaOrder(enum.Enum):
    """What a list of media is sorted by; the value is SQL."""

    MEDIA_ID = "m.media_id"
    UPLOAD_NAME = "m.upload_name"
    CREATED = "m.creation_ts"
    LAST_ACCESS = "COALESCE(l.last_access_ts, m.creation_ts)"
    SIZE = "m.size_bytes"
    TYPE = "m.content_type"
    QUARANTINED = "m.quarantined"
    PINNED = "COALESCE(a.purpose = 'pinned', FALSE)"


# What an order needs beside the media themselves.
_ORDER_JOINS = {MediaOrder.LAST_ACCESS: _ACCESSED, MediaOrder.PINNED: _ATTRIBUTES}


@attrs.frozen
class Page:
    """A part of a sorted list."""

    offset: int
    limit: int
    descending: bool = False

    @property
    def direction(self) -> str:
        """In SQL."""
        return "DESC" if self.descending else "ASC"


@attrs.frozen
class ListedMedia:
    """One media with all that an admin may want to know.

    Attributes:
        user_id: Empty for remote media.
        last_access_ts: None when its content was never asked for, ms.
        pinned: Protected from quarantine and purge.
    """

    origin: str
    media_id: str
    user_id: str
    upload_name: str
    content_type: str
    size_bytes: int
    sha256_hash: str
    location: str
    creation_ts: int
    last_access_ts: int | None
    quarantined: bool = attrs.field(converter=bool)
    pinned: bool = attrs.field(converter=bool)
    requires_auth: bool = attrs.field(converter=bool)


class ListingStore:
    """Reads for admins. Every list has a bound."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def get_one(self, origin: str, media_id: str) -> ListedMedia | None:
        """One media, or None."""
        row = await self._db.fetch_one(
            "list_one_media",
            f"SELECT {_COLUMNS} FROM {_TABLES}"  # noqa: S608
            " WHERE m.media_id = ? AND m.origin = ?",
            (media_id, origin),
        )
        return ListedMedia(*row) if row else None

    async def get_of_user(
        self, user_id: str, order: MediaOrder, page: Page
    ) -> list[ListedMedia]:
        """A user's uploads; equals are sorted by media id."""
        by = f"ORDER BY {order.value} {page.direction}, m.media_id, m.origin"
        # What is skipped is only counted: the joins are for the page alone.
        rows = await self._db.fetch_all(
            "list_user_media",
            "WITH page AS (SELECT m.media_id, m.origin"  # noqa: S608
            f" FROM media AS m {_ORDER_JOINS.get(order, '')}"
            f" WHERE m.user_id = ? {by} LIMIT ? OFFSET ?)"
            f" SELECT {_COLUMNS} FROM page JOIN media AS m"
            " ON m.media_id = page.media_id AND m.origin = page.origin"
            f" {_JOINED} {by}",
            (user_id, page.limit, page.offset),
        )
        return [ListedMedia(*row) for row in rows]

    async def count_of_user(self, user_id: str) -> int:
        """How many uploads a user has."""
        row = await self._db.fetch_one(
            "count_user_media",
            "SELECT COUNT(*) FROM media WHERE user_id = ?",
            (user_id,),
        )
        return int(row[0]) if row else 0

    async def get_old(
        self,
        origin: str,
        before_ts: int,
        larger_than: int,
        *,
        after: str = "",
        limit: int = 1000,
    ) -> list[str]:
        """Ids of media that nobody asked for lately, in their order.

        Quarantined and pinned media are left out.

        Args:
            origin: Of this server.
            before_ts: Last asked for before, or made before if never asked for, ms.
            larger_than: In bytes.
            after: The last id of the batch before.
            limit: The size of a batch.
        """
        rows = await self._db.fetch_all(
            "list_old_media",
            f"SELECT m.media_id FROM {_TABLES}"  # noqa: S608
            " WHERE m.origin = ? AND m.media_id > ? AND m.size_bytes > ?"
            " AND NOT m.quarantined AND COALESCE(a.purpose, '') <> 'pinned'"
            " AND COALESCE(l.last_access_ts, m.creation_ts) < ?"
            " ORDER BY m.media_id LIMIT ?",
            (origin, after, larger_than, before_ts, limit),
        )
        return [row[0] for row in rows]
