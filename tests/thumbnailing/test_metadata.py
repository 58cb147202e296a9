"""Metadata: only the orientation and the colours come through (R32)."""

from __future__ import annotations

import time
import zlib

import pytest
from PIL import Image

from tests.thumbnailing.images import (
    BLUE,
    encoded,
    exif_block,
    jpeg_with_segment,
    opened,
    png_chunk,
    png_with,
    quadrants,
)
from tests.thumbnailing.rendering import (
    has_quadrants,
    render,
    rendered_image,
)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_no_metadata_reaches_the_thumbnail(format: str) -> None:
    """R32: the place where a photo was taken above all."""
    xmp = b"<x:xmpmeta>SECRETPLACE</x:xmpmeta>"
    data = encoded(
        quadrants(), format, exif=exif_block(1), comment=b"SECRETPLACE", xmp=xmp
    )
    assert b"SECRETPLACE" in data

    (result,) = render(data)

    assert b"SECRETPLACE" not in result.data
    image = opened(result.data)
    assert not image.getexif()
    assert not {"xmp", "comment", "exif", "icc_profile"} & image.info.keys()


def test_a_gif_comment_does_not_reach_the_thumbnail() -> None:
    """R32."""
    data = encoded(quadrants().quantize(8), "GIF", comment=b"SECRETPLACE")

    assert b"SECRETPLACE" not in render(data)[0].data


def text_bomb() -> bytes:
    packed = zlib.compress(b"A" * (80 << 20), 9)
    return png_with(
        encoded(quadrants(), "PNG"),
        *(png_chunk(b"zTXt", b"Comment\x00\x00" + packed) for _ in range(3)),
    )


def profile_bomb() -> bytes:
    packed = zlib.compress(b"\x00" * (60 << 20), 9)
    body = b"icc\x00\x00" + packed
    return png_with(encoded(quadrants(), "PNG"), png_chunk(b"iCCP", body))


@pytest.mark.parametrize(
    "data",
    [
        text_bomb(),
        profile_bomb(),
        png_with(encoded(quadrants(), "PNG"), *[png_chunk(b"tEXt", b"a\x00b")] * 10000),
        png_with(encoded(quadrants(), "PNG"), png_chunk(b"eXIf", b"MM\x00*\xff\xff")),
        png_with(encoded(quadrants(), "PNG"), png_chunk(b"eXIf", b"x" * (2 << 20))),
        png_with(
            encoded(quadrants(), "PNG"), png_chunk(b"iCCP", b"a\x00\x00bad")[:-1] + b"!"
        ),
        jpeg_with_segment(
            encoded(quadrants(), "JPEG"), 0xE1, b"Exif\x00\x00MM\x00*\xff"
        ),
        jpeg_with_segment(
            encoded(quadrants(), "JPEG"), 0xE1, b"Exif\x00\x00" + b"\xff" * 60_000
        ),
        jpeg_with_segment(
            encoded(quadrants(), "JPEG"), 0xED, b"Photoshop 3.0\x008BIM\x04"
        ),
        jpeg_with_segment(
            encoded(quadrants(), "JPEG"), 0xE2, b"MPF\x00II*\x00\xff\xff"
        ),
        jpeg_with_segment(encoded(quadrants(), "JPEG"), 0xFE, b"\x00" * 60_000),
    ],
    ids=[
        "text-bomb",
        "profile-bomb",
        "10000-texts",
        "broken-exif",
        "large-exif",
        "profile-checksum",
        "jpeg-broken-exif",
        "jpeg-garbage-exif",
        "photoshop",
        "mpf",
        "comment",
    ],
)
def test_broken_and_oversized_metadata_is_skipped(data: bytes) -> None:
    """R32."""
    started = time.process_time()

    assert has_quadrants(rendered_image(data), 30)
    assert time.process_time() - started < 2


def test_the_first_picture_of_a_multi_picture_jpeg_is_shown() -> None:
    """R29: no other container comes out of opening a JPEG."""
    second = Image.new("RGB", (400, 300), BLUE)
    data = encoded(quadrants(), "MPO", save_all=True, append_images=[second])

    (result,) = render(data)
    assert result.content_type == "image/jpeg"
    assert has_quadrants(opened(result.data), 30)
