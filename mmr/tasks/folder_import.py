"""An archive in a folder: which files there are, and in which order they are read."""

from __future__ import annotations

import re
import stat
from collections.abc import AsyncIterator
from pathlib import Path

from mmr.archives.manifest import ManifestError
from mmr.archives.unpack import ArchiveError
from mmr.errors import StartupError
from mmr.tasks.archive_import import ArchiveImport
from mmr.tasks.archive_records import UNREADABLE, ArchiveRecords
from mmr.util.memory_file import FileSlice, Payload, SharedFile
from mmr.util.threads import Runner

_PIECE_BYTES = 4 * 1024 * 1024


class FolderImport:
    """Imports the parts in one folder.

    Args:
        threads: Reads the files.
    """

    def __init__(
        self,
        folder: Path,
        records: ArchiveRecords,
        importer: ArchiveImport,
        threads: Runner,
    ) -> None:
        self._folder = folder
        self._records = records
        self._importer = importer
        self._threads = threads
        self._files: list[Path] = []

    async def find_manifest(self) -> None:
        """Read the manifest, in whichever file it is.

        Raises:
            StartupError: there is none, or it can't be used.
        """
        self._files = await self._threads.run(self._list)
        unreadable = ""
        for path in sorted(self._files, key=_likeliest_first):
            try:
                if await self._importer.find_manifest(self._bytes_of(path)):
                    return
            except (ArchiveError, OSError) as error:
                # With a manifest found elsewhere, it is named when its media is read.
                unreadable += f"\n{path}: {_said(error)}"
            except ManifestError as error:
                raise StartupError(f"{path}: the manifest: {error}") from error
        raise StartupError(
            f"{self._folder}: no manifest.json is in any of its {len(self._files)} "
            "files. An export's last part, export-manifest.tgz, holds it." + unreadable
        )

    async def read_parts(self) -> None:
        """Import what all files hold. One that can't be read is named.

        Raises:
            MatrixError: our database or datastore doesn't work.
        """
        for path in self._files:
            try:
                await self._importer.read_part(self._bytes_of(path))
            except (ArchiveError, OSError) as error:
                self._records.tell(UNREADABLE, path.name, _said(error))
        await self._importer.adopt_urls()

    def _list(self) -> list[Path]:
        """Plain files right inside, in the order of their numbers."""
        try:
            paths = list(self._folder.iterdir())
        except OSError as error:
            raise StartupError(f"{self._folder} can't be read: {error}") from error
        return sorted(filter(_is_part, paths), key=_in_order)

    async def _bytes_of(self, path: Path) -> AsyncIterator[Payload]:
        file = await self._threads.run(path.open, "rb", buffering=0)
        with file:
            copy = SharedFile.copy(file.fileno())
            for offset in range(0, copy.size, _PIECE_BYTES):
                yield FileSlice(copy, offset, _PIECE_BYTES)


def _is_part(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        # To be named when it is read.
        return True


def _in_order(path: Path) -> list[tuple[int, str]]:
    """Part 10 comes behind part 9."""
    words = re.findall(r"[0-9]+|[^0-9]+", path.name)
    return [(int(word[:18]) if word.isdecimal() else -1, word) for word in words]


def _likeliest_first(path: Path) -> tuple[bool, list[tuple[int, str]]]:
    return "manifest" not in path.name, _in_order(path)


def _said(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error)
