"""Right way up, right size, right type, nothing but the picture."""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache

import pytest
from PIL import Image

from mmr.thumbnailing.model import ImageInfo
from mmr.thumbnailing.sizes import DEFAULT_SIZES, TargetSize
from mmr.types import Method

from tests.thumbnailing.images import (
    GREEN,
    RED,
    encoded,
    exif_block,
    is_near,
    opened,
    oriented,
    photo,
    png_chunk,
    quadrants,
    samples,
    similarity,
)
from tests.thumbnailing.rendering import (
    has_quadrants,
    probe,
    render,
    rendered_image,
)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("method", Method)
def test_orientation_is_applied_before_the_fitting(
    format: str, orientation: int, method: Method
) -> None:
    """D57."""
    stored = oriented(quadrants(), orientation)
    data = encoded(stored, format, exif=exif_block(orientation), quality=95)
    target = TargetSize(100, 60, method)

    assert probe(data) == ImageInfo(400, 300, f"image/{format.lower()}")
    image = rendered_image(data, target)
    assert image.size == ((80, 60) if method is Method.SCALE else (100, 60))
    assert has_quadrants(image, 30)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_impossible_orientation_means_none(orientation: int) -> None:
    data = encoded(quadrants(), "JPEG", exif=exif_block(orientation))

    assert has_quadrants(rendered_image(data), 30)


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("image/jpeg", "image/jpeg"),
        ("image/webp", "image/jpeg"),
        ("image/png", "image/png"),
        ("image/gif", "image/png"),
    ],
)
def test_opaque_photos_become_jpeg_and_graphics_png(source: str, wanted: str) -> None:
    (result,) = render(samples()[source])

    assert result.content_type == wanted
    assert opened(result.data).get_format_mimetype() == wanted


def test_the_same_request_gives_the_same_bytes() -> None:
    data = samples()["image/jpeg"]

    assert render(data) == render(data)


def test_elongated_sources_keep_a_side_of_at_least_one_pixel() -> None:
    data = encoded(Image.new("RGB", (3000, 1)), "PNG")

    assert rendered_image(data).size == (100, 1)


def test_a_smaller_source_is_not_enlarged() -> None:
    data = encoded(quadrants(40, 30), "JPEG")

    assert rendered_image(data).size == (40, 30)
    assert rendered_image(data, TargetSize(64, 64, Method.CROP)).size == (30, 30)


def test_the_crop_is_the_centre() -> None:
    source = Image.new("RGB", (900, 300), RED)
    source.paste(GREEN, (300, 0, 600, 300))
    image = rendered_image(encoded(source, "PNG"), TargetSize(96, 96, Method.CROP))

    assert image.size == (96, 96)
    for place in ((0, 0), (95, 95), (48, 48)):
        # At the edge the filter looks a little past the cut.
        assert is_near(image.getpixel(place), GREEN, 40)


FORMATS = [
    ("JPEG", {"quality": 90}),
    ("JPEG", {"quality": 90, "progressive": True}),
    ("PNG", {}),
    ("WEBP", {"quality": 90}),
]


@pytest.mark.parametrize(("format", "options"), FORMATS)
@pytest.mark.parametrize("size", [(1600, 1200), (1603, 1199)])
def test_one_decode_for_all_sizes_looks_like_a_full_decode_for_each(
    format: str, options: dict[str, object], size: tuple[int, int]
) -> None:
    """Issue 4: SSIM within 0.005 of full decoding and Lanczos, at the same encoder."""
    data = encoded(photo(*size), format, **options)
    full = opened(data).convert("RGB")
    targets = [TargetSize(*box, Method.SCALE) for box in DEFAULT_SIZES]

    results = render(data, *targets)

    for target, result in zip(targets, results, strict=True):
        shown = opened(result.data)
        assert shown.width == target.width or shown.height == target.height
        reference = full.resize(shown.size, Image.Resampling.LANCZOS)
        kind = "PNG" if result.content_type == "image/png" else "JPEG"
        naive = opened(encoded(reference, kind, quality=85))
        lost = similarity(naive, reference) - similarity(shown, reference)
        assert lost <= 0.005, (target, lost)


@pytest.mark.parametrize("width", [1920, 2400, 4000])
@pytest.mark.parametrize(("format", "options"), FORMATS[::2])
@pytest.mark.parametrize("box", DEFAULT_SIZES)
def test_each_size_alone_looks_like_a_full_decode_too(
    format: str, options: dict[str, object], width: int, box: tuple[int, int]
) -> None:
    """Issue 4: alone, a size is made from as few pixels as will do."""
    data = _large(format, width, **options)
    (result,) = render(data, TargetSize(*box, Method.SCALE))

    shown = opened(result.data)
    full = opened(data).convert("RGB")
    reference = full.resize(shown.size, Image.Resampling.LANCZOS)
    kind = "PNG" if result.content_type == "image/png" else "JPEG"
    naive = opened(encoded(reference, kind, quality=85))
    assert similarity(naive, reference) - similarity(shown, reference) <= 0.005


@lru_cache(maxsize=6)
def _large(format: str, width: int, **options: object) -> bytes:
    return encoded(photo(width, width * 3 // 4), format, **options)


def test_a_crop_from_a_scaled_decode_is_not_shifted() -> None:
    data = encoded(photo(), "JPEG", quality=90)
    image = rendered_image(data, TargetSize(96, 96, Method.CROP))

    cut = (200, 0, 1400, 1200)
    reference = opened(data).resize((96, 96), Image.Resampling.LANCZOS, cut)
    naive = opened(encoded(reference, "JPEG", quality=85))
    assert similarity(naive, reference) - similarity(image, reference) <= 0.005


def test_interlaced_and_plain_png_give_the_same_thumbnail() -> None:
    # The library reads interlaced files and writes none, so this is one by hand:
    # 8 by 8 pixels, 1 channel, all 7 passes.
    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 1)
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)]
    passes += [(0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    raw = b"".join(
        b"\x00" + bytes(30 * y + x for x in range(left, 8, across))
        for left, top, across, down in passes
        for y in range(top, 8, down)
    )
    interlaced = (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(raw))
        + png_chunk(b"IEND", b"")
    )
    plain = Image.frombytes(
        "L", (8, 8), bytes(30 * y + x for y in range(8) for x in range(8))
    )
    box = TargetSize(4, 4, Method.SCALE)

    one = rendered_image(interlaced, box)
    other = rendered_image(encoded(plain, "PNG"), box)
    assert one.tobytes() == other.tobytes()
