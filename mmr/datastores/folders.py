"""The folders of a file datastore: locations in, safe paths out."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat

from mmr.datastores.base import BadLocation, ObjectMissing
from mmr.datastores.filesystem import FileSystem

TEMPORARY = ".mmr-tmp"

_TEMPORARY_NAME = re.compile(r"[0-9a-f]{32}\.part\Z")
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR})
_NOT_A_NAME = frozenset({errno.ELOOP, errno.ENAMETOOLONG})


def temporary_name() -> str:
    """A name for an unfinished file, which nobody else has."""
    return secrets.token_hex(16) + ".part"


def is_temporary_name(name: str) -> bool:
    """Whether `temporary_name` gave it."""
    return _TEMPORARY_NAME.match(name) is not None


def location_of(object_name: str) -> str:
    """MMR's place for a name: ``ab/cd/<rest>`` (mmr-storage §4.1)."""
    return f"{object_name[:2]}/{object_name[2:4]}/{object_name[4:]}"


def fault_of(location: str) -> str | None:
    """Why a location can't be one of ours, or None (R71)."""
    if "\0" in location:
        return "it holds a NUL"
    if location.startswith("/"):
        return "it is absolute"
    parts = location.split("/")
    if not {"", ".", ".."}.isdisjoint(parts):
        return "a part of it is empty or dots"
    if parts[0] == TEMPORARY:
        return "it is in the folder of unfinished files"
    try:
        os.fsencode(location)
    except UnicodeEncodeError:
        return "it isn't a file name on this system"
    return None


class Folders:
    """Turns locations into paths below the base, and makes folders that last.

    Args:
        datastore_id: For messages.
        base: The datastore's folder; it may itself be a symbolic link.
        fs: System calls.
        may_link_tops: The folders at the top may be links that lead anywhere.
    """

    def __init__(
        self,
        datastore_id: str,
        base: str,
        fs: FileSystem,
        *,
        may_link_tops: bool = False,
    ) -> None:
        self.base = base
        self.temporary = os.path.join(base, TEMPORARY)
        self._datastore_id = datastore_id
        self._fs = fs
        self._may_link_tops = may_link_tops
        # Folders whose own entry is known to be on disk. Names are hex in two levels,
        # so there are at most 65,792 in MMR's layout.
        self._durable: set[str] = {base}

    def path_of(self, location: str) -> str:
        """The path for a new object.

        Raises:
            BadLocation: see `fault_of`.
        """
        self._refuse_faults(location)
        return os.path.join(self.base, location)

    def path_to_read(self, location: str) -> str:
        """The path of an object with all links resolved.

        Raises:
            BadLocation: when it leads out of the base.
            ObjectMissing: when nothing is there.
        """
        return self._resolve(location, location)

    def path_to_delete(self, location: str) -> str:
        """As `path_to_read`, but a link in the last place is kept as it is: the link
        is deleted then, never what it points at.
        """
        folder, name = os.path.split(location)
        return os.path.join(self._resolve(location, folder), name)

    def ensure(self, path: str) -> None:
        """Make a folder below the base, and put it and its parents on disk (R91).

        A folder that is there already may be another thread's, or a dead process's,
        not flushed yet: only what this process has flushed itself counts.
        """
        if path in self._durable:
            return
        parent = os.path.dirname(path)
        self.ensure(parent)
        self.make(path)
        self._fs.fsync_folder(parent)
        self._durable.add(path)

    def make_below_base(self, path: str) -> bool:
        """Make a folder below the base, and its parents. The caller flushes them all,
        and says so: `note_flushed`. Tells whether it wasn't there.
        """
        if path in self._durable:
            return False
        self.make_below_base(os.path.dirname(path))
        return self.make(path)

    def note_flushed(self, path: str) -> None:
        """The whole file system was flushed since a folder was made."""
        while path not in self._durable:
            self._durable.add(path)
            path = os.path.dirname(path)

    def make_base(self) -> None:
        """Make the base and the folders above it, and put them on disk."""
        missing = []
        path = self.base
        while not os.path.lexists(path):
            missing.append(path)
            path = os.path.dirname(path)
        for path in reversed(missing):
            self._fs.mkdir(path)
            self._fs.fsync_folder(os.path.dirname(path))

    def make(self, path: str) -> bool:
        """Make a folder unless it is there. Tells whether it wasn't."""
        try:
            self._fs.mkdir(path)
        except FileExistsError:
            return False
        return True

    def _resolve(self, location: str, path: str) -> str:
        self._refuse_faults(location)
        plain = self._without_links(path)
        if plain is not None:
            return plain
        try:
            resolved = os.path.realpath(os.path.join(self.base, path), strict=True)
        except OSError as error:
            raise self._reading(error, location) from None
        top = location.partition("/")[0] if self._may_link_tops else ""
        base = os.path.realpath(os.path.join(self.base, top))
        if os.path.commonpath((base, resolved)) != base:
            raise BadLocation(
                self._datastore_id, location, "a link leads out of the datastore"
            )
        return resolved

    def _without_links(self, path: str) -> str | None:
        """The path below the base, if no link is in it: then it leads nowhere else."""
        at = self.base
        try:
            for part in path.split("/"):
                at = f"{at}/{part}"
                if stat.S_ISLNK(os.lstat(at).st_mode):
                    return None
        except OSError:
            return None
        return at

    def _reading(self, error: OSError, location: str) -> Exception:
        if error.errno in _NOT_A_NAME:
            return BadLocation(self._datastore_id, location, str(error.strerror))
        # A base that is gone is a disk that isn't mounted, not a missing object.
        if error.errno in _NOT_THERE and os.path.isdir(self.base):
            return ObjectMissing(location)
        return error

    def _refuse_faults(self, location: str) -> None:
        fault = fault_of(location)
        if fault is not None:
            raise BadLocation(self._datastore_id, location, fault)
