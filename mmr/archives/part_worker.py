"""The process of `mmr.archives.part_process`: ``python -m mmr.archives.part_worker``.

It confines itself before it sees the first byte of a stranger's archive. What it
answers is in a file that came with the question.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from mmr.archives.reader import End, Event, Large, PartReader, Piece, Refused, Small
from mmr.archives.tar import BLOCK
from mmr.archives.unpack import ArchiveError
from mmr.util.confined.channel import Channel
from mmr.util.confined.confinement import confine, renew_cpu_limit
from mmr.util.confined.limits import WorkerLimits
from mmr.util.memory_file import write_pieces

WINDOW_BYTES = 4 * 1024 * 1024
"""An answer has about so many unpacked bytes at most, and what `PartReader.read` gives
at once. An entry counts for its head as well.
"""


def answer(
    reader: PartReader, message: dict[str, Any], files: list[int]
) -> dict[str, Any]:
    """Take in what comes next of a part, and give what comes out.

    Args:
        message: What `PartProcess` says.
        files: One for the answer, which may have the packed bytes in it; else one that
            has them.

    Returns:
        Where the list of events begins, behind their bytes; whether there is nothing
        more without more of the part; why the rest can't be read, or None. If the disk
        doesn't give what comes next, only that.
    """
    fault = None
    events: list[Event] = []
    try:
        packed = _packed(message.get("piece"), files)
    except OSError as error:
        return {"disk": error.strerror}
    try:
        if packed:
            reader.feed(packed)
        _read(reader, events)
        if message["is_end"] and reader.wants_input:
            reader.finish()
    except ArchiveError as error:
        fault = str(error)
    contents = [each.data for each in events if isinstance(each, Small | Piece)]
    described = [_described(event) for event in events]
    listing = json.dumps(described, ensure_ascii=False).encode()
    os.ftruncate(files[0], 0)
    os.lseek(files[0], 0, os.SEEK_SET)
    write_pieces(files[0], [*contents, listing])
    return {
        "listing_at": sum(map(len, contents)),
        "wants_input": reader.wants_input,
        "fault": fault,
    }


def _packed(piece: dict[str, int] | None, files: list[int]) -> bytes:
    """Either a piece of the second file, or all that is in the first."""
    if piece is None:
        return os.pread(files[0], os.fstat(files[0]).st_size, 0)
    data, size = b"", piece["size"]
    # Some file systems give less than was asked for.
    while more := os.pread(files[1], size - len(data), piece["offset"] + len(data)):
        data += more
    return data


def _read(reader: PartReader, events: list[Event]) -> None:
    size = 0
    while not reader.wants_input and size < WINDOW_BYTES:
        some = reader.read()
        events += some
        size += BLOCK * len(some)
        size += sum(len(each.data) for each in some if isinstance(each, Small | Piece))


def _described(event: Event) -> list[str | int]:
    """An event without its bytes; those lie in the order of the events."""
    match event:
        case Small(name, data):
            return ["small", name, len(data)]
        case Large(name, size):
            return ["large", name, size]
        case Piece(data):
            return ["piece", len(data)]
        case Refused(name, reason):
            return ["refused", name, reason]
        case End():
            return ["end"]


def main() -> None:
    """Confine the process, then read parts until the server hangs up."""
    limits = WorkerLimits(**json.loads(sys.argv[1]))
    channel = Channel.inherited()
    channel.send({"confinement": confine(limits)})
    reader = PartReader()
    while (received := channel.receive(max_files=2)) is not None:
        message, files = received
        renew_cpu_limit(limits.cpu_seconds)
        if message["is_new"]:
            reader = PartReader()
        channel.send(answer(reader, message, files))
        for file in files:
            os.close(file)


if __name__ == "__main__":
    main()
