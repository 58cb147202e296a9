"""Identicons (mmr-http-api §8.4)."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr.thumbnailing.identicon import clamp_side, draw_identicon

from tests.thumbnailing.images import opened

BACKGROUND = (224, 224, 224)


def test_the_picture_follows_the_reference() -> None:
    digest = hashlib.md5(b"/alice").digest()
    image = opened(draw_identicon("/alice", 96))
    cell = 96 // 6

    for index in range(15):
        column, row = divmod(index, 5)
        is_on = digest[1 + index // 8] >> (7 - index % 8) & 1
        for place in (column, 4 - column):
            middle = (cell // 2 + place * cell + 8, cell // 2 + row * cell + 8)
            assert (image.getpixel(middle) != BACKGROUND) == bool(is_on)
    assert image.getpixel((0, 0)) == BACKGROUND
    assert len(image.getcolors()) == 2


def test_the_seed_chooses_colour_and_shape() -> None:
    assert draw_identicon("/a") == draw_identicon("/a")
    assert draw_identicon("/a") != draw_identicon("a")


@pytest.mark.parametrize(
    ("asked", "size"),
    [
        ((96, None), (96, 96)),
        ((200, None), (200, 200)),
        ((1, 10_000), (96, 512)),
        ((300, 100), (300, 100)),
        ((-5, None), (96, 96)),
    ],
)
def test_sides_are_clamped(
    asked: tuple[int, int | None], size: tuple[int, int]
) -> None:
    assert opened(draw_identicon("/x", *asked)).size == size


@given(st.integers())
def test_any_number_is_clamped(side: int) -> None:
    assert 96 <= clamp_side(side) <= 512
