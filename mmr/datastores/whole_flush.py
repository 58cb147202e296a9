"""Flushing a whole file system at once: ``syncfs``, which Python doesn't have.

One such call costs about as much as the flush of one small file, whatever was written
before. It is only relied on where it is known to flush and to report errors.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys

from mmr.datastores.disk_kind import DiskKind, kind_of

# Others (FUSE, SMB) may take the call without passing it on.
_RELIABLE = frozenset(DiskKind)
# Before 5.8 it didn't report errors of earlier writes, overlayfs not before 5.12.
_REPORTS_ERRORS_SINCE = (5, 12)

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


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
