"""Who stores how much: the numbers of the admin API (mmr-http-api §11.6)."""

from __future__ import annotations

import enum
from collections.abc import Sequence

import attrs

from mmr.storage import pairs
from mmr.storage.database import Database
from mmr.types import Mxc


@attrs.frozen
class Totals:
    """Counts and bytes, plainly summed: shared objects count for each record."""

    count: int
    size_bytes: int


@attrs.frozen
class UserTotals:
    """What one user uploaded."""

    user_id: str
    count: int
    size_bytes: int


@attrs.frozen
class Upload:
    """One media of a server, as admins see it."""

    origin: str
    media_id: str
    user_id: str
    sha256_hash: str
    size_bytes: int
    creation_ts: int
    quarantined: bool
    datastore_id: str
    location: str
    upload_name: str
    content_type: str


class UserOrder(enum.Enum):
    """The orders of `UsageStore.get_users_page`."""

    USER_ID = "user_id"
    MEDIA_COUNT = "media_count"
    MEDIA_LENGTH = "media_length"


@attrs.frozen(kw_only=True)
class UserQuery:
    """Whose uploads to add up, and how to list them.

    Attributes:
        origin: Their server.
        from_ts: Only media created since then, ms.
        until_ts: Only media created until then, ms.
        search_term: Part of the localpart, in any case.
        order: Ties are broken by user id.
    """

    origin: str
    from_ts: int | None = None
    until_ts: int | None = None
    search_term: str = ""
    order: UserOrder = UserOrder.USER_ID
    is_backwards: bool = False


_ORDERS = {
    UserOrder.USER_ID: "m.user_id",
    UserOrder.MEDIA_COUNT: "COUNT(*)",
    UserOrder.MEDIA_LENGTH: "SUM(m.size_bytes)",
}


class UsageStore:
    """Adds up media and thumbnails."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def get_server_totals(self, origin: str) -> tuple[Totals, Totals]:
        """Media and thumbnails of one server."""
        return (
            await self._totals("media", origin),
            await self._totals("thumbnails", origin),
        )

    async def _totals(self, table: str, origin: str) -> Totals:
        row = await self._db.fetch_one(
            "get_server_usage",
            "SELECT COUNT(*), COALESCE(SUM(size_bytes), 0)"  # noqa: S608
            f" FROM {table} WHERE origin = ?",
            (origin,),
        )
        assert row is not None
        return Totals(int(row[0]), int(row[1]))

    async def get_user_totals(
        self, origin: str, after: str, limit: int
    ) -> list[UserTotals]:
        """The next users of a server after this one, in order."""
        rows = await self._db.fetch_all(
            "get_user_totals",
            "SELECT user_id, COUNT(*), COALESCE(SUM(size_bytes), 0) FROM media"
            " WHERE origin = ? AND user_id > ? GROUP BY user_id"
            " ORDER BY user_id LIMIT ?",
            (origin, after, limit),
        )
        return [UserTotals(row[0], int(row[1]), int(row[2])) for row in rows]

    async def get_totals_of(self, origin: str, user_id: str) -> UserTotals | None:
        """One user of a server; None when there is nothing of theirs."""
        rows = await self._db.fetch_all(
            "get_totals_of_user",
            "SELECT COUNT(*), COALESCE(SUM(size_bytes), 0) FROM media"
            " WHERE origin = ? AND user_id = ?",
            (origin, user_id),
        )
        count, size_bytes = rows[0]
        return UserTotals(user_id, int(count), int(size_bytes)) if count else None

    async def get_uploads_of(
        self, origin: str, user_id: str, after: tuple[int, str], limit: int
    ) -> list[tuple[int, str]]:
        """The next uploads of a user, oldest first: creation time (ms) and media id."""
        rows = await self._db.fetch_all(
            "get_uploads_of_user",
            "SELECT creation_ts, media_id FROM media"
            " WHERE user_id = ? AND origin || '' = ?"
            " AND (creation_ts, media_id) > (?, ?)"
            " ORDER BY creation_ts, media_id LIMIT ?",
            (user_id, origin, *after, limit),
        )
        return [(row[0], row[1]) for row in rows]

    async def get_uploads(
        self, origin: str, after: tuple[int, str], limit: int
    ) -> list[Upload]:
        """The next media of a server, oldest first.

        Args:
            after: Creation time (ms) and media id of the last one of the page before.
        """
        rows = await self._db.fetch_all(
            "get_uploads",
            f"{_UPLOADS} WHERE origin = ? AND (creation_ts, media_id) > (?, ?)"
            " ORDER BY creation_ts, media_id LIMIT ?",
            (origin, *after, limit),
        )
        return [_upload(row) for row in rows]

    async def get_named_uploads(self, media: Sequence[Mxc]) -> list[Upload]:
        """Some media by their addresses; up to a few hundred."""
        if not media:
            return []
        where, values = pairs.of_media(media)
        rows = await self._db.fetch_all(
            "get_named_uploads", f"{_UPLOADS} WHERE {where}", values
        )
        return [_upload(row) for row in rows]

    async def get_users_page(
        self, query: UserQuery, start: int, limit: int
    ) -> tuple[list[UserTotals], int]:
        """Some of the users who match, and how many there are in all."""
        where, params = _users_where(query)
        direction = "DESC" if query.is_backwards else "ASC"
        rows = await self._db.fetch_all(
            "get_users_usage",
            "SELECT m.user_id, COUNT(*), SUM(m.size_bytes) FROM media AS m"  # noqa: S608
            f" WHERE {where} GROUP BY m.user_id"
            f" ORDER BY {_ORDERS[query.order]} {direction}, m.user_id {direction}"
            " LIMIT ? OFFSET ?",
            (*params, limit, start),
        )
        total = await self._db.fetch_one(
            "count_users_usage",
            "SELECT COUNT(*) FROM (SELECT DISTINCT m.user_id FROM media AS m"  # noqa: S608
            f" WHERE {where}) AS users",
            params,
        )
        assert total is not None
        users = [UserTotals(row[0], int(row[1]), int(row[2])) for row in rows]
        return users, int(total[0])


_UPLOADS = """
    SELECT origin, media_id, user_id, sha256_hash, size_bytes, creation_ts,
        quarantined, datastore_id, location, upload_name, content_type
    FROM media
"""


def _upload(row: Sequence[object]) -> Upload:
    return Upload(*row)  # type: ignore[arg-type]


def _users_where(query: UserQuery) -> tuple[str, list[object]]:
    # Without an uploader: shadow rows and pictures of previews.
    parts = ["m.origin = ?", "m.user_id > ''"]
    params: list[object] = [query.origin]
    if query.from_ts is not None:
        parts.append("m.creation_ts >= ?")
        params.append(query.from_ts)
    if query.until_ts is not None:
        parts.append("m.creation_ts <= ?")
        params.append(query.until_ts)
    if query.search_term:
        parts.append("LOWER(m.user_id) LIKE ? ESCAPE '\\'")
        params.append(f"@%{_escape_like(query.search_term.lower())}%:%")
    return " AND ".join(parts), params


def _escape_like(text: str) -> str:
    """Let ``LIKE`` take the text as it is (R76)."""
    for char in "\\%_":
        text = text.replace(char, "\\" + char)
    return text
