"""Parts of archives, read in a process of their own (R35, R77)."""

from __future__ import annotations

import gzip
import json
import mmap
import os
import signal
import sys
import tarfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr.archives import part_process, part_worker
from mmr.archives.part_process import Found, Held, PartProcess, PartUnread
from mmr.archives.reader import End, Event, Large, PartReader, Piece, Refused, Small
from mmr.archives.unpack import ArchiveError
from mmr.util.confined.channel import ProtocolError
from mmr.util.memory_file import FileSlice, SharedFile, write_pieces

from tests.archives.test_reader import LARGE, events_of, special, tar

MANY = gzip.compress(
    tar(
        [*((f"f{number}", b"%d" % number * 900) for number in range(300)), ("l", LARGE)]
    )
)


@pytest.fixture
def part() -> Iterator[PartProcess]:
    part = PartProcess()
    yield part
    part.end()


def read(part: PartProcess, packed: bytes, piece: int = 65536) -> list[Found]:
    """All events of a file that comes in pieces."""
    found: list[Found] = []
    for start in range(0, len(packed), piece):
        found += part.read(packed[start : start + piece])
        while not part.wants_input:
            found += part.read(b"")
    found += part.read(b"", is_end=True)
    while not part.wants_input:
        found += part.read(b"", is_end=True)
    return found


@pytest.mark.parametrize("packed", [MANY, gzip.compress(special(type=b"2"))])
def test_it_gives_what_the_reader_gives(part: PartProcess, packed: bytes) -> None:
    assert whole(read(part, packed)) == whole(events_of(packed))


def whole(events: Iterable[Event | Found]) -> list[tuple[str, object]]:
    """What entries hold; how the bytes of large ones are cut doesn't matter."""
    found: list[tuple[str, object]] = []
    data = b""
    for event in events:
        match event:
            case Piece(piece):
                data += piece
            case End():
                found.append(("large", data))
                data = b""
            case Held(name, held):
                found.append(("entry", Small(name, held.read())))
            case _:
                found.append(("entry", event))
    return found


def test_bytes_of_a_part_that_was_given_up_are_none_of_the_next(
    part: PartProcess,
) -> None:
    """A thread may be late with them; the next part would be a damaged one."""
    given_up = part.begin()
    half = len(MANY) // 2
    part.read(MANY[:half], number=given_up)
    part.end()
    for begins in (False, True):
        if begins:
            part.begin()
        with pytest.raises(PartUnread):
            part.read(MANY[half:], number=given_up)
    assert whole(read(part, MANY)) == whole(events_of(MANY))


def test_an_answer_has_a_bounded_size(part: PartProcess) -> None:
    """R77: a megabyte may unpack to a gigabyte."""
    packed = gzip.compress(tar([("a", bytes(64 << 20))]))
    events = part.read(packed)
    sizes = []
    while not part.wants_input:
        sizes.append(sum(len(each.data) for each in events if isinstance(each, Piece)))
        events = part.read(b"")
    assert len(sizes) > 10
    assert max(sizes) <= part_worker.WINDOW_BYTES + (1 << 20)


def test_it_reads_a_file_itself(part: PartProcess, tmp_path: Path) -> None:
    """The caller's descriptor may be closed by then."""
    path = tmp_path / "part.tgz"
    path.write_bytes(b"before" + MANY)
    found: list[Found] = []
    for offset in range(0, len(MANY), 5000):
        with path.open("rb") as file:
            copy = SharedFile.copy(file.fileno())
        found += part.read(FileSlice(copy, offset + 6, 5000))
        while not part.wants_input:
            found += part.read(b"")
    found += part.read(b"", is_end=True)
    assert whole(found) == whole(events_of(MANY))


