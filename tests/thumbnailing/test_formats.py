"""Formats that phones, scanners and old tools write: awkward files, right pictures."""

from __future__ import annotations

import struct

import pytest
from PIL import Image

from mmr.thumbnailing.model import STILL_TYPES, ImageInfo, Refusal, RenderOptions
from mmr.thumbnailing.sizes import DEFAULT_SIZES, TargetSize
from mmr.types import Method

from tests.thumbnailing.images import (
    BLUE,
    GREEN,
    RED,
    WHITE,
    corner_colours,
    encoded,
    exif_block,
    is_near,
    opened,
    oriented,
    photo,
    quadrants,
    sample,
    similarity,
    swapped_primaries_profile,
)
from tests.thumbnailing.rendering import (
    has_quadrants,
    probe,
    refusal,
    render,
    rendered_image,
)

NEW = ["image/avif", "image/bmp", "image/heic", "image/jxl", "image/tiff"]


def boxed_jxl(image: Image.Image, *metadata: tuple[bytes, bytes]) -> bytes:
    """A JPEG XL in a container, with more boxes before its picture."""
    boxes = [
        (b"JXL ", b"\r\n\x87\n"),
        (b"ftyp", b"jxl \x00\x00\x00\x00jxl "),
        *metadata,
        (b"jxlc", encoded(image, "JXL")),
    ]
    return b"".join(
        struct.pack(">I", 8 + len(body)) + kind + body for kind, body in boxes
    )


def with_alpha() -> Image.Image:
    """Left half red, right half invisible green."""
    image = Image.new("RGBA", (400, 300), (*RED, 255))
    image.paste((*GREEN, 0), (200, 0, 400, 300))
    return image


def top_down_bmp(image: Image.Image) -> bytes:
    """A BMP whose first row is the upper one."""
    data = bytearray(encoded(image, "BMP"))
    struct.pack_into("<i", data, 22, -image.height)
    row = image.width * 3
    rows = [bytes(data[at : at + row]) for at in range(54, len(data), row)]
    return bytes(data[:54]) + b"".join(reversed(rows))


def core_bmp(image: Image.Image) -> bytes:
    """A BMP as OS/2 wrote it: 16-bit sides."""
    data = encoded(image, "BMP")
    core = struct.pack("<IHHHH", 12, *image.size, 1, 24)
    return data[:10] + struct.pack("<I", 26) + core + data[54:]


def alpha_bmp(image: Image.Image) -> bytes:
    """A BMP with an alpha channel, which has a mask of its own."""
    pixels = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM).tobytes("raw", "BGRA")
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack(
        "<IiiHHIIiiII", 124, *image.size, 1, 32, 3, len(pixels), 2835, 2835, 0, 0
    )
    header += masks + b"BGRs" + bytes(124 - 40 - 16 - 4)
    start = 14 + len(header)
    head = b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start)
    return head + header + pixels


def wide_tiff(mode: str, pixels: bytes, kind: int, bits: int) -> bytes:
    """A TIFF of 40 by 40 grey pixels of any width, the upper byte first or last."""
    order = ">" if mode == "MM" else "<"
    tags = [
        (256, 40),
        (257, 40),
        (258, bits),
        (259, 1),
        (262, 1),
        (273, 200),
        (277, 1),
        (278, 40),
        (279, len(pixels)),
        (339, kind),
    ]
    entries = b"".join(
        struct.pack(order + "HHIHH", tag, 3, 1, value, 0)
        if value < 65536
        else struct.pack(order + "HHII", tag, 4, 1, value)
        for tag, value in tags
    )
    head = mode.encode() + struct.pack(order + "HIH", 42, 8, len(tags))
    return (head + entries + bytes(4)).ljust(200, b"\x00") + pixels


