"""The process that stores many small files."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mmr.datastores import file_hand
from mmr.datastores.base import DatastoreError, DatastoreFull
from mmr.datastores.file import FileDatastore
from mmr.datastores.file_batch import FEW
from mmr.datastores.file_hand import FileHand, InHand
from mmr.datastores.filesystem import FileSystem
from mmr.util.confined.process import WorkerPlace
from mmr.util.memory_file import (
    FileSlice,
    Payload,
    SharedFile,
    bytes_of,
    write_pieces,
)

from tests.datastores.fakes import file_store, files_below, put_all

MANY = [(f"ab/{n % 3:02}/{n:04}", b"%d" % n * 500) for n in range(30)] + [
    ("ab/00/empty", b"")
]


class NoFiles(FileSystem):
    """Here, nothing may be written."""

    def create(self, path: str) -> int:
        raise AssertionError(path)


@pytest.fixture
def hand() -> Iterator[FileHand]:
    hand = FileHand()
    yield hand
    hand.rest()


@pytest.fixture
def store(tmp_path: Path, hand: FileHand) -> FileDatastore:
    return file_store(str(tmp_path), NoFiles(), hand=hand)


def outcome(store: FileDatastore, objects: Sequence[tuple[str, Payload]]) -> object:
    results: list[object] = []
    Deferred.fromCoroutine(put_all(store, objects)).addBoth(results.append)
    (result,) = results
    return result.value if isinstance(result, Failure) else result


def pid_of(hand: FileHand) -> int:
    worker = hand._place._worker
    assert worker is not None
    return worker.pid


def test_it_stores_all(tmp_path: Path, store: FileDatastore) -> None:
    assert outcome(store, MANY) is None
    assert files_below(str(tmp_path)) == sorted(name for name, _ in MANY)
    assert all((tmp_path / name).read_bytes() == data for name, data in MANY)
    assert (tmp_path / MANY[0][0]).stat().st_mode & 0o777 == 0o644


def test_one_process_serves_several_stores(
    tmp_path: Path, store: FileDatastore, hand: FileHand
) -> None:
    other = file_store(str(tmp_path / "other"), NoFiles(), hand=hand)
    (tmp_path / "other").mkdir()
    assert outcome(store, MANY) is None
    pid = pid_of(hand)
    assert outcome(other, MANY) is None
    assert pid_of(hand) == pid
    assert all((tmp_path / "other" / name).read_bytes() == data for name, data in MANY)


def test_a_few_need_no_process(tmp_path: Path, hand: FileHand) -> None:
    store = file_store(str(tmp_path), hand=hand)
    assert outcome(store, MANY[:FEW]) is None
    assert hand._place._worker is None


def test_an_error_of_the_system_comes_over(
    tmp_path: Path, store: FileDatastore, caplog: pytest.LogCaptureFixture
) -> None:
    """R97: it names the folder and the fix; nothing unfinished stays."""
    (tmp_path / "ab").write_text("a file where a folder should be")
    result = outcome(store, MANY)
    assert isinstance(result, DatastoreError)
    assert str(tmp_path) in caplog.text
    assert "change the datastore's path" in caplog.text
    assert files_below(str(tmp_path / ".mmr-tmp")) == []
    assert store.unfinished == set()


def test_a_full_disk_is_told_as_such(
    monkeypatch: pytest.MonkeyPatch, store: FileDatastore
) -> None:
    """R97."""
    error = {"errno": errno.ENOSPC, "text": "No space left on device"}
    answer = {"fault": {**error, "action": "write below"}}
    exchange = WorkerPlace.exchange

    def full(
        self: WorkerPlace, message: dict[str, Any], files: tuple[int, ...], decode: Any
    ) -> object:
        if message["job"] == "put":
            return decode(answer)
        return exchange(self, message, files, decode)

    monkeypatch.setattr(WorkerPlace, "exchange", full)
    result = outcome(store, MANY)
    assert isinstance(result, DatastoreFull)
    assert "Free space on that disk" in str(result)


def test_no_object_takes_the_place_of_another(
    tmp_path: Path, store: FileDatastore
) -> None:
    assert outcome(store, MANY) is None
    other = [(name, b"other") for name, _ in MANY]
    assert isinstance(outcome(store, other), DatastoreError)
    assert all((tmp_path / name).read_bytes() == data for name, data in MANY)


def test_the_sweep_leaves_alone_what_it_writes(
    tmp_path: Path, store: FileDatastore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R95: whatever the clock says."""
    put = InHand.put
    swept: list[int] = []

    def watched(self: InHand, base: str, names: list) -> None:
        temporary = tmp_path / ".mmr-tmp"
        temporary.mkdir()
        for name, _ in names:
            (temporary / name).touch()
        swept.append(store._sweep(-1))
        for name, _ in names:
            (temporary / name).unlink()
        put(self, base, names)

    monkeypatch.setattr(InHand, "put", watched)
    assert outcome(store, MANY) is None
    assert swept == [0]


