"""PNG and WebP by libvips: the same thumbnails as without it."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from functools import lru_cache
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from mmr.thumbnailing.model import Refused
from mmr.thumbnailing.process import WORKER_COMMAND, WorkerSlot
from mmr.thumbnailing.protocol import Job
from mmr.thumbnailing.renderers.base import Renderer
from mmr.thumbnailing.renderers.moving import PngRenderer, WebPRenderer
from mmr.thumbnailing.renderers.vips import shrink_png, shrink_webp
from mmr.thumbnailing.sizes import DEFAULT_SIZES, TargetSize
from mmr.types import Method
from mmr.util.confined.limits import WorkerLimits

from tests.thumbnailing.images import (
    encoded,
    exif_block,
    is_near,
    opened,
    oriented,
    photo,
    png_chunk,
    quadrants,
    similarity,
    swapped_primaries_profile,
)
from tests.thumbnailing.rendering import OPTIONS, has_quadrants

# Sides that no block divides.
PICTURE = photo(403, 302)
TARGETS = (TargetSize(60, 45, Method.SCALE), TargetSize(40, 40, Method.CROP))


def see_through(picture: Image.Image) -> Image.Image:
    """With a hole, a soft edge, and colour that shows in neither."""
    image = picture.copy()
    mask = Image.radial_gradient("L").resize(image.size).point(lambda v: max(0, v - 60))
    image.putalpha(mask)
    return image


def raw_png(kind: int, bits: int, row: bytes, *chunks: bytes) -> bytes:
    """A PNG of 400 by 300, of a kind that the library can't write."""
    header = struct.pack(">IIBBBBB", 400, 300, bits, kind, 0, 0, 0)
    pixels = zlib.compress((b"\x00" + row) * 300)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            png_chunk(b"IHDR", header),
            *chunks,
            png_chunk(b"IDAT", pixels),
            png_chunk(b"IEND", b""),
        )
    )


WIDE_GREY = b"".join(struct.pack(">H", 160 * x) for x in range(400))
WIDE_COLOUR = b"".join(
    struct.pack(">HHH", 160 * x, 0x8000, 65535 - 160 * x) for x in range(400)
)
KEY = png_chunk(b"tRNS", struct.pack(">H", 160 * 7))
STRIPES = Image.radial_gradient("L").resize((403, 302))

PNGS = {
    "colour": encoded(PICTURE, "PNG"),
    "alpha": encoded(see_through(PICTURE), "PNG"),
    "opaque alpha": encoded(PICTURE.convert("RGBA"), "PNG"),
    "grey": encoded(PICTURE.convert("L"), "PNG"),
    "grey with alpha": encoded(see_through(PICTURE.convert("L")), "PNG"),
    "palette": encoded(PICTURE.quantize(64), "PNG"),
    "small palette": encoded(quadrants().quantize(4), "PNG", bits=2),
    "palette with a hole": encoded(see_through(PICTURE).quantize(64), "PNG"),
    "1 bit": encoded(STRIPES.convert("1"), "PNG"),
    "a colour that stands for nothing": encoded(
        quadrants(), "PNG", transparency=(255, 0, 0)
    ),
    "a brightness that stands for nothing": encoded(STRIPES, "PNG", transparency=7),
    "16-bit grey": raw_png(0, 16, WIDE_GREY),
    "16-bit colour": raw_png(2, 16, WIDE_COLOUR),
    "16-bit grey with a hole": raw_png(0, 16, WIDE_GREY, KEY),
    "profile": encoded(PICTURE, "PNG", icc_profile=swapped_primaries_profile()),
    "turned": encoded(oriented(PICTURE, 6), "PNG", exif=exif_block(6)),
}
WEBPS = {
    "lossy": encoded(PICTURE, "WEBP", quality=90),
    "lossless": encoded(PICTURE, "WEBP", lossless=True),
    "lossy alpha": encoded(see_through(PICTURE), "WEBP", quality=90),
    "lossless alpha": encoded(see_through(PICTURE), "WEBP", lossless=True, exact=True),
    "profile": encoded(
        PICTURE, "WEBP", quality=90, icc_profile=swapped_primaries_profile()
    ),
    "turned": encoded(oriented(PICTURE, 8), "WEBP", quality=90, exif=exif_block(8)),
}


def drawn(renderer: Renderer, data: bytes) -> list[Image.Image]:
    results = renderer.render(data, TARGETS, OPTIONS)
    return [opened(result.data) for result in results]


def difference(one: Image.Image, other: Image.Image) -> float:
    """The mean over pixels and channels, seen on black."""
    shown = []
    for image in (one, other):
        canvas = Image.new("RGBA", image.size, "black")
        canvas.alpha_composite(image.convert("RGBA"))
        shown.append(canvas.convert("RGB"))
    histogram = ImageChops.difference(*shown).histogram()
    return sum(index % 256 * count for index, count in enumerate(histogram)) / (
        3 * one.width * one.height
    )