@pytest.mark.parametrize(
    ("name", "data", "type_", "mode"),
    [
        ("bmp", encoded(quadrants(), "BMP"), "png", "RGB"),
        ("bmp palette", encoded(quadrants().quantize(16), "BMP"), "png", "RGB"),
        ("bmp top down", top_down_bmp(quadrants()), "png", "RGB"),
        ("bmp os/2", core_bmp(quadrants()), "png", "RGB"),
        (
            "bmp alpha unused",
            alpha_bmp(quadrants().convert("RGBA")),
            "png",
            "RGB",
        ),
        ("tiff", encoded(quadrants(), "TIFF"), "jpeg", "RGB"),
        (
            "tiff lzw",
            encoded(quadrants(), "TIFF", compression="tiff_lzw"),
            "jpeg",
            "RGB",
        ),
        (
            "tiff deflate",
            encoded(quadrants(), "TIFF", compression="tiff_adobe_deflate"),
            "jpeg",
            "RGB",
        ),
        ("tiff jpeg", encoded(quadrants(), "TIFF", compression="jpeg"), "jpeg", "RGB"),
        ("tiff big", encoded(quadrants(), "TIFF", big_tiff=True), "jpeg", "RGB"),
        ("tiff palette", encoded(quadrants().quantize(8), "TIFF"), "jpeg", "RGB"),
        ("tiff cmyk", encoded(quadrants().convert("CMYK"), "TIFF"), "jpeg", "RGB"),
        (
            "tiff alpha unused",
            encoded(quadrants().convert("RGBA"), "TIFF"),
            "jpeg",
            "RGB",
        ),
        ("heic", encoded(quadrants(), "HEIF", quality=90), "jpeg", "RGB"),
        (
            "heic 4:4:4",
            encoded(quadrants(), "HEIF", quality=90, chroma=444),
            "jpeg",
            "RGB",
        ),
        ("avif", encoded(quadrants(), "AVIF", quality=90), "jpeg", "RGB"),
        (
            "avif 4:4:4",
            encoded(quadrants(), "AVIF", quality=90, subsampling="4:4:4"),
            "jpeg",
            "RGB",
        ),
        ("jxl", encoded(quadrants(), "JXL", quality=90.0), "jpeg", "RGB"),
        ("jxl lossless", encoded(quadrants(), "JXL", lossless=True), "jpeg", "RGB"),
        ("jxl boxed", boxed_jxl(quadrants()), "jpeg", "RGB"),
    ],
)
def test_colours_and_corners_survive_every_way_to_store_them(
    name: str, data: bytes, type_: str, mode: str
) -> None:
    (result,) = render(data)
    image = opened(result.data)

    assert result.content_type == f"image/{type_}"
    assert (image.mode, image.size) == (mode, (100, 75))
    assert has_quadrants(image, 30)


@pytest.mark.parametrize(
    "data",
    [
        alpha_bmp(with_alpha()),
        encoded(with_alpha(), "TIFF"),
        encoded(with_alpha(), "HEIF", quality=90),
        encoded(with_alpha(), "AVIF", quality=90),
        encoded(with_alpha(), "JXL", lossless=True),
    ],
    ids=["bmp", "tiff", "heic", "avif", "jxl"],
)
def test_transparency_is_kept_and_its_hidden_colour_does_not_bleed(
    data: bytes,
) -> None:
    (result,) = render(data)
    image = opened(result.data)

    assert (result.content_type, image.mode) == ("image/png", "RGBA")
    assert is_near(image.getpixel((20, 40)), (*RED, 255), 20)
    assert image.getpixel((80, 40))[3] < 8


