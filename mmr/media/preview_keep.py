"""Keeps previews: the row, and its picture as media that goes with it."""

from __future__ import annotations

import logging
from collections.abc import Callable

import attrs

from mmr.cluster.ids import IdGenerator
from mmr.config import DomainConfig
from mmr.datastores.registry import Datastores
from mmr.errors import MatrixError
from mmr.media.commit import ObjectCommitter, StoredAt
from mmr.media.preview_images import CheckedImage
from mmr.media.rows import NewMedia
from mmr.media.scanning import Scanning
from mmr.storage.errors import CommitOutcomeUnknown
from mmr.storage.media import MediaRecord, MediaStore
from mmr.storage.objects import ObjectName
from mmr.storage.previews import PreviewImage, PreviewKey, PreviewRecord, PreviewStore
from mmr.storage.transaction import Transaction
from mmr.types import Kind, Mxc
from mmr.util.clock import Clock

logger = logging.getLogger(__name__)


class _AlreadyKept(Exception):
    """Another process was first."""


class PreviewKeeper:
    """Stores previews.

    Args:
        freeze: ``repo.freezeUnauthenticatedMedia``, as it is now.
        scanning: Asks the hooks.
    """

    def __init__(
        self,
        *,
        store: PreviewStore,
        media: MediaStore,
        datastores: Datastores,
        committer: ObjectCommitter,
        ids: IdGenerator,
        clock: Clock,
        freeze: Callable[[], bool],
        scanning: Scanning,
    ) -> None:
        self._scanning = scanning
        self._store = store
        self._media = media
        self._datastores = datastores
        self._committer = committer
        self._ids = ids
        self._clock = clock
        self._freeze = freeze

    async def keep(
        self,
        domain: DomainConfig,
        key: PreviewKey,
        bucket_ts: int,
        preview: PreviewRecord,
        image: CheckedImage | None,
    ) -> PreviewRecord:
        """Store a preview, with its picture if that can be stored.

        Returns:
            The preview that counts: another process's, when it was first.

        Raises:
            MatrixError: 503 when the database doesn't answer.
        """
        if image is not None:
            try:
                return await self._keep_with_image(
                    domain, key, bucket_ts, preview, image
                )
            except (_AlreadyKept, CommitOutcomeUnknown):
                # Whichever it was, the row that is there now is complete.
                pass
            except MatrixError as error:
                # Quarantined content (R86), or a datastore in trouble.
                logger.info("A preview's picture can't be kept: %s", error)
        if await self._store.insert_preview(key, bucket_ts, preview):
            return preview
        kept = await self._store.find_preview(key, bucket_ts, bucket_ts)
        return kept or preview

    async def _keep_with_image(
        self,
        domain: DomainConfig,
        key: PreviewKey,
        bucket_ts: int,
        preview: PreviewRecord,
        image: CheckedImage,
    ) -> PreviewRecord:
        media = NewMedia(
            origin=domain.name,
            media_id=self._ids.unique_id(),
            upload_name=image.name,
            content_type=image.content_type,
            # Nobody's: neither listed nor counted as anybody's upload (D56).
            user_id="",
            requires_auth=self._freeze(),
            is_prescribed=True,
        )
        shown = PreviewImage(
            Mxc(media.origin, media.media_id),
            image.content_type,
            len(image.data),
            image.width,
            image.height,
        )
        preview = attrs.evolve(preview, image=shown)
        rows = _PreviewRows(
            self._media,
            media,
            self._clock.time_ms(),
            self._store,
            key,
            bucket_ts,
            preview,
        )
        datastore = await self._datastores.choose(Kind.LOCAL_MEDIA, domain)
        writer = await datastore.create(len(image.data), media.content_type)
        try:
            await writer.write(image.data)
            await self._scanning.check(writer, media, is_preview=True)
            await self._committer.commit(writer, datastore, rows)
        finally:
            await writer.discard()
        return preview


@attrs.frozen
class _PreviewRows:
    """Writes a preview and the record of its picture in one transaction."""

    media: MediaStore
    new: NewMedia
    now_ms: int
    store: PreviewStore
    key: PreviewKey
    bucket_ts: int
    preview: PreviewRecord

    def claim_txn(self, txn: Transaction, sha256_hash: str) -> MediaRecord | None:
        """Nothing answers before the picture is stored."""
        return None

    def insert_txn(
        self, txn: Transaction, stored: StoredAt, missing: ObjectName | None = None
    ) -> MediaRecord:
        """Write both."""
        kept = self.store.insert_preview_txn(
            txn, self.key, self.bucket_ts, self.preview
        )
        if not kept:
            raise _AlreadyKept
        record = self.new.record(self.now_ms, stored.sha256_hash, stored)
        return self.media.insert_media_txn(txn, record)
