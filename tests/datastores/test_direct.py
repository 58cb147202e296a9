"""Large files past the page cache: the same bytes, whatever the file system takes."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mmr.datastores.base import DatastoreFull
from mmr.datastores.direct import LARGE_BYTES, DirectOutput
from mmr.datastores.file import FileDatastore
from mmr.datastores.filesystem import FileSystem

from tests.datastores.fakes import FaultyFileSystem, file_store, files_below

MIB = 1024 * 1024
DATA = random.Random(1).randbytes(LARGE_BYTES + 4321)
LOCATION = "ab/cd/ef"


@attrs.define
class Blocks(FileSystem):
    """Takes nothing but blocks while writes are direct, as a disk does.

    Attributes:
        block: Bytes of one.
        most: Bytes that one call takes.
        sizes: What was written, in calls.
    """

    block: int = 4096
    most: int = 1 << 30
    is_direct: bool = False
    sizes: list[int] = attrs.Factory(list)

    def set_direct(self, fd: int, wanted: bool) -> bool:
        self.is_direct = wanted
        return wanted

    def write(self, fd: int, data: bytes | memoryview) -> int:
        if self.is_direct and len(data) % self.block:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        written = super().write(fd, data[: self.most])
        self.sizes.append(written)
        return written


def pieces(data: bytes) -> Iterator[bytes]:
    """As odd as bodies come."""
    sizes = random.Random(2)
    at = 0
    while at < len(data):
        size = sizes.randint(1, 700_000)
        yield data[at : at + size]
        at += size


def written(path: Path, fs: FileSystem, data: bytes) -> bytes:
    fd = fs.create(str(path))
    try:
        output = DirectOutput(fs, fd)
        for piece in pieces(data):
            output.write(piece)
        output.settle()
        assert not output.holds_back
    finally:
        fs.close(fd)
    return path.read_bytes()


@pytest.mark.parametrize(
    "size", [0, 1, 4096, MIB - 1, MIB, MIB + 1, 3 * MIB, 5_000_001]
)
def test_what_goes_in_is_in_the_file(tmp_path: Path, size: int) -> None:
    fs = Blocks()

    assert written(tmp_path / "file", fs, DATA[:size]) == DATA[:size]

    whole, rest = divmod(size, MIB)
    assert fs.sizes == [MIB] * whole + [rest] * bool(rest)


@pytest.mark.parametrize(
    "fs",
    [FileSystem(), Blocks(block=3 * MIB), Blocks(most=300_000)],
    ids=["as this disk does", "larger blocks", "short writes"],
)
def test_a_disk_that_takes_no_such_writes_gets_ordinary_ones(
    tmp_path: Path, fs: FileSystem
) -> None:
    data = DATA[:5_000_001]

    assert written(tmp_path / "file", fs, data) == data


def test_other_failures_are_not_hidden(tmp_path: Path) -> None:
    fs = FaultyFileSystem("write", errno.EIO)

    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        written(tmp_path / "file", fs, DATA[: 2 * MIB])


async def upload(store: FileDatastore) -> bytes:
    """Upload it; read it half way as well, as those do that wait for a fetch."""
    writer = await store.create(len(DATA))
    try:
        half = len(DATA) // 2
        for piece in pieces(DATA[:half]):
            await writer.write(piece)
        early = await writer.open_written()
        assert await early.read(half - 1000, 2000) == DATA[half - 1000 : half]
        await early.close()
        for piece in pieces(DATA[half:]):
            await writer.write(piece)
        await writer.seal()
        await writer.publish(LOCATION)
    finally:
        await writer.discard()
    stored = await store.open(LOCATION)
    content = await stored.read(0, stored.size)
    await stored.close()
    return content


def outcome(store: FileDatastore) -> object:
    results: list[object] = []
    Deferred.fromCoroutine(upload(store)).addBoth(results.append)
    (result,) = results
    return result.value if isinstance(result, Failure) else result


@pytest.mark.parametrize("fs", [FileSystem(), Blocks()], ids=["this disk", "blocks"])
def test_a_large_object_can_be_read_while_it_comes_and_afterwards(
    tmp_path: Path, fs: FileSystem
) -> None:
    assert outcome(file_store(str(tmp_path), fs)) == DATA


@pytest.mark.parametrize("after", [0, 3, 9])
def test_a_full_disk_leaves_nothing_of_it(tmp_path: Path, after: int) -> None:
    """R97."""
    fs = FaultyFileSystem("write", errno.ENOSPC, after=after)

    assert isinstance(outcome(file_store(str(tmp_path), fs)), DatastoreFull)
    assert files_below(str(tmp_path)) == []
