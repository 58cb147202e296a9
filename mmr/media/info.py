"""What is known of one media, looking inside the file within the same limits (R34)."""

from __future__ import annotations

from typing import Any

from mmr.config import DomainConfig
from mmr.errors import MatrixError
from mmr.media.source import SourceFiles
from mmr.media.thumbnails import render_options
from mmr.storage.media import MediaRecord
from mmr.storage.objects import is_stand_in
from mmr.storage.thumbnails import ThumbnailStore
from mmr.thumbnailing.model import ImageInfo
from mmr.thumbnailing.pool import ThumbnailPool
from mmr.thumbnailing.sniff import plain_type

_FAMILIES = ("image/", "audio/", "video/", "application/pdf")


class MediaInfo:
    """Describes media for MSC2380."""

    def __init__(
        self, thumbnails: ThumbnailStore, sources: SourceFiles, pool: ThumbnailPool
    ) -> None:
        self._thumbnails = thumbnails
        self._sources = sources
        self._pool = pool

    async def describe(
        self, domain: DomainConfig, record: MediaRecord
    ) -> dict[str, Any]:
        """The answer of the info endpoint. What can't be found out is left out."""
        answer: dict[str, Any] = {
            "content_uri": f"mxc://{record.origin}/{record.media_id}",
            "content_type": record.content_type,
            "size": record.size_bytes,
        }
        if not is_stand_in(record.sha256_hash):
            answer["hashes"] = {"sha256": record.sha256_hash}
        found = await self._look_inside(domain, record)
        if found is not None:
            answer |= _inside(found)
        thumbnails = await self._thumbnails.get_thumbnails_of(
            record.origin, record.media_id
        )
        if thumbnails:
            answer["thumbnails"] = [
                {
                    "width": each.key.width,
                    "height": each.key.height,
                    "ready": True,
                    "content_type": each.content_type,
                    "size": each.size_bytes,
                }
                for each in thumbnails
            ]
        return answer

    async def _look_inside(
        self, domain: DomainConfig, record: MediaRecord
    ) -> ImageInfo | None:
        options = render_options(domain.thumbnails)
        if record.size_bytes > options.max_source_bytes:
            return None
        if not plain_type(record.content_type).startswith(_FAMILIES):
            return None
        async with self._sources.local_file(record) as path:
            try:
                return await self._pool.look_inside(
                    path, record.content_type, options, key=record.sha256_hash
                )
            except MatrixError as error:
                if error.status >= 500:
                    raise
                return None


def _inside(found: ImageInfo) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    if found.width:
        answer |= {"width": found.width, "height": found.height}
    if found.duration is not None:
        answer["duration"] = found.duration
    if found.sound is not None:
        answer |= {
            "num_total_samples": found.sound.samples,
            "num_channels": found.sound.channels,
            "key_samples": found.sound.key_samples,
        }
    return answer
