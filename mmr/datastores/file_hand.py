"""A process that hashes and stores small files, beside the server's interpreter.

Each file costs half a dozen system calls. In a thread, each of them gives the
interpreter's lock away and waits for it again: half of what an import costs.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from mmr.datastores.base import DatastoreError
from mmr.datastores.file_batch import BatchFailed
from mmr.util.confined.channel import ProtocolError
from mmr.util.confined.limits import WorkerLimits
from mmr.util.confined.process import WorkerLost, WorkerPlace
from mmr.util.memory_file import memory_file, write_pieces

T = TypeVar("T")

_COMMAND = (sys.executable, "-m", "mmr.datastores.file_worker")

# A flush waits for the disk, and so would a thread.
_LIMITS = WorkerLimits(wall_seconds=3600.0, jobs=10_000)


class FileHand:
    """Starts the process when it is first needed. Blocks: for pool threads."""

    def __init__(self) -> None:
        folder = Path(tempfile.gettempdir())
        self._place = WorkerPlace("file", _COMMAND, _LIMITS, folder)
        # It does one job at a time.
        self._lock = threading.Lock()

    def exchange(
        self, message: dict[str, Any], fd: int, decode: Callable[[dict[str, Any]], T]
    ) -> T:
        """Have a job done. See `WorkerPlace.exchange`.

        Raises:
            DatastoreError: the process was lost.
            MatrixError: 503: none can be had.
        """
        with self._lock:
            try:
                return self._place.exchange(message, (fd,), decode)
            except WorkerLost as error:
                raise DatastoreError(
                    "the process that stores files was lost"
                ) from error

    def rest(self) -> None:
        """End the process, after what it is at; the next job starts another."""
        with self._lock:
            self._place.discard()


class InHand:
    """Contents where the process finds them. Blocks: for pool threads.

    Attributes:
        hashes: SHA-256 of each, in hex.

    Raises:
        OSError: no memory.
        DatastoreError: see `FileHand.exchange`; and `MatrixError`.
    """

    def __init__(self, hand: FileHand, contents: Sequence[bytes | memoryview]) -> None:
        self._hand = hand
        self._sizes = [len(data) for data in contents]
        # Behind the contents come the words of each job, and those of its answer.
        self._words_at = sum(self._sizes)
        self._closing = ExitStack()
        self._file: BinaryIO = self._closing.enter_context(memory_file())
        try:
            write_pieces(self._file.fileno(), contents)
            self.hashes = self._hash()
        except BaseException:
            self.close()
            raise

    def put(self, base: str, names: Sequence[tuple[str, str] | None]) -> None:
        """Do what `FileBatch.put` does.

        Args:
            base: The datastore's folder.
            names: Temporary name and location of each content; None: it isn't stored.

        Raises:
            BatchFailed: see there.
            DatastoreError: the process was lost. Some may be visible.
        """
        objects = []
        at = 0
        for size, each in zip(self._sizes, names, strict=True):
            if each is not None:
                objects.append((*each, at, size))
            at += size
        fault = self._exchange("put", objects, _fault_of, base=base)
        if fault is not None:
            raise fault

    def close(self) -> None:
        """Let go of the contents."""
        self._closing.close()

    def _hash(self) -> list[str]:
        self._exchange("hash", self._sizes, lambda _: None)
        size = os.fstat(self._file.fileno()).st_size - self._words_at
        found: list[str] = json.loads(
            os.pread(self._file.fileno(), size, self._words_at)
        )
        return found

    def _exchange(
        self,
        job: str,
        words: object,
        decode: Callable[[dict[str, Any]], T],
        **more: object,
    ) -> T:
        fd = self._file.fileno()
        write_words(fd, self._words_at, words)
        message = {"job": job, "words_at": self._words_at, **more}
        return self._hand.exchange(message, fd, decode)


def write_words(fd: int, at: int, words: object) -> None:
    """Replace the words behind the contents."""
    os.ftruncate(fd, at)
    os.lseek(fd, at, os.SEEK_SET)
    write_pieces(fd, [json.dumps(words).encode()])


def _fault_of(message: dict[str, Any]) -> BatchFailed | None:
    try:
        fault = message["fault"]
        if fault is None:
            return None
        return BatchFailed(fault["action"], OSError(fault["errno"], fault["text"]))
    except (KeyError, TypeError) as error:
        raise ProtocolError("not an answer") from error
