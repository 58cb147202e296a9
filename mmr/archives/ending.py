"""The last part of an archive: manifest and index, however many media there are."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from typing import IO

from mmr.archives.index_page import INDEX_NAME, IndexWriter
from mmr.archives.manifest import MANIFEST_NAME, ManifestWriter, MediaEntry
from mmr.archives.writer import MANIFEST_PART, EntryHead, PartEncoder

_PIECE_BYTES = 256 * 1024


class Ending:
    """Gathers manifest and index in temporary files. Blocks: for pool threads.

    Args:
        entity_id: Whose media it is.
        created_ts: When the archive was made, ms since the epoch.
    """

    def __init__(self, entity_id: str, created_ts: int) -> None:
        self._mtime_s = created_ts // 1000
        self._manifest_file = tempfile.TemporaryFile()
        self._index_file = tempfile.TemporaryFile()
        self._manifest = ManifestWriter(self._manifest_file, entity_id, created_ts)
        self._index = IndexWriter(self._index_file, entity_id)

    def add(self, entries: Iterable[MediaEntry]) -> None:
        """List some media."""
        rows = list(entries)
        for entry in rows:
            self._manifest.add(entry)
        self._index.add(rows)

    def encoded(self) -> Iterator[bytes]:
        """The part, piece by piece."""
        self._manifest.close()
        self._index.close()
        encoder = PartEncoder(MANIFEST_PART)
        for name, file in (
            (MANIFEST_NAME, self._manifest_file),
            (INDEX_NAME, self._index_file),
        ):
            yield encoder.encode([EntryHead(name, file.tell(), self._mtime_s)])
            for piece in _pieces(file):
                yield encoder.encode([piece])
        yield encoder.close()

    def close(self) -> None:
        """Remove the temporary files."""
        self._manifest_file.close()
        self._index_file.close()


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while piece := file.read(_PIECE_BYTES):
        yield piece
