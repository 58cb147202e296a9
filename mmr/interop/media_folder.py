"""The folder that a homeserver keeps its media in, for reading."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmr.errors import StartupError

# Not blocking: a named pipe in the folder must not hold a thread for ever.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
CHUNK_BYTES = 256 * 1024
"""How much of a file is read at once."""


class MediaFolder:
    """A media folder, and copies of it, for reading. Blocks.

    Args:
        bases: ``media_store_path``; then the folders of its ``file_system`` storage
            providers, which have the same layout.
        setting: What says so in the homeserver's configuration.

    Raises:
        StartupError: when one of them isn't a folder that can be read.
    """

    def __init__(
        self,
        bases: Sequence[Path],
        setting: str = "media_store_path of homeserver.yaml",
    ) -> None:
        self._bases = tuple(bases)
        for base in bases:
            try:
                os.scandir(base).close()
            except OSError as error:
                raise StartupError(
                    f"The media folder {base} cannot be read: {error.strerror}. "
                    f"It is {setting}."
                ) from error

    def open(self, path: str) -> int:
        """Open a file, in the first folder that has it; gives its descriptor.

        Links are followed: the folder is the operator's, and so are links in it.

        Raises:
            FileNotFoundError: when no folder has it.
            OSError: when it can't be read, or isn't a regular file.
        """
        for base in self._bases:
            try:
                return _open_regular(os.path.join(base, path))
            except FileNotFoundError:
                continue
        where = os.path.join(self._bases[0], path)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), where)

    def read(self, path: str, size: int) -> bytes | None:
        """A file of so many bytes, whole; None when it has more or less. Raises as
        `open` does.
        """
        fd = self.open(path)
        try:
            # One more, to see that there are no more.
            data = os.read(fd, size + 1)
        finally:
            os.close(fd)
        return data if len(data) == size else None

    def size(self, path: str) -> int:
        """Bytes of a file. Raises as `open` does."""
        fd = self.open(path)
        try:
            return os.fstat(fd).st_size
        finally:
            os.close(fd)

    def chunks(self, path: str) -> Iterator[bytes]:
        """Read a file to its end. Raises as `open` does, at the first chunk."""
        fd = self.open(path)
        try:
            while chunk := os.read(fd, CHUNK_BYTES):
                yield chunk
        finally:
            os.close(fd)


def _open_regular(path: str) -> int:
    fd = os.open(path, _READ)
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise OSError(errno.EINVAL, "not a regular file", path)
