"""PNG: chunks. Only those that make the still picture reach the decoder."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import attrs

from mmr.thumbnailing.containers.apng import FrameChunks
from mmr.thumbnailing.containers.base import Container
from mmr.thumbnailing.exif import orientation
from mmr.thumbnailing.model import MAX_METADATA_BYTES, Refusal, Refused

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})


@attrs.define
class _Found:
    kept: list[bytes | memoryview] = attrs.field(factory=lambda: [SIGNATURE])
    orientation: int = 1
    icc: bytes | None = None

    def take(self, kind: bytes, data: bytes, start: int, end: int) -> None:
        if kind in _PIXELS:
            self.kept.append(memoryview(data)[start:end])
        elif kind == b"eXIf" and _is_sound(data, start, end):
            self.orientation = orientation(data[start + 8 : end - 4])
        elif kind == b"iCCP" and _is_sound(data, start, end):
            self.icc = _profile(data[start + 8 : end - 4])


def read_png(data: bytes) -> Container:
    """Walk the chunks. Of an animated PNG the default image is the clean file.

    Raises:
        Refused: when the file is cut off or doesn't begin with its header.
    """
    found, frames, last = _Found(), FrameChunks(data), b""
    for last, start, end in _chunks(data):
        found.take(last, data, start, end)
        frames.take(last, start, end)
        if last == b"IEND":
            break
    if last != b"IEND" or data[12:16] != b"IHDR":
        raise Refused(Refusal.BROKEN)
    # The file is in memory once, if there is nothing to leave out.
    is_clean = sum(map(len, found.kept)) == len(data)
    return Container(
        *png_size(data),
        data if is_clean else b"".join(found.kept),
        found.orientation,
        found.icc,
        frames.animation(),
    )


def png_size(data: bytes) -> tuple[int, int]:
    """Width and height as the header has them."""
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each whole chunk."""
    start = len(SIGNATURE)
    while start + 12 <= len(data):
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        if end > len(data):
            return
        yield data[start + 4 : start + 8], start, end
        start = end


def _is_sound(data: bytes, start: int, end: int) -> bool:
    """Whether an optional chunk is of a sane size and has its checksum."""
    if end - start - 12 > MAX_METADATA_BYTES:
        return False
    found = int.from_bytes(data[end - 4 : end], "big")
    return zlib.crc32(memoryview(data)[start + 4 : end - 4]) == found


def _profile(body: bytes) -> bytes | None:
    _, nul, packed = body.partition(b"\x00")
    if not nul or packed[:1] != b"\x00":
        return None
    unpacker = zlib.decompressobj()
    try:
        profile = unpacker.decompress(packed[1:], MAX_METADATA_BYTES)
    except zlib.error:
        return None
    return profile if unpacker.eof else None
