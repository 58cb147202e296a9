"""JPEG XL: a size in a few bits, bare or in a box."""

from __future__ import annotations

from mmr.thumbnailing.containers.base import Container
from mmr.thumbnailing.model import Refusal, Refused

_BARE = b"\xff\x0a"
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_DROPPED = (b"Exif", b"xml ", b"brob", b"jumb", b"jbrd")
_LONG_SIDES = (9, 13, 18, 30)


class _Bits:
    """Numbers from bits, the lowest first."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        found = self._value & ((1 << count) - 1)
        self._value >>= count
        return found

    def long_side(self) -> int:
        return 1 + self.take(_LONG_SIDES[self.take(2)])


def read_jxl(data: bytes) -> Container:
    """Read the size. An orientation turns it, which the decoder takes care of.

    Raises:
        Refused: when there is no picture, or it is cut off.
    """
    if data.startswith(_BARE):
        stream, clean = data[2:32], data
    else:
        stream, clean = _unboxed(data)
    bits = _Bits(stream)
    is_short = bits.take(1)
    height = 8 * (bits.take(5) + 1) if is_short else bits.long_side()
    ratio = bits.take(3)
    if ratio:
        across, down = _RATIOS[ratio - 1]
        width = height * across // down
    else:
        width = 8 * (bits.take(5) + 1) if is_short else bits.long_side()
    if not bits.take(1) and bits.take(1):
        # Extra fields, of which the first is the orientation.
        if bits.take(3) >= 4:
            width, height = height, width
    return Container(width, height, clean)


def _unboxed(data: bytes) -> tuple[bytes, bytes]:
    """The head of the picture, and the file with its metadata made unreadable.

    So is the recipe to rebuild an older JPEG file: we want the pixels.
    """
    clean, at = bytearray(data), 0
    stream: bytes | None = None
    while at + 8 <= len(data):
        size, head = int.from_bytes(data[at : at + 4], "big"), 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        end = at + size if size else len(data)
        if size and (size < head or end > len(data)):
            raise Refused(Refusal.BROKEN)
        kind = data[at + 4 : at + 8]
        if kind in _DROPPED:
            clean[at + 4 : at + 8] = b"skip"
        elif kind in (b"jxlc", b"jxlp") and stream is None:
            start = at + head + (4 if kind == b"jxlp" else 0)
            stream = data[start : start + 32]
        at = end
    if stream is None or not stream.startswith(_BARE):
        raise Refused(Refusal.BROKEN)
    return stream[2:], bytes(clean)
