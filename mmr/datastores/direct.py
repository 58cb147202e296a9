"""Writing a large file past the kernel's page cache.

It saves a copy, and most of the flush that an answer waits for; what many ask for stays
in memory. In exchange the first reader waits for the disk.
"""

from __future__ import annotations

import errno
import mmap

from mmr.datastores.filesystem import FileSystem, write_all

LARGE_BYTES = 16 * 1024 * 1024
"""A smaller file leaves enough room in the cache, and is soon asked for."""

# The disk takes whole blocks from aligned memory: of 4 KiB, on some systems of 64.
_PIECE_BYTES = 1024 * 1024


class DirectOutput:
    """Gathers the bytes of a new file into whole blocks. For pool threads.

    Where the file system takes no such writes, they are ordinary ones.

    Args:
        fs: System calls.
        fd: The file, open and empty; it stays the caller's.
    """

    def __init__(self, fs: FileSystem, fd: int) -> None:
        self._fs = fs
        self._fd = fd
        self._filled = 0
        self._piece: memoryview | None = None
        if fs.set_direct(fd, True):
            # A map begins with a page.
            self._piece = memoryview(mmap.mmap(-1, _PIECE_BYTES))

    @property
    def holds_back(self) -> bool:
        """Whether readers of the file miss what was written last."""
        return self._filled > 0

    def write(self, data: bytes | bytearray) -> None:
        """Write some bytes, or take them in.

        Raises:
            OSError: they, or those before, can't be written.
        """
        rest = memoryview(data)
        while rest and self._piece is not None:
            taken = min(len(rest), _PIECE_BYTES - self._filled)
            self._piece[self._filled : self._filled + taken] = rest[:taken]
            self._filled += taken
            rest = rest[taken:]
            if self._filled == _PIECE_BYTES:
                self._put(self._piece)
        write_all(self._fs, self._fd, rest)

    def settle(self) -> None:
        """Have all of it in the file. What still comes is written as usual.

        Raises:
            OSError: it can't be written.
        """
        if self._piece is not None:
            self._finish(self._piece[: self._filled])

    def _put(self, piece: memoryview) -> None:
        try:
            written = self._fs.write(self._fd, piece)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            # Its blocks are larger than any we know of.
            written = 0
        self._filled = 0
        if written < len(piece):
            # The rest is no whole block any more.
            self._finish(piece[written:])

    def _finish(self, rest: memoryview) -> None:
        self._fs.set_direct(self._fd, False)
        write_all(self._fs, self._fd, rest)
        self._piece, self._filled = None, 0
