"""GIF: blocks. There is no frame count in the header, so the blocks are walked."""

from __future__ import annotations

import struct
from functools import partial

import attrs

from mmr.thumbnailing.containers.base import Container, check_size
from mmr.thumbnailing.containers.frames import Animation, Disposal, Frame
from mmr.thumbnailing.model import MAX_FRAMES, Refusal, Refused

_IMAGE, _EXTENSION, _TRAILER = 0x2C, 0x21, 0x3B
_GRAPHIC_CONTROL, _APPLICATION = 0xF9, 0xFF
_LOOPS = (b"\x0bNETSCAPE2.0\x03\x01", b"\x0bANIMEXTS1.0\x03\x01")
_DISPOSALS = {2: Disposal.CLEAR, 3: Disposal.RESTORE}


@attrs.define
class _Walk:
    """What was seen on the way through the blocks."""

    data: bytes
    palette: bytes
    plays: int = 1
    control: bytes = b"\x00\x00\x00\x00"
    """Of the next frame: flags, duration (2 bytes), transparent index."""
    frames: list[Frame] = attrs.field(factory=list)

    def extension(self, at: int) -> None:
        label, body = self.data[at + 1], self.data[at + 2 : at + 18]
        if label == _GRAPHIC_CONTROL and len(body) > 4:
            self.control = body[1:5]
        elif label == _APPLICATION and body[:14] in _LOOPS:
            repeats = int.from_bytes(body[14:16], "little")
            self.plays = repeats + 1 if repeats else 0

    def image(self, at: int, end: int) -> None:
        left, upper, width, height = struct.unpack_from("<4H", self.data, at + 1)
        flags, hundredths = self.control[0], self.control[1:3]
        frame = Frame(
            left,
            upper,
            width,
            height,
            10 * int.from_bytes(hundredths, "little"),
            _DISPOSALS.get(flags >> 2 & 7, Disposal.KEEP),
            blends=True,
            is_opaque=not flags & 1,
            file=partial(_single, self.data, at, end, self.palette, self.control),
        )
        self.frames.append(frame)
        self.control = b"\x00\x00\x00\x00"


def read_gif(data: bytes, max_pixels: int) -> Container:
    """Find the frames, up to the budget (R31), without unpacking any.

    The size is that of the canvas, or of the first frame if it is larger, as in
    browsers.

    Raises:
        Refused: when the file is cut off, has no frame, or one that is too large.
    """
    width, height = _number(data, 6), _number(data, 8)
    check_size(width, height, max_pixels)
    at = 13 + _palette_bytes(data, 10)
    walk = _Walk(data, data[13:at])
    while at < len(data) and data[at] != _TRAILER and len(walk.frames) < MAX_FRAMES:
        if data[at] == _IMAGE:
            right = _number(data, at + 1) + _number(data, at + 5)
            lower = _number(data, at + 3) + _number(data, at + 7)
            check_size(right, lower, max_pixels)
            if not walk.frames:
                width, height = max(width, right), max(height, lower)
            end = _skip_blocks(data, at + 11 + _palette_bytes(data, at + 9))
            walk.image(at, end)
        elif data[at] == _EXTENSION:
            end = _skip_blocks(data, at + 2)
            walk.extension(at)
        else:
            raise Refused(Refusal.BROKEN)
        at = end
    if not walk.frames:
        raise Refused(Refusal.BROKEN)
    is_whole = at >= len(data) or data[at] == _TRAILER
    animation = Animation(width, height, walk.plays, tuple(walk.frames), is_whole)
    moves = animation if len(walk.frames) > 1 else None
    return Container(width, height, data, animation=moves)


def _single(data: bytes, at: int, end: int, palette: bytes, control: bytes) -> bytes:
    """A file with one frame alone."""
    size = (len(palette) // 3).bit_length() - 2
    flags = 0x80 | size if palette else 0
    return b"".join(
        (
            b"GIF89a",
            data[at + 5 : at + 9],
            bytes((flags, 0, 0)),
            palette,
            bytes((_EXTENSION, _GRAPHIC_CONTROL, 4, control[0] & 1, 0, 0)),
            control[3:],
            b"\x00\x2c\x00\x00\x00\x00",
            memoryview(data)[at + 5 : end],
            b"\x3b",
        )
    )


def _number(data: bytes, at: int) -> int:
    if at + 2 > len(data):
        raise Refused(Refusal.BROKEN)
    return data[at] | data[at + 1] << 8


def _palette_bytes(data: bytes, flags_at: int) -> int:
    if flags_at >= len(data):
        raise Refused(Refusal.BROKEN)
    flags = data[flags_at]
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _skip_blocks(data: bytes, at: int) -> int:
    """The offset behind a row of length-prefixed blocks and its end mark."""
    while at < len(data):
        length = data[at]
        at += 1 + length
        if length == 0:
            return at
    raise Refused(Refusal.BROKEN)
