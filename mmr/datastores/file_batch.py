"""Many small objects on their way into a file datastore, flushed together."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmr.datastores.file_writer import TEMPORARY_SUFFIX
from mmr.datastores.filesystem import datastore_error, write_all

if TYPE_CHECKING:
    from mmr.datastores.file import FileDatastore

logger = logging.getLogger(__name__)

# So few are flushed one by one: what else is dirty on that disk isn't waited for.
_FEW = 8


class FileBatch:
    """Puts objects into their places, in the order of R91, with two flushes in all.

    Every method blocks; for one pool thread.

    Args:
        objects: Locations and contents.
    """

    def __init__(
        self, store: FileDatastore, objects: Sequence[tuple[str, bytes]]
    ) -> None:
        self._store = store
        self._fs = store.fs
        self._folders = store.folders
        self._objects = [(store.folders.path_of(name), data) for name, data in objects]
        # Temporary file to place, for what is not there yet.
        self._unplaced: dict[str, str] = {}
        self._base: int | None = None

    def put(self) -> None:
        """Write, flush, rename, flush. What fails leaves no temporary file.

        Raises:
            DatastoreError: none of them may be relied on. Some may be visible.
        """
        action = "write below"
        try:
            self._store.space.take(sum(len(data) for _, data in self._objects))
            self._open_base()
            self._write()
            action = "flush"
            self._flush()
            action = "store objects below"
            self._place()
        except OSError as error:
            base = self._folders.base
            raise datastore_error(error, self._store.id, action, base) from error
        finally:
            self._clear()

    def _open_base(self) -> None:
        """Before anything is written: errors count from here on."""
        if len(self._objects) > _FEW:
            self._base = self._fs.open_whole(self._folders.base)

    def _write(self) -> None:
        for target, data in self._objects:
            fd = self._create(target)
            try:
                write_all(self._fs, fd, data)
                if self._base is None:
                    self._fs.fsync(fd)
            finally:
                self._fs.close(fd)

    def _create(self, target: str) -> int:
        folder = self._folders.temporary
        path = os.path.join(folder, secrets.token_hex(16) + TEMPORARY_SUFFIX)
        # Before it is there: the sweep asks for ours by name.
        self._store.unfinished.add(path)
        self._unplaced[path] = target
        try:
            return self._fs.create(path)
        except FileNotFoundError:
            self._folders.make(folder)
            return self._fs.create(path)

    def _flush(self) -> None:
        if self._base is not None:
            self._fs.flush_whole(self._base)

    def _place(self) -> None:
        folders: set[str] = set()
        for path, target in list(self._unplaced.items()):
            folder = os.path.dirname(target)
            if folder not in folders:
                folders.add(folder)
                self._make(folder)
            self._fs.rename_new(path, target)
            self._store.unfinished.discard(path)
            del self._unplaced[path]
        self._flush()
        for folder in folders:
            if self._base is None:
                self._fs.fsync_folder(folder)
            else:
                self._folders.note_flushed(folder)

    def _make(self, folder: str) -> None:
        if self._base is None:
            self._folders.ensure(folder)
        else:
            self._folders.make_below_base(folder)

    def _clear(self) -> None:
        for path in self._unplaced:
            self._store.unfinished.discard(path)
            try:
                self._fs.unlink(path)
            except FileNotFoundError:
                pass
            except OSError as error:
                logger.warning(
                    "The unfinished file %s could not be removed (%s); "
                    "the sweep will try again.",
                    path,
                    error,
                )
        self._unplaced.clear()
        if self._base is not None:
            os.close(self._base)
            self._base = None