@pytest.mark.parametrize("format", ["TIFF", "HEIF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(format: str, orientation: int) -> None:
    """D57: HEIC turns itself, AVIF says how, TIFF has a tag."""
    stored = oriented(quadrants(), orientation)
    data = encoded(stored, format, exif=exif_block(orientation), quality=95)

    info = probe(data)
    assert (info.width, info.height) == (400, 300)
    image = rendered_image(data, TargetSize(100, 60, Method.CROP))
    assert image.size == (100, 60)
    assert has_quadrants(image, 40)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("16 bit", wide_tiff("II", struct.pack("<1600H", *[0x4080] * 1600), 1, 16)),
        ("big end", wide_tiff("MM", struct.pack(">1600H", *[0x4080] * 1600), 1, 16)),
        ("floats", wide_tiff("II", struct.pack("<1600f", *[0.252] * 1600), 3, 32)),
        ("8 bit", wide_tiff("MM", b"\x40" * 1600, 1, 8)),
    ],
)
def test_grey_of_every_width_keeps_its_brightness(name: str, data: bytes) -> None:
    image = rendered_image(data, TargetSize(20, 20, Method.SCALE))

    assert image.mode == "L"
    assert abs(image.getpixel((10, 10)) - 0x40) <= 2


@pytest.mark.parametrize("compression", ["group3", "group4", "packbits"])
def test_a_fax_is_not_inverted(compression: str) -> None:
    source = Image.new("1", (401, 300))
    source.paste(1, (0, 0, 200, 300))
    image = rendered_image(encoded(source, "TIFF", compression=compression))

    assert image.mode == "L"
    assert image.getpixel((10, 10)) > 250
    assert image.getpixel((90, 10)) < 5


def test_the_first_page_of_many_is_shown_and_the_rest_not_read() -> None:
    pages = [Image.new("RGB", (80, 60), colour) for colour in (BLUE, GREEN)]
    data = encoded(quadrants(), "TIFF", save_all=True, append_images=pages)

    assert has_quadrants(rendered_image(data))
    assert probe(data) == ImageInfo(400, 300, "image/tiff")


def test_pages_that_point_at_each_other_are_no_trap() -> None:
    """R31."""
    data = bytearray(encoded(quadrants(), "TIFF"))
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    struct.pack_into("<I", data, start + 2 + 12 * count, start)

    assert has_quadrants(rendered_image(bytes(data)))


def test_a_sequence_shows_a_picture_and_is_known_to_move() -> None:
    frames = [Image.new("RGB", (64, 48), colour) for colour in (BLUE, RED)]
    data = encoded(
        frames[0], "AVIF", save_all=True, append_images=frames[1:], quality=90
    )

    info = probe(data)
    assert (info.is_animated, info.can_animate) == (True, False)
    moving = TargetSize(32, 32, Method.SCALE, animated=True)
    (result,) = render(data, moving)
    assert not result.animated
    assert is_near(opened(result.data).getpixel((5, 5)), BLUE, 20)


@pytest.mark.parametrize("format", ["TIFF", "HEIF", "AVIF", "JXL"])
def test_colour_profiles_are_applied_and_dropped(format: str) -> None:
    profile = swapped_primaries_profile()
    if format == "JXL":
        data = encoded(quadrants(), format, lossless=True, icc=profile)
    else:
        data = encoded(quadrants(), format, quality=95, icc_profile=profile)

    image = rendered_image(data)

    assert "icc_profile" not in image.info
    wanted = [GREEN, RED, BLUE, WHITE]
    for found, colour in zip(corner_colours(image), wanted, strict=True):
        assert is_near(found, colour, 40)


@pytest.mark.parametrize("format", ["TIFF", "HEIF", "AVIF", "JXL"])
def test_no_metadata_reaches_the_thumbnail(format: str) -> None:
    """R32."""
    exif, xmp = exif_block(1), b"<x:xmpmeta>SECRETPLACE</x:xmpmeta>"
    if format == "JXL":
        data = boxed_jxl(quadrants(), (b"Exif", bytes(4) + exif), (b"xml ", xmp))
    else:
        data = encoded(quadrants(), format, exif=exif, xmp=xmp)
    assert b"SECRETPLACE" in data

    (result,) = render(data)
    image = opened(result.data)
    assert b"SECRETPLACE" not in result.data
    assert not image.getexif()
    assert not {"xmp", "comment", "exif", "icc_profile"} & image.info.keys()


