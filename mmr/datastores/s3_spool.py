"""Bytes on their way to S3: in memory while they are few, else in a nameless file.

The file has no name, so that nothing of it is left after a crash; it lives for as long
as anybody refers to it.
"""

from __future__ import annotations

import os
import tempfile

from mmr.datastores.filesystem import FileSystem, datastore_error, write_all
from mmr.util.threads import Runner

_READ_BYTES = 256 * 1024
_FOLDER_MODE = 0o700


class SpoolFile:
    """A temporary file without a name."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        os.close(self.fd)

    @classmethod
    def create(cls, folder: str) -> SpoolFile:
        """Make the file, and its folder when that is missing.

        Raises:
            OSError: as the system says.
        """
        os.makedirs(folder, _FOLDER_MODE, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            return cls(os.dup(file.fileno()))

    def append(self, data: bytes | bytearray) -> None:
        """Write at the end. Raises `OSError`."""
        write_all(FileSystem(), self.fd, data)


class Body:
    """The whole content, to be read as often as a put needs it."""

    def __init__(self, memory: bytes, file: SpoolFile | None, size: int) -> None:
        self.size = size
        self._memory = memory
        self._file = file

    def part(self, offset: int, length: int) -> bytes | FilePart:
        """A part of it, as boto3 takes it."""
        if self._file is None:
            return self._memory[offset : offset + length]
        return FilePart(self._file, offset, length)


class FilePart:
    """A stretch of a spool file as boto3 reads it; several may be read at once.

    It gives more than it is asked for: the HTTP library asks for 16 KiB at a time,
    which costs a third more CPU than 256 KiB.
    """

    def __init__(self, file: SpoolFile, offset: int, length: int) -> None:
        self._file = file
        self._offset = offset
        self._length = length
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        """Read on; all of the rest when no size is given. Empty at the end."""
        left = max(0, self._length - self._position)
        count = left if size < 0 else min(left, max(size, _READ_BYTES))
        data = os.pread(self._file.fd, count, self._offset + self._position)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move, as every file does: boto3 rewinds before it tries again."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}
        self._position = start[whence] + offset
        return self._position

    def tell(self) -> int:
        """The position in the stretch."""
        return self._position


class SpooledObject:
    """What a writer has taken in so far, open for reading."""

    size = 0

    def __init__(
        self, datastore_id: str, folder: str, file: SpoolFile, files: Runner
    ) -> None:
        self._datastore_id = datastore_id
        self._folder = folder
        self._file: SpoolFile | None = file
        self._files = files

    async def read(self, offset: int, length: int) -> bytes:
        """See `StoredObject.read`."""
        if self._file is None:
            raise ValueError("the object is closed")
        return await self._files.run(self._read, self._file, offset, length)

    def _read(self, file: SpoolFile, offset: int, length: int) -> bytes:
        pieces = []
        try:
            while length > 0 and (piece := os.pread(file.fd, length, offset)):
                pieces.append(piece)
                offset += len(piece)
                length -= len(piece)
        except OSError as error:
            raise datastore_error(
                error, self._datastore_id, "read", self._folder
            ) from error
        return b"".join(pieces)

    def fileno(self) -> int | None:
        """See `StoredObject.fileno`."""
        return None if self._file is None else self._file.fd

    async def close(self) -> None:
        """See `StoredObject.close`."""
        self._file = None
