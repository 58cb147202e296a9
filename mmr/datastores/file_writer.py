"""A new object on its way into a file datastore."""

from __future__ import annotations

import contextlib
import enum
import functools
import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ParamSpec

from mmr.datastores.base import DatastoreError, ObjectMissing, StoredObject
from mmr.datastores.direct import LARGE_BYTES, DirectOutput
from mmr.datastores.filesystem import datastore_error, write_all
from mmr.datastores.folders import temporary_name
from mmr.errors import MatrixError

if TYPE_CHECKING:
    from mmr.datastores.file import FileDatastore

P = ParamSpec("P")

logger = logging.getLogger(__name__)

SPILL_BYTES = 256 * 1024
"""Bytes that are gathered in memory before a pool thread writes them."""


class _State(enum.Enum):
    OPEN = "open"
    SEALED = "sealed"
    PUBLISHED = "published"
    GONE = "discarded after a failure or by its owner"


class FileWriter:
    """Writes to a temporary file and renames it into place.

    An object of less than `SPILL_BYTES` never has more than one job in the pool: it
    stays in memory, and `publish` writes, flushes and renames in one go. A larger one
    is written in batches, and `seal` flushes it.

    Args:
        expected_bytes: Its size, as far as anybody knows.

    The lock is for `discard`, which may come while a job still runs (the client left
    and the wait was cancelled): a descriptor must not be closed under a write.
    """

    location = None

    def __init__(self, store: FileDatastore, expected_bytes: int = 0) -> None:
        self.size = 0
        self._is_large = expected_bytes >= LARGE_BYTES
        self._store = store
        self._fs = store.fs
        self._state = _State.OPEN
        self._hash = hashlib.sha256()
        self._pending = bytearray()
        self._lock = threading.Lock()
        self._had_job = False
        self._unwanted = False
        # What is on disk: the descriptor while it is open, the path until published.
        self._fd: int | None = None
        self._direct: DirectOutput | None = None
        self._path: str | None = None

    async def write(self, data: bytes) -> None:
        """See `ObjectWriter.write`."""
        self._expect(_State.OPEN)
        self.size += len(data)
        if not self._pending and len(data) >= SPILL_BYTES:
            await self._run("write", self._append, data)
            return
        self._pending += data
        if len(self._pending) >= SPILL_BYTES:
            batch, self._pending = self._pending, bytearray()
            await self._run("write", self._append, batch)

    async def open_written(self) -> StoredObject:
        """See `ObjectWriter.open_written`."""
        await self.spill()
        return await self._store.files.run(self._open_written)

    async def spill(self) -> None:
        """See `ObjectWriter.spill`."""
        self._expect(_State.OPEN)
        is_behind = self._direct is not None and self._direct.holds_back
        if self._pending or is_behind or not self._had_job:
            batch, self._pending = self._pending, bytearray()
            await self._run("write", self._append_and_settle, batch)

    async def seal(self) -> str:
        """See `ObjectWriter.seal`."""
        self._expect(_State.OPEN)
        if self._had_job:
            await self._run("write", self._finish_file)
        else:
            self._hash.update(self._pending)
            self._state = _State.SEALED
        return self._hash.hexdigest()

    async def publish(self, location: str) -> None:
        """See `ObjectWriter.publish`."""
        self._expect(_State.SEALED)
        await self._run("store", self._publish, self._store.folders.path_of(location))

    async def discard(self) -> None:
        """See `ObjectWriter.discard`."""
        if self._state in (_State.PUBLISHED, _State.GONE):
            return
        self._unwanted = True
        if not self._had_job:
            self._state = _State.GONE
            return
        try:
            await self._store.files.run(self._clear_when_idle)
        except MatrixError:
            # The pool is full. A running job clears up when it ends; else we do.
            if self._lock.acquire(blocking=False):
                try:
                    self._clear()
                finally:
                    self._lock.release()

    def _expect(self, state: _State) -> None:
        if self._state is not state:
            raise RuntimeError(f"the writer is {self._state.value}, not {state.value}")

    async def _run(
        self, action: str, job: Callable[P, None], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        self._had_job = True
        work = functools.partial(job, *args, **kwargs)
        await self._store.files.run(self._locked, action, work)

    # What follows runs in a pool thread.

    def _locked(self, action: str, work: Callable[[], None]) -> None:
        try:
            with self._lock, self._failing(action):
                if self._unwanted:
                    raise RuntimeError("the writer was discarded before its job ran")
                work()
        finally:
            if self._unwanted:
                self._clear_when_idle()

    @contextlib.contextmanager
    def _failing(self, action: str) -> Iterator[None]:
        """Any failure is final: a second flush would report success for pages that
        the kernel has dropped (R92).
        """
        try:
            yield
        except OSError as error:
            path = self._path or self._store.folders.temporary
            self._clear()
            raise datastore_error(error, self._store.id, action, path) from error
        except DatastoreError:
            self._clear()
            raise

    def _append(self, data: bytes | bytearray) -> None:
        self._hash.update(data)
        self._write(data)

    def _append_and_settle(self, data: bytes | bytearray) -> None:
        self._append(data)
        if self._direct is not None:
            self._direct.settle()

    def _open_written(self) -> StoredObject:
        with self._lock:
            if self._path is None:
                raise ObjectMissing("the unfinished object was discarded")
            return self._store.open_unfinished(self._path)

    def _finish_file(self) -> None:
        self._append_and_settle(self._pending)
        self._pending = bytearray()
        self._flush()
        self._state = _State.SEALED

    def _publish(self, target: str) -> None:
        if self._path is None:
            self._write(self._pending)
            self._flush()
        self._pending = bytearray()
        folder = os.path.dirname(target)
        self._store.folders.ensure(folder)
        self._rename(target)
        self._fs.fsync_folder(folder)
        self._state = _State.PUBLISHED
        self._path = None

    def _write(self, data: bytes | bytearray) -> None:
        self._store.space.take(len(data))
        if self._fd is None:
            self._fd = self._create()
            if self._is_large:
                self._direct = DirectOutput(self._fs, self._fd)
        if self._direct is not None:
            self._direct.write(data)
        else:
            write_all(self._fs, self._fd, data)

    def _create(self) -> int:
        folders = self._store.folders
        path = os.path.join(folders.temporary, temporary_name())
        try:
            fd = self._fs.create(path)
        except FileNotFoundError:
            folders.make(folders.temporary)
            fd = self._fs.create(path)
        self._path = path
        self._store.unfinished.add(path)
        return fd

    def _flush(self) -> None:
        if self._fd is not None:
            self._fs.fsync(self._fd)
            self._close()

    def _close(self) -> None:
        if self._fd is not None:
            # A descriptor whose close failed is closed all the same.
            fd, self._fd, self._direct = self._fd, None, None
            self._fs.close(fd)

    def _rename(self, target: str) -> None:
        assert self._path is not None
        self._fs.rename_new(self._path, target)
        self._store.unfinished.discard(self._path)
        self._path = target

    def _clear_when_idle(self) -> None:
        with self._lock:
            self._clear()

    def _clear(self) -> None:
        """Remove what is on disk, unless it has become an object."""
        if self._state is _State.PUBLISHED:
            return
        self._state = _State.GONE
        self._pending = bytearray()
        path, self._path = self._path, None
        try:
            self._close()
        except OSError as error:
            logger.warning("Closing the unfinished file %s failed: %s", path, error)
        if path is not None:
            self._store.unfinished.discard(path)
            self._unlink(path)

    def _unlink(self, path: str) -> None:
        try:
            self._fs.unlink(path)
        except OSError as error:
            logger.warning(
                "The unfinished file %s could not be removed (%s); "
                "the sweep will try again.",
                path,
                error,
            )
