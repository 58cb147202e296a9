"""The picture in place of quarantined media (mmr-http-api §5.6)."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from mmr.thumbnailing.quarantine_image import DOWNLOAD_SIDE, quarantine_image

from tests.thumbnailing.images import BLUE, encoded, is_near, opened

ORANGE, RED, WHITE, CLEAR = (
    (255, 186, 73, 255),
    (190, 26, 25, 255),
    (255, 255, 255, 255),
    (0, 0, 0, 0),
)


def test_the_sign_is_drawn_as_in_the_reference() -> None:
    image = opened(quarantine_image(700, 700))

    assert image.size == (700, 700)
    for place, colour in {
        (5, 5): ORANGE,
        (350, 300): RED,  # the bar
        (350, 300 - 256): RED,  # the ring
        (350, 150): WHITE,
        (200, 400): WHITE,
        (350 - 256, 300): RED,
    }.items():
        assert is_near(image.getpixel(place), colour, 2), place
    words = image.crop((0, 600, 700, 660)).convert("L")
    assert words.getextrema()[0] < 20


@pytest.mark.parametrize("size", [(320, 240), (32, 32), (1, 1), (100, 600)])
def test_it_is_centred_on_a_transparent_canvas(size: tuple[int, int]) -> None:
    image = opened(quarantine_image(*size))
    width, height = size

    assert image.size == size
    assert image.getpixel((width // 2, height // 2))[3] == 255
    if width != height:
        assert image.getpixel((0, 0)) == CLEAR
        assert image.getpixel((width - 1, height - 1)) == CLEAR


def test_the_operators_picture_takes_its_place(tmp_path: Path) -> None:
    path = tmp_path / "own.jpg"
    path.write_bytes(encoded(Image.new("RGB", (1000, 500), BLUE), "JPEG"))

    image = opened(quarantine_image(DOWNLOAD_SIDE, DOWNLOAD_SIDE, path))

    assert is_near(image.getpixel((256, 256)), (*BLUE, 255), 5)
    assert image.getpixel((256, 10)) == CLEAR


def test_it_is_drawn_once() -> None:
    assert quarantine_image(96, 96) is quarantine_image(96, 96)
