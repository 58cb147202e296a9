"""Another homeserver's media into an archive, while neither of the servers runs.

All of it blocks: for programs without a reactor.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import BinaryIO, Protocol

import attrs

from mmr.archives.folder import ArchiveWriter, FolderArchive
from mmr.archives.manifest import MediaEntry
from mmr.archives.writer import entry_name
from mmr.interop.dendrite_database import DendriteDatabase
from mmr.interop.media_folder import CHUNK_BYTES, MediaFolder
from mmr.interop.sources import SourceError, StoredMedia
from mmr.interop.synapse_database import SynapseDatabase
from mmr.interop.synapse_store import UnsafeName
from mmr.media.adopted import AdoptedMedia, fault_of
from mmr.tasks import dendrite_import, synapse_import
from mmr.tasks.export_entries import extension_of
from mmr.types import Mxc

QUARANTINED = "skipped: quarantined, which an archive can't say"

_AFTER, _FAILED = "after", "failed"


class Missing(SourceError):
    """A file isn't there, or can't be read."""


@attrs.frozen
class Row:
    """One row of the homeserver's table.

    Attributes:
        stored: Where its bytes are.
        media: What it is; None when it doesn't belong into an archive.
        skipped: Why not.
    """

    stored: StoredMedia
    media: AdoptedMedia | None
    skipped: str = ""


class Told(Protocol):
    """Hears what becomes of each row."""

    def skipped(self, reason: str) -> None:
        """It doesn't belong into an archive."""
        ...

    def done(self, size_bytes: int) -> None:
        """It is in the archive, or would be."""
        ...

    def failed(self, mxc: Mxc, why: str) -> None:
        """It is left out, for this reason."""
        ...


def synapse_rows(database: SynapseDatabase, after: str) -> Iterator[Row]:
    """Synapse's local media behind that id."""
    for batch in database.local_batches(after):
        for row in batch:
            if row.is_preview:
                yield Row(row, None, synapse_import.PREVIEWS)
            elif row.is_unfinished:
                yield Row(row, None, synapse_import.UNFINISHED)
            elif row.is_quarantined:
                yield Row(row, None, QUARANTINED)
            else:
                yield Row(row, synapse_import.adopted(row))


def dendrite_rows(
    database: DendriteDatabase, server_name: str, after: str
) -> Iterator[Row]:
    """Dendrite's local media behind that id."""
    place = (server_name, after)
    for batch in database.batches(with_remote=False, after=place):
        for row in batch:
            yield Row(row, dendrite_import.adopted(row))


class OfflineExport:
    """Copies the files of local media, one after the other.

    Args:
        folder: The homeserver's media folder.
        told: Is told of each row.
        skip_missing: Go on when a file is missing.

    Attributes:
        failed: Media left out so far, also by the run that was broken off.
    """

    def __init__(self, folder: MediaFolder, told: Told, *, skip_missing: bool) -> None:
        self.failed = 0
        self._after = ""
        self._folder = folder
        self._told = told
        self._skip_missing = skip_missing

    def look(self, rows: Callable[[str], Iterable[Row]]) -> None:
        """Say what would be in the archive. As `write` otherwise."""
        self._handle_all(rows(""), self._probe)

    def write(
        self,
        rows: Callable[[str], Iterable[Row]],
        archive: FolderArchive,
        part_bytes: int,
    ) -> None:
        """Fill the archive, and end it.

        Args:
            rows: Gives those behind an id, in order.
            archive: New, or what a broken-off run has left.

        Raises:
            Missing: the first file that is missing, unless they are skipped. The
                archive can be gone on with.
            StartupError: the database is gone. Likewise.
            OSError: the archive can't be written. Likewise.
        """
        place = archive.state.place
        self.failed = place.get(_FAILED, 0)
        self._after = place.get(_AFTER, "")
        writer = ArchiveWriter(archive, part_bytes)
        self._handle_all(rows(self._after), partial(self._copy, writer))
        writer.finish({_AFTER: self._after, _FAILED: self.failed})

    def _handle_all(
        self, rows: Iterable[Row], handle: Callable[[Row, AdoptedMedia], None]
    ) -> None:
        for row in rows:
            if row.media is None:
                self._told.skipped(row.skipped)
                continue
            try:
                handle(row, row.media)
            except SourceError as error:
                if isinstance(error, Missing) and not self._skip_missing:
                    raise Missing(f"{row.media.mxc}: {error}") from error
                self.failed += 1
                self._told.failed(row.media.mxc, str(error))
            else:
                self._told.done(row.media.expected_bytes or 0)
            self._after = row.media.media_id

    def _probe(self, row: Row, media: AdoptedMedia) -> None:
        self._open(row, media).close()

    def _copy(self, writer: ArchiveWriter, row: Row, media: AdoptedMedia) -> None:
        with self._open(row, media) as file:
            reading = _Reading(file, media.expected_bytes or 0)
            entry = _entry(media, extension_of(reading.head))
            place = {_AFTER: media.media_id, _FAILED: self.failed}
            if writer.add(entry, reading.pieces(), place):
                return
        if reading.error is not None:
            raise Missing(_reason(reading.error))
        raise SourceError("its bytes are not those that its row tells of")

    def _open(self, row: Row, media: AdoptedMedia) -> BinaryIO:
        fault = fault_of(media)
        if fault is not None:
            raise SourceError(fault)
        try:
            descriptor = self._folder.open(row.stored.path)
        except UnsafeName as error:
            raise SourceError(str(error)) from error
        except OSError as error:
            raise Missing(_reason(error)) from error
        size = os.fstat(descriptor).st_size
        if size != media.expected_bytes:
            os.close(descriptor)
            raise SourceError(
                f"its file has {size} bytes, its row says {media.expected_bytes}"
            )
        return open(descriptor, "rb", buffering=0)


class _Reading:
    """A file on its way into an archive: so many bytes of it, unless it breaks off.

    Attributes:
        head: The first bytes.
        error: Why it broke off.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.error: OSError | None = None
        self._file = file
        self._left = size
        self.head = self._read()

    def pieces(self) -> Iterator[bytes]:
        """All of it."""
        piece = self.head
        while piece:
            yield piece
            piece = self._read()

    def _read(self) -> bytes:
        try:
            piece = self._file.read(min(CHUNK_BYTES, self._left))
        except OSError as error:
            self.error = error
            return b""
        self._left -= len(piece)
        return piece


def _entry(media: AdoptedMedia, extension: str) -> MediaEntry:
    return MediaEntry(
        origin=media.origin,
        media_id=media.media_id,
        name=media.upload_name,
        file_name=entry_name(media.origin, media.media_id, extension),
        size_bytes=media.expected_bytes or 0,
        content_type=media.content_type,
        sha256=media.expected_sha256 or "",
        s3_url="",
        created_ts=media.creation_ts,
        uploader=media.user_id,
    )


def _reason(error: OSError) -> str:
    return f"{error.filename or 'the file'}: {error.strerror}"
