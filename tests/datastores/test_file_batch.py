"""Many small objects, stored with few flushes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mmr.datastores import whole_flush
from mmr.datastores.base import BadLocation, DatastoreError, DatastoreFull
from mmr.datastores.file import FileDatastore
from mmr.datastores.filesystem import FileSystem

from tests.datastores.fakes import (
    DISK_ERRORS,
    FaultyFileSystem,
    Op,
    RecordingFileSystem,
    file_store,
    files_below,
    put_all,
)

MANY = [(f"ab/{n % 3:02}/{n:04}", b"%d" % n * 500) for n in range(20)]
FEW = MANY[:3]
CALLS = ("create", "write", "close", "mkdir", "rename", "free_bytes")


class WholeRecorder(RecordingFileSystem):
    """Records the flush of a file system as well; it can be made unreliable."""

    def __init__(self, *, is_reliable: bool = True) -> None:
        super().__init__()
        self.is_reliable = is_reliable

    def open_whole(self, folder: str) -> int | None:
        return super().open_whole(folder) if self.is_reliable else None

    def flush_whole(self, fd: int) -> None:
        super().flush_whole(fd)
        self.ops.append(Op("flush_whole", ""))


def outcome(store: FileDatastore, objects: list[tuple[str, bytes]]) -> object:
    results: list[object] = []
    Deferred.fromCoroutine(put_all(store, objects)).addBoth(results.append)
    (result,) = results
    return result.value if isinstance(result, Failure) else result


@pytest.mark.parametrize("objects", [FEW, MANY])
def test_all_are_there_afterwards(tmp_path: Path, objects: list) -> None:
    store = file_store(str(tmp_path))
    assert outcome(store, objects) is None
    assert files_below(str(tmp_path)) == sorted(name for name, _ in objects)
    assert all((tmp_path / name).read_bytes() == data for name, data in objects)
    assert store.unfinished == set()


class Disk:
    """What a power cut may leave: what was flushed, and anything else or not."""

    def __init__(self) -> None:
        self.is_whole: dict[str, bool] = {}
        self.is_entered: dict[str, bool] = {}

    def play(self, op: Op) -> None:
        if op.call in ("create", "mkdir"):
            self.is_entered[op.path] = False
            self.is_whole[op.path] = op.call == "mkdir"
        elif op.call == "write":
            self.is_whole[op.path] = False
        elif op.call == "fsync":
            self.is_whole[op.path] = True
        elif op.call == "rename":
            self.is_entered[op.target] = False
            self.is_whole[op.target] = self.is_whole.pop(op.path)
            del self.is_entered[op.path]
        elif op.call == "fsync_folder":
            self._enter(lambda path: os.path.dirname(path) == op.path)
        elif op.call == "flush_whole":
            self._enter(lambda path: True)
            self.is_whole = dict.fromkeys(self.is_whole, True)

    def _enter(self, wanted) -> None:
        self.is_entered |= {path: True for path in self.is_entered if wanted(path)}


@pytest.mark.parametrize("objects", [FEW, MANY])
@pytest.mark.parametrize("is_reliable", [True, False])
def test_a_power_cut_shows_no_half_object_and_loses_none_that_was_stored(
    tmp_path: Path, objects: list, is_reliable: bool
) -> None:
    """R91: the recorded calls, cut at every point."""
    fs, disk = WholeRecorder(is_reliable=is_reliable), Disk()
    assert outcome(file_store(str(tmp_path), fs), objects) is None
    places = {str(tmp_path / name) for name, _ in objects}
    for op in fs.ops:
        disk.play(op)
        assert all(disk.is_whole[path] for path in places & disk.is_whole.keys())
    assert places <= disk.is_whole.keys()
    folders = {str(tmp_path / name[:2]) for name, _ in objects}
    folders |= {str(tmp_path / name[:5]) for name, _ in objects}
    assert all(disk.is_entered[path] for path in places | folders)


def test_many_cost_two_flushes(tmp_path: Path) -> None:
    fs = WholeRecorder()
    assert outcome(file_store(str(tmp_path), fs), MANY) is None
    flushes = [op.call for op in fs.ops if "flush" in op.call or "fsync" in op.call]
    assert flushes == ["flush_whole", "flush_whole"]


def test_folders_of_a_batch_need_no_flush_afterwards(tmp_path: Path) -> None:
    fs = WholeRecorder()
    store = file_store(str(tmp_path), fs)
    assert outcome(store, MANY) is None
    fs.ops.clear()
    assert outcome(store, [("ab/00/another", b"x")]) is None
    folders = [op.path for op in fs.ops if op.call == "fsync_folder"]
    assert folders == [str(tmp_path / "ab" / "00")]


@pytest.mark.parametrize("objects", [FEW, MANY])
@pytest.mark.parametrize("error", DISK_ERRORS)
@pytest.mark.parametrize("call", CALLS)
def test_a_failing_call_leaves_no_temporary_file(
    tmp_path: Path, call: str, error: int, objects: list
) -> None:
    """R97: at each call, every error; the text names path and fix."""
    (tmp_path / ".mmr-tmp").mkdir()
    store = file_store(str(tmp_path), FaultyFileSystem(call, error, after=1))
    if call == "free_bytes":
        store = file_store(str(tmp_path), FaultyFileSystem(call, error))
    result = outcome(store, objects)
    assert isinstance(result, DatastoreError)
    assert isinstance(result, DatastoreFull) == (error in (errno.ENOSPC, errno.EDQUOT))
    assert str(tmp_path) in str(result)
    assert str(tmp_path) not in str(result.body())
    assert files_below(str(tmp_path / ".mmr-tmp")) == []
    assert store.unfinished == set()


@pytest.mark.parametrize("call", ["flush_whole", "fsync", "fsync_folder"])
def test_a_failed_flush_is_final(tmp_path: Path, call: str) -> None:
    """R92."""
    fs = FaultyFileSystem(call, errno.EIO, times=1)
    objects = MANY if call == "flush_whole" else FEW
    result = outcome(file_store(str(tmp_path), fs), objects)
    assert isinstance(result, DatastoreError)
    assert fs.calls[call] == 1
    assert files_below(str(tmp_path)) == []


def test_no_object_takes_the_place_of_another(tmp_path: Path) -> None:
    store = file_store(str(tmp_path))
    assert outcome(store, MANY[:1]) is None
    assert isinstance(outcome(store, [(MANY[0][0], b"other")]), DatastoreError)
    assert (tmp_path / MANY[0][0]).read_bytes() == MANY[0][1]


@pytest.mark.parametrize("location", ["../x", "/etc/x", "a//b", ".mmr-tmp/x"])
def test_a_bad_location_is_refused(tmp_path: Path, location: str) -> None:
    """R71."""
    assert isinstance(
        outcome(file_store(str(tmp_path)), [(location, b"x")]), BadLocation
    )
    assert files_below(str(tmp_path)) == []


def test_space_is_asked_for_before_anything_is_written(tmp_path: Path) -> None:
    """R82."""
    store = file_store(str(tmp_path), floor=1 << 60)
    assert isinstance(outcome(store, MANY), DatastoreFull)
    assert files_below(str(tmp_path)) == []


def test_a_file_system_that_may_swallow_the_flush_is_not_relied_on() -> None:
    """/proc stands for FUSE and the like: it isn't on the list."""
    fd = os.open("/proc", os.O_RDONLY)
    try:
        assert not whole_flush.is_reliable(fd)
    finally:
        os.close(fd)
    assert FileSystem().open_whole("/proc") is None


def test_a_flush_that_fails_raises() -> None:
    fd = os.open(os.devnull, os.O_RDONLY)
    os.close(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        whole_flush.flush(fd)
