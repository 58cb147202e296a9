"""WebP: a RIFF file whose first chunk has the size."""

from __future__ import annotations

from collections.abc import Iterator

from mmr.thumbnailing.containers.base import Container
from mmr.thumbnailing.exif import orientation
from mmr.thumbnailing.model import MAX_METADATA_BYTES, Refusal, Refused


def read_webp(data: bytes) -> Container:
    """Walk the chunks. Metadata stays in: the library hands it over unread.

    Raises:
        Refused: when the file is cut off or has no picture.
    """
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise Refused(Refusal.BROKEN)
    size: tuple[int, int] | None = None
    turn, icc = 1, None
    for kind, body in _chunks(data, end):
        size = size or webp_size(kind, body)
        if kind == b"EXIF" and len(body) <= MAX_METADATA_BYTES:
            turn = orientation(bytes(body))
        elif kind == b"ICCP" and len(body) <= MAX_METADATA_BYTES:
            icc = bytes(body)
    if size is None:
        raise Refused(Refusal.BROKEN)
    return Container(*size, data[:end], turn, icc)


def webp_size(kind: bytes, body: memoryview) -> tuple[int, int] | None:
    """Width and height from a chunk that has them."""
    if kind == b"VP8X" and len(body) >= 10:
        return 1 + _number(body[4:7]), 1 + _number(body[7:10])
    if kind == b"VP8 " and len(body) >= 10:
        return _number(body[6:8]) & 0x3FFF, _number(body[8:10]) & 0x3FFF
    if kind == b"VP8L" and len(body) >= 5:
        bits = _number(body[1:5])
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return None


def _number(part: memoryview) -> int:
    return int.from_bytes(part, "little")


def _chunks(data: bytes, end: int) -> Iterator[tuple[bytes, memoryview]]:
    view, at = memoryview(data), 12
    while at + 8 <= end:
        length = _number(view[at + 4 : at + 8])
        if at + 8 + length > end:
            raise Refused(Refusal.BROKEN)
        yield data[at : at + 4], view[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
