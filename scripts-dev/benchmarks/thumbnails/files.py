"""The pictures: the same kind of scene in every format."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable

import attrs
import pillow_heif
from PIL import Image, ImageChops

from benchmarks.picture import grainy_picture, scene

pillow_heif.register_heif_opener()

_GRAIN = 3
_MEGAPIXELS = {12: (4000, 3000), 24: (6000, 4000)}
_FRAME = (480, 270)


@attrs.frozen
class Source:
    """A file to make thumbnails of.

    Args:
        make: Gives its bytes.
    """

    name: str
    content_type: str
    make: Callable[[], bytes]


def decoded_mb(data: bytes) -> float:
    """Memory of the decoded picture: Pillow has four bytes for a pixel with colour."""
    with Image.open(io.BytesIO(data)) as image:
        return image.width * image.height * 4 / 2**20


def small_copy(source: Source) -> Source:
    """A little picture in the same format."""
    output = io.BytesIO()
    with Image.open(io.BytesIO(source.make())) as image:
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        image.convert(mode).resize((64, 48)).save(output, image.format)
    return Source(source.name, source.content_type, output.getvalue)


@functools.cache
def _still(megapixels: int, kind: str, quality: int, *, progressive: bool) -> bytes:
    options = {"progressive": True} if progressive else {}
    output = io.BytesIO()
    picture = scene(_MEGAPIXELS[megapixels], _GRAIN).convert("RGB")
    picture.save(output, kind, quality=quality, **options)
    return output.getvalue()


@functools.cache
def _see_through(kind: str) -> bytes:
    """The picture, fading out towards its corners."""
    size = _MEGAPIXELS[12]
    picture = scene(size, _GRAIN).convert("RGB")
    picture.putalpha(ImageChops.invert(Image.radial_gradient("L")).resize(size))
    output = io.BytesIO()
    picture.save(output, kind, quality=85)
    return output.getvalue()


@functools.cache
def _animation(kind: str, frames: int) -> bytes:
    """A scene that moves past, so that every pixel changes."""
    wide = scene((_FRAME[0] + 2 * frames, _FRAME[1]), _GRAIN).convert("RGB")
    width, height = _FRAME
    starts = range(0, 2 * frames, 2)
    views = [wide.crop((left, 0, left + width, height)) for left in starts]
    output = io.BytesIO()
    views[0].save(
        output, kind, save_all=True, append_images=views[1:], duration=50, loop=0
    )
    return output.getvalue()


def _source(
    name: str, megapixels: int, kind: str, quality: int, *, progressive: bool = False
) -> Source:
    content_type = f"image/{'heic' if kind == 'HEIF' else kind.lower()}"
    make = functools.partial(_still, megapixels, kind, quality, progressive=progressive)
    return Source(name, content_type, make)


BASELINE = (
    _source("jpeg-12mp", 12, "JPEG", 85),
    _source("jpeg-24mp", 24, "JPEG", 85),
)
GRAINY = Source("jpeg-12mp-grainy", "image/jpeg", functools.cache(grainy_picture))
OTHERS = (
    _source("jpeg-12mp-progressive", 12, "JPEG", 85, progressive=True),
    _source("png-12mp", 12, "PNG", 85),
    _source("webp-12mp", 12, "WEBP", 85),
    _source("avif-12mp", 12, "AVIF", 70),
    _source("heic-12mp", 12, "HEIF", 70),
)
SEE_THROUGH = (
    Source("png-12mp-alpha", "image/png", functools.partial(_see_through, "PNG")),
    Source("webp-12mp-alpha", "image/webp", functools.partial(_see_through, "WEBP")),
)


def animation(kind: str, frames: int) -> Source:
    """A GIF or WebP with so many frames of 480x270."""
    return Source(
        f"{kind.lower()}-{frames}-frames",
        f"image/{kind.lower()}",
        functools.partial(_animation, kind, frames),
    )
