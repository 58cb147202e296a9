"""Parts of an archive: a tar wrapped in gzip, made piece by piece (mmr-storage §5.1).

Nothing here is larger in memory than what it is given at once.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterable

import attrs

from mmr.archives.pack import Packer

MANIFEST_PART = "export-manifest.tgz"
"""The last part: manifest and index."""
_SUFFIX = ".tgz"
_MODE = 0o644
_ZEROS = bytes(64 * 1024)


def part_name(index: int) -> str:
    """The file name of a part with media; the first has index 1."""
    return f"export-part-{index}{_SUFFIX}"


def entry_name(origin: str, media_id: str, extension: str) -> str:
    """The name of a media's entry. The extension has its dot, or is empty."""
    return f"{origin}__{media_id}{extension}"


@attrs.frozen
class EntryHead:
    """Begins an entry; its bytes follow.

    Attributes:
        mtime_s: Seconds since the epoch.
        sha256: What the bytes should have; empty: it isn't looked at.
    """

    name: str
    size: int
    mtime_s: int
    sha256: str = ""


class PartEncoder:
    """Makes one part. Costs CPU: for pool threads, one call at a time.

    Attributes:
        short: Names of entries that got fewer bytes than they promised: filled up with
            zeros, so that the rest of the part stays readable.
        altered: Names of entries whose hash isn't the promised one.
    """

    def __init__(self, file_name: str) -> None:
        self.short: list[str] = []
        self.altered: list[str] = []
        self._packer = Packer(file_name.removesuffix(_SUFFIX) + ".tar")
        self._entry: EntryHead | None = None
        self._hash = hashlib.sha256()
        self._missing = 0
        self._length = 0

    def encode(self, pieces: Iterable[EntryHead | bytes]) -> bytes:
        """Append entries, or parts of them.

        Returns:
            What is to be written now.

        Raises:
            ValueError: more bytes than the entry promised.
        """
        for piece in pieces:
            if isinstance(piece, EntryHead):
                self._begin(piece)
            else:
                self._append(piece)
        return self._packer.take()

    def close(self) -> bytes:
        """End the part.

        Returns:
            The last bytes.
        """
        self._end_entry()
        self._write(_ZEROS[: 2 * tarfile.BLOCKSIZE])
        self._write(_ZEROS[: -self._length % tarfile.RECORDSIZE])
        self._packer.close()
        return self._packer.take()

    def _begin(self, entry: EntryHead) -> None:
        self._end_entry()
        info = tarfile.TarInfo(entry.name)
        info.size, info.mtime, info.mode = entry.size, entry.mtime_s, _MODE
        self._write(info.tobuf(tarfile.PAX_FORMAT))
        self._entry, self._missing = entry, entry.size
        self._hash = hashlib.sha256()

    def _append(self, data: bytes) -> None:
        if len(data) > self._missing:
            raise ValueError("more bytes than the entry promised")
        self._missing -= len(data)
        self._hash.update(data)
        self._write(data)

    def _end_entry(self) -> None:
        entry, self._entry = self._entry, None
        if entry is None:
            return
        if self._missing:
            self.short.append(entry.name)
            while self._missing:
                self._append(_ZEROS[: self._missing])
        elif entry.sha256 not in ("", self._hash.hexdigest()):
            self.altered.append(entry.name)
        self._write(_ZEROS[: -self._length % tarfile.BLOCKSIZE])

    def _write(self, data: bytes) -> None:
        self._length += len(data)
        self._packer.write(data)
