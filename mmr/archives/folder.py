"""An archive in a folder, which a broken-off run can go on with.

While it is made, a subfolder keeps what is known: the part under way, the records of
all media so far, and, after each finished part, how far that was. All of it blocks: for
pool threads and programs without a reactor.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import attrs

from mmr.archives.ending import Ending
from mmr.archives.manifest import MediaEntry
from mmr.archives.writer import MANIFEST_PART, EntryHead, PartEncoder, part_name

_WORK = ".unfinished-export"
_STATE, _RECORDS, _PART = "state.json", "records", "part"
_OUR_PART = re.compile(r"export-(part-[0-9]+|manifest)\.tgz\Z")
_BATCH = 500


class FolderInUse(Exception):
    """The folder has something in it that isn't this export's; the text says what."""


@attrs.frozen
class FolderState:
    """How far an export is, as of its last finished part.

    Attributes:
        created_ts: When it was begun, ms since the epoch.
        parts: Finished parts.
        position: Bytes of the records so far.
        place: Whatever the caller needs to go on from there.
    """

    entity_id: str
    created_ts: int
    parts: int = 0
    position: int = 0
    place: Mapping[str, Any] = attrs.field(factory=dict)


class FolderArchive:
    """Parts as files.

    Args:
        folder: Made when it isn't there. Parts of an earlier, finished export in it are
            replaced.
        entity_id: Whose media it is.
        now_ms: The time, for a new export.
        restart: Forget an unfinished export instead of going on with it.

    Raises:
        FolderInUse: there is an unfinished export of somebody else's media, or a
            program that writes one.
        OSError: the folder can't be used.
    """

    def __init__(
        self, folder: Path, entity_id: str, now_ms: int, *, restart: bool = False
    ) -> None:
        self._folder = folder
        self._work = folder / _WORK
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._lock: int | None = _lock(folder)
        self._part: BinaryIO | None = None
        self._name = ""
        try:
            self._open(FolderState(entity_id, now_ms), restart=restart)
        except BaseException:
            self._unlock()
            raise

    def _open(self, new: FolderState, *, restart: bool) -> None:
        found = None if restart else self._read_state()
        if found is not None and found.entity_id != new.entity_id:
            raise FolderInUse(
                f"{self._folder} holds an unfinished export of {found.entity_id}"
            )
        self.is_continued = found is not None
        self.state = found or self._begin_anew(new)
        self._records: BinaryIO = open(self._work / _RECORDS, "r+b")
        self._records.truncate(self.state.position)
        self._records.seek(self.state.position)

    def begin_part(self, file_name: str) -> None:
        """Start a part. It isn't there under its name until it is finished."""
        self._part = open(self._work / _PART, "wb")
        self._name = file_name

    def write(self, data: bytes) -> None:
        """Append bytes to the part, encoded ones."""
        assert self._part is not None
        self._part.write(data)

    def note(self, entries: Iterable[MediaEntry]) -> None:
        """List media that are in the part."""
        lines = [json.dumps(attrs.astuple(entry)) + "\n" for entry in entries]
        self._records.write("".join(lines).encode())

    def finish_part(self, place: Mapping[str, Any]) -> None:
        """Put the part under its name, on disk, and remember how far that was.

        The part with the manifest is the last: the export is whole then.
        """
        self._publish()
        if self._name == MANIFEST_PART:
            self.close()
            self._clear_up()
            return
        _flush(self._records)
        self.state = attrs.evolve(
            self.state,
            parts=self.state.parts + 1,
            position=self._records.tell(),
            place=place,
        )
        self._write_state(self.state)

    def entries(self) -> Iterator[list[MediaEntry]]:
        """All media noted so far, some at a time."""
        self._records.flush()
        with open(self._work / _RECORDS, "rb") as records:
            while lines := list(itertools.islice(records, _BATCH)):
                yield [MediaEntry(*json.loads(line)) for line in lines]

    def close(self) -> None:
        """Leave it as it is. What isn't finished can be gone on with."""
        if self._part is not None:
            self._part.close()
        self._records.close()
        self._unlock()

    def _unlock(self) -> None:
        descriptor, self._lock = self._lock, None
        if descriptor is not None:
            os.close(descriptor)

    def _publish(self) -> None:
        assert self._part is not None
        _flush(self._part)
        self._part.close()
        self._part = None
        os.rename(self._work / _PART, self._folder / self._name)
        _flush_folder(self._folder)

    def _read_state(self) -> FolderState | None:
        path = self._work / _STATE
        try:
            return FolderState(**json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (TypeError, ValueError) as error:
            raise FolderInUse(f"{path} can't be read: {error}") from error

    def _begin_anew(self, state: FolderState) -> FolderState:
        self._clear_up()
        self._work.mkdir(mode=0o755)
        for path in self._folder.iterdir():
            if _OUR_PART.match(path.name):
                path.unlink()
        (self._work / _RECORDS).touch()
        self._write_state(state)
        return state

    def _clear_up(self) -> None:
        """Forget what is known. A run cut off here leaves nothing to go on with."""
        with contextlib.suppress(FileNotFoundError):
            (self._work / _STATE).unlink()
        shutil.rmtree(self._work, ignore_errors=True)

    def _write_state(self, state: FolderState) -> None:
        path = self._work / _STATE
        with open(path.with_suffix(".new"), "wb") as file:
            file.write(json.dumps(attrs.asdict(state)).encode())
            _flush(file)
        os.rename(path.with_suffix(".new"), path)
        _flush_folder(self._work)


class ArchiveWriter:
    """Fills a folder archive, for programs without a reactor.

    Args:
        target_bytes: Payload after which a part is closed.
    """

    def __init__(self, archive: FolderArchive, target_bytes: int) -> None:
        self._archive = archive
        self._target_bytes = target_bytes
        self._encoder: PartEncoder | None = None
        self._payload = 0

    def add(
        self, entry: MediaEntry, pieces: Iterable[bytes], place: Mapping[str, Any]
    ) -> bool:
        """Append one media.

        Args:
            entry: Without a hash, it is listed with that of the bytes.
            place: Where to go on behind this media.

        Returns:
            False when the pieces were fewer bytes than the entry says, or others: then
            it isn't listed.

        Raises:
            ValueError: they were more.
        """
        encoder = self._open()
        head = EntryHead(entry.file_name, entry.size_bytes, entry.created_ts // 1000)
        self._archive.write(encoder.encode([head]))
        given, digest = 0, hashlib.sha256()
        for piece in pieces:
            self._archive.write(encoder.encode([piece]))
            digest.update(piece)
            given += len(piece)
        sha256 = digest.hexdigest()
        is_right = given == entry.size_bytes and entry.sha256 in ("", sha256)
        if is_right:
            self._archive.note([attrs.evolve(entry, sha256=sha256)])
        self._payload += entry.size_bytes
        # Behind one that isn't right only the caller knows where to go on.
        if is_right and self._payload >= self._target_bytes:
            self._close_part(place)
        return is_right

    def finish(self, place: Mapping[str, Any]) -> None:
        """Close the last part and write manifest and index."""
        if self._encoder is not None or not self._archive.state.parts:
            self._open()
            self._close_part(place)
        state = self._archive.state
        ending = Ending(state.entity_id, state.created_ts)
        try:
            for batch in self._archive.entries():
                ending.add(batch)
            self._archive.begin_part(MANIFEST_PART)
            for piece in ending.encoded():
                self._archive.write(piece)
        finally:
            ending.close()
        self._archive.finish_part(place)

    def _open(self) -> PartEncoder:
        if self._encoder is None:
            name = part_name(self._archive.state.parts + 1)
            self._archive.begin_part(name)
            self._encoder = PartEncoder(name)
            self._payload = 0
        return self._encoder

    def _close_part(self, place: Mapping[str, Any]) -> None:
        assert self._encoder is not None
        self._archive.write(self._encoder.close())
        self._encoder = None
        self._archive.finish_part(place)


def _lock(folder: Path) -> int:
    """Lock the folder: a descriptor; the lock ends with it, or with the process."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise FolderInUse(f"another program writes an export to {folder}") from None
    return descriptor


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
