"""Many small objects on their way into a file datastore, flushed together."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

from mmr.datastores.filesystem import FileSystem, write_all
from mmr.datastores.folders import Folders

logger = logging.getLogger(__name__)

# So few are flushed one by one: what else is dirty on that disk isn't waited for.
FEW = 8


NewFile = tuple[str, str, bytes | memoryview]
"""Temporary name, location and content of one object."""


class BatchFailed(Exception):
    """A system call failed; that error is its cause.

    Args:
        action: What the call was for: "flush".
    """

    def __init__(self, action: str, error: OSError) -> None:
        super().__init__(f"cannot {action}: {error}")
        self.action = action
        self.error = error


class FileBatch:
    """Puts objects into their places, in the order of R91, with two flushes in all.

    Every method blocks.

    Args:
        objects: What there is to put.
    """

    def __init__(
        self,
        fs: FileSystem,
        folders: Folders,
        objects: Sequence[NewFile],
    ) -> None:
        self._fs = fs
        self._folders = folders
        self._objects = [
            (os.path.join(folders.temporary, name), folders.path_of(location), data)
            for name, location, data in objects
        ]
        # Temporary file to place, for what is not there yet.
        self._unplaced: dict[str, str] = {}
        self._base: int | None = None

    def put(self) -> None:
        """Write, flush, rename, flush. What fails leaves no temporary file.

        Raises:
            BatchFailed: none of them may be relied on. Some may be visible.
        """
        action = "write below"
        try:
            self._open_base()
            self._write()
            action = "flush"
            self._flush()
            action = "store objects below"
            self._place()
        except OSError as error:
            raise BatchFailed(action, error) from error
        finally:
            self._clear()

    def _open_base(self) -> None:
        """Before anything is written: errors count from here on."""
        if len(self._objects) > FEW:
            self._base = self._fs.open_whole(self._folders.base)

    def _write(self) -> None:
        for path, target, data in self._objects:
            self._unplaced[path] = target
            fd = self._create(path)
            try:
                write_all(self._fs, fd, data)
                if self._base is None:
                    self._fs.fsync(fd)
            finally:
                self._fs.close(fd)

    def _create(self, path: str) -> int:
        try:
            return self._fs.create(path)
        except FileNotFoundError:
            self._folders.make(self._folders.temporary)
            return self._fs.create(path)

    def _flush(self) -> None:
        if self._base is not None:
            self._fs.flush_whole(self._base)

    def _place(self) -> None:
        folders: set[str] = set()
        for path, target in list(self._unplaced.items()):
            folder = os.path.dirname(target)
            is_new = False
            if folder not in folders:
                folders.add(folder)
                is_new = self._make(folder)
            # In a new folder nothing can be in the way.
            rename = self._fs.rename if is_new else self._fs.rename_new
            rename(path, target)
            del self._unplaced[path]
        self._flush()
        for folder in folders:
            if self._base is None:
                self._fs.fsync_folder(folder)
            else:
                self._folders.note_flushed(folder)

    def _make(self, folder: str) -> bool:
        """Tells whether it certainly wasn't there."""
        if self._base is not None:
            return self._folders.make_below_base(folder)
        self._folders.ensure(folder)
        return False

    def _clear(self) -> None:
        for path in self._unplaced:
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