def test_a_file_that_can_not_be_read(part: PartProcess, tmp_path: Path) -> None:
    """R97: a bad block, say."""
    path = tmp_path / "part.tgz"
    path.write_bytes(MANY)
    with path.open("ab") as file:
        for _ in range(2):
            with pytest.raises(PartUnread, match="can't be read: Bad file descriptor"):
                part.read(FileSlice(SharedFile.copy(file.fileno()), 0, 5000))
    part.begin()
    assert whole(read(part, MANY)) == whole(events_of(MANY))


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.SYMTYPE])
def test_entries_without_bytes_count_as_well(part: PartProcess, kind: bytes) -> None:
    """R77: a small part may have a million of them."""
    head = tarfile.TarInfo("empty")
    head.type = kind
    events = part.read(gzip.compress(head.tobuf() * 50_000))
    most = part_worker.WINDOW_BYTES // 512 + 2048
    assert 0 < len(events) <= most
    while not part.wants_input:
        found = part.read(b"")
        assert len(found) <= most
        events += found
    assert len(events) == 50_000


def test_a_process_that_ended_while_it_was_idle_is_replaced(part: PartProcess) -> None:
    read(part, MANY)
    assert part._worker is not None
    part._worker.kill()
    part._worker._process.wait()
    part.begin()
    assert whole(read(part, MANY)) == whole(events_of(MANY))


@pytest.mark.parametrize("cut", [5000, -1])
def test_what_came_before_a_fault_is_given(part: PartProcess, cut: int) -> None:
    found = part.read(MANY[:cut])
    while not part.wants_input:
        found += part.read(b"")
    assert whole(found[:1]) == [("entry", Small("f0", b"0" * 900))]
    found = part.read(b"", is_end=True)
    assert found == []
    for _ in range(2):
        with pytest.raises(ArchiveError, match="early"):
            part.read(b"", is_end=True)


def test_a_file_that_is_no_gzip(part: PartProcess) -> None:
    part.read(b"no gzip at all")
    assert not part.wants_input
    with pytest.raises(ArchiveError, match="no gzip"):
        part.read(b"")


def test_a_process_that_dies_is_named(
    part: PartProcess, caplog: pytest.LogCaptureFixture
) -> None:
    part.read(MANY[:100])
    assert part._worker is not None
    os.kill(part._worker.pid, signal.SIGKILL)
    for _ in range(2):
        with pytest.raises(PartUnread, match="process that unpacks archives was lost"):
            part.read(MANY[100:])
    assert "was lost" in caplog.text


def test_parts_follow_one_another(part: PartProcess) -> None:
    assert len(read(part, MANY)) > 300
    assert part._worker is not None
    pid = part._worker.pid
    part.begin()
    part.read(b"no gzip at all")
    with pytest.raises(ArchiveError):
        part.read(b"")
    part.begin()
    assert whole(read(part, MANY)) == whole(events_of(MANY))
    assert part._worker.pid == pid


def test_another_process_follows_one_that_was_lost(part: PartProcess) -> None:
    part.read(MANY[:100])
    part.end()
    with pytest.raises(PartUnread, match="nobody"):
        part.read(MANY[100:])
    part.begin()
    assert whole(read(part, MANY)) == whole(events_of(MANY))


def test_the_process_is_confined(part: PartProcess) -> None:
    """R35."""
    part.read(MANY[:100])
    assert part._worker is not None
    assert "dies with the server" in part._worker.confinement


def test_the_end_comes_to_a_read_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """An import that is cancelled doesn't wait for the worker."""
    sleeper = (sys.executable, "-c", _SLEEPER)
    monkeypatch.setattr(part_process, "_COMMAND", sleeper)
    part = PartProcess()
    failures: list[BaseException] = []

    def hang() -> None:
        try:
            part.read(b"x")
        except PartUnread as error:
            failures.append(error)

    thread = threading.Thread(target=hang)
    thread.start()
    while part._worker is None:
        pass
    part.end()
    thread.join(10)
    assert len(failures) == 1
    with pytest.raises(PartUnread):
        part.read(b"x")


# Greets as a worker does, and then says nothing.
_SLEEPER = """
import os, struct, time
body = b'{"confinement": []}'
os.write(0, struct.pack("!I", len(body)) + body)
time.sleep(60)
"""

