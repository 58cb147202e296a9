"""JPEG, PNG, GIF and WebP: right sizes, right colours, nothing but the picture."""

from __future__ import annotations

import struct
import time
import zlib
from io import BytesIO

import pytest
from PIL import Image, ImageCms

from mmr.thumbnailing.model import ImageInfo, Refusal, Refused, RenderOptions
from mmr.thumbnailing.protocol import Job, Reply
from mmr.thumbnailing.renderers import RENDERERS, renderer_for
from mmr.thumbnailing.renderers.base import Encoded
from mmr.thumbnailing.sizes import DEFAULT_SIZES, TargetSize
from mmr.thumbnailing.sniff import sniff
from mmr.thumbnailing.worker import answer, handle
from mmr.types import Method

from tests.thumbnailing.images import (
    BLUE,
    CORNERS,
    GREEN,
    RED,
    WHITE,
    corner_colours,
    encoded,
    exif_block,
    gif_claiming,
    gif_of,
    is_near,
    jpeg_claiming,
    jpeg_with_segment,
    opened,
    oriented,
    photo,
    png_chunk,
    png_claiming,
    png_with,
    quadrants,
    samples,
    similarity,
    swapped_primaries_profile,
    webp_claiming,
)

OPTIONS = RenderOptions()
BOX = TargetSize(100, 75, Method.SCALE)


def render(
    data: bytes,
    *targets: TargetSize,
    options: RenderOptions = OPTIONS,
) -> list[Encoded]:
    sniffed = sniff(data)
    assert sniffed is not None
    renderer = renderer_for(sniffed.content_type)
    return list(renderer.render(data, targets or (BOX,), options))


def rendered_image(data: bytes, target: TargetSize = BOX) -> Image.Image:
    (result,) = render(data, target)
    image = opened(result.data)
    assert image.size == (result.width, result.height)
    return image


def probe(data: bytes, options: RenderOptions = OPTIONS) -> ImageInfo:
    sniffed = sniff(data)
    assert sniffed is not None
    return renderer_for(sniffed.content_type).probe(data, options)


def refusal(data: bytes, options: RenderOptions = OPTIONS) -> Refusal:
    with pytest.raises(Refused) as caught:
        render(data, options=options)
    with pytest.raises(Refused) as probed:
        probe(data, options)
    assert probed.value.reason is caught.value.reason
    return caught.value.reason


def answered(data: bytes) -> Reply:
    job = Job("image/png", (BOX,), OPTIONS)
    return answer(handle, job, BytesIO(data), BytesIO())


def has_quadrants(image: Image.Image, slack: int = 12) -> bool:
    return all(
        is_near(found, wanted, slack)
        for found, wanted in zip(corner_colours(image), CORNERS, strict=True)
    )


# Colours


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


# Orientation


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


# Metadata


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


# Output types


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


# Sizes and quality


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


# Animations


@pytest.mark.parametrize(
    ("still", "colour"),
    [(0.0, RED), (0.5, GREEN), (0.34, GREEN), (1.0, BLUE), (7.0, BLUE), (-1.0, RED)],
)
def test_the_still_frame_stands_for_the_animation(
    still: float, colour: tuple[int, int, int]
) -> None:
    """D58: also at 1.0, which is the last frame and not one past it."""
    data = gif_of([RED, GREEN, BLUE], (200, 150))
    (result,) = render(data, options=RenderOptions(still_frame=still))

    assert is_near(opened(result.data).convert("RGB").getpixel((50, 50)), colour, 2)


def test_gif_frames_lie_on_one_another() -> None:
    base = Image.new("RGB", (200, 150), RED)
    second = base.copy()
    second.paste(GREEN, (0, 0, 100, 150))
    data = encoded(base, "GIF", save_all=True, append_images=[second], disposal=1)
    (result,) = render(data, options=RenderOptions(still_frame=1.0))

    image = opened(result.data).convert("RGB")
    assert is_near(image.getpixel((20, 40)), GREEN, 2)
    assert is_near(image.getpixel((80, 40)), RED, 2)


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_other_animations_show_their_first_frame(format: str) -> None:
    frames = [Image.new("RGB", (200, 150), colour) for colour in (RED, BLUE)]
    data = encoded(
        frames[0], format, save_all=True, append_images=frames[1:], duration=50
    )

    assert is_near(rendered_image(data).convert("RGB").getpixel((50, 40)), RED, 20)


def raw_gif(frames: int, size: tuple[int, int], frame: tuple[int, int]) -> bytes:
    one = encoded(Image.new("P", (1, 1)), "GIF")
    at = one.index(b"\x2c")
    palette = b"\x00\x00\x00\xff\xff\xff"
    head = b"GIF89a" + struct.pack("<HHBBB", *size, 0x80, 0, 0) + palette
    body = one[at:-1]
    picture = body[:5] + struct.pack("<HH", *frame) + body[9:]
    return head + picture * frames + b"\x3b"


