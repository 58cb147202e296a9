"""Reads a part of an archive in a process of its own, which is confined (R35, R77).

Unpacking is half the CPU time of an import, and what is unpacked is a stranger's.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from mmr.archives.reader import (
    MAX_NAME,
    SMALL_BYTES,
    End,
    Large,
    Piece,
    Refused,
)
from mmr.archives.unpack import ArchiveError
from mmr.errors import unavailable
from mmr.util.confined.channel import ProtocolError
from mmr.util.confined.limits import WorkerLimits
from mmr.util.confined.process import WorkerProcess
from mmr.util.memory_file import FileSlice, Payload, SharedFile, write_pieces

logger = logging.getLogger(__name__)

_COMMAND = (sys.executable, "-m", "mmr.archives.part_worker")
MAX_REASON = 500
# More than a window of the worker can have.
_MAX_EVENTS = 16_384
_MAX_LISTING = 48 * 1024 * 1024
_LIMITS = WorkerLimits(
    address_space=512 << 20,
    cpu_seconds=60,
    wall_seconds=120.0,
    file_bytes=64 << 20,
    jobs=1_000_000,
)


@attrs.frozen(slots=True)
class Held:
    """A small entry, whole, as `Small`; its bytes are not here but in a file."""

    name: str
    data: FileSlice


Found = Held | Large | Piece | End | Refused


class PartUnread(OSError):
    """It isn't known what the part holds: the process or the disk is at fault.

    To be tried again.
    """


class PartProcess:
    """Reads parts, one after the other, as `PartReader` reads one.

    All of it blocks: for pool threads. The process starts when it is first needed.

    Attributes:
        wants_input: Whether `read` has to be given more of the file.
    """

    def __init__(self) -> None:
        self.wants_input = True
        self._worker: WorkerProcess | None = None
        self._fault: Exception | None = None
        self._is_new = True
        # Of the part that is read; another one once that is given up.
        self._number = 0
        self._is_ended = False
        # One thread reads; `end` waits for it.
        self._lock = threading.Lock()

    def begin(self) -> int:
        """What is read next is another part. Gives its number, for `read`."""
        self.wants_input = self._is_new = True
        self._is_ended = False
        self._fault = None
        self._number += 1
        return self._number

    def read(
        self, packed: Payload, *, is_end: bool = False, number: int | None = None
    ) -> list[Found]:
        """What comes out next.

        Args:
            packed: What comes next of the file, if some is wanted.
            is_end: The file ends with that.
            number: Which part that is of; by default the one that has begun.

        Raises:
            ArchiveError: the rest can't be read. What came before is as good as ever.
            PartUnread: it may be read another time.
            MatrixError: 503: no process can be had.
        """
        with self._lock:
            # A thread may come to this only when its part was given up, and the next
            # one has begun: bytes of the one are no damage of the other.
            if number not in (None, self._number):
                raise PartUnread("nobody wants the rest")
            if self._fault is not None:
                raise self._fault
            worker = self._running()
            try:
                return self._exchange(worker, packed, is_end=is_end)
            except PartUnread as error:
                self._fault = error
                raise
            except (ProtocolError, OSError) as error:
                self._fault = PartUnread(
                    "the process that unpacks archives was lost; the log says how"
                )
                if not self._is_ended:
                    words = worker.last_words()
                    logger.warning("%s: %r, %s", self._fault, error, words)
                self._discard()
                raise self._fault from error

    def end(self) -> None:
        """End the process, whatever it does. `begin` may follow."""
        self._is_ended = True
        self._number += 1
        worker = self._worker
        if worker is not None:
            worker.kill()
        with self._lock:
            self._discard()

    def _discard(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()

    def _running(self) -> WorkerProcess:
        if self._is_ended:
            raise PartUnread("nobody wants the rest")
        if self._worker is not None and not self._worker.is_alive and self._is_new:
            self._discard()
        if self._worker is None:
            folder = Path(tempfile.gettempdir())
            try:
                self._worker = WorkerProcess(_COMMAND, _LIMITS, folder)
            except (ProtocolError, OSError) as error:
                logger.error("No process to read archives: %s", error)
                raise unavailable(
                    "The server can't read archives at the moment"
                ) from error
        return self._worker

    def _exchange(
        self, worker: WorkerProcess, packed: Payload, *, is_end: bool
    ) -> list[Found]:
        file = SharedFile.in_memory()
        message: dict[str, Any] = {"is_new": self._is_new, "is_end": is_end}
        files = [file.fd]
        if isinstance(packed, bytes):
            write_pieces(file.fd, [packed])
        else:
            message["piece"] = {"offset": packed.offset, "size": packed.size}
            files.append(packed.file.fd)
        worker.channel.limit(_LIMITS.wall_seconds)
        worker.channel.send(message, tuple(files))
        self._is_new = False
        received = worker.channel.receive()
        if received is None:
            raise ProtocolError("it ended")
        disk = received[0].get("disk")
        if disk is not None:
            raise PartUnread(f"it can't be read: {str(disk)[:MAX_REASON]}")
        events, wants_input, fault = _decode(received[0], file.sealed())
        self._fault = None if fault is None else ArchiveError(fault[:MAX_REASON])
        self.wants_input = wants_input and self._fault is None
        return events


def _decode(
    message: dict[str, Any], file: SharedFile
) -> tuple[list[Found], bool, str | None]:
    """The worker may have been taken over: all is checked."""
    try:
        listing_at, fault = message["listing_at"], message["fault"]
        if not (fault is None or isinstance(fault, str)):
            raise ProtocolError("not a fault")
        return (
            list(_Events(file, listing_at)),
            message["wants_input"] is True,
            fault,
        )
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise ProtocolError("not what a part holds") from error


class _Events:
    """The events of one answer. Raises `ValueError` for what makes no sense."""

    def __init__(self, file: SharedFile, listing_at: int) -> None:
        size = file.size - listing_at
        if not 0 <= size <= min(file.size, _MAX_LISTING):
            raise ValueError("no place for a list")
        self._file = file
        listing = FileSlice(file, listing_at, size).read()
        # Half a character can't be written so otherwise, and no database takes it.
        if b"\\ud" in listing.lower():
            raise ValueError("a text that is none")
        self._listing = json.loads(listing)
        if len(self._listing) > _MAX_EVENTS:
            raise ValueError("too many events")
        self._left = listing_at
        self._at = 0

    def __iter__(self) -> Iterator[Found]:
        for words in self._listing:
            yield self._small(*words) if words[0] == "small" else self._event(words)

    def _small(self, _: str, name: str, size: int) -> Held:
        """What nearly all are."""
        if type(name) is not str or type(size) is not int or size > SMALL_BYTES:
            raise ValueError("no small entry")
        return Held(name[:MAX_NAME], self._take(size))

    def _event(self, words: list[Any]) -> Found:
        match words:
            case "large", str(name), int(size) if size > SMALL_BYTES:
                return Large(name[:MAX_NAME], size)
            case "piece", int(size):
                return Piece(self._take(size).read())
            case "refused", str(name), str(reason):
                return Refused(name[:MAX_NAME], reason[:MAX_REASON])
            case ["end"]:
                return End()
        raise ValueError("no event")

    def _take(self, size: int) -> FileSlice:
        if not 0 <= size <= self._left:
            raise ValueError("not so many bytes")
        self._left -= size
        self._at += size
        return FileSlice(self._file, self._at - size, size)
