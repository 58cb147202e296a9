"""System calls that fail, are recorded, or are slow; pools without threads."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import attrs

from twisted.internet.task import Clock as FakeReactor
from twisted.trial.unittest import TestCase

from mmr.datastores.base import TakesMany
from mmr.datastores.file import FileDatastore
from mmr.datastores.file_hand import FileHand
from mmr.datastores.filesystem import FileSystem
from mmr.types import Kind
from mmr.util.clock import Clock
from mmr.util.memory_file import Payload, bytes_of

P = ParamSpec("P")
R = TypeVar("R")

ALL_KINDS = frozenset(Kind)


class Foreground:
    """Runs pool jobs at once and counts them."""

    def __init__(self) -> None:
        self.jobs = 0

    async def run(
        self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        self.jobs += 1
        return function(*args, **kwargs)


class FaultyFileSystem(FileSystem):
    """Fails the named call; ``after`` calls of it work first, ``times`` fail."""

    def __init__(
        self, call: str, error: int, *, after: int = 0, times: int = 1_000
    ) -> None:
        self._call = call
        self._error = error
        self._failing = range(after, after + times)
        self.calls: Counter[str] = Counter()

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name.startswith("_") or name == "calls":
            return value

        def call(*args: Any) -> Any:
            number = self.calls[name]
            self.calls[name] += 1
            if name == self._call and number in self._failing:
                raise OSError(self._error, os.strerror(self._error))
            return value(*args)

        return call


@attrs.define
class SmallDisk(FileSystem):
    """A disk with a settable amount of free space."""

    free: int
    asked: int = 0

    def free_bytes(self, path: str) -> int:
        self.asked += 1
        return self.free


@attrs.frozen
class Op:
    """One system call, with the path that it concerns."""

    call: str
    path: str
    target: str = ""


class RecordingFileSystem(FileSystem):
    """Does the calls and keeps the order of those that change the disk."""

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self._paths: dict[int, str] = {}

    def create(self, path: str) -> int:
        fd = super().create(path)
        self._paths[fd] = path
        self.ops.append(Op("create", path))
        return fd

    def write(self, fd: int, data: bytes | memoryview) -> int:
        # Short writes, as a disk that fills up gives them.
        written = super().write(fd, data[: max(1, len(data) // 2)])
        self.ops.append(Op("write", self._paths[fd]))
        return written

    def fsync(self, fd: int) -> None:
        super().fsync(fd)
        self.ops.append(Op("fsync", self._paths[fd]))

    def mkdir(self, path: str, mode: int = 0o755) -> None:
        super().mkdir(path, mode)
        self.ops.append(Op("mkdir", path))

    def fsync_folder(self, path: str) -> None:
        super().fsync_folder(path)
        self.ops.append(Op("fsync_folder", path))

    def rename(self, source: str, target: str) -> None:
        super().rename(source, target)
        self.ops.append(Op("rename", source, target))

    def unlink(self, path: str) -> None:
        super().unlink(path)
        self.ops.append(Op("unlink", path))


def file_store(
    path: str,
    fs: FileSystem | None = None,
    *,
    files: Any = None,
    kinds: frozenset[Kind] = ALL_KINDS,
    floor: int = 0,
    reactor: FakeReactor | None = None,
    hand: FileHand | None = None,
) -> FileDatastore:
    """A file datastore without threads, on a fake clock."""
    return FileDatastore(
        "main",
        kinds,
        path,
        files or Foreground(),
        Clock(reactor or FakeReactor()),
        lambda: floor,
        fs,
        hand=hand,
    )


async def put_all(store: TakesMany, objects: Sequence[tuple[str, Payload]]) -> None:
    """Store objects, given as locations and contents."""
    taken = await store.take([data for _, data in objects])
    try:
        assert taken.hashes == [
            hashlib.sha256(bytes_of(data)).hexdigest() for _, data in objects
        ]
        await taken.put([location for location, _ in objects])
    finally:
        taken.close()


def fresh_folder(case: TestCase) -> str:
    """An empty folder that goes with the test."""
    path = tempfile.mkdtemp()
    case.addCleanup(shutil.rmtree, path)
    return path


def put_file(*path: str) -> str:
    """Make a file and the folders above it."""
    joined = os.path.join(*path)
    os.makedirs(os.path.dirname(joined), exist_ok=True)
    with open(joined, "w") as file:
        file.write("secret")
    return joined


def files_below(path: str) -> list[str]:
    """Every file below a folder, relative to it."""
    return sorted(
        os.path.relpath(os.path.join(folder, name), path)
        for folder, _, names in os.walk(path)
        for name in names
    )


DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE)