def test_a_killed_process_is_replaced(store: FileDatastore, hand: FileHand) -> None:
    assert outcome(store, MANY) is None
    os.kill(pid_of(hand), signal.SIGKILL)
    again = [(f"x{name}", data) for name, data in MANY]
    assert outcome(store, again) is None


def test_only_what_has_a_location_is_stored(
    tmp_path: Path, store: FileDatastore
) -> None:
    async def some() -> None:
        taken = await store.take([data for _, data in MANY])
        await taken.put([None if n % 2 else name for n, (name, _) in enumerate(MANY)])
        taken.close()

    Deferred.fromCoroutine(some())
    stored = MANY[::2]
    assert files_below(str(tmp_path)) == sorted(name for name, _ in stored)
    assert all((tmp_path / name).read_bytes() == data for name, data in stored)


def test_one_that_dies_of_a_batch_stores_nothing_for_sure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The caller gives the batch up, as after a failed flush (R92)."""
    monkeypatch.setattr(file_hand, "_COMMAND", (sys.executable, "-c", _DIES))
    store = file_store(str(tmp_path), hand=FileHand())
    result = outcome(store, MANY)
    assert isinstance(result, DatastoreError)
    assert "datastore 'main': the process that stores its files was lost" in str(result)


_DIES = """
from mmr.util.confined.channel import Channel
channel = Channel.inherited()
channel.send({"confinement": []})
channel.receive(max_files=1)
"""


def test_none_is_left_when_it_rests(store: FileDatastore, hand: FileHand) -> None:
    assert outcome(store, MANY) is None
    pid = pid_of(hand)
    Deferred.fromCoroutine(store.rest())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert outcome(store, [(f"x{name}", data) for name, data in MANY]) is None


def test_none_is_left_of_a_store_that_is_dropped(tmp_path: Path) -> None:
    store = file_store(str(tmp_path), hand=FileHand())
    assert outcome(store, MANY) is None
    assert store._hand is not None
    pid = pid_of(store._hand)
    del store
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_without_a_process_it_goes_on_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A full /tmp, a limit of processes: no reason to store nothing."""
    monkeypatch.setattr(file_hand, "_COMMAND", ("/nowhere/python",))
    store = file_store(str(tmp_path), hand=FileHand())
    assert outcome(store, MANY) is None
    assert files_below(str(tmp_path)) == sorted(name for name, _ in MANY)
    assert "without a process" in caplog.text


def test_contents_may_be_in_files(
    tmp_path: Path, store: FileDatastore, hand: FileHand
) -> None:
    """However many, in whatever order, and bytes between them."""
    objects: list[tuple[str, Payload]] = list(MANY)
    for number in range(file_hand.MAX_FILES + 4):
        file = SharedFile.in_memory()
        write_pieces(file.fd, [b"before", b"%d" % number * 1000, b"after"])
        size = len(b"%d" % number * 1000)
        objects.insert(number * 2, (f"file/{number}", FileSlice(file, 6, size)))
        objects.append((f"again/{number}", FileSlice(file, 6, 5)))
    assert outcome(store, objects) is None
    assert all(
        (tmp_path / name).read_bytes() == bytes_of(data) for name, data in objects
    )


@pytest.mark.parametrize("most", [1, 7, 1 << 20])
def test_short_writes_are_finished(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    pieces = [b"abc", b"", b"defgh" * 3, b"i"] * 600
    writev = os.writev

    def short(fd: int, some: list[bytes]) -> int:
        return os.write(fd, b"".join(some)[:most])

    monkeypatch.setattr(os, "writev", writev if most > 100 else short)
    file = SharedFile.in_memory()
    write_pieces(file.fd, pieces)
    assert FileSlice(file, 0, file.size).read() == b"".join(pieces)