def test_a_hundred_thousand_frames_cost_no_more_than_the_budget() -> None:
    """R31."""
    data = raw_gif(100_000, (100, 100), (1, 1))
    started = time.process_time()

    render(data, options=RenderOptions(still_frame=1.0))

    assert time.process_time() - started < 3


def test_frames_past_the_budget_of_pixels_are_not_decoded() -> None:
    """R31."""
    data = gif_of([RED, GREEN, BLUE, WHITE, RED, BLUE], (100, 100))
    options = RenderOptions(still_frame=1.0, max_pixels=10_001)
    (result,) = render(data, options=options)

    # Four frames are within 4 x maxPixels; the fourth is white.
    image = opened(result.data).convert("RGB")
    assert is_near(image.getpixel((50, 50)), WHITE, 2)


# Limits


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (png_claiming(65_000, 65_000), Refusal.TOO_LARGE),
        (png_claiming(1, 30_000_000), Refusal.TOO_LARGE),
        (png_claiming(30_000_000, 1), Refusal.TOO_LARGE),
        (png_claiming(8_000, 4_000), Refusal.TOO_LARGE),
        (png_claiming(0, 10), Refusal.BROKEN),
        (png_claiming(10, 0), Refusal.BROKEN),
        (png_claiming(2**32 - 1, 2**32 - 1), Refusal.TOO_LARGE),
        (jpeg_claiming(65_000, 65_000), Refusal.TOO_LARGE),
        (jpeg_claiming(65_535, 1), Refusal.TOO_LARGE),
        (jpeg_claiming(100, 0), Refusal.BROKEN),
        (gif_claiming(65_000, 65_000), Refusal.TOO_LARGE),
        (gif_claiming(0, 5), Refusal.BROKEN),
        (webp_claiming(16_383, 16_383), Refusal.TOO_LARGE),
        (raw_gif(1, (1, 1), (60_000, 60_000)), Refusal.TOO_LARGE),
        (raw_gif(0, (5, 5), (1, 1)), Refusal.BROKEN),
    ],
)
def test_sizes_are_checked_before_a_pixel_is_decoded(
    data: bytes, reason: Refusal
) -> None:
    """R30."""
    started = time.process_time()

    assert refusal(data) is reason
    assert time.process_time() - started < 0.2


def test_a_second_frame_larger_than_the_first_is_checked_too() -> None:
    """R30."""
    small = raw_gif(1, (10, 10), (10, 10))
    large = raw_gif(1, (10, 10), (60_000, 60_000))
    at = large.index(b"\x2c")

    assert refusal(small[:-1] + large[at:]) is Refusal.TOO_LARGE


def test_the_limit_of_pixels_is_the_operators() -> None:
    data = encoded(Image.new("L", (100, 100)), "PNG")

    assert refusal(data, RenderOptions(max_pixels=10_000)) is Refusal.TOO_LARGE
    assert render(data, options=RenderOptions(max_pixels=10_001))


@pytest.mark.parametrize("content_type", sorted(RENDERERS))
def test_a_truncated_file_is_an_error_wherever_it_ends(content_type: str) -> None:
    """R30."""
    picture = photo(160, 120)
    data = {
        "image/jpeg": encoded(picture, "JPEG"),
        "image/png": encoded(picture, "PNG"),
        "image/gif": encoded(picture.quantize(64), "GIF"),
        "image/webp": encoded(picture, "WEBP"),
    }[content_type]
    # A GIF is whole without its last byte, the trailer; browsers show it.
    last = len(data) - (2 if content_type == "image/gif" else 1)
    for length in {*range(13, last, max(1, last // 60)), last - 1, last}:
        assert answered(data[:length]).refusal is Refusal.BROKEN


def test_a_header_that_lies_about_the_size_is_an_error() -> None:
    """R30."""
    for data in (
        png_claiming(500, 500),
        gif_claiming(500, 500)[:-4] + b"\x00\x3b",
        webp_claiming(500, 500),
    ):
        assert answered(data).refusal is Refusal.BROKEN


def test_formats_off_the_list_have_no_renderer() -> None:
    """R29."""
    for content_type in ("image/tiff", "image/bmp", "application/pdf", "image/x-eps"):
        with pytest.raises(Refused):
            renderer_for(content_type)


def test_every_open_names_one_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """R29."""
    asked = []
    really_open = Image.open

    def spy(source: object, *args: object, **options: object) -> Image.Image:
        asked.append(options["formats"])
        return really_open(source, *args, **options)

    files = samples()
    monkeypatch.setattr(Image, "open", spy)
    for data in files.values():
        sniffed = sniff(data)
        assert sniffed is not None
        list(renderer_for(sniffed.content_type).render(data, [BOX], OPTIONS))

    assert sorted(asked) == [["GIF"], ["JPEG"], ["PNG"], ["WEBP"]]
