"""WebP: a RIFF file whose first chunk has the size."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial

import attrs

from mmr.thumbnailing.containers.base import Container
from mmr.thumbnailing.containers.frames import Animation, Disposal, Frame
from mmr.thumbnailing.exif import orientation
from mmr.thumbnailing.model import (
    MAX_FRAMES,
    MAX_METADATA_BYTES,
    Refusal,
    Refused,
)

_HAS_ALPHA = 0x10
_PICTURES = (b"ALPH", b"VP8 ", b"VP8L")


@attrs.define
class _Found:
    size: tuple[int, int] | None = None
    orientation: int = 1
    icc: bytes | None = None
    plays: int = 1
    frames: list[Frame] = attrs.field(factory=list)
    is_whole: bool = True

    def take(self, kind: bytes, body: memoryview) -> None:
        self.size = self.size or webp_size(kind, body)
        if kind == b"EXIF" and len(body) <= MAX_METADATA_BYTES:
            self.orientation = orientation(bytes(body))
        elif kind == b"ICCP" and len(body) <= MAX_METADATA_BYTES:
            self.icc = bytes(body)
        elif kind == b"ANIM" and len(body) >= 6:
            self.plays = _number(body[4:6])
        elif kind == b"ANMF":
            self.is_whole = len(self.frames) < MAX_FRAMES
            if self.is_whole:
                self.frames.append(_frame(body))

    def animation(self, width: int, height: int) -> Animation | None:
        if len(self.frames) < 2:
            return None
        for frame in self.frames:
            if frame.left + frame.width > width or frame.upper + frame.height > height:
                raise Refused(Refusal.BROKEN)
        return Animation(width, height, self.plays, tuple(self.frames), self.is_whole)


def read_webp(data: bytes) -> Container:
    """Walk the chunks. Metadata stays in: the library hands it over unread.

    Raises:
        Refused: when the file is cut off or has no picture.
    """
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise Refused(Refusal.BROKEN)
    found = _Found()
    for kind, body in webp_chunks(memoryview(data)[12:end]):
        found.take(kind, body)
    if found.size is None:
        raise Refused(Refusal.BROKEN)
    return Container(
        *found.size,
        data[:end],
        found.orientation,
        found.icc,
        found.animation(*found.size),
    )


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


def webp_chunks(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Name and body of each chunk.

    Raises:
        Refused: when one is cut off.
    """
    at = 0
    while at + 8 <= len(view):
        length = _number(view[at + 4 : at + 8])
        if at + 8 + length > len(view):
            raise Refused(Refusal.BROKEN)
        yield bytes(view[at : at + 4]), view[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def riff(chunks: list[tuple[bytes, bytes | memoryview]]) -> bytes:
    """A WebP file of these chunks."""
    parts: list[bytes | memoryview] = []
    for kind, body in chunks:
        parts += (kind, struct.pack("<I", len(body)), body, b"\x00" * (len(body) % 2))
    joined = b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(joined) + 4) + b"WEBP" + joined


def _number(part: memoryview) -> int:
    return int.from_bytes(part, "little")


def _frame(body: memoryview) -> Frame:
    if len(body) < 16:
        raise Refused(Refusal.BROKEN)
    left, upper, width, height, duration = (
        _number(body[at : at + 3]) for at in range(0, 15, 3)
    )
    flags = body[15]
    return Frame(
        2 * left,
        2 * upper,
        width + 1,
        height + 1,
        duration,
        Disposal.CLEAR if flags & 1 else Disposal.KEEP,
        blends=not flags & 2,
        is_opaque=False,
        file=partial(_single, body, width, height),
    )


def _single(body: memoryview, width: int, height: int) -> bytes:
    """A file with one frame alone; its sides are one less, as the format has them."""
    parts: list[tuple[bytes, bytes | memoryview]] = [
        (kind, part) for kind, part in webp_chunks(body[16:]) if kind in _PICTURES
    ]
    if any(kind == b"ALPH" for kind, _ in parts):
        sides = width.to_bytes(3, "little") + height.to_bytes(3, "little")
        parts.insert(0, (b"VP8X", bytes((_HAS_ALPHA, 0, 0, 0)) + sides))
    return riff(parts)
