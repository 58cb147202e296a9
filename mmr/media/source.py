"""Originals as local files, which is how the decoding workers take them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from mmr.datastores.base import StoredObject
from mmr.errors import unexpected
from mmr.media.content import Content, ObjectRow

_PIECE_BYTES = 1024 * 1024


class SourceFiles:
    """Gives the path of an object for as long as a worker needs it."""

    def __init__(self, content: Content) -> None:
        self._content = content

    @asynccontextmanager
    async def local_file(self, row: ObjectRow) -> AsyncIterator[Path]:
        """The object as a file, held open so that its deletion doesn't matter.

        Raises:
            MatrixError: as `Content.open_object`.
        """
        stored = await self._content.open_object(row)
        borrowed = stored.fileno()
        # Without a descriptor the object is a small one, or one of a remote store;
        # nothing larger than ``thumbnails.maxSourceBytes`` is asked for.
        own = os.memfd_create("mmr-source") if borrowed is None else None
        try:
            if own is not None:
                await _copy(stored, own)
            yield Path(f"/proc/self/fd/{borrowed if own is None else own}")
        finally:
            if own is not None:
                os.close(own)
            await stored.close()


async def _copy(stored: StoredObject, descriptor: int) -> None:
    """Copy into memory, piece by piece: each is a store's answer."""
    offset = 0
    while offset < stored.size:
        data = await stored.read(offset, _PIECE_BYTES)
        if not data:
            raise unexpected()
        offset += os.write(descriptor, data)
