"""PNG and WebP by libvips (extra ``vips``): averaged while they are decoded.

That takes two thirds of the time of the image library's decoders, and a part of their
memory: those need all pixels at once, that of WebP even three times. Importing this
fails where the library is missing.
"""

from __future__ import annotations

import os

# As many threads as processors would be as many stacks in a worker's memory.
os.environ["VIPS_CONCURRENCY"] = "1"
# Past 100 MB it would use a file, which a worker can't have.
os.environ["VIPS_DISC_THRESHOLD"] = "16g"

import pyvips
from PIL import Image

from mmr.thumbnailing.containers.webp import webp_chunks
from mmr.thumbnailing.model import Refusal, Refused
from mmr.thumbnailing.renderers.averaging import Size

pyvips.cache_set_max(0)

Shrunk = tuple[Image.Image, tuple[float, float]]

_MODES = ("L", "LA", "RGB", "RGBA")


def shrink_png(data: bytes, size: Size, side: int) -> Shrunk:
    """A still PNG, with one pixel for each block."""
    image = pyvips.Image.pngload_buffer(data, access="sequential", fail_on="warning")
    return _shrink(image, size, side)


def shrink_webp(data: bytes, size: Size, side: int) -> Shrunk:
    """A still WebP, likewise."""
    kinds = [kind for kind, _ in webp_chunks(memoryview(data)[12:])]
    if b"ALPH" in kinds:
        # The decoder's own scaling would let the colour of invisible pixels bleed in.
        image = pyvips.Image.webpload_buffer(data, fail_on="warning")
        return _shrink(image, size, side)
    image = pyvips.Image.webpload_buffer(data, scale=1 / side, fail_on="warning")
    shrunk = _image(image)
    for whole, part in zip(size, shrunk.size, strict=True):
        # Sides are rounded.
        if abs(whole - part * side) > side:
            raise Refused(Refusal.BROKEN)
    return shrunk, (size[0] / shrunk.width, size[1] / shrunk.height)


def _shrink(image: pyvips.Image, size: Size, side: int) -> Shrunk:
    if (image.width, image.height) != size:
        raise Refused(Refusal.BROKEN)
    if image.format == "ushort":
        image = image.cast("uchar", shift=True)
    if image.hasalpha():
        multiplied = image.premultiply(max_alpha=255).shrink(side, side, ceil=True)
        shrunk = multiplied.unpremultiply(max_alpha=255)
    else:
        shrunk = image.shrink(side, side, ceil=True)
    return _image(shrunk.cast("uchar")), (side, side)


def _image(image: pyvips.Image) -> Image.Image:
    mode = _MODES[image.bands - 1]
    pixels = image.write_to_memory()
    return Image.frombuffer(
        mode, (image.width, image.height), pixels, "raw", mode, 0, 1
    )
