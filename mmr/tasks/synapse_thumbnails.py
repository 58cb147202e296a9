"""The thumbnails that Synapse wants of each picture (synapse-internals.md §2.10)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import attrs

from mmr.errors import MatrixError
from mmr.interop import synapse_store
from mmr.interop.synapse_database import SynapseMedia, SynapseThumbnail
from mmr.interop.synapse_store import ThumbnailName
from mmr.thumbnailing.model import Rendered, RenderOptions
from mmr.thumbnailing.pool import ThumbnailPool
from mmr.thumbnailing.sizes import TargetSize
from mmr.types import Method

logger = logging.getLogger(__name__)

SIZES = (
    TargetSize(32, 32, Method.CROP),
    TargetSize(96, 96, Method.CROP),
    TargetSize(320, 240, Method.SCALE),
    TargetSize(640, 480, Method.SCALE),
    TargetSize(800, 600, Method.SCALE),
)
_OPTIONS = RenderOptions(max_source_bytes=1 << 31)


@attrs.frozen(slots=True)
class Drawn:
    """One thumbnail: its row, its place and its bytes."""

    row: SynapseThumbnail
    path: str
    data: bytes = attrs.field(repr=False)


class SynapseThumbnails:
    """Draws them all. Their names and rows have the sizes that come out."""

    def __init__(self, pool: ThumbnailPool) -> None:
        self._pool = pool

    async def draw(self, media: SynapseMedia, file: Path, sha256: str) -> list[Drawn]:
        """All thumbnails of one media; none when it can't have any.

        Args:
            file: Its bytes, which stay until this returns.

        Raises:
            MatrixError: 5xx: none can be drawn now.
        """
        if not media.content_type.startswith("image/"):
            return []
        found: dict[str, Drawn] = {}
        for size in SIZES:
            try:
                rendered = await self._pool.render(
                    file, media.content_type, size, _OPTIONS, key=sha256
                )
            except MatrixError as error:
                if error.status >= 500:
                    raise
                logger.warning("%s: no thumbnails: %s", media.mxc, error.message)
                return []
            drawn = _drawn(media, rendered, size.method)
            # A small picture comes out of several sizes as the same.
            found[drawn.path] = drawn
        return list(found.values())


def _drawn(media: SynapseMedia, rendered: Rendered, method: Method) -> Drawn:
    name = ThumbnailName(
        rendered.width, rendered.height, rendered.content_type, method.value
    )
    if media.is_local:
        path = synapse_store.local_thumbnail(media.file_id, name)
    else:
        path, _ = synapse_store.remote_thumbnails(media.mxc.origin, media.file_id, name)
    return Drawn(SynapseThumbnail(name, len(rendered.data)), path, rendered.data)


def objects_of(thumbnails: Sequence[Drawn]) -> list[tuple[str, bytes]]:
    """Places and bytes."""
    return [(each.path, each.data) for each in thumbnails]
