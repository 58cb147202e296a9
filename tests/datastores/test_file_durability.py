"""The file datastore under failing calls and power cuts."""

from __future__ import annotations

import errno
import os

import pytest

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mmr.datastores.base import DatastoreError, DatastoreFull
from mmr.datastores.file import FileDatastore

from tests.datastores.fakes import (
    DISK_ERRORS,
    FaultyFileSystem,
    Op,
    RecordingFileSystem,
    file_store,
    files_below,
)

LOCATION = "ab/cd/ef"
SMALL, LARGE = 20_000, 600_000
WRITE_CALLS = (
    "create",
    "write",
    "fsync",
    "close",
    "mkdir",
    "rename",
    "fsync_folder",
    "free_bytes",
)


async def upload(store: FileDatastore, size: int, location: str = LOCATION) -> None:
    writer = await store.create()
    try:
        for _ in range(size // 20_000):
            await writer.write(b"x" * 20_000)
        await writer.seal()
        await writer.publish(location)
    finally:
        await writer.discard()


def outcome(store: FileDatastore, size: int) -> object:
    """The result, or the exception, of an upload that never waits."""
    results: list[object] = []
    Deferred.fromCoroutine(upload(store, size)).addBoth(results.append)
    (result,) = results
    return result.value if isinstance(result, Failure) else result


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("error", DISK_ERRORS)
@pytest.mark.parametrize("call", WRITE_CALLS)
def test_a_failing_call_ends_the_upload_and_leaves_nothing(
    tmp_path, call: str, error: int, size: int
) -> None:
    """R97: at each call, every error; nothing stays, the text names path and fix."""
    # The temporary folder is made by the start's check.
    (tmp_path / ".mmr-tmp").mkdir()
    result = outcome(file_store(str(tmp_path), FaultyFileSystem(call, error)), size)
    assert isinstance(result, DatastoreError)
    assert result.status in (500, 503)
    assert isinstance(result, DatastoreFull) == (error in (errno.ENOSPC, errno.EDQUOT))
    assert str(tmp_path) in str(result)
    assert str(tmp_path) not in str(result.body())
    assert os.strerror(error) in str(result)
    assert files_below(str(tmp_path)) == []


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("call", ["fsync", "fsync_folder"])
def test_a_failed_flush_is_never_tried_again(tmp_path, call: str, size: int) -> None:
    """R92: the kernel has dropped the pages; a second flush would lie."""
    fs = FaultyFileSystem(call, errno.EIO, times=1)
    result = outcome(file_store(str(tmp_path), fs), size)
    assert isinstance(result, DatastoreError)
    assert fs.calls[call] == 1
    assert files_below(str(tmp_path)) == []


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_uploads_work_again_after_a_failure(tmp_path, size: int) -> None:
    """R97."""
    fs = FaultyFileSystem("write", errno.ENOSPC, times=1)
    store = file_store(str(tmp_path), fs)
    assert isinstance(outcome(store, size), DatastoreFull)
    assert outcome(store, size) is None
    assert files_below(str(tmp_path)) == [LOCATION]


@pytest.mark.parametrize("error", DISK_ERRORS)
@pytest.mark.parametrize("call", ["create", "write", "fsync"])
def test_a_probe_notices_and_leaves_nothing(tmp_path, call: str, error: int) -> None:
    """R97: for readiness."""
    (tmp_path / ".mmr-tmp").mkdir()
    fs = FaultyFileSystem(call, error, times=1)
    store = file_store(str(tmp_path), fs)
    found: list[Failure | None] = []
    for _ in range(2):
        Deferred.fromCoroutine(store.probe()).addBoth(found.append)
    assert found[0] is not None
    assert found[0].check(DatastoreError)
    assert found[1] is None
    assert files_below(str(tmp_path)) == []


def test_reads_go_on_when_nothing_can_be_written(tmp_path) -> None:
    """R97."""
    assert outcome(file_store(str(tmp_path)), SMALL) is None
    store = file_store(str(tmp_path), FaultyFileSystem("write", errno.ENOSPC))
    found: list[object] = []
    Deferred.fromCoroutine(store.open(LOCATION)).addBoth(found.append)
    assert found[0].size == SMALL  # type: ignore[attr-defined]


@pytest.mark.parametrize("call", ["open", "regular_size", "pread"])
def test_a_failing_read_is_an_error_and_leaks_no_file(tmp_path, call: str) -> None:
    """R97: an object that can't be read is not a missing one."""
    assert outcome(file_store(str(tmp_path)), SMALL) is None
    fs = FaultyFileSystem(call, errno.EIO)
    results: list[Failure] = []
    opening = Deferred.fromCoroutine(file_store(str(tmp_path), fs).open(LOCATION))
    opening.addErrback(results.append)
    assert isinstance(results[0].value, DatastoreError)
    assert fs.calls["close"] == (call != "open")


class Disk:
    """What a power cut may leave, by the rules that file systems really keep.

    A file's bytes last once it was flushed. An entry (a rename, a new folder) may
    reach the disk at any time, and lasts once its folder was flushed.
    """

    def __init__(self) -> None:
        self.flushed: set[str] = set()
        self.entries: dict[str, bool] = {}
        self.contents: dict[str, bool] = {}

    def play(self, op: Op) -> None:
        if op.call in ("create", "mkdir"):
            self.entries[op.path] = False
            self.contents[op.path] = op.call == "mkdir"
        elif op.call == "write":
            self.contents[op.path] = False
        elif op.call == "fsync":
            self.contents[op.path] = True
        elif op.call == "rename":
            self.entries[op.target] = False
            self.contents[op.target] = self.contents[op.path]
        elif op.call == "fsync_folder":
            for path in self.entries:
                if os.path.dirname(path) == op.path:
                    self.entries[path] = True

    def may_show_torn(self, path: str) -> bool:
        return path in self.entries and not self.contents[path]

    def surely_holds(self, base: str, location: str) -> bool:
        path = os.path.join(base, location)
        if not self.contents.get(path, False):
            return False
        while path != base:
            # Folders from before the record began are on disk already.
            if not self.entries.get(path, True):
                return False
            path = os.path.dirname(path)
        return True


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_power_cut_never_shows_half_an_object_nor_loses_a_published_one(
    tmp_path, size: int
) -> None:
    """R91: the recorded calls, cut at every point."""
    fs, base = RecordingFileSystem(), str(tmp_path)
    assert outcome(file_store(base, fs), size) is None
    disk = Disk()
    for op in fs.ops:
        disk.play(op)
        assert not disk.may_show_torn(os.path.join(base, LOCATION))
    assert disk.surely_holds(base, LOCATION)


def test_the_order_of_calls(tmp_path) -> None:
    """R91: create, write, flush, folders and their flush, rename, flush."""
    (tmp_path / ".mmr-tmp").mkdir()
    fs, base = RecordingFileSystem(), str(tmp_path)
    assert outcome(file_store(base, fs), SMALL) is None
    calls = [op.call for op in fs.ops if op.call != "write"]
    assert calls == [
        "create",
        "fsync",
        "mkdir",
        "fsync_folder",
        "mkdir",
        "fsync_folder",
        "rename",
        "fsync_folder",
    ]


def test_a_folder_that_a_dead_process_made_is_flushed_again(tmp_path) -> None:
    """R91: made is not flushed: only what this process flushed counts."""
    (tmp_path / "ab" / "cd").mkdir(parents=True)
    fs, base = RecordingFileSystem(), str(tmp_path)
    store = file_store(base, fs)
    assert outcome(store, SMALL) is None
    flushed = [op.path for op in fs.ops if op.call == "fsync_folder"]
    assert flushed == [base, f"{base}/ab", f"{base}/ab/cd"]
    fs.ops.clear()
    Deferred.fromCoroutine(upload(store, SMALL, "ab/cd/other"))
    flushed = [op.path for op in fs.ops if op.call == "fsync_folder"]
    assert flushed == [f"{base}/ab/cd"]
