"""Which file system a datastore is on. Python doesn't tell."""

from __future__ import annotations

import ctypes
import enum
import sys

_STATFS_BYTES = 256  # Larger than the structure on every system.

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class DiskKind(enum.IntEnum):
    """File systems of a local disk, and what containers lay over them, by their numbers
    in linux/magic.h.
    """

    EXT = 0x0000EF53
    """ext2, ext3, ext4"""
    XFS = 0x58465342
    BTRFS = 0x9123683E
    F2FS = 0xF2F52010
    BCACHEFS = 0xCA451A4E
    ZFS = 0x2FC12FC1
    TMPFS = 0x01021994
    OVERLAYFS = 0x794C7630


def kind_of(fd: int) -> int | None:
    """The number of the file system that a descriptor is on; None: nobody tells."""
    if _libc is None:
        return None
    # The first field of `struct statfs` is the type.
    found = ctypes.create_string_buffer(_STATFS_BYTES)
    if _libc.fstatfs(fd, found) != 0:
        return None
    kind = ctypes.cast(found, ctypes.POINTER(ctypes.c_long)).contents.value
    return kind & 0xFFFFFFFF
