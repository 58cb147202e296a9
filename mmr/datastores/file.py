"""The file datastore: a folder, in MMR's layout (mmr-storage §4.1)."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

from twisted.internet.defer import DeferredSemaphore

from mmr.datastores.base import (
    OCTET_STREAM,
    BadLocation,
    MemoryObject,
    ObjectMissing,
    ObjectWriter,
    StoredObject,
    Taken,
)
from mmr.datastores.file_hand import FileHand
from mmr.datastores.file_taken import TakenFiles
from mmr.datastores.file_writer import FileWriter
from mmr.datastores.filesystem import (
    FileSystem,
    datastore_error,
    fix_for,
    is_full,
    write_all,
)
from mmr.datastores.folders import (
    Folders,
    is_temporary_name,
    location_of,
    temporary_name,
)
from mmr.datastores.free_space import FreeSpace
from mmr.errors import StartupError
from mmr.types import Kind
from mmr.util.clock import Clock
from mmr.util.memory_file import Payload
from mmr.util.threads import Runner

P = ParamSpec("P")
R = TypeVar("R")

# More would only wait for the disk, each in a thread.
_BATCHES_AT_ONCE = 3
SMALL_BYTES = 64 * 1024
"""An object up to this size is read by the job that opens it: one hop, not two."""

_NOT_A_FILE = frozenset({errno.EISDIR, errno.EPERM})


class FileDatastore:
    """Objects as files below one folder.

    Args:
        id: The operator's name for it.
        kinds: What may be stored; empty for a cold store, which may be read-only.
        path: The base folder (``opts.path``).
        files: Pool for everything that blocks.
        clock: For the free-space check and the sweep.
        floor: See `FreeSpace`.
        fs: System calls; tests put faults in place.
        may_link_tops: See `Folders`.
        hand: Stores many small files at once; None: a pool thread does.
    """

    is_foreign = False

    def __init__(
        self,
        id: str,
        kinds: frozenset[Kind],
        path: str,
        files: Runner,
        clock: Clock,
        floor: Callable[[], int],
        fs: FileSystem | None = None,
        *,
        may_link_tops: bool = False,
        hand: FileHand | None = None,
    ) -> None:
        base = os.path.abspath(path)
        self.id = id
        self.kinds = kinds
        self.files = files
        self.fs = fs or FileSystem()
        self.folders = Folders(id, base, self.fs, may_link_tops=may_link_tops)
        self.space = FreeSpace(id, base, self.fs, clock, floor)
        # Temporary files of this process: not the sweep's, whatever the clock says.
        self.unfinished: set[str] = set()
        self._clock = clock
        self._hand = hand
        self._turn = DeferredSemaphore(1 if hand else _BATCHES_AT_ONCE)

    def location_of(self, object_name: str) -> str:
        """See `Datastore.location_of`."""
        return location_of(object_name)

    async def create(
        self, expected_bytes: int | None = None, content_type: str = OCTET_STREAM
    ) -> ObjectWriter:
        """See `Datastore.create`. Touches the disk only to ask for its free space."""
        size = expected_bytes or 0
        if not (self.space.is_fresh and self.space.fits(size)):
            await self._run("use", self.folders.base, self.space.refresh)
        self.space.require(size)
        return FileWriter(self, size)

    async def take(self, contents: Sequence[Payload]) -> Taken:
        """See `TakesMany.take`."""
        return await self.in_turn(TakenFiles, self, contents, self._hand)

    async def in_turn(
        self, job: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run what needs the hand. Who waits for it takes no thread from readers."""
        await self._turn.acquire()
        try:
            return await self.files.run(job, *args, **kwargs)
        finally:
            self._turn.release()

    async def rest(self) -> None:
        """See `TakesMany.rest`."""
        # Not always are there threads: the server may not have started.
        if self._hand is not None and self._hand.is_working:
            await self.files.run(self._hand.rest)

    async def open(self, location: str) -> StoredObject:
        """See `Datastore.open`."""
        return await self._run("open", location, self._open, location)

    async def read_small(self, locations: Sequence[str]) -> list[bytes | None]:
        """See `GivesMany.read_small`."""
        return await self.files.run(self._read_small, locations)

    async def delete(self, location: str) -> bool:
        """See `Datastore.delete`. Empty folders stay."""
        return await self._run("delete", location, self._delete, location)

    async def check(self) -> None:
        """See `Datastore.check`. Makes the folder of a store that takes objects."""
        await self.files.run(self._check)

    async def probe(self) -> None:
        """See `Datastore.probe`."""
        await self._run("write to", self.folders.temporary, self._probe)

    async def sweep_temporary(self, older_than_s: float) -> int:
        """See `Datastore.sweep_temporary`."""
        temporary = self.folders.temporary
        return await self._run("sweep", temporary, self._sweep, older_than_s)

    async def _run(
        self,
        action: str,
        what: str,
        job: Callable[P, R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        try:
            return await self.files.run(job, *args, **kwargs)
        except OSError as error:
            path = os.path.join(self.folders.base, what)
            raise datastore_error(error, self.id, action, path) from error

    # What follows runs in a pool thread.

    def open_unfinished(self, path: str) -> FileObject:
        """For `FileWriter.open_written`: the size is not known yet."""
        return FileObject(self, path, self.fs.open(path), 0)

    def _open(self, location: str) -> StoredObject:
        path = self.folders.path_to_read(location)
        try:
            fd = self.fs.open(path)
        except FileNotFoundError:
            raise ObjectMissing(location) from None
        try:
            size = self.fs.regular_size(fd)
            if size is None:
                raise BadLocation(self.id, location, "no regular file is there")
            small = read_all(self.fs, fd, 0, size) if size <= SMALL_BYTES else None
        except BaseException:
            self.fs.close(fd)
            raise
        if small is None:
            return FileObject(self, path, fd, size)
        self.fs.close(fd)
        return MemoryObject(small)

    def _read_small(self, locations: Sequence[str]) -> list[bytes | None]:
        found: list[bytes | None] = []
        for location in locations:
            stored = None
            # Why it can't be read is told to whom opens it.
            with contextlib.suppress(OSError, ObjectMissing):
                stored = self._open(location)
            # A large one is closed with its last reference.
            found.append(stored.data if isinstance(stored, MemoryObject) else None)
        return found

    def _delete(self, location: str) -> bool:
        try:
            path = self.folders.path_to_delete(location)
        except BadLocation:
            raise
        except ObjectMissing:
            return False
        try:
            self.fs.unlink(path)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno in _NOT_A_FILE and os.path.isdir(path):
                raise BadLocation(self.id, location, "a folder is there") from None
            raise
        # So that a power cut doesn't bring back what no record names any more.
        self.fs.fsync_folder(os.path.dirname(path))
        return True

    def _check(self) -> None:
        try:
            if self.kinds:
                self.folders.make_base()
                self._probe()
            else:
                os.scandir(self.folders.base).close()
        except OSError as error:
            if is_full(error):
                raise datastore_error(
                    error, self.id, "write to", self.folders.base
                ) from error
            raise self._unusable(error) from error

    def _probe(self) -> None:
        self.folders.make(self.folders.temporary)
        probe = os.path.join(self.folders.temporary, temporary_name())
        fd = self.fs.create(probe)
        try:
            write_all(self.fs, fd, b"probe")
            self.fs.fsync(fd)
        finally:
            self.fs.close(fd)
            self.fs.unlink(probe)
        self.space.refresh()
        self.space.require(0)

    def _unusable(self, error: OSError) -> StartupError:
        use = "be written to" if self.kinds else "be read"
        reason = error.strerror or str(error)
        return StartupError(
            f"datastore {self.id!r}: its folder {self.folders.base} (opts.path) cannot "
            f"{use}: {reason}. {fix_for(error)}"
        )

    def _sweep(self, older_than_s: float) -> int:
        folder = self.folders.temporary
        now_s = self._clock.time_ms() / 1000
        removed = 0
        if not os.path.isdir(folder):
            return removed
        for name, age_s in self.fs.files_with_age(folder, now_s):
            path = os.path.join(folder, name)
            is_ours = is_temporary_name(name) and path not in self.unfinished
            if is_ours and age_s > older_than_s:
                removed += self._unlink_leftover(path)
        return removed

    def _unlink_leftover(self, path: str) -> bool:
        try:
            self.fs.unlink(path)
        except FileNotFoundError:
            return False  # Another process's sweep, or its upload ended.
        return True


class FileObject:
    """An object that is read from its open file."""

    def __init__(self, store: FileDatastore, path: str, fd: int, size: int) -> None:
        self.size = size
        self._store = store
        self._path = path
        self._fd: int | None = fd

    def __del__(self) -> None:
        # A cancelled `open` leaves the object to nobody.
        self._close()

    async def read(self, offset: int, length: int) -> bytes:
        """See `StoredObject.read`."""
        return await self._store.files.run(self._read, offset, length)

    def fileno(self) -> int | None:
        """See `StoredObject.fileno`. The object keeps the descriptor."""
        return self._fd

    async def close(self) -> None:
        """See `StoredObject.close`. Closing what was only read doesn't block."""
        self._close()

    def _read(self, offset: int, length: int) -> bytes:
        if self._fd is None:
            raise ValueError("the object is closed")
        try:
            return read_all(self._store.fs, self._fd, offset, length)
        except OSError as error:
            raise datastore_error(error, self._store.id, "read", self._path) from error

    def _close(self) -> None:
        if self._fd is not None:
            fd, self._fd = self._fd, None
            self._store.fs.close(fd)


def read_all(fs: FileSystem, fd: int, offset: int, length: int) -> bytes:
    """Read so many bytes, or to the end, in as many calls as it takes."""
    pieces: list[bytes] = []
    while length > 0:
        piece = fs.pread(fd, length, offset)
        if not piece:
            break
        pieces.append(piece)
        offset += len(piece)
        length -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
