"""Shows files to the hooks before they are kept (design §4)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from mmr.datastores.base import ObjectWriter, StoredObject
from mmr.media.rows import NewMedia
from mmr.plugins import FileInfo, FileToCheck
from mmr.plugins.hooks import Hooks
from mmr.util.threads import Runner

_PIECE_BYTES = 1 << 20


class Scanning:
    """Has the hooks look at what is written and not yet committed.

    Args:
        hooks: Those of the configuration.
        threads: Reads the file for its hash, which isn't sealed yet.
    """

    def __init__(self, hooks: Hooks, threads: Runner) -> None:
        self._hooks = hooks
        self._threads = threads

    @property
    def is_demanded(self) -> bool:
        """Whether a file that the hooks can't look at is refused (R86)."""
        return self._hooks.demand_to_see

    @property
    def is_on(self) -> bool:
        """Whether there is any hook to ask."""
        return bool(self._hooks)

    async def check(
        self, writer: ObjectWriter, new: NewMedia, *, is_preview: bool = False
    ) -> None:
        """Ask about a file. Nothing of it has been kept, or given out whole (R87).

        Raises:
            MatrixError: 403 when it is refused, 503 when it can't be checked.
        """
        if not self._hooks:
            return
        stored = await writer.open_written()
        try:
            async with self._path_of(stored, writer.size) as path:
                sha256 = await self._threads.run(_sha256, path)
                info = FileInfo(
                    server_name=None if new.user_id or is_preview else new.origin,
                    file_id=new.media_id,
                    url_cache=is_preview,
                    origin=new.origin,
                    user_id=new.user_id,
                    content_type=new.content_type,
                    upload_name=new.upload_name,
                )
                await self._hooks.check(
                    FileToCheck(path=path, size=writer.size, sha256=sha256, info=info)
                )
        finally:
            await stored.close()

    @asynccontextmanager
    async def _path_of(self, stored: StoredObject, size: int) -> AsyncIterator[Path]:
        """A path that other processes of this user can read."""
        borrowed = stored.fileno()
        own = os.memfd_create("mmr-check") if borrowed is None else None
        try:
            if own is not None:
                for offset in range(0, size, _PIECE_BYTES):
                    piece = await stored.read(offset, min(_PIECE_BYTES, size - offset))
                    await self._threads.run(os.write, own, piece)
            yield Path(f"/proc/{os.getpid()}/fd/{borrowed if own is None else own}")
        finally:
            if own is not None:
                os.close(own)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
