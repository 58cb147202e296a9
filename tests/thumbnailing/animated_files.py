"""Animations made by code, and a look at what came of them."""

from __future__ import annotations

import struct
from io import BytesIO

import attrs
from PIL import Image

from mmr.thumbnailing.containers.frames import Animation
from mmr.thumbnailing.containers.gif import read_gif
from mmr.thumbnailing.containers.png import read_png
from mmr.thumbnailing.containers.webp import read_webp

from tests.thumbnailing.images import encoded, png_chunk

FORMATS = {"GIF": "image/gif", "PNG": "image/png", "WEBP": "image/webp"}


def animation_of(data: bytes) -> Animation:
    """The frames of a file that must have some."""
    read = {b"GIF8": lambda d: read_gif(d, 1 << 40), b"RIFF": read_webp}
    found = read.get(data[:4], read_png)(data).animation
    assert found is not None
    return found


@attrs.frozen
class Shown:
    """What a viewer shows: another reader than ours says so."""

    frames: list[Image.Image]
    durations: list[int]


def played(data: bytes) -> Shown:
    """Every frame as a viewer shows it, by Pillow."""
    frames, durations = [], []
    with Image.open(BytesIO(data)) as image:
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            image.load()
            frames.append(image.convert("RGBA"))
            durations.append(round(image.info.get("duration", 0)))
    return Shown(frames, durations)


def moving(
    format: str,
    count: int = 6,
    size: tuple[int, int] = (240, 180),
    *,
    alpha: bool = False,
    **options: object,
) -> bytes:
    """A square of changing colour that walks over a plain or invisible ground."""
    frames = []
    for index in range(count):
        ground = (0, 0, 0, 0) if alpha else (20, 40, 160, 255)
        frame = Image.new("RGBA", size, ground)
        left = index * size[0] // (count + 1)
        frame.paste(
            (255, 40 * index % 256, 0, 255), (left, 40, left + size[0] // 4, 120)
        )
        frames.append(frame if alpha else frame.convert("RGB"))
    options = {"duration": 50, "loop": 0, **options}
    if format == "WEBP":
        options = {"quality": 90, **options}
    if format == "GIF" and alpha:
        options = {"disposal": 2, **options}
    return encoded(
        frames[0], format, save_all=True, append_images=frames[1:], **options
    )


def apng_bomb(frames: int, size: tuple[int, int] = (1000, 1000)) -> bytes:
    """Frames of one colour: a few hundred bytes each, megabytes when unpacked."""
    still = encoded(Image.new("P", size), "PNG")
    at = still.index(b"IDAT") - 4
    (length,) = struct.unpack_from(">I", still, at)
    header, pixels = still[8:at], still[at + 8 : at + 8 + length]
    parts = [still[:8], header, png_chunk(b"acTL", struct.pack(">2I", frames, 0))]
    sequence = 0
    for index in range(frames):
        control = struct.pack(">5I2H2B", sequence, *size, 0, 0, 1, 20, 0, 0)
        parts.append(png_chunk(b"fcTL", control))
        sequence += 1
        if index:
            parts.append(png_chunk(b"fdAT", struct.pack(">I", sequence) + pixels))
            sequence += 1
        else:
            parts.append(png_chunk(b"IDAT", pixels))
    return b"".join([*parts, png_chunk(b"IEND", b"")])


def webp_bomb(frames: int, size: tuple[int, int] = (1000, 1000)) -> bytes:
    """The same as WebP."""
    still = encoded(Image.new("RGB", size), "WEBP", lossless=True)
    picture = still[12:]
    sides = b"".join((side - 1).to_bytes(3, "little") for side in size)
    frame = bytes(6) + sides + (50).to_bytes(3, "little") + b"\x02" + picture
    chunk = b"ANMF" + struct.pack("<I", len(frame)) + frame
    body = b"VP8X" + struct.pack("<I", 10) + b"\x02\x00\x00\x00" + sides
    body += b"ANIM" + struct.pack("<I", 6) + bytes(6) + chunk * frames
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def gif_bomb(frames: int, size: tuple[int, int] = (1000, 1000)) -> bytes:
    """The same as GIF."""
    one = encoded(Image.new("P", size), "GIF")
    at = one.index(b"\x2c")
    control = b"\x21\xf9\x04\x00\x05\x00\x00\x00"
    return one[:at] + (control + one[at:-1]) * frames + b"\x3b"


BOMBS = {"GIF": gif_bomb, "PNG": apng_bomb, "WEBP": webp_bomb}


def gif_of_parts(
    size: tuple[int, int],
    parts: list[tuple[tuple[int, int, int, int], tuple[int, int, int], int]],
    *,
    see_through: int = 0,
) -> bytes:
    """A GIF by hand: each part is a box, its colour, and its disposal.

    Args:
        size: Of the canvas.
        parts: The frames.
        see_through: So many columns at the left of each frame are transparent.
    """
    body = b"GIF89a" + struct.pack("<2H3B", *size, 0, 0, 0)
    for (left, upper, right, lower), colour, disposal in parts:
        picture = Image.new("P", (right - left, lower - upper), 1)
        picture.putpalette([0, 0, 0, *colour])
        picture.paste(0, (0, 0, see_through, lower - upper))
        one = encoded(picture, "GIF", interlace=0, optimize=False)
        at = one.index(b"\x2c")
        body += bytes((0x21, 0xF9, 4, disposal << 2 | 1, 5, 0, 0, 0))
        place = struct.pack("<4H", left, upper, right - left, lower - upper)
        palette = one[13:at] if one[10] & 0x80 else b""
        palette = palette[: 3 << ((one[10] & 7) + 1)]
        body += b"\x2c" + place + bytes((0x80 | one[10] & 7,)) + palette
        body += one[at + 10 : -1]
    return body + b"\x3b"
