"""The system calls that the file datastore makes, and what their failures mean.

All of them block. Tests put faults and records in place of this class.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator

from mmr.datastores import whole_flush
from mmr.datastores.base import DatastoreError, DatastoreFull
from mmr.datastores.disk_kind import DiskKind, kind_of

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# Not blocking: a named pipe in the folder must not hold a thread for ever.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

FILE_MODE = 0o644
FOLDER_MODE = 0o755

_OPEN_FILES = (
    "Too many files are open: raise the limit (LimitNOFILE= in the systemd unit, "
    "or ulimit -n)."
)
_PERMISSION = "Give the user that runs mmr read and write permission there."
_FIXES = {
    errno.ENOSPC: "Free space on that disk, or add a datastore on another one.",
    errno.EDQUOT: "Raise the disk quota of the user that runs mmr, or free space.",
    errno.EIO: "The disk or the way to it fails: see the kernel's log (dmesg).",
    errno.EMFILE: _OPEN_FILES,
    errno.ENFILE: _OPEN_FILES,
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.EROFS: "The file system is read-only: see the kernel's log (dmesg), remount.",
    errno.ENOENT: "A folder is gone: is the disk mounted?",
    errno.ENOTDIR: "A file is where a folder should be: change the datastore's path.",
}
# Others copy the bytes nevertheless (Btrfs, ZFS), or may not pass the wish on.
_TAKES_DIRECT = frozenset({DiskKind.EXT, DiskKind.XFS})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class FileSystem:
    """The real file system. Every method raises `OSError`."""

    def create(self, path: str) -> int:
        """Make a new file; it must not exist. Gives a descriptor."""
        return os.open(path, _CREATE, FILE_MODE)

    def open(self, path: str) -> int:
        """Open a file for reading; a symbolic link is refused."""
        return os.open(path, _READ)

    def regular_size(self, fd: int) -> int | None:
        """Bytes of an open file; None for anything that isn't a regular file."""
        status = os.fstat(fd)
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Write some of the data and tell how much."""
        return os.write(fd, data)

    def set_direct(self, fd: int, wanted: bool) -> bool:
        """Have writes pass the page cache by, or no longer. Tells whether they do.

        Only where that is known to work.
        """
        if wanted and kind_of(fd) not in _TAKES_DIRECT:
            return False
        flags = fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_DIRECT
        fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_DIRECT if wanted else flags)
        return wanted

    def pread(self, fd: int, length: int, offset: int) -> bytes:
        """Read some bytes at an offset."""
        return os.pread(fd, length, offset)

    def fsync(self, fd: int) -> None:
        """Flush a file to disk."""
        os.fsync(fd)

    def close(self, fd: int) -> None:
        """Close a descriptor."""
        os.close(fd)

    def mkdir(self, path: str, mode: int = FOLDER_MODE) -> None:
        """Make one folder; it must not exist."""
        os.mkdir(path, mode)

    def fsync_folder(self, path: str) -> None:
        """Flush a folder's entries to disk."""
        fd = os.open(path, _FOLDER)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def open_whole(self, folder: str) -> int | None:
        """Get ready to flush all of a folder's file system at once.

        Returns:
            A descriptor for `flush_whole`, or None where each file has to be flushed.
        """
        fd = os.open(folder, _FOLDER)
        if whole_flush.is_reliable(fd):
            return fd
        os.close(fd)
        return None

    def flush_whole(self, fd: int) -> None:
        """Flush all that was written to the file system."""
        whole_flush.flush(fd)

    def exists(self, path: str) -> bool:
        """Whether anything, even a broken link, is at the path."""
        return os.path.lexists(path)

    def rename(self, source: str, target: str) -> None:
        """Move within the file system."""
        os.rename(source, target)

    def rename_new(self, source: str, target: str) -> None:
        """Move within the file system, to where nothing may be."""
        # Names are random and never repeat: this guards against a mistake in the
        # caller, so that no race is left to close.
        if self.exists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
        self.rename(source, target)

    def unlink(self, path: str) -> None:
        """Remove a file or a link."""
        os.unlink(path)

    def files_with_age(self, folder: str, now_s: float) -> Iterator[tuple[str, float]]:
        """Names of regular files and the seconds since they were last written."""
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.is_file(follow_symlinks=False):
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # It has got its place meanwhile.
                yield entry.name, now_s - status.st_mtime

    def free_bytes(self, path: str) -> int:
        """The room that an ordinary user has on the file system of the path."""
        status = os.statvfs(path)
        return status.f_bavail * status.f_frsize


def write_all(fs: FileSystem, fd: int, data: bytes | bytearray | memoryview) -> None:
    """Write all of the data, in as many calls as it takes."""
    rest = memoryview(data)
    while rest:
        rest = rest[fs.write(fd, rest) :]


def fix_for(error: OSError) -> str:
    """What the operator can do about it."""
    return _FIXES.get(error.errno or 0, "See the system's documentation of that error.")


def is_full(error: OSError) -> bool:
    """Whether the error says that there is no room."""
    return error.errno in _FULL


def datastore_error(
    error: OSError, datastore_id: str, action: str, path: str
) -> DatastoreError:
    """The error for the caller, with the path and the fix in the log (R97)."""
    reason = error.strerror or str(error)
    detail = (
        f"datastore {datastore_id!r}: cannot {action} {path}: {reason}. "
        f"{fix_for(error)}"
    )
    return DatastoreFull(detail) if is_full(error) else DatastoreError(detail)
