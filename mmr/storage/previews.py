"""Cached previews of URLs: table ``mmr_url_previews``.

MMR's own table ``url_previews`` stays as it is, so that MMR can still open the
database; it is only cleared of old rows. Nothing is lost with it: MMR never finds what
it has cached there (D46).
"""

from __future__ import annotations

import hashlib

import attrs

from mmr.storage.attributes import Purpose
from mmr.storage.database import Database
from mmr.storage.media import MediaStore
from mmr.storage.thumbnails import ThumbnailStore
from mmr.storage.transaction import Transaction
from mmr.types import Mxc

HOUR_MS = 3600 * 1000

_COLUMNS = (
    "cache_key, bucket_ts, origin, url, language, site_url, site_name, resource_type,"
    " title, description, image_media_id, image_width, image_height"
)


@attrs.frozen
class PreviewKey:
    """What is previewed, for whom.

    Attributes:
        origin: The homeserver that was asked. Each has its own settings, and its own
            networks that previews may reach, so they share no previews.
        url: Normalised.
        language: The ``Accept-Language`` that the site was asked with.
    """

    origin: str
    url: str
    language: str

    @property
    def digest(self) -> str:
        """The key's form in the index."""
        # None of the three can hold a line end.
        text = "\n".join((self.origin, self.url, self.language))
        return hashlib.sha256(text.encode()).hexdigest()


@attrs.frozen
class PreviewImage:
    """The picture of a preview: media of its own.

    Attributes:
        width: Pixels.
        height: The same.
    """

    mxc: Mxc
    content_type: str
    size_bytes: int
    width: int
    height: int


@attrs.frozen
class PreviewRecord:
    """A preview as clients see it; texts may be empty."""

    site_url: str
    site_name: str
    resource_type: str
    title: str
    description: str
    image: PreviewImage | None = None


@attrs.frozen
class OldPreview:
    """A preview that is to go, and its picture."""

    cache_key: str
    bucket_ts: int
    image: Mxc


def bucket_of(time_ms: int) -> int:
    """The hour of a time, in ms since the epoch."""
    return time_ms // HOUR_MS * HOUR_MS


