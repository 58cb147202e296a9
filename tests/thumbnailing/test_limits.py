"""Frames, pixels, damage: what is refused, and that it is refused early."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import GifImagePlugin, Image

from mmr.thumbnailing.model import Refusal, Refused, RenderOptions
from mmr.thumbnailing.renderers import RENDERERS, renderer_for
from mmr.thumbnailing.sniff import sniff

from tests.thumbnailing.images import (
    BLUE,
    GREEN,
    RED,
    WHITE,
    encoded,
    gif_claiming,
    gif_of,
    is_near,
    jpeg_claiming,
    opened,
    photo,
    png_claiming,
    raw_gif,
    sample,
    samples,
    webp_claiming,
)
from tests.thumbnailing.rendering import (
    BOX,
    OPTIONS,
    answered,
    refusal,
    render,
    rendered_image,
)

CHEAP_BYTES = 64 << 20


def memory_for(action: Callable[[], object]) -> int:
    """Bytes that it needs at most, on top of what the process has."""
    Path("/proc/self/clear_refs").write_text("5")  # forgets the high-water mark
    before = _memory("VmRSS")
    action()
    return _memory("VmHWM") - before


def _memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


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


def test_an_animated_png_shows_its_default_image() -> None:
    """mmr-http-api §6.4: its maker chose that picture for who can't play it."""
    frames = [Image.new("RGB", (200, 150), colour) for colour in (RED, BLUE)]
    data = encoded(
        frames[0], "PNG", save_all=True, append_images=frames[1:], duration=50
    )

    assert is_near(rendered_image(data).convert("RGB").getpixel((50, 40)), RED, 2)


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
    found = []
    started = time.process_time()

    assert memory_for(lambda: found.append(refusal(data))) < CHEAP_BYTES
    # Decoded they would take tens; a collection of garbage may take half of one.
    assert time.process_time() - started < 2
    assert found == [reason]


def test_the_librarys_own_limit_is_the_operators_too() -> None:
    """R30: never off."""
    data = encoded(Image.new("L", (100, 100)), "JPEG")
    render(data, options=RenderOptions(max_pixels=123_456))

    assert Image.MAX_IMAGE_PIXELS == 123_456


def test_a_warning_of_the_library_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """R30."""

    def load(image: Image.Image) -> None:
        warnings.warn("this file is odd", stacklevel=1)

    monkeypatch.setattr(GifImagePlugin.GifImageFile, "load", load)
    assert answered(gif_of([RED], (20, 20))).refusal is Refusal.BROKEN


def test_a_second_frame_larger_than_the_first_is_checked_too() -> None:
    """R30."""
    small = raw_gif(1, (10, 10), (10, 10))
    large = raw_gif(1, (10, 10), (60_000, 60_000))
    data = small[:-1] + large[large.index(b"\x2c") :]
    found = []
    started = time.process_time()

    assert memory_for(lambda: found.append(refusal(data))) < CHEAP_BYTES
    # Decoded they would take tens; a collection of garbage may take half of one.
    assert time.process_time() - started < 2
    assert found == [Refusal.TOO_LARGE]


def test_the_limit_of_pixels_is_the_operators() -> None:
    data = encoded(Image.new("L", (100, 100)), "PNG")

    assert refusal(data, RenderOptions(max_pixels=10_000)) is Refusal.TOO_LARGE
    assert render(data, options=RenderOptions(max_pixels=10_001))


@pytest.mark.parametrize("content_type", sorted(RENDERERS))
def test_a_truncated_file_is_an_error_wherever_it_ends(content_type: str) -> None:
    """R30."""
    data = sample(content_type, photo(160, 120))
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
    for content_type in ("image/x-icon", "image/psd", "image/x-eps"):
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

    # HEIC and JPEG XL have libraries of their own, which know nothing else.
    formats = {"AVIF", "BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP"}
    assert {*map(tuple, asked)} == {(format,) for format in formats}
