"""What a thumbnail writes to the database beside its object."""

from __future__ import annotations

from mmr.errors import not_found
from mmr.media.commit import StoredAt
from mmr.storage.media import MediaRecord, MediaStore
from mmr.storage.objects import ObjectName
from mmr.storage.thumbnails import ThumbnailKey, ThumbnailRecord, ThumbnailStore
from mmr.storage.transaction import Transaction


class NewThumbnailRows:
    """Writes one thumbnail record, unless its original has gone or was quarantined.

    Args:
        lost: An object that is gone or damaged: a record that names it is replaced.
    """

    def __init__(
        self,
        media: MediaStore,
        store: ThumbnailStore,
        original: MediaRecord,
        key: ThumbnailKey,
        content_type: str,
        now_ms: int,
        lost: ObjectName | None = None,
    ) -> None:
        self._lost = lost
        self._media = media
        self._store = store
        self._original = original
        self._key = key
        self._content_type = content_type
        self._now_ms = now_ms

    def claim_txn(self, txn: Transaction, sha256_hash: str) -> ThumbnailRecord | None:
        """Nothing answers before the render is stored."""
        return None

    def insert_txn(
        self, txn: Transaction, stored: StoredAt, missing: ObjectName | None = None
    ) -> ThumbnailRecord:
        """Write the record; another process's is as good (D70)."""
        self._check_original_txn(txn)
        known = self._store.get_thumbnail_txn(txn, self._key)
        if known is not None and known.object_name in (self._lost, missing):
            self._store.delete_thumbnail_txn(txn, known)
        return self._store.insert_thumbnail_txn(
            txn,
            ThumbnailRecord(
                key=self._key,
                content_type=self._content_type,
                size_bytes=stored.size_bytes,
                location=stored.name.location,
                creation_ts=self._now_ms,
                sha256_hash=stored.sha256_hash,
                datastore_id=stored.name.datastore_id,
            ),
        )

    def share_txn(self, txn: Transaction, stored: StoredAt) -> ThumbnailRecord:
        """Write a record that points at the original's own object."""
        self._media.lock_hash_txn(txn, stored.sha256_hash)
        return self.insert_txn(txn, stored)

    def repeat_txn(
        self, txn: Transaction, known: ThumbnailRecord, stored: StoredAt
    ) -> ThumbnailRecord:
        """Write a record that points at another thumbnail's object."""
        if not known.sha256_hash:
            # A very old row: nothing guards its object, so nothing else may use it.
            return known
        self._media.lock_hash_txn(txn, known.sha256_hash)
        if self._store.get_thumbnail_txn(txn, known.key) != known:
            return known
        return self.insert_txn(txn, stored)

    def _check_original_txn(self, txn: Transaction) -> None:
        # The picture of something that was just quarantined or purged must not stay
        # (R85): the renderer worked on a file that was fine when it began.
        now = self._media.get_media_txn(
            txn, self._original.origin, self._original.media_id
        )
        if now is None or now.quarantined:
            raise not_found()