class PreviewStore:
    """Reads, writes and expires previews."""

    def __init__(
        self, db: Database, media: MediaStore, thumbnails: ThumbnailStore
    ) -> None:
        self._db = db
        self._media = media
        self._thumbnails = thumbnails

    async def find_preview(
        self, key: PreviewKey, wanted: int, latest: int
    ) -> PreviewRecord | None:
        """The preview of one of two hours.

        A picture that was purged or quarantined meanwhile is left out.

        Args:
            key: What is previewed.
            wanted: The hour that is preferred.
            latest: The hour that will do as well; not before it.
        """
        row = await self._db.fetch_one(
            "find_preview",
            "SELECT p.site_url, p.site_name, p.resource_type, p.title, p.description,"
            " p.image_width, p.image_height, m.origin, m.media_id, m.content_type,"
            " m.size_bytes FROM mmr_url_previews AS p LEFT JOIN media AS m"
            " ON m.media_id = p.image_media_id AND m.origin = p.origin"
            " AND NOT m.quarantined WHERE p.cache_key = ? AND p.bucket_ts IN (?, ?)"
            " ORDER BY p.bucket_ts LIMIT 1",
            (key.digest, wanted, latest),
        )
        if row is None:
            return None
        image = None
        width, height, origin, media_id, content_type, size_bytes = row[5:]
        if media_id is not None:
            mxc = Mxc(origin, media_id)
            image = PreviewImage(mxc, content_type, size_bytes, width, height)
        return attrs.evolve(PreviewRecord(*row[:5]), image=image)

    async def insert_preview(
        self, key: PreviewKey, bucket_ts: int, preview: PreviewRecord
    ) -> bool:
        """Keep a preview without a picture; False when there is one for this hour."""
        return await self._db.interaction(
            "insert_preview", self.insert_preview_txn, key, bucket_ts, preview
        )

    def insert_preview_txn(
        self, txn: Transaction, key: PreviewKey, bucket_ts: int, preview: PreviewRecord
    ) -> bool:
        """Keep a preview; False when there is one for this hour.

        Its picture's record is the caller's to insert, in the same transaction.
        """
        image = preview.image
        txn.execute(
            f"INSERT INTO mmr_url_previews ({_COLUMNS})"  # noqa: S608
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (cache_key, bucket_ts) DO NOTHING",
            (
                key.digest,
                bucket_ts,
                key.origin,
                key.url,
                key.language,
                preview.site_url,
                preview.site_name,
                preview.resource_type,
                preview.title,
                preview.description,
                image.mxc.media_id if image else "",
                image.width if image else 0,
                image.height if image else 0,
            ),
        )
        return txn.rowcount > 0

    async def delete_old_without_image(self, until: int, limit: int) -> int:
        """Delete some of the previews that have no picture.

        Args:
            until: The latest hour that goes, ms since the epoch.
            limit: As many at most.

        Returns:
            How many went; 0 at the end.
        """
        return await self._delete_old(
            "DELETE FROM mmr_url_previews WHERE (cache_key, bucket_ts) IN"
            " (SELECT cache_key, bucket_ts FROM mmr_url_previews"
            " WHERE bucket_ts <= ? AND image_media_id = '' LIMIT ?)",
            until,
            limit,
        )

    async def delete_old_of_mmr(self, until: int, limit: int) -> int:
        """Delete some of the rows that an MMR left; as `delete_old_without_image`."""
        return await self._delete_old(
            "DELETE FROM url_previews WHERE (url, error_code, bucket_ts) IN"
            " (SELECT url, error_code, bucket_ts FROM url_previews"
            " WHERE bucket_ts <= ? LIMIT ?)",
            until,
            limit,
        )

    async def _delete_old(self, sql: str, until: int, limit: int) -> int:
        def delete_txn(txn: Transaction) -> int:
            txn.execute(sql, (until, limit))
            return txn.rowcount

        return await self._db.interaction("delete_old_previews", delete_txn)

    async def get_old_with_image(self, until: int, limit: int) -> list[OldPreview]:
        """Old previews that have a picture, the oldest first."""
        rows = await self._db.fetch_all(
            "get_old_previews",
            "SELECT cache_key, bucket_ts, origin, image_media_id FROM mmr_url_previews"
            " WHERE bucket_ts <= ? AND image_media_id <> ''"
            " ORDER BY bucket_ts LIMIT ?",
            (until, limit),
        )
        return [OldPreview(row[0], row[1], Mxc(row[2], row[3])) for row in rows]

    async def delete_with_image(self, preview: OldPreview) -> None:
        """Delete a preview together with its picture, in one transaction.

        A picture that is pinned stays, and one that is quarantined, because its flag
        is what refuses other copies of it.
        """
        await self._db.interaction("delete_preview", self._delete_txn, preview)

    def _delete_txn(self, txn: Transaction, preview: OldPreview) -> None:
        txn.execute(
            "DELETE FROM mmr_url_previews WHERE cache_key = ? AND bucket_ts = ?",
            (preview.cache_key, preview.bucket_ts),
        )
        key = (preview.image.origin, preview.image.media_id)
        record = self._media.get_media_txn(txn, *key)
        if record is None or record.quarantined or _is_pinned_txn(txn, key):
            return
        thumbnails = self._thumbnails.get_thumbnails_of_txn(txn, *key)
        # In one order, so that two runs don't wait for each other's locks.
        hashes = {record.sha256_hash, *(each.sha256_hash for each in thumbnails)}
        for sha256_hash in sorted(hashes):
            self._media.lock_hash_txn(txn, sha256_hash)
        for thumbnail in thumbnails:
            self._thumbnails.delete_thumbnail_txn(txn, thumbnail)
        self._media.delete_media_txn(txn, *key)
        # The id is never given again.
        txn.execute(
            "DELETE FROM restricted_media WHERE origin = ? AND media_id = ?", key
        )

    async def count_around(self, until: int, limit: int) -> tuple[int, int]:
        """How many are of that hour or before, and since; each ``limit`` at most."""
        row = await self._db.fetch_one(
            "count_previews_around",
            "SELECT (SELECT COUNT(*) FROM (SELECT 1 FROM mmr_url_previews"
            " WHERE bucket_ts <= ? LIMIT ?) AS older),"
            " (SELECT COUNT(*) FROM (SELECT 1 FROM mmr_url_previews"
            " WHERE bucket_ts > ? LIMIT ?) AS newer)",
            (until, limit, until, limit),
        )
        assert row is not None
        return row[0], row[1]


def _is_pinned_txn(txn: Transaction, key: tuple[str, str]) -> bool:
    return bool(
        txn.fetch_value(
            "SELECT EXISTS (SELECT 1 FROM media_attributes"
            " WHERE origin = ? AND media_id = ? AND purpose = ?)",
            (*key, Purpose.PINNED.value),
        )
    )
