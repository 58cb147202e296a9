"""Thumbnails: pick a size, find it, else render it once and keep it (design §4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from mmr.cache.records import RecordCache
from mmr.config import DomainConfig
from mmr.config.thumbnails import ThumbnailsConfig
from mmr.datastores.registry import Datastores
from mmr.errors import needs_auth, not_found, too_large, unavailable
from mmr.media.commit import ObjectCommitter, StoredAt
from mmr.media.source import SourceFiles
from mmr.metrics import count_thumbnail
from mmr.storage.database import Database
from mmr.storage.errors import CommitOutcomeUnknown
from mmr.storage.media import MediaRecord, MediaStore
from mmr.storage.objects import ObjectName
from mmr.storage.thumbnails import ThumbnailKey, ThumbnailRecord, ThumbnailStore
from mmr.storage.transaction import Transaction
from mmr.thumbnailing.model import ImageInfo, Rendered, RenderOptions
from mmr.thumbnailing.pool import ThumbnailPool
from mmr.thumbnailing.sizes import TargetSize, fits, pick_size
from mmr.types import Kind, Method, Mxc, Requester
from mmr.util.clock import Clock
from mmr.util.shield import shield
from mmr.util.single_flight import SingleFlight

# Where the operator sets no limit, the workers' memory is one.
_NO_LIMIT = 1 << 40

# A still of one of these may show more than the still that was asked for.
_MAY_MOVE = frozenset({"image/gif", "image/webp", "image/apng"})


@attrs.frozen(slots=True)
class ThumbnailQuery:
    """One request for a thumbnail, before a size is picked. Sides in pixels."""

    width: int
    height: int
    method: Method


class Thumbnails:
    """Finds thumbnails and makes those that are missing.

    Args:
        freeze: ``repo.freezeUnauthenticatedMedia``, as it is now.
    """

    def __init__(
        self,
        *,
        db: Database,
        media: MediaStore,
        store: ThumbnailStore,
        cache: RecordCache[Any, ThumbnailRecord],
        sources: SourceFiles,
        datastores: Datastores,
        committer: ObjectCommitter,
        pool: ThumbnailPool,
        clock: Clock,
        freeze: Callable[[], bool],
    ) -> None:
        self._db = db
        self._media = media
        self._store = store
        self._cache = cache
        self._sources = sources
        self._datastores = datastores
        self._committer = committer
        self._pool = pool
        self._clock = clock
        self._renders: SingleFlight[ThumbnailKey, ThumbnailRecord] = SingleFlight()
        self._freeze = freeze

    def key(
        self, domain: DomainConfig, record: MediaRecord, query: ThumbnailQuery
    ) -> ThumbnailKey:
        """The thumbnail that answers a query."""
        sizes = [(size.width, size.height) for size in domain.thumbnails.sizes]
        target = pick_size(
            sizes,
            query.width,
            query.height,
            query.method,
            dynamic=domain.thumbnails.dynamic_sizing,
        )
        return ThumbnailKey(
            record.origin,
            record.media_id,
            target.width,
            target.height,
            target.method,
            animated=False,
        )

    def warm(self, key: ThumbnailKey) -> ThumbnailRecord | None:
        """The record if it is in the cache. No wait."""
        return self._cache.get(_cache_key(key))

    async def get(
        self,
        domain: DomainConfig,
        requester: Requester,
        record: MediaRecord,
        key: ThumbnailKey,
    ) -> ThumbnailRecord:
        """The thumbnail, rendered now if nobody asked for it before.

        Raises:
            MatrixError: 400 when the media can't be thumbnailed, 404 when an anonymous
                caller would cause a render (R41), 413 when the original is too large,
                503 when too many renders wait.
        """
        found = await self._find(key)
        if found is not None:
            return found
        if self._freeze() and not requester.is_authenticated:
            raise needs_auth()
        return await self._renders.run(key, lambda: self._make(domain, record, key))

    async def _find(self, key: ThumbnailKey) -> ThumbnailRecord | None:
        cache_key = _cache_key(key)
        found = self._cache.get(cache_key)
        if found is not None:
            return found
        fill = self._cache.start_fill()
        found = await self._store.get_thumbnail(key)
        if found is not None:
            self._cache.put(cache_key, found, fill)
        return found

    async def _make(
        self, domain: DomainConfig, record: MediaRecord, key: ThumbnailKey
    ) -> ThumbnailRecord:
        target = TargetSize(key.width, key.height, key.method)
        options = render_options(domain.thumbnails)
        if record.size_bytes > options.max_source_bytes:
            raise too_large()
        async with self._sources.local_file(record) as path:
            info = await self._pool.probe(
                path, record.content_type, options, key=record.sha256_hash
            )
            if fits(info, target) and info.content_type not in _MAY_MOVE:
                return await shield(self._point_at_original(record, key, info))
            rendered = await self._pool.render(
                path,
                record.content_type,
                target,
                options,
                key=record.sha256_hash,
            )
        count_thumbnail(
            key.width, key.height, key.method.value, rendered.animated, key.origin
        )
        return await shield(self._keep(domain, record, key, rendered))

    async def _point_at_original(
        self, record: MediaRecord, key: ThumbnailKey, info: ImageInfo
    ) -> ThumbnailRecord:
        """A source that fits in the box is its own thumbnail (spec: never upscale).

        The row shares the original's object, so the next request needs no look inside
        the file; MMR 1.2 kept such rows too.
        """
        stored = StoredAt(record.object_name, record.sha256_hash, record.size_bytes)
        rows = self._rows(record, key, info.content_type)
        return await self._db.interaction("share_original", rows.share_txn, stored)

    async def _keep(
        self,
        domain: DomainConfig,
        record: MediaRecord,
        key: ThumbnailKey,
        rendered: Rendered,
    ) -> ThumbnailRecord:
        datastore = await self._datastores.choose(Kind.THUMBNAILS, domain)
        writer = await datastore.create(len(rendered.data))
        try:
            await writer.write(rendered.data)
            rows = self._rows(record, key, rendered.content_type)
            return await self._committer.commit(writer, datastore, rows)
        except CommitOutcomeUnknown:
            raise unavailable("The thumbnail could not be stored. Try again.") from None
        finally:
            await writer.discard()

    def _rows(
        self, record: MediaRecord, key: ThumbnailKey, content_type: str
    ) -> NewThumbnailRows:
        return NewThumbnailRows(
            self._media, self._store, record, key, content_type, self._clock.time_ms()
        )


class NewThumbnailRows:
    """Writes one thumbnail record, unless its original has gone or was quarantined."""

    def __init__(
        self,
        media: MediaStore,
        store: ThumbnailStore,
        original: MediaRecord,
        key: ThumbnailKey,
        content_type: str,
        now_ms: int,
    ) -> None:
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

    def _check_original_txn(self, txn: Transaction) -> None:
        # The picture of something that was just quarantined or purged must not stay
        # (R85): the renderer worked on a file that was fine when it began.
        now = self._media.get_media_txn(
            txn, self._original.origin, self._original.media_id
        )
        if now is None or now.quarantined:
            raise not_found()


def _cache_key(key: ThumbnailKey) -> tuple[Mxc, ThumbnailKey]:
    # Begins with the media, so that a change of it drops its thumbnails too.
    return Mxc(key.origin, key.media_id), key


def render_options(thumbnails: ThumbnailsConfig) -> RenderOptions:
    """The operator's settings, as the renderers take them."""
    return RenderOptions(
        max_pixels=thumbnails.max_pixels,
        max_source_bytes=thumbnails.max_source_bytes or _NO_LIMIT,
        still_frame=thumbnails.still_frame,
        allowed_types=frozenset(thumbnails.types),
    )