SMALL = ["small", "a", 3]


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"listing_at": 3, "wants_input": True, "fault": 7},
        {"listing_at": "3", "wants_input": True, "fault": None},
        {"listing_at": 2, "wants_input": True, "fault": None},
        {"listing_at": 3000, "wants_input": True, "fault": None},
    ],
)
def test_answers_that_make_no_sense_are_refused(message: dict[str, Any]) -> None:
    """R27: the process may have been taken over."""
    with pytest.raises(ProtocolError):
        decoded(b"abc", json.dumps([SMALL]), message)


@pytest.mark.parametrize(
    "listing",
    [
        "no JSON",
        "[3]",
        '["small"]',
        '[["small", "a", -1]]',
        '[["small", "a", 4]]',
        '[["small", "a", 2], ["piece", 2]]',
        '[["small", 3, 3]]',
        '[["small", "a", 300000]]',
        '[["large", "a", 3]]',
        '[["piece", "3"]]',
        '[["refused", "a"]]',
        '[["end", 1]]',
        "[" * 100_000,
        "[[]]",
        '[["small", "\\ud800", 3]]',
        '[["small", "\\uDC00", 3]]',
        "[" + '["end"],' * 20_000 + '["end"]]',
    ],
)
def test_lists_that_make_no_sense_are_refused(listing: str) -> None:
    """R27."""
    with pytest.raises(ProtocolError):
        decoded(b"abc", listing)


def decoded(
    data: bytes, listing: str, message: dict[str, Any] | None = None
) -> list[Found]:
    fine = {"listing_at": len(data), "wants_input": True, "fault": None}
    file = SharedFile.in_memory()
    write_pieces(file.fd, [data, listing.encode()])
    return part_process._decode(fine if message is None else message, file)[0]


@given(st.binary(max_size=3000), st.integers(1, 700))
def test_any_bytes_come_out_as_the_reader_gives_them(data: bytes, piece: int) -> None:
    """The worker's side, in this process."""
    for packed in (data, gzip.compress(tar([("a", data), ("b", b"2")]))):
        here = outcome(events_of, packed, piece)
        assert outcome(worked, packed, piece) == here


def outcome(
    read: Callable[..., Iterable[Event | Found]], packed: bytes, piece: int
) -> object:
    try:
        return whole(read(packed, piece))
    except ArchiveError as error:
        return str(error)


def worked(packed: bytes, piece: int) -> list[Found]:
    reader = PartReader()
    found: list[Found] = []
    starts = range(0, len(packed), piece)
    pieces = [packed[start : start + piece] for start in starts] + [None]
    for each in pieces:
        answer: dict[str, Any] = {"wants_input": False}
        taken = each or b""
        while not answer["wants_input"]:
            file = SharedFile.in_memory()
            write_pieces(file.fd, [taken])
            answer = part_worker.answer(reader, {"is_end": each is None}, [file.fd])
            found += part_process._decode(answer, file)[0]
            if answer["fault"] is not None:
                raise ArchiveError(answer["fault"])
            taken = b""
    return found


def test_nobody_changes_what_was_given(part: PartProcess) -> None:
    """R35: the hash is taken of what is stored, also when the process is taken over."""
    held = part.read(MANY)[0]
    assert isinstance(held, Held)
    with pytest.raises(PermissionError):
        os.pwrite(held.data.file.fd, b"other", 0)
    with pytest.raises(PermissionError):
        os.ftruncate(held.data.file.fd, 0)


def test_what_somebody_can_still_write_to_is_not_taken() -> None:
    file = SharedFile.in_memory()
    write_pieces(file.fd, [b"abc"])
    with mmap.mmap(file.fd, 0), pytest.raises(OSError, match="busy"):
        file.sealed()


def test_a_refused_entry_keeps_its_name_and_its_reason(part: PartProcess) -> None:
    events = read(part, gzip.compress(special(type=b"1")))
    assert isinstance(events[0], Refused)
    assert whole(events[1:]) == [("entry", Small("after", b"abc"))]
    assert not any(isinstance(event, Large) for event in events)