def assert_alike(plain: Renderer, quick: Renderer, data: bytes, most: float) -> None:
    for one, other in zip(drawn(plain, data), drawn(quick, data), strict=True):
        assert (one.mode, one.size) == (other.mode, other.size)
        assert difference(one, other) < most


@pytest.mark.parametrize("name", PNGS)
def test_a_png_looks_the_same(name: str) -> None:
    assert_alike(PngRenderer(), PngRenderer(shrink_png), PNGS[name], 1.5)


@pytest.mark.parametrize("name", WEBPS)
def test_a_webp_looks_the_same(name: str) -> None:
    # Blocks are cut at other places where they don't divide the sides.
    assert_alike(WebPRenderer(), WebPRenderer(shrink_webp), WEBPS[name], 6)


@pytest.mark.parametrize("box", DEFAULT_SIZES)
def test_a_webp_looks_like_a_full_decode(box: tuple[int, int]) -> None:
    """Issue 4: SSIM within 0.005, at the same encoder."""
    data = large_webp()
    renderer = WebPRenderer(shrink_webp)
    (result,) = renderer.render(data, [TargetSize(*box, Method.SCALE)], OPTIONS)

    shown = opened(result.data)
    reference = opened(data).resize(shown.size, Image.Resampling.LANCZOS)
    naive = opened(encoded(reference, "JPEG", quality=85))
    assert similarity(naive, reference) - similarity(shown, reference) <= 0.005


@lru_cache(maxsize=1)
def large_webp() -> bytes:
    return encoded(photo(2401, 1803), "WEBP", quality=90, method=0)


@pytest.mark.parametrize("name", ["colour", "alpha", "palette", "16-bit colour"])
def test_a_png_that_is_cut_off_or_damaged_is_an_error(name: str) -> None:
    """R30."""
    data = PNGS[name]
    at = data.index(b"IDAT") + 4
    for end in (at + 3, (at + len(data)) // 2, len(data) - 17):
        with pytest.raises(Exception, match=r".+"):
            shrink_png(data[:end] + data[-12:], (403, 302), 3)
    broken = data[: at + 40] + bytes(60) + data[at + 100 :]
    with pytest.raises(Exception, match=r".+"):
        shrink_png(broken, (403, 302), 3)


@pytest.mark.parametrize("name", ["lossy", "lossless", "lossy alpha"])
def test_a_webp_that_is_cut_off_is_an_error(name: str) -> None:
    """R30."""
    data = WEBPS[name]
    for end in (40, len(data) // 2, len(data) - 40):
        whole = data[:4] + struct.pack("<I", end - 8) + data[8:end]
        with pytest.raises(Exception, match=r".+"):
            shrink_webp(whole, (403, 302), 3)


def test_a_picture_of_another_size_than_its_container_says_is_refused() -> None:
    """R30."""
    with pytest.raises(Refused):
        shrink_png(PNGS["colour"], (300, 302), 3)
    with pytest.raises(Refused):
        shrink_webp(WEBPS["lossy"], (403, 200), 3)


def test_without_the_package_the_image_library_does_it() -> None:
    code = (
        "import sys; sys.modules['pyvips'] = None;"
        "from mmr.thumbnailing.renderers import RENDERERS;"
        "print(RENDERERS['image/png']._shrink, RENDERERS['image/webp']._shrink)"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True
    )

    assert printed.stdout.split() == [b"None", b"None"]


def test_a_small_thumbnail_of_a_large_picture_is_the_right_way_up() -> None:
    large = quadrants(2000, 1500)
    for format, renderer in (
        ("PNG", PngRenderer(shrink_png)),
        ("WEBP", WebPRenderer(shrink_webp)),
    ):
        assert has_quadrants(drawn(renderer, encoded(large, format))[0], 20)


def test_a_worker_holds_large_pictures_in_memory(tmp_path: Path) -> None:
    """It has no folder for temporary files of libvips."""
    large = Image.new("RGBA", (5400, 5400), (200, 30, 30, 128))
    source = tmp_path / "source"
    source.write_bytes(encoded(large, "WEBP", quality=1, method=0))
    slot = WorkerSlot(WORKER_COMMAND, WorkerLimits(), tmp_path)
    try:
        outcome = slot.run(source, Job("image/webp", TARGETS[:1], OPTIONS))
    finally:
        slot.close()

    image = opened(outcome.rendered[0].data)
    assert is_near(image.getpixel((20, 20)), (200, 30, 30, 128))
