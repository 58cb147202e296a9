"""Animated files, written frame by frame: only what changed, nothing kept.

The library collects all frames before it writes the first. These need two at a time.
"""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Protocol

from PIL import Image, ImageChops

from mmr.thumbnailing.containers.apng import chunk
from mmr.thumbnailing.containers.webp import riff, webp_chunks

Box = tuple[int, int, int, int]

WEBP_QUALITY = 80
# Frames are many and small: the thorough methods double the time for a few per cent.
_WEBP_METHOD = 2
_PNG_LEVEL = 4
_MAX_GIF_DELAY = 0xFFFF


class AnimationWriter(Protocol):
    """Takes frames of one size, as RGBA; gives a file."""

    content_type: str

    @property
    def length(self) -> int:
        """Bytes so far."""
        ...

    def add(self, image: Image.Image, duration_ms: int) -> None:
        """Append a frame. The image must not change afterwards."""
        ...

    def finish(self) -> bytes:
        """The file."""
        ...


def _changed(before: Image.Image | None, after: Image.Image) -> Box:
    """The box around all pixels that differ; one pixel when none does."""
    if before is None:
        return 0, 0, *after.size
    box = ImageChops.difference(before, after).getbbox(alpha_only=False)
    return box or (0, 0, 1, 1)


class ApngWriter:
    """APNG: each frame replaces a part of the one before.

    It is labelled ``image/png``, as MMR does: every APNG is a PNG, and who doesn't know
    of frames shows the first.
    """

    content_type = "image/png"

    def __init__(self, size: tuple[int, int], plays: int) -> None:
        self._size = size
        self._plays = plays
        self._frames = 0
        self._sequence = 0
        self._before: Image.Image | None = None
        self._body = bytearray()

    @property
    def length(self) -> int:
        """Bytes so far."""
        return len(self._body)

    def add(self, image: Image.Image, duration_ms: int) -> None:
        """Append a frame."""
        left, upper, right, lower = box = _changed(self._before, image)
        control = struct.pack(
            ">5I2H2B",
            self._next(),
            right - left,
            lower - upper,
            left,
            upper,
            min(duration_ms, 0xFFFF),
            1000,
            0,
            0,
        )
        self._body += chunk(b"fcTL", control)
        output = BytesIO()
        image.crop(box).save(output, "PNG", compress_level=_PNG_LEVEL)
        for pixels in _pixel_chunks(output.getbuffer()):
            if self._frames:
                number = struct.pack(">I", self._next())
                self._body += chunk(b"fdAT", number + pixels)
            else:
                self._body += chunk(b"IDAT", pixels)
        self._before = image
        self._frames += 1

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence - 1

    def finish(self) -> bytes:
        """The file."""
        header = struct.pack(">2I5B", *self._size, 8, 6, 0, 0, 0)
        count = struct.pack(">2I", self._frames, self._plays)
        return b"".join(
            (
                b"\x89PNG\r\n\x1a\n",
                chunk(b"IHDR", header),
                chunk(b"acTL", count),
                self._body,
                chunk(b"IEND", b""),
            )
        )


def _pixel_chunks(view: memoryview) -> list[memoryview]:
    """The bodies of the chunks with pixels, of a file that we wrote."""
    bodies, at = [], 8
    while at < len(view):
        (length,) = struct.unpack_from(">I", view, at)
        if bytes(view[at + 4 : at + 8]) == b"IDAT":
            bodies.append(view[at + 8 : at + 8 + length])
        at += 12 + length
    return bodies


