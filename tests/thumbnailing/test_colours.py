"""Right colours from every way to store a pixel."""

from __future__ import annotations

import struct
import zlib

import pytest
from PIL import Image, ImageCms

from mmr.thumbnailing.sizes import TargetSize
from mmr.types import Method

from tests.thumbnailing.images import (
    BLUE,
    GREEN,
    RED,
    WHITE,
    corner_colours,
    encoded,
    is_near,
    opened,
    png_chunk,
    quadrants,
    swapped_primaries_profile,
)
from tests.thumbnailing.rendering import (
    has_quadrants,
    render,
    rendered_image,
)


@pytest.mark.parametrize(
    ("name", "data", "mode"),
    [
        ("JPEG", encoded(quadrants(), "JPEG", quality=95), "RGB"),
        ("progressive", encoded(quadrants(), "JPEG", progressive=True), "RGB"),
        ("4:4:4", encoded(quadrants(), "JPEG", subsampling=0), "RGB"),
        ("PNG", encoded(quadrants(), "PNG"), "RGB"),
        ("opaque alpha", encoded(quadrants().convert("RGBA"), "PNG"), "RGB"),
        ("palette", encoded(quadrants().quantize(16), "PNG"), "RGB"),
        ("4-bit palette", encoded(quadrants().quantize(4), "PNG", bits=4), "RGB"),
        ("GIF", encoded(quadrants().quantize(16), "GIF"), "RGB"),
        ("WebP", encoded(quadrants(), "WEBP", quality=90), "RGB"),
        ("lossless WebP", encoded(quadrants(), "WEBP", lossless=True), "RGB"),
    ],
)
def test_colours_and_corners_survive_every_way_to_store_them(
    name: str, data: bytes, mode: str
) -> None:
    image = rendered_image(data)

    assert image.mode == mode
    assert image.size == (100, 75)
    assert has_quadrants(image, 30 if "WebP" in name or "progressive" in name else 20)


def test_cmyk_is_shown_as_rgb_and_not_inverted() -> None:
    data = encoded(quadrants().convert("CMYK"), "JPEG", quality=95)
    assert b"Adobe" in data

    assert has_quadrants(rendered_image(data), 20)


def grey_16(value: int, key: int | None = None) -> bytes:
    header = struct.pack(">IIBBBBB", 40, 40, 16, 0, 0, 0, 0)
    row = b"\x00" + struct.pack(">H", value) * 20 + struct.pack(">H", 0xFFFF) * 20
    chunks = [png_chunk(b"IHDR", header)]
    if key is not None:
        chunks.append(png_chunk(b"tRNS", struct.pack(">H", key)))
    chunks += [
        png_chunk(b"IDAT", zlib.compress(row * 40)),
        png_chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_16_bit_grey_keeps_its_brightness() -> None:
    image = rendered_image(grey_16(0x4080), TargetSize(20, 20, Method.SCALE))

    assert image.mode == "L"
    assert abs(image.getpixel((4, 10)) - 0x40) <= 1
    assert image.getpixel((15, 10)) == 255


def test_16_bit_grey_with_a_transparent_value_is_transparent_there() -> None:
    image = rendered_image(grey_16(0x4080, 0x4080), TargetSize(20, 20, Method.SCALE))

    assert image.mode == "LA"
    assert image.getpixel((4, 10))[1] == 0
    assert image.getpixel((15, 10)) == (255, 255)


def test_16_bit_colour_keeps_its_colours() -> None:
    header = struct.pack(">IIBBBBB", 40, 40, 16, 2, 0, 0, 0)
    row = b"\x00" + struct.pack(">HHH", 0xFF00, 0x8000, 0x0100) * 40
    data = (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(row * 40))
        + png_chunk(b"IEND", b"")
    )

    image = rendered_image(data, TargetSize(20, 20, Method.SCALE))
    assert is_near(image.getpixel((10, 10)), (0xFF, 0x80, 0x01), 1)


