"""Animated PNG: chunks between those of a still picture, which other viewers skip."""

from __future__ import annotations

import struct
import zlib
from functools import partial

import attrs

from mmr.thumbnailing.containers.frames import Animation, Disposal, Frame
from mmr.thumbnailing.model import MAX_FRAMES

_CONTROL = struct.Struct(">5I2H2B")
_DISPOSALS = {1: Disposal.CLEAR, 2: Disposal.RESTORE}
Span = tuple[int, int]


@attrs.define
class FrameChunks:
    """Collects the chunks of frames, in the order of the file.

    What doesn't fit together makes the picture a still one, as in browsers: the
    default image is still good.
    """

    data: bytes = attrs.field(repr=False)
    _plays: int | None = None
    _is_broken: bool = False
    _is_whole: bool = True
    _has_pixels: bool = False
    _sequence: int = 0
    _shared: list[Span] = attrs.field(factory=list)
    """Palette and transparent colour, which hold for every frame."""
    _controls: list[Span] = attrs.field(factory=list)
    _pixels: list[list[Span]] = attrs.field(factory=list)

    def take(self, kind: bytes, start: int, end: int) -> None:
        """Look at the next chunk: its name, and where it starts and ends."""
        match kind:
            case b"acTL" if not self._has_pixels and end - start == 20:
                (self._plays,) = struct.unpack_from(">I", self.data, start + 12)
            case b"fcTL" if end - start == 12 + _CONTROL.size:
                self._take_control(start)
            case b"fdAT" if self._has_pixels and end - start >= 16:
                self._count_up(start)
                self._take_pixels((start + 12, end - 4))
            case b"IDAT":
                self._has_pixels = True
                # Without a control before it, the default image is no frame.
                self._take_pixels((start + 8, end - 4))
            case b"fcTL" | b"fdAT":
                self._is_broken = True
            case b"PLTE" | b"tRNS":
                self._shared.append((start, end))

    def _take_control(self, start: int) -> None:
        self._count_up(start)
        if len(self._controls) == MAX_FRAMES:
            self._is_whole = False
            return
        self._controls.append((start + 8, start + 8 + _CONTROL.size))
        self._pixels.append([])

    def _take_pixels(self, span: Span) -> None:
        if self._pixels and self._is_whole:
            self._pixels[-1].append(span)

    def _count_up(self, start: int) -> None:
        (number,) = struct.unpack_from(">I", self.data, start + 8)
        self._is_broken |= number != self._sequence
        self._sequence += 1

    def animation(self) -> Animation | None:
        """What the chunks make together; None for a still picture."""
        if self._plays is None or self._is_broken or len(self._controls) < 2:
            return None
        width, height = struct.unpack_from(">2I", self.data, 16)
        frames = [
            self._frame(control, pixels)
            for control, pixels in zip(self._controls, self._pixels, strict=True)
        ]
        for frame in frames:
            right, lower = frame.left + frame.width, frame.upper + frame.height
            if right > width or lower > height or not frame.width * frame.height:
                return None
        if not all(self._pixels):
            return None
        return Animation(width, height, self._plays, tuple(frames), self._is_whole)

    def _frame(self, control: Span, pixels: list[Span]) -> Frame:
        fields = _CONTROL.unpack_from(self.data, control[0])
        _, width, height, left, upper, numerator, denominator, disposal, blend = fields
        disposal = _DISPOSALS.get(disposal, Disposal.KEEP)
        if control is self._controls[0] and disposal is Disposal.RESTORE:
            disposal = Disposal.CLEAR
        return Frame(
            left,
            upper,
            width,
            height,
            1000 * numerator // (denominator or 100),
            disposal,
            blends=blend == 1,
            is_opaque=False,
            file=partial(_single, self.data, width, height, self._shared, pixels),
        )


def _single(
    data: bytes, width: int, height: int, shared: list[Span], pixels: list[Span]
) -> bytes:
    """A file with one frame alone."""
    view = memoryview(data)
    header = struct.pack(">2I", width, height) + data[24:29]
    return b"".join(
        (
            data[:8],
            chunk(b"IHDR", header),
            *(view[start:end] for start, end in shared),
            *(chunk(b"IDAT", view[start:end]) for start, end in pixels),
            chunk(b"IEND", b""),
        )
    )


def chunk(kind: bytes, body: bytes | memoryview) -> bytes:
    """A chunk with its length and checksum."""
    named = b"".join((kind, body))
    return struct.pack(">I", len(body)) + named + struct.pack(">I", zlib.crc32(named))
