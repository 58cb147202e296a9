"""How alike two pictures look."""

from __future__ import annotations

import pytest
from benchmarks.thumbnails.similarity import similarity
from PIL import Image, ImageFilter

_PICTURE = Image.effect_noise((164, 123), 40)


def test_a_picture_is_like_itself() -> None:
    assert similarity(_PICTURE, _PICTURE) == pytest.approx(1, abs=1e-4)


def test_the_more_it_is_blurred_the_less_it_is_alike() -> None:
    little = _PICTURE.filter(ImageFilter.GaussianBlur(0.4))
    much = _PICTURE.filter(ImageFilter.GaussianBlur(2))

    assert 1 > similarity(_PICTURE, little) > similarity(_PICTURE, much) > 0


def test_it_agrees_with_the_definition() -> None:
    """Luminance and contrast of two flat blocks: the covariance is zero."""
    one, other = (Image.new("L", (8, 8), value) for value in (100, 150))

    c1 = (0.01 * 255) ** 2
    expected = (2 * 100 * 150 + c1) / (100**2 + 150**2 + c1)
    assert similarity(one, other) == pytest.approx(expected, abs=1e-4)


def test_pictures_of_different_sizes_are_not_compared() -> None:
    with pytest.raises(ValueError, match="compared"):
        similarity(_PICTURE, _PICTURE.resize((10, 10)))
