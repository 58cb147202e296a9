"""Fewer pixels to resize: whole blocks are averaged, band by band to save memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs
from PIL import Image

from mmr.thumbnailing.renderers.colors import (
    for_resizing,
    is_for_resizing,
    without_palette,
)
from mmr.thumbnailing.sizes import Fit

Size = tuple[int, int]

AVERAGING_GAP = 2.5
"""Averaged pixels per pixel of the result, at least. With this and the numbers of
`drawing` the shortcuts stay within 0.005 SSIM of a full decode."""
_HALVING_GAP = 1.5
"""The same for blocks of two by two, of a picture decoded in full that has at least
`_HALVING_PIXELS`: of a small one it would save little, and results are small, where
a detail that is blurred is a larger part of the whole."""
_HALVING_PIXELS = 1_000_000
_BAND_PIXELS = 1 << 18


def shrinkage(fits: Iterable[Fit]) -> float:
    """How many source pixels make one of the largest result, on the tighter side."""
    sides = []
    for fit in fits:
        left, upper, right, lower = fit.box
        sides += [(right - left) / fit.width, (lower - upper) / fit.height]
    return min(sides) + 1e-9


def block_side(fits: Iterable[Fit], size: Size, scale: float = 1.0) -> int:
    """The side of the blocks that may be averaged, for all sizes.

    Args:
        fits: What will be drawn; the largest one decides.
        size: Of the decoded picture.
        scale: Source pixels per pixel of it.
    """
    spare = shrinkage(fits) / scale
    side = int(spare / AVERAGING_GAP)
    if side >= 2:
        return side
    is_large = scale == 1.0 and size[0] * size[1] >= _HALVING_PIXELS
    return 2 if is_large and spare >= 2 * _HALVING_GAP else 1


@attrs.frozen
class Rows:
    """Pixels as a decoder gives them: row after row.

    Attributes:
        mode: The library's name for what a pixel is.
        stride: Bytes from one row to the next.
    """

    mode: str
    size: Size
    stride: int
    data: bytes = attrs.field(repr=False)

    def cut(self, upper: int, lower: int) -> Image.Image:
        """Some of the rows, as an image."""
        part = self.data[upper * self.stride : lower * self.stride]
        size = self.size[0], lower - upper
        return Image.frombuffer(self.mode, size, part, "raw", self.mode, self.stride, 1)


def average(image: Image.Image, side: int) -> Image.Image:
    """A decoded image in a mode for resizing, one pixel for each block."""
    if image.mode == "F":
        # What is white is only known from all of it.
        image = without_palette(image)
    if is_for_resizing(image):
        return image.reduce(side) if side > 1 else image
    width = image.width
    return _by_bands(
        image.size, side, lambda upper, lower: image.crop((0, upper, width, lower))
    )


def average_rows(rows: Rows, side: int) -> Image.Image:
    """The same of what is no image yet, and need never become one of full size."""
    return _by_bands(rows.size, side, rows.cut)


def _by_bands(
    size: Size, side: int, cut: Callable[[int, int], Image.Image]
) -> Image.Image:
    width, height = size
    step = side * max(1, _BAND_PIXELS // (width * side))
    result: Image.Image | None = None
    for upper in range(0, height, step):
        band = for_resizing(cut(upper, min(upper + step, height)))
        band = band.reduce(side) if side > 1 else band
        if result is None:
            averaged = -(-width // side), -(-height // side)
            result = Image.new(band.mode, averaged, None)
        result.paste(band, (0, upper // side))
    assert result is not None
    return result
