"""Reads a part of an archive in a process of its own, which is confined (R35, R77).

Unpacking is half the CPU time of an import, and what is unpacked is a stranger's.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmr.archives.reader import (
    MAX_NAME,
    SMALL_BYTES,
    End,
    Event,
    Large,
    Piece,
    Refused,
    Small,
)
from mmr.archives.unpack import ArchiveError
from mmr.errors import unavailable
from mmr.util.confined.channel import ProtocolError
from mmr.util.confined.limits import WorkerLimits
from mmr.util.confined.process import WorkerProcess
from mmr.util.memory_file import memory_file, write_pieces

logger = logging.getLogger(__name__)

_COMMAND = (sys.executable, "-m", "mmr.archives.part_worker")
_LIMITS = WorkerLimits(
    address_space=512 << 20,
    cpu_seconds=60,
    wall_seconds=120.0,
    file_bytes=64 << 20,
    jobs=1_000_000,
)


class FilePiece:
    """Some bytes of an open file: the process reads them itself.

    Args:
        fd: Stays the caller's.
    """

    def __init__(self, fd: int, offset: int, size: int) -> None:
        # The caller may close its own, and the number be another file's by then.
        self._fd: int | None = os.dup(fd)
        self.place = {"offset": offset, "size": size}

    def __del__(self) -> None:
        self.close()

    def fileno(self) -> int:
        """The copy of the descriptor."""
        assert self._fd is not None
        return self._fd

    def close(self) -> None:
        """Let go of it."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


Packed = bytes | FilePiece
"""What comes next of a part."""


class PartProcess:
    """Reads parts, one after the other, as `PartReader` reads one.

    All of it blocks: for pool threads. The process starts when it is first needed.

    Attributes:
        wants_input: Whether `read` has to be given more of the file.
    """

    def __init__(self) -> None:
        self.wants_input = True
        self._worker: WorkerProcess | None = None
        self._fault: str | None = None
        self._is_new = True
        self._is_ended = False
        # One thread reads; `end` waits for it.
        self._lock = threading.Lock()

    def begin(self) -> None:
        """What is read next is another part."""
        self.wants_input = self._is_new = True
        self._is_ended = False
        self._fault = None

    def read(self, packed: Packed, *, is_end: bool = False) -> list[Event]:
        """What comes out next.

        Args:
            packed: What comes next of the file, if some is wanted.
            is_end: The file ends with that.

        Raises:
            ArchiveError: the rest can't be read. What came before is as good as ever.
            MatrixError: 503: no process can be had.
        """
        with self._lock:
            if self._fault is not None:
                raise ArchiveError(self._fault)
            worker = self._running()
            try:
                return self._exchange(worker, packed, is_end=is_end)
            except (ProtocolError, OSError) as error:
                self._fault = "the process that reads it was lost; the log has more"
                if not self._is_ended:
                    words = worker.last_words()
                    logger.warning("%s: %r, %s", self._fault, error, words)
                self._discard()
                raise ArchiveError(self._fault) from error

    def end(self) -> None:
        """End the process, whatever it does. `begin` may follow."""
        self._is_ended = True
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
            raise ArchiveError("nobody wants the rest")
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
        self, worker: WorkerProcess, packed: Packed, *, is_end: bool
    ) -> list[Event]:
        with memory_file() as file:
            message: dict[str, Any] = {"is_new": self._is_new, "is_end": is_end}
            files = [file.fileno()]
            if isinstance(packed, FilePiece):
                message["piece"] = packed.place
                files.append(packed.fileno())
            else:
                write_pieces(file.fileno(), [packed])
            worker.channel.limit(_LIMITS.wall_seconds)
            worker.channel.send(message, tuple(files))
            self._is_new = False
            received = worker.channel.receive()
            if received is None:
                raise ProtocolError("it ended")
            events, wants_input, self._fault = _decode(received[0], file.fileno())
        self.wants_input = wants_input and self._fault is None
        return events


def _decode(message: dict[str, Any], fd: int) -> tuple[list[Event], bool, str | None]:
    """The worker may have been taken over: all is checked."""
    try:
        listing_at, fault = message["listing_at"], message["fault"]
        if not (fault is None or isinstance(fault, str)):
            raise ProtocolError("not a fault")
        # In one go: the interpreter's lock is free meanwhile.
        whole = os.pread(fd, os.fstat(fd).st_size, 0)
        found = list(_Events(whole, listing_at))
        return found, message["wants_input"] is True, fault
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ProtocolError("not what a part holds") from error


class _Events:
    """The events of one answer. Raises `ValueError` for what makes no sense."""

    def __init__(self, whole: bytes, listing_at: int) -> None:
        self._whole = whole
        self._listing = json.loads(whole[listing_at:])
        self._left = listing_at
        self._at = 0

    def __iter__(self) -> Iterator[Event]:
        for kind, *values in self._listing:
            yield self._event(kind, values)

    def _event(self, kind: str, values: list[Any]) -> Event:
        match kind, values:
            case "small", [str(name), int(size)] if size <= SMALL_BYTES:
                return Small(name[:MAX_NAME], self._take(size))
            case "large", [str(name), int(size)] if size > SMALL_BYTES:
                return Large(name[:MAX_NAME], size)
            case "piece", [int(size)]:
                return Piece(self._take(size))
            case "refused", [str(name), str(reason)]:
                return Refused(name[:MAX_NAME], reason)
            case "end", []:
                return End()
        raise ValueError("no event")

    def _take(self, size: int) -> bytes:
        if not 0 <= size <= self._left:
            raise ValueError("not so many bytes")
        self._left -= size
        self._at += size
        return self._whole[self._at - size : self._at]
