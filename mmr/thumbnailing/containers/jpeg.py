"""JPEG: the segments before the pixels."""

from __future__ import annotations

import attrs

from mmr.thumbnailing.containers.base import Container
from mmr.thumbnailing.exif import orientation
from mmr.thumbnailing.model import MAX_METADATA_BYTES, Refusal, Refused

_START_OF_SCAN = 0xDA
_END_OF_IMAGE = 0xD9
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# JFIF and Adobe say how colours are stored; all other APPn and comments are dropped.
_DROPPED = (frozenset(range(0xE0, 0xF0)) - {0xE0, 0xEE}) | {0xFE}
_EXIF = b"Exif\x00\x00"
_ICC = b"ICC_PROFILE\x00"


@attrs.define
class _Found:
    size: tuple[int, int] | None = None
    orientation: int = 1
    icc: dict[int, bytes] = attrs.field(factory=dict)
    kept: list[bytes] = attrs.field(factory=lambda: [b"\xff\xd8"])

    def take(self, marker: int, body: bytes, raw: bytes) -> None:
        if marker in _FRAME_HEADERS:
            if self.size is not None or len(body) < 6:
                raise Refused(Refusal.BROKEN)
            self.size = (
                int.from_bytes(body[3:5], "big"),
                int.from_bytes(body[1:3], "big"),
            )
        elif marker == 0xE1 and body.startswith(_EXIF):
            self.orientation = orientation(body)
        elif marker == 0xE2 and body.startswith(_ICC) and len(body) > 14:
            self.icc[body[12]] = body[14:]
        if marker not in _DROPPED:
            self.kept.append(raw)

    def profile(self) -> bytes | None:
        joined = b"".join(self.icc[number] for number in sorted(self.icc))
        return joined if 0 < len(joined) <= MAX_METADATA_BYTES else None


def read_jpeg(data: bytes) -> Container:
    """Walk the segments up to the first scan.

    Raises:
        Refused: when the file is cut off or its segments don't fit together.
    """
    found, at = _Found(), 2
    while True:
        at, marker = _next_marker(data, at)
        if marker == _START_OF_SCAN:
            break
        end = at + int.from_bytes(data[at : at + 2], "big")
        if end < at + 2 or end > len(data):
            raise Refused(Refusal.BROKEN)
        raw = b"\xff" + bytes([marker]) + data[at:end]
        found.take(marker, data[at + 2 : end], raw)
        at = end
    # The library is content with a file that stops between two scans.
    if found.size is None or data.rfind(b"\xff\xd9", at) < 0:
        raise Refused(Refusal.BROKEN)
    clean = b"".join((*found.kept, b"\xff\xda", memoryview(data)[at:]))
    return Container(*found.size, clean, found.orientation, found.profile())


def _next_marker(data: bytes, at: int) -> tuple[int, int]:
    """The marker at this place and the offset behind it; fill bytes are allowed."""
    if data[at : at + 1] != b"\xff":
        raise Refused(Refusal.BROKEN)
    while data[at : at + 1] == b"\xff":
        at += 1
    if at >= len(data) or data[at] in (0x00, 0x01, _END_OF_IMAGE, *range(0xD0, 0xD9)):
        raise Refused(Refusal.BROKEN)
    return at + 1, data[at]