@pytest.mark.parametrize("format", ["HEIF", "AVIF"])
def test_a_broken_exif_block_is_skipped(format: str) -> None:
    """R32."""
    data = bytearray(encoded(quadrants(), format, exif=exif_block(1), quality=90))
    at = data.index(b"SECRETPLACE")
    data[at - 40 : at + 8] = b"\xff" * 48

    assert has_quadrants(rendered_image(bytes(data)), 30)


@pytest.mark.parametrize("content_type", NEW)
def test_the_thumbnail_looks_like_a_full_decode(content_type: str) -> None:
    """Issue 4: SSIM within 0.005, at the same encoder."""
    data = sample(content_type, photo(1003, 755))
    full = opened(data).convert("RGB")
    targets = [TargetSize(*box, Method.SCALE) for box in DEFAULT_SIZES[1:3]]

    for result in render(data, *targets):
        shown = opened(result.data)
        reference = full.resize(shown.size, Image.Resampling.LANCZOS)
        kind = "PNG" if result.content_type == "image/png" else "JPEG"
        naive = opened(encoded(reference, kind, quality=85))
        lost = similarity(naive, reference) - similarity(shown, reference)
        assert lost <= 0.005, (shown.size, lost)


def claiming(content_type: str, width: int, height: int) -> bytes:
    """A small file whose header claims any size."""
    data = bytearray(sample(content_type, quadrants(160, 120)))
    match content_type:
        case "image/bmp":
            struct.pack_into("<ii", data, 18, width, height)
        case "image/tiff":
            data = bytearray(wide_tiff("II", b"\x00" * 1600, 1, 8))
            for at, value in ((10, width), (22, height)):
                struct.pack_into("<HII", data, at + 2, 4, 1, value)
        case _:
            at = data.index(b"ispe")
            struct.pack_into(">II", data, at + 8, width, height)
    return bytes(data)


@pytest.mark.parametrize("content_type", [name for name in NEW if name != "image/jxl"])
def test_sizes_are_checked_before_a_pixel_is_decoded(content_type: str) -> None:
    """R30."""
    assert refusal(claiming(content_type, 65_000, 65_000)) is Refusal.TOO_LARGE
    assert refusal(claiming(content_type, 1, 30_000_000)) is Refusal.TOO_LARGE
    assert refusal(claiming(content_type, 8_000, 4_000)) is Refusal.TOO_LARGE
    assert refusal(claiming(content_type, 0, 10)) is Refusal.BROKEN


def test_a_jpeg_xl_of_any_size_is_measured_without_decoding() -> None:
    """R30: short sides, long sides, and sides that follow from a ratio."""
    for size in ((8, 16), (256, 8), (333, 77), (3000, 1), (640, 480), (1920, 1080)):
        data = encoded(Image.new("RGB", size), "JXL")
        info = probe(data)
        assert (info.width, info.height) == size
    data = encoded(Image.new("RGB", (3000, 2000)), "JXL")
    assert refusal(data, RenderOptions(max_pixels=6_000_000)) is Refusal.TOO_LARGE


def test_jpeg_xl_is_off_unless_it_is_listed() -> None:
    """R38."""
    assert "image/jxl" not in STILL_TYPES


def test_webp_takes_the_place_of_png_and_jpeg() -> None:
    target = TargetSize(100, 75, Method.SCALE, webp=True)
    for data in (
        encoded(with_alpha(), "PNG"),
        encoded(quadrants(), "PNG"),
        encoded(with_alpha(), "WEBP", quality=90),
    ):
        (result,) = render(data, target)
        image = opened(result.data)
        assert result.content_type == "image/webp"
        assert (image.format, image.size) == ("WEBP", (100, 75))
    (alpha,) = render(encoded(with_alpha(), "PNG"), target)
    assert opened(alpha.data).getpixel((20, 40)) == (*RED, 255)
    assert opened(alpha.data).getpixel((80, 40))[3] == 0
