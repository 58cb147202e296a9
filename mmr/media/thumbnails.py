"""Thumbnails: pick a size, find it, else render it once and keep it (design §4)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import attrs

from mmr.cache.records import RecordCache
from mmr.cluster.leases import Leases
from mmr.config import DomainConfig
from mmr.config.thumbnails import ThumbnailsConfig
from mmr.datastores.registry import Datastores
from mmr.errors import needs_auth, too_large, unavailable
from mmr.media.commit import ObjectCommitter, StoredAt
from mmr.media.source import SourceFiles
from mmr.media.thumbnail_rows import NewThumbnailRows
from mmr.media.variants import (
    ThumbnailQuery,
    made_key,
    pick_key,
    shows_itself,
    surely_drawn,
    target_of,
)
from mmr.metrics import count_thumbnail
from mmr.storage.database import Database
from mmr.storage.errors import CommitOutcomeUnknown
from mmr.storage.media import MediaRecord, MediaStore
from mmr.storage.objects import ObjectName
from mmr.storage.thumbnails import ThumbnailKey, ThumbnailRecord, ThumbnailStore
from mmr.thumbnailing.model import (
    ImageInfo,
    Rendered,
    RenderOptions,
)
from mmr.thumbnailing.pool import ThumbnailPool
from mmr.thumbnailing.sizes import fits
from mmr.types import Kind, Mxc, Requester
from mmr.util.clock import Clock
from mmr.util.shield import shield
from mmr.util.single_flight import SingleFlight

logger = logging.getLogger(__name__)

# Where the operator sets no limit, the workers' memory is one.
_NO_LIMIT = 1 << 40

MAX_VARIANTS = 32
"""Thumbnails kept of one media, where clients choose the sizes (R39)."""


@attrs.frozen
class _Order:
    """A thumbnail that is to be made.

    Attributes:
        lost: What its row names although it is gone or damaged; None: there is no row.
    """

    domain: DomainConfig
    record: MediaRecord
    key: ThumbnailKey
    lost: ObjectName | None = None

    def for_key(self, key: ThumbnailKey) -> _Order:
        """Another thumbnail of the same media."""
        return attrs.evolve(self, key=key)


class Thumbnails:
    """Finds thumbnails and makes those that are missing.

    Args:
        freeze: ``repo.freezeUnauthenticatedMedia``, as it is now.
        leases: Has one process render, where there are several.
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
        leases: Leases,
    ) -> None:
        self._leases = leases
        self._db = db
        self._media = media
        self._store = store
        self._cache = cache
        self._sources = sources
        self._datastores = datastores
        self._committer = committer
        self._pool = pool
        self._clock = clock
        self._renders: SingleFlight[ThumbnailKey, ThumbnailRecord]
        self._renders = SingleFlight(is_dropped=True)
        self._freeze = freeze

    def key(
        self, domain: DomainConfig, record: MediaRecord, query: ThumbnailQuery
    ) -> ThumbnailKey:
        """The thumbnail that answers a query."""
        return pick_key(domain.thumbnails, record, query)

    def warm(self, key: ThumbnailKey) -> ThumbnailRecord | None:
        """The record if it is in the cache. No wait."""
        return self._cache.get(_cache_key(key))

    def forget(self, mxc: Mxc) -> None:
        """Drop what the cache has of a media whose rows were changed."""
        self._cache.invalidate_media(mxc.origin, mxc.media_id)

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
        return await self._render(requester, _Order(domain, record, key))

    async def replace(
        self,
        domain: DomainConfig,
        requester: Requester,
        record: MediaRecord,
        lost: ThumbnailRecord,
    ) -> ThumbnailRecord:
        """Render a thumbnail again whose object is gone or damaged.

        Its row names the old object until the new one is there (design §6).

        Raises:
            MatrixError: as `get`.
        """
        self._cache.invalidate(_cache_key(lost.key))
        found = await self._find(lost.key, lost.object_name)
        if found is not None:
            return found
        logger.info("%s is drawn again", lost.key)
        order = _Order(domain, record, lost.key, lost.object_name)
        return await self._render(requester, order)

    async def _render(self, requester: Requester, order: _Order) -> ThumbnailRecord:
        if self._freeze() and not requester.is_authenticated:
            raise needs_auth()
        return await self._render_once(order)

    async def _render_once(self, order: _Order) -> ThumbnailRecord:
        """Make it, once for all who ask, in this process and in the others."""

        async def once() -> ThumbnailRecord:
            return await self._leases.once(
                f"render {order.key}",
                lambda: self._find(order.key, order.lost),
                lambda: self._make(order),
            )

        return await self._renders.run(order.key, once)

    async def _find(
        self, key: ThumbnailKey, lost: ObjectName | None = None
    ) -> ThumbnailRecord | None:
        """The record, unless it names what is lost."""
        cache_key = _cache_key(key)
        found = self._cache.get(cache_key)
        if found is not None and found.object_name != lost:
            return found
        fill = self._cache.start_fill()
        found = await self._store.get_thumbnail(key)
        if found is None or found.object_name == lost:
            return None
        self._cache.put(cache_key, found, fill)
        return found

    async def _make(self, order: _Order) -> ThumbnailRecord:
        record, key = order.record, order.key
        target = target_of(key)
        options = render_options(order.domain.thumbnails)
        if record.size_bytes > options.max_source_bytes:
            raise too_large()
        async with self._sources.local_file(record) as path:
            source = (path, record.content_type)
            content = record.sha256_hash
            if surely_drawn(record, key):
                info, rendered = await self._pool.probe_and_render(
                    *source, target, options, key=content
                )
            else:
                info = await self._pool.probe(*source, options, key=content)
                rendered = None
            if fits(info, target) and shows_itself(info, key):
                return await shield(self._point_at_original(order, info))
            made = made_key(key, info)
            if made == key and rendered is None:
                rendered = await self._pool.render(
                    *source, target, options, key=content
                )
        if rendered is None:
            known = await self._find(made, order.lost)
            if known is None:
                known = await self._render_once(order.for_key(made))
            return await shield(self._repeat(order, known))
        count_thumbnail(
            key.width, key.height, key.method.value, rendered.animated, key.origin
        )
        if key.animated and not rendered.animated:
            return await shield(self._keep_still(order, rendered))
        return await shield(self._keep(order, rendered))

    async def _keep_still(self, order: _Order, rendered: Rendered) -> ThumbnailRecord:
        """An animation that was over its budget became a still picture (R31)."""
        still = order.for_key(attrs.evolve(order.key, animated=False))
        known = await self._find(still.key, still.lost)
        if known is None:
            known = await self._keep(still, rendered)
        return await self._repeat(order, known)

    async def _repeat(self, order: _Order, known: ThumbnailRecord) -> ThumbnailRecord:
        """Answer with another thumbnail, now and next time (mmr-http-api §6.3)."""
        stored = StoredAt(known.object_name, known.sha256_hash, known.size_bytes)
        rows = self._rows(order, known.content_type, known.creation_ts)
        return await self._db.interaction(
            "repeat_thumbnail", rows.repeat_txn, known, stored
        )

    async def _point_at_original(
        self, order: _Order, info: ImageInfo
    ) -> ThumbnailRecord:
        """A source that fits in the box is its own thumbnail (spec: never upscale).

        The row shares the original's object, so the next request needs no look inside
        the file; MMR 1.2 kept such rows too.
        """
        record = order.record
        stored = StoredAt(record.object_name, record.sha256_hash, record.size_bytes)
        rows = self._rows(order, info.content_type, self._clock.time_ms())
        return await self._db.interaction("share_original", rows.share_txn, stored)

    async def _keep(self, order: _Order, rendered: Rendered) -> ThumbnailRecord:
        datastore = await self._datastores.choose(Kind.THUMBNAILS, order.domain)
        writer = await datastore.create(len(rendered.data), rendered.content_type)
        try:
            await writer.write(rendered.data)
            rows = self._rows(order, rendered.content_type, self._clock.time_ms())
            kept = await self._committer.commit(writer, datastore, rows)
        except CommitOutcomeUnknown:
            raise unavailable("The thumbnail could not be stored. Try again.") from None
        finally:
            await writer.discard()
        await self._drop_excess(order.domain, kept)
        return kept

    async def _drop_excess(self, domain: DomainConfig, newest: ThumbnailRecord) -> None:
        """Keep a bounded number of sizes that only some client asked for (R39)."""
        listed = {(size.width, size.height) for size in domain.thumbnails.sizes}
        if (newest.key.width, newest.key.height) in listed:
            return
        rows = await self._store.get_thumbnails_of(
            newest.key.origin, newest.key.media_id
        )
        odd = [
            row
            for row in sorted(rows, key=lambda row: row.creation_ts)
            if (row.key.width, row.key.height) not in listed and row.key != newest.key
        ]
        for row in odd[: max(0, len(rows) - MAX_VARIANTS)]:
            # One at a time: each takes the lock of its hash.
            await self._db.interaction(
                "drop_thumbnail", self._store.delete_thumbnail_txn, row
            )
            self._cache.invalidate(_cache_key(row.key))

    def _rows(
        self, order: _Order, content_type: str, creation_ts: int
    ) -> NewThumbnailRows:
        return NewThumbnailRows(
            self._media,
            self._store,
            order.record,
            order.key,
            content_type,
            creation_ts,
            order.lost,
        )


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
