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
from pathlib import Path
from typing import Any, TypeVar

from mmr.datastores.file_batch import BatchFailed
from mmr.util.confined.channel import ProtocolError
from mmr.util.confined.limits import WorkerLimits
from mmr.util.confined.process import WorkerLost, WorkerPlace
from mmr.util.memory_file import (
    FileSlice,
    Payload,
    SharedFile,
    bytes_of,
    write_pieces,
)

T = TypeVar("T")

_COMMAND = (sys.executable, "-m", "mmr.datastores.file_worker")

MAX_FILES = 16
"""That go along with a job."""
# A flush waits for the disk, and so would a thread.
_LIMITS = WorkerLimits(wall_seconds=3600.0, jobs=10_000)


class HandLost(Exception):
    """The process died of a job. Some of it may be done."""


class FileHand:
    """Starts the process when it is first needed. Blocks: for pool threads."""

    def __init__(self) -> None:
        folder = Path(tempfile.gettempdir())
        self._place = WorkerPlace("file", _COMMAND, _LIMITS, folder)
        # It does one job at a time.
        self._lock = threading.Lock()

    def __del__(self) -> None:
        # A datastore that a reload has dropped.
        self._place.discard()

    def exchange(
        self,
        message: dict[str, Any],
        files: tuple[int, ...],
        decode: Callable[[dict[str, Any]], T],
    ) -> T:
        """Have a job done. See `WorkerPlace.exchange`.

        Raises:
            HandLost: the process was lost.
            MatrixError: 503: none can be had.
        """
        with self._lock:
            try:
                return self._place.exchange(message, files, decode)
            except WorkerLost as error:
                raise HandLost from error

    @property
    def is_working(self) -> bool:
        """Whether there is a process."""
        return self._place.is_taken

    def rest(self) -> None:
        """End the process, after what it is at; the next job starts another."""
        with self._lock:
            self._place.discard()


class InHand:
    """Contents within the process's reach. Blocks: for pool threads.

    Attributes:
        hashes: SHA-256 of each, in hex.

    Raises:
        OSError: no memory.
        HandLost: see `FileHand.exchange`; and `MatrixError`.
    """

    def __init__(self, hand: FileHand, contents: Sequence[Payload]) -> None:
        self._hand = hand
        # What isn't in a file goes into ours, and behind it the words of each job.
        self._ours = SharedFile.in_memory()
        self._files = [self._ours]
        self._places: list[tuple[int, int, int]] = []
        self._words_at = 0
        here = [self._add(content) for content in contents]
        write_pieces(self._ours.fd, here)
        self.hashes = self._hash()

    def _add(self, content: Payload) -> bytes:
        """Note where a content is; gives it, if it has to be brought there."""
        if isinstance(content, FileSlice):
            index = self._index_of(content.file)
            if index is not None:
                self._places.append((index, content.offset, content.size))
                return b""
        data = bytes_of(content)
        self._places.append((0, self._words_at, len(data)))
        self._words_at += len(data)
        return data

    def _index_of(self, file: SharedFile) -> int | None:
        """Its place among those that go along; None: they are too many."""
        if self._files[-1] is not file:
            if file in self._files:
                return self._files.index(file)
            if len(self._files) == MAX_FILES:
                return None
            self._files.append(file)
        return len(self._files) - 1

    def put(self, base: str, names: Sequence[tuple[str, str] | None]) -> None:
        """Do what `FileBatch.put` does.

        Args:
            base: The datastore's folder.
            names: Temporary name and location of each content; None: it isn't stored.

        Raises:
            BatchFailed: see there.
            HandLost: the process was lost. Some may be visible.
        """
        objects = [
            (*each, place)
            for each, place in zip(names, self._places, strict=True)
            if each is not None
        ]
        fault = self._exchange("put", objects, _fault_of, base=base)
        if fault is not None:
            raise fault

    def close(self) -> None:
        """Let go of the contents."""
        self._files.clear()

    def _hash(self) -> list[str]:
        self._exchange("hash", self._places, lambda _: None)
        size = self._ours.size - self._words_at
        found: list[str] = json.loads(
            FileSlice(self._ours, self._words_at, size).read()
        )
        return found

    def _exchange(
        self,
        job: str,
        words: object,
        decode: Callable[[dict[str, Any]], T],
        **more: object,
    ) -> T:
        write_words(self._ours.fd, self._words_at, words)
        message = {"job": job, "words_at": self._words_at, **more}
        files = tuple(file.fd for file in self._files)
        return self._hand.exchange(message, files, decode)


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
