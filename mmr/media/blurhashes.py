"""Blurhashes at upload (MSC2448, mmr-http-api §15)."""

from __future__ import annotations

import logging

from mmr.config import DomainConfig
from mmr.errors import MatrixError
from mmr.media.records import MediaRecords
from mmr.media.source import SourceFiles
from mmr.media.thumbnails import render_options
from mmr.storage.blurhashes import BlurhashStore
from mmr.storage.media import MediaRecord
from mmr.thumbnailing.model import BlurhashSize
from mmr.thumbnailing.pool import ThumbnailPool
from mmr.thumbnailing.sniff import plain_type
from mmr.types import Mxc

logger = logging.getLogger(__name__)


class Blurhashes:
    """Finds the blurhash of a picture, or makes it."""

    def __init__(
        self,
        records: MediaRecords,
        store: BlurhashStore,
        sources: SourceFiles,
        pool: ThumbnailPool,
    ) -> None:
        self._records = records
        self._store = store
        self._sources = sources
        self._pool = pool

    async def get(self, domain: DomainConfig, mxc: Mxc) -> str | None:
        """The blurhash of a stored picture; None when there can't be one.

        The upload has succeeded: nothing that happens here may make it fail.
        """
        if not domain.feature_support.msc2448.enabled:
            return None
        try:
            record = await self._records.get(mxc)
            if record is None:
                return None
            if not plain_type(record.content_type).startswith("image/"):
                return None
            known = await self._store.get_blurhash(record.sha256_hash)
            return known or await self._make(domain, record)
        except MatrixError as error:
            logger.info("No blurhash for %s: %s", mxc, error)
            return None

    async def _make(self, domain: DomainConfig, record: MediaRecord) -> str | None:
        config = domain.feature_support.msc2448
        size = BlurhashSize(
            config.thumb_width,
            config.thumb_height,
            config.x_components,
            config.y_components,
        )
        options = render_options(domain.thumbnails)
        if record.size_bytes > options.max_source_bytes:
            return None
        async with self._sources.local_file(record) as path:
            info = await self._pool.look_inside(
                path,
                record.content_type,
                options,
                key=record.sha256_hash,
                blurhash=size,
            )
        if info.blurhash is not None:
            await self._store.put_blurhash(record.sha256_hash, info.blurhash)
        return info.blurhash
