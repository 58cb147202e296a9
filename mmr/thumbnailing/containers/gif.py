"""GIF: blocks. There is no frame count in the header, so the blocks are walked."""

from __future__ import annotations

from mmr.thumbnailing.containers.base import Container, check_size
from mmr.thumbnailing.model import MAX_FRAMES, Refusal, Refused

_IMAGE, _EXTENSION, _TRAILER = 0x2C, 0x21, 0x3B


def read_gif(data: bytes, max_pixels: int) -> Container:
    """Count frames, up to the budget (R31), without unpacking any.

    The size is that of the canvas, or of the first frame if it is larger, as in
    browsers.

    Raises:
        Refused: when the file is cut off, has no frame, or one that is too large.
    """
    width, height = _number(data, 6), _number(data, 8)
    check_size(width, height, max_pixels)
    at, frames = 13 + _palette_bytes(data, 10), 0
    while at < len(data) and data[at] != _TRAILER and frames < MAX_FRAMES:
        if data[at] == _IMAGE:
            right = _number(data, at + 1) + _number(data, at + 5)
            lower = _number(data, at + 3) + _number(data, at + 7)
            check_size(right, lower, max_pixels)
            if not frames:
                width, height = max(width, right), max(height, lower)
            at = _skip_blocks(data, at + 11 + _palette_bytes(data, at + 9))
            frames += 1
        elif data[at] == _EXTENSION:
            at = _skip_blocks(data, at + 2)
        else:
            raise Refused(Refusal.BROKEN)
    if not frames:
        raise Refused(Refusal.BROKEN)
    return Container(width, height, data, frames=frames)


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
