"""A folder of awkward pictures, by encoders other than the library's (issue 4)."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from PIL import Image

from mmr.thumbnailing.model import Refusal
from mmr.thumbnailing.sizes import TargetSize
from mmr.types import Method

from tests.thumbnailing.images import (
    BLUE,
    CORNERS,
    RED,
    corner_colours,
    is_near,
    opened,
    similarity,
)
from tests.thumbnailing.rendering import answered, probe, render

FOLDER = Path(__file__).parent / "awkward"
SCENE = FOLDER / "scene.png"
SIZE = (80, 60)
LEFT = (0, 0, 40, 60)

Colours = tuple[tuple[int, ...], ...]
GREYS: Colours = tuple((value,) * 3 for value in (76, 150, 29, 255))
# By Floyd and Steinberg, of black and white alone.
DOTS: Colours = tuple((value,) * 3 for value in (68, 124, 14, 255))
CLEAR = (0, 0, 0)


@attrs.frozen
class Shown:
    """What is expected of a thumbnail of 80 by 60.

    Attributes:
        kind: JPEG or PNG.
        mode: Its colours, as the library calls them.
        like: How similar it is to the scene, at least: SSIM.
        corners: The colours a quarter in from each corner.
        slack: How far these may be off.
    """

    kind: str = "jpeg"
    mode: str = "RGB"
    like: float = 0.985
    corners: Colours = CORNERS
    slack: int = 8


PHOTO, GRAPHIC = Shown(), Shown("png")
GREY, GREY_GRAPHIC = Shown("jpeg", "L", 0.985, GREYS), Shown("png", "L", 0.985, GREYS)
# Of the right half nothing can be seen.
HALF = Shown("png", "RGBA", 0.97, (RED, CLEAR, BLUE, CLEAR))

PICTURES = {
    "cjpeg-4x1.jpg": PHOTO,
    "cjpeg-arithmetic.jpg": PHOTO,
    "cjpeg-progressive-restarts.jpg": PHOTO,
    "cjpeg-rgb.jpg": PHOTO,
    "ffmpeg-1bit.bmp": Shown("png", "L", 0.48, DOTS),
    "ffmpeg-1bit.png": Shown("png", "L", 0.48, DOTS),
    "ffmpeg-1bit.tiff": Shown("jpeg", "L", 0.48, DOTS),
    "ffmpeg-422.jpg": PHOTO,
    "ffmpeg-440.jpg": PHOTO,
    "ffmpeg-555.bmp": GRAPHIC,
    "ffmpeg-grey-alpha.png": GREY_GRAPHIC,
    "ffmpeg-grey-alpha.tiff": GREY,
    "ffmpeg-grey-alpha16.png": attrs.evolve(GREY_GRAPHIC, mode="RGB"),
    "ffmpeg-grey16.png": GREY_GRAPHIC,
    "ffmpeg-grey16.tiff": GREY,
    "ffmpeg-moving.apng": GRAPHIC,
    "ffmpeg-palette.bmp": GRAPHIC,
    "ffmpeg-palette.png": GRAPHIC,
    "ffmpeg-palette.tiff": PHOTO,
    "ffmpeg-rgb48.png": GRAPHIC,
    "ffmpeg-rgb48.tiff": PHOTO,
    "ffmpeg-rgba64.png": GRAPHIC,
    "ffmpeg-yuv420.tiff": PHOTO,
    "ffmpeg.webp": PHOTO,
    "jpegtran-grey.jpg": GREY,
    # Drawn anew by poppler, which smooths what it draws.
    "poppler-cmyk.jpg": attrs.evolve(PHOTO, like=0.88),
    "scene.png": GRAPHIC,
    "vips-10bit.avif": PHOTO,
    "vips-2bit.png": Shown("png", "RGB", 0.96, slack=32),
    "vips-4bit-interlaced.png": GRAPHIC,
    "vips-alpha.avif": HALF,
    "vips-alpha.gif": HALF,
    "vips-alpha.webp": HALF,
    "vips-bigtiff.tiff": PHOTO,
    "vips-interlaced.png": GRAPHIC,
    "vips-jpeg.tiff": PHOTO,
    "vips-palette-alpha.png": HALF,
    "vips-pyramid.tiff": PHOTO,
    "vips-tiled.tiff": PHOTO,
    "vips-turned.avif": PHOTO,
    "vips-turned.jpg": PHOTO,
    "vips-turned.png": GRAPHIC,
    "vips-turned.tiff": PHOTO,
    "vips-turned.webp": PHOTO,
}

# Colours in floats, in L*a*b*, and packed as WebP: for those there is no reader.
REFUSED = ("vips-float.tiff", "vips-lab.tiff", "vips-webp.tiff")


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_comes_out_as_it_should(name: str) -> None:
    expected, data = PICTURES[name], (FOLDER / name).read_bytes()
    (result,) = render(data, TargetSize(*SIZE, Method.SCALE))
    image = opened(result.data)

    assert (result.content_type, image.mode) == (
        f"image/{expected.kind}",
        expected.mode,
    )
    assert image.size == SIZE
    for found, wanted in zip(corner_colours(image), expected.corners, strict=True):
        assert is_near(found, wanted, expected.slack), corner_colours(image)
    scene = opened(SCENE.read_bytes()).resize(SIZE, Image.Resampling.LANCZOS)
    pair = [image, scene]
    if image.mode == "RGBA":
        assert image.getchannel("A").crop((45, 0, 80, 60)).getextrema() == (0, 0)
        pair = [each.crop(LEFT) for each in pair]
    assert similarity(*pair) >= expected.like


@pytest.mark.parametrize("name", PICTURES)
def test_its_size_is_known_without_decoding_it(name: str) -> None:
    info = probe((FOLDER / name).read_bytes())

    assert (info.width, info.height) == (160, 120)
    assert info.is_animated == ("moving" in name)


@pytest.mark.parametrize("name", [name for name in PICTURES if "turned" in name])
def test_where_it_was_taken_is_not_told(name: str) -> None:
    """R32."""
    data = (FOLDER / name).read_bytes()
    assert (b"SECRETPLACE" in data) == (name != "vips-turned.tiff")
    (result,) = render(data)

    assert b"SECRETPLACE" not in result.data
    assert not opened(result.data).getexif()


@pytest.mark.parametrize("name", REFUSED)
def test_what_nobody_here_can_read_is_refused_and_nothing_worse(name: str) -> None:
    assert answered((FOLDER / name).read_bytes()).refusal is Refusal.BROKEN


def test_the_table_has_every_file() -> None:
    files = {path.name for path in FOLDER.iterdir()} - {"README.md"}

    assert files == set(PICTURES) | set(REFUSED)
