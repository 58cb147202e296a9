"""Flushing a whole file system at once: ``syncfs``, which Python doesn't have.

One such call costs about as much as the flush of one small file, whatever was written
before. It is only relied on where it is known to flush and to report errors.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys

# From linux/magic.h: file systems of a local disk, and what containers lay over them.
EXT = 0x0000EF53
XFS = 0x58465342
# Others (FUSE, SMB) may take the call without passing it on.
_RELIABLE = frozenset(
    {
        EXT,  # ext2, ext3, ext4
        XFS,
        0x9123683E,  # Btrfs
        0xF2F52010,  # F2FS
        0xCA451A4E,  # bcachefs
        0x2FC12FC1,  # ZFS
        0x01021994,  # tmpfs
        0x794C7630,  # overlayfs
    }
)
# Before 5.8 it didn't report errors of earlier writes, overlayfs not before 5.12.
_REPORTS_ERRORS_SINCE = (5, 12)
_STATFS_BYTES = 256  # Larger than the structure on every system.

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def kind_of(fd: int) -> int | None:
    """Which file system a descriptor is on, by Linux's number; None where that is not
    known.
    """
    if _libc is None:
        return None
    # The first field of `struct statfs` is the type.
    found = ctypes.create_string_buffer(_STATFS_BYTES)
    if _libc.fstatfs(fd, found) != 0:
        return None
    kind = ctypes.cast(found, ctypes.POINTER(ctypes.c_long)).contents.value
    return kind & 0xFFFFFFFF


def is_reliable(fd: int) -> bool:
    """Whether `flush` may stand for a flush of each file and folder."""
    if _libc is None or not hasattr(_libc, "syncfs"):
        return False
    version = re.match(r"(\d+)\.(\d+)", os.uname().release)
    if version is None or tuple(map(int, version.groups())) < _REPORTS_ERRORS_SINCE:
        return False
    return kind_of(fd) in _RELIABLE


def flush(fd: int) -> None:
    """Flush everything that was written to the file system of this descriptor.

    Raises:
        OSError: also for writes that failed before, since the descriptor was opened.
    """
    assert _libc is not None
    if _libc.syncfs(fd) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
