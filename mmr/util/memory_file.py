"""Bytes that processes of ours hand each other, in files without names."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterable

import attrs

# writev(2) takes so many at once.
_PIECES = 1024
if hasattr(os, "memfd_create"):
    _SEALS = (
        fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
    )


class SharedFile:
    """An open file that is closed with the last who knows it.

    Args:
        fd: It is the file's from now on.
        is_sealable: The system can keep it from being changed.
    """

    def __init__(self, fd: int, *, is_sealable: bool = False) -> None:
        self.fd = fd
        self._is_sealable = is_sealable

    def __del__(self) -> None:
        os.close(self.fd)

    @classmethod
    def copy(cls, fd: int) -> SharedFile:
        """Of a descriptor that stays the caller's."""
        return cls(os.dup(fd))

    @classmethod
    def in_memory(cls) -> SharedFile:
        """An empty one; in memory, where the system has such."""
        # A system may be set to refuse it (vm.memfd_noexec).
        with contextlib.suppress(AttributeError, PermissionError):
            fd = os.memfd_create("mmr", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            return cls(fd, is_sealable=True)
        with tempfile.TemporaryFile(buffering=0) as file:
            return cls.copy(file.fileno())

    def sealed(self) -> SharedFile:
        """The same bytes, where nobody can change them any more.

        Raises:
            OSError: somebody may still write to it.
        """
        if self._is_sealable:
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, _SEALS)
            return self
        copy = self.in_memory()
        write_pieces(copy.fd, [os.pread(self.fd, self.size, 0)])
        return copy

    @property
    def size(self) -> int:
        """Bytes in it."""
        return os.fstat(self.fd).st_size


@attrs.frozen(slots=True, eq=False)
class FileSlice:
    """Some bytes of a file."""

    file: SharedFile
    offset: int
    size: int

    def __len__(self) -> int:
        return self.size

    def read(self) -> bytes:
        """The bytes."""
        return os.pread(self.file.fd, self.size, self.offset)


Payload = bytes | FileSlice
"""A small file, here or in another process's reach."""


def bytes_of(content: Payload) -> bytes:
    """The bytes, here."""
    return content if isinstance(content, bytes) else content.read()


def write_pieces(fd: int, pieces: Iterable[bytes | memoryview]) -> None:
    """Write all of them, in few system calls.

    Raises:
        OSError: no memory.
    """
    left = [piece for piece in pieces if piece]
    while left:
        left = _behind(left, os.writev(fd, left[:_PIECES]))


def _behind(pieces: list[bytes | memoryview], count: int) -> list[bytes | memoryview]:
    """What is left of them after so many bytes."""
    for index, piece in enumerate(pieces):
        if count < len(piece):
            return [memoryview(piece)[count:], *pieces[index + 1 :]]
        count -= len(piece)
    return []
