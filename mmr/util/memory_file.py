"""Bytes on their way to another process of ours."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

# writev(2) takes so many at once.
_PIECES = 1024


@contextmanager
def memory_file() -> Iterator[BinaryIO]:
    """An open file without a name; in memory, where the system has such."""
    if hasattr(os, "memfd_create"):
        file: BinaryIO = open(os.memfd_create("mmr"), "r+b", buffering=0)
    else:
        file = tempfile.TemporaryFile(buffering=0)
    with file:
        yield file


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
