"""Blocks of pixels, averaged band by band: the same as all at once, in less memory."""

from __future__ import annotations

import pytest
from PIL import Image

from mmr.thumbnailing.renderers import averaging
from mmr.thumbnailing.renderers.averaging import (
    Rows,
    average,
    average_rows,
    block_side,
)
from mmr.thumbnailing.renderers.avif import AvifRenderer
from mmr.thumbnailing.renderers.colors import for_resizing
from mmr.thumbnailing.renderers.moving import WebPRenderer
from mmr.thumbnailing.sizes import Fit

from tests.thumbnailing.images import encoded, photo
from tests.thumbnailing.rendering import OPTIONS

PICTURE = photo(403, 302)


def see_through(picture: Image.Image) -> Image.Image:
    image = picture.copy()
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def keyed(picture: Image.Image) -> Image.Image:
    image = picture.copy()
    image.info["transparency"] = 40
    return image


PICTURES = {
    "RGB": PICTURE,
    "L": PICTURE.convert("L"),
    "CMYK": PICTURE.convert("CMYK"),
    "RGBA": see_through(PICTURE),
    "LA": see_through(PICTURE.convert("L")),
    "P": PICTURE.quantize(64),
    "P with a hole": keyed(PICTURE.quantize(64)),
    "L with a key": keyed(PICTURE.convert("L")),
    "1": PICTURE.convert("1"),
    "I;16": PICTURE.convert("I;16"),
    "F": PICTURE.convert("F").point(lambda value: value / 255 + 0.0),
}


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many bands of few rows."""
    monkeypatch.setattr(averaging, "_BAND_PIXELS", 5000)


@pytest.mark.parametrize("side", [1, 2, 3, 7])
@pytest.mark.parametrize("name", PICTURES)
def test_bands_make_no_difference(name: str, side: int) -> None:
    image = PICTURES[name]
    whole = for_resizing(image)
    whole = whole.reduce(side) if side > 1 else whole
    averaged = average(image, side)

    assert (averaged.mode, averaged.size) == (whole.mode, whole.size)
    assert averaged.tobytes() == whole.tobytes()


def test_rows_of_a_decoder_may_be_longer_than_the_picture() -> None:
    width, height = PICTURE.size
    rows = [
        PICTURE.crop((0, y, width, y + 1)).tobytes() + b"\xff" * 45
        for y in range(height)
    ]
    averaged = average_rows(
        Rows("RGB", PICTURE.size, 3 * width + 45, b"".join(rows)), 3
    )

    assert averaged.tobytes() == PICTURE.reduce(3).tobytes()


def test_rows_that_are_missing_are_an_error() -> None:
    rows = Rows("RGB", (100, 100), 300, bytes(20_000))

    with pytest.raises(ValueError, match="not enough image data"):
        average_rows(rows, 2)


@pytest.mark.parametrize(
    ("size", "scale", "side"),
    [
        ((400, 300), 1.0, 1),
        ((1600, 1200), 1.0, 2),
        ((4000, 3000), 1.0, 4),
        ((500, 375), 8.0, 1),
        ((2000, 1500), 2.0, 2),
    ],
)
def test_blocks_leave_enough_pixels_for_the_largest_result(
    size: tuple[int, int], scale: float, side: int
) -> None:
    width, height = size[0] * scale, size[1] * scale
    fits = [Fit(32, 24, (0, 0, width, height)), Fit(400, 300, (0, 0, width, height))]

    assert block_side(fits, size, scale) == side


@pytest.mark.parametrize(
    ("format", "renderer"), [("AVIF", AvifRenderer()), ("WEBP", WebPRenderer())]
)
def test_a_decoder_lets_its_pixels_go_before_they_are_copied(
    format: str, renderer: AvifRenderer | WebPRenderer
) -> None:
    """Issue 4: at most twice the memory of the decoded picture."""
    image = renderer.open(encoded(PICTURE, format, quality=60), PICTURE.size, OPTIONS)
    assert "_decoder" in vars(image)

    image.load()

    assert "_decoder" not in vars(image)
