"""Originals as local files, which is how the decoding workers take them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from mmr.media.content import Content, ObjectRow


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
        # Without a descriptor the object is a small one, read when it was opened.
        own = os.memfd_create("mmr-source") if borrowed is None else None
        try:
            if own is not None:
                os.write(own, await stored.read(0, stored.size))
            yield Path(f"/proc/self/fd/{borrowed if own is None else own}")
        finally:
            if own is not None:
                os.close(own)
            await stored.close()