class WebPWriter:
    """Animated WebP: each frame replaces a part of the one before."""

    content_type = "image/webp"

    def __init__(self, size: tuple[int, int], plays: int) -> None:
        self._size = size
        self._plays = plays
        self._before: Image.Image | None = None
        self._body = bytearray()

    @property
    def length(self) -> int:
        """Bytes so far."""
        return len(self._body)

    def add(self, image: Image.Image, duration_ms: int) -> None:
        """Append a frame."""
        left, upper, right, lower = _changed(self._before, image)
        # The format has room for even places only.
        left, upper = left & ~1, upper & ~1
        output = BytesIO()
        image.crop((left, upper, right, lower)).save(
            output, "WEBP", quality=WEBP_QUALITY, method=_WEBP_METHOD
        )
        fields = (left // 2, upper // 2, right - left - 1, lower - upper - 1)
        head = b"".join(
            value.to_bytes(3, "little")
            for value in (*fields, min(duration_ms, 0xFFFFFF))
        )
        picture = riff(
            [
                (kind, body)
                for kind, body in webp_chunks(output.getbuffer()[12:])
                if kind in (b"ALPH", b"VP8 ", b"VP8L")
            ]
        )
        frame = head + b"\x02" + picture[12:]
        self._body += b"ANMF" + struct.pack("<I", len(frame)) + frame
        self._before = image

    def finish(self) -> bytes:
        """The file."""
        sides = b"".join((side - 1).to_bytes(3, "little") for side in self._size)
        plays = struct.pack("<IH", 0, min(self._plays, 0xFFFF))
        head = riff([(b"VP8X", b"\x12\x00\x00\x00" + sides), (b"ANIM", plays)])
        body = head[12:] + self._body
        return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


class GifWriter:
    """GIF: a palette a frame; transparent pixels keep what is under them.

    A frame can't take opaque pixels away, so the frame before one that has holes
    clears the canvas behind itself, for which it must have painted all of it. So one
    frame is held back until the next is known.
    """

    content_type = "image/gif"

    def __init__(self, size: tuple[int, int], plays: int) -> None:
        self._size = size
        self._plays = plays
        self._held: tuple[Image.Image, int] | None = None
        self._before: Image.Image | None = None
        """What the canvas shows below the held frame; None when it is empty."""
        self._body = bytearray()

    @property
    def length(self) -> int:
        """Bytes so far."""
        return len(self._body)

    def add(self, image: Image.Image, duration_ms: int) -> None:
        """Append a frame."""
        if self._held is not None:
            self._write(*self._held, clears=_has_holes(image))
        self._held = image, duration_ms

    def _write(self, image: Image.Image, duration_ms: int, *, clears: bool) -> None:
        box = _changed(None if clears else self._before, image)
        part, invisible = _with_palette(image.crop(box))
        output = BytesIO()
        part.save(output, "GIF", optimize=False, interlace=0)
        data = output.getvalue()
        palette_end = 13 + (3 << ((data[10] & 7) + 1))
        at = _picture_at(data, palette_end)
        left, upper, right, lower = box
        control = struct.pack(
            "<BBBBHBB",
            0x21,
            0xF9,
            4,
            (2 if clears else 1) << 2 | 1,
            min(duration_ms // 10, _MAX_GIF_DELAY),
            invisible,
            0,
        )
        place = struct.pack("<B4H", 0x2C, left, upper, right - left, lower - upper)
        flags = bytes([0x80 | data[10] & 7])
        self._body += control + place + flags + data[13:palette_end]
        self._body += data[at + 10 : -1]
        self._before = None if clears else image

    def finish(self) -> bytes:
        """The file."""
        if self._held is not None:
            self._write(*self._held, clears=False)
            self._held = None
        head = b"GIF89a" + struct.pack("<2H3B", *self._size, 0, 0, 0)
        if self._plays != 1:
            repeats = min(self._plays - 1, 0xFFFF) if self._plays else 0
            head += b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<HB", repeats, 0)
        return head + self._body + b"\x3b"


def _has_holes(image: Image.Image) -> bool:
    return any(image.getchannel("A").histogram()[:128])


def _with_palette(image: Image.Image) -> tuple[Image.Image, int]:
    """Up to 255 colours, and one more index for what can't be seen."""
    straight = image.convert("RGB")
    # The quick way to a palette, then each pixel to its nearest: a thirtieth of the
    # time of the thorough way, and no further from the original. Dithering would
    # flicker.
    palette = straight.quantize(255, method=Image.Quantize.FASTOCTREE)
    plain = straight.quantize(palette=palette, dither=Image.Dither.NONE)
    colours = plain.getpalette() or []
    invisible = len(colours) // 3
    plain.putpalette([*colours, 0, 0, 0])
    if _has_holes(image):
        holes = image.getchannel("A").point([255 * (v < 128) for v in range(256)])
        plain.paste(invisible, mask=holes)
    return plain, invisible


def _picture_at(data: bytes, at: int) -> int:
    """Where the picture begins in a file that we wrote, behind its extensions."""
    while data[at] != 0x2C:
        at += 2
        while data[at]:
            at += 1 + data[at]
        at += 1
    return at