def test_one_bit_pictures_get_grey_edges() -> None:
    source = Image.new("1", (401, 300))
    source.paste(1, (0, 0, 200, 300))
    image = rendered_image(encoded(source, "PNG"))

    assert image.mode == "L"
    assert image.getpixel((10, 10)) == 255
    assert image.getpixel((90, 10)) == 0


def test_grey_stays_grey() -> None:
    grey = Image.linear_gradient("L").resize((400, 300))

    for format in ("PNG", "JPEG"):
        image = rendered_image(encoded(grey, format))
        assert image.mode == "L"
        assert image.getpixel((50, 70)) > 220


def see_through() -> Image.Image:
    """Left half red, right half invisible green."""
    image = Image.new("RGBA", (400, 300), (*RED, 255))
    image.paste((*GREEN, 0), (200, 0, 400, 300))
    return image


@pytest.mark.parametrize(
    "data",
    [
        encoded(see_through(), "PNG"),
        encoded(see_through(), "WEBP", lossless=True, exact=True),
        encoded(see_through(), "WEBP", quality=90),
        encoded(see_through(), "GIF"),
        encoded(see_through().quantize(8), "PNG"),
    ],
)
def test_transparency_is_kept_and_its_hidden_colour_does_not_bleed(
    data: bytes,
) -> None:
    (result,) = render(data)
    image = opened(result.data)

    assert result.content_type == "image/png"
    assert image.mode == "RGBA"
    assert is_near(image.getpixel((20, 40)), (*RED, 255), 20)
    assert image.getpixel((80, 40))[3] == 0
    for x in range(45, 55):
        red, green, _, alpha = image.getpixel((x, 40))
        assert alpha < 40 or (red > 200 and green < 60)


def test_grey_with_alpha_keeps_both() -> None:
    source = Image.new("LA", (400, 300), (80, 255))
    source.paste((255, 0), (200, 0, 400, 300))
    image = rendered_image(encoded(source, "PNG"))

    assert image.mode == "LA"
    assert image.getpixel((20, 40)) == (80, 255)
    assert image.getpixel((80, 40))[1] == 0


@pytest.mark.parametrize("mode", ["RGB", "L", "1"])
def test_a_colour_declared_transparent_is_transparent(mode: str) -> None:
    source = Image.new(mode, (400, 300), 0)
    source.paste("white", (200, 0, 400, 300))
    key = {"RGB": (0, 0, 0), "L": 0, "1": 0}[mode]
    image = rendered_image(encoded(source, "PNG", transparency=key))

    assert image.getpixel((20, 40))[-1] == 0
    assert image.getpixel((80, 40))[-1] == 255


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_colour_profiles_are_applied_and_dropped(format: str) -> None:
    profile = swapped_primaries_profile()
    data = encoded(quadrants(), format, icc_profile=profile, quality=95)

    image = rendered_image(data)

    assert "icc_profile" not in image.info
    wanted = [GREEN, RED, BLUE, WHITE]
    for found, colour in zip(corner_colours(image), wanted, strict=True):
        assert is_near(found, colour, 40)


def test_a_profile_leaves_transparency_alone() -> None:
    data = encoded(see_through(), "PNG", icc_profile=swapped_primaries_profile())
    image = rendered_image(data)

    assert is_near(image.getpixel((20, 40)), (*GREEN, 255), 20)
    assert image.getpixel((80, 40))[3] == 0


@pytest.mark.parametrize(
    "profile",
    [
        b"garbage",
        b"\x00" * 500,
        ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),
        swapped_primaries_profile()[:300],
    ],
)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_a_profile_that_is_broken_or_for_other_colours_is_skipped(
    profile: bytes, format: str
) -> None:
    """R32."""
    data = encoded(quadrants(), format, icc_profile=profile, quality=95)

    assert has_quadrants(rendered_image(data), 30)
