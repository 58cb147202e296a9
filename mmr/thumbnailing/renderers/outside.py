"""Pictures that somebody else's program has drawn for us, in a size that we chose."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from PIL import Image

from mmr.thumbnailing.model import ImageInfo
from mmr.thumbnailing.renderers.base import Encoded
from mmr.thumbnailing.renderers.colors import for_resizing
from mmr.thumbnailing.renderers.drawing import (
    AVERAGING_GAP,
    Picture,
    encode,
    shrinkage,
)
from mmr.thumbnailing.sizes import Fit, TargetSize, fit

# Three bytes each, so that one picture fits into the file that a program may write.
_MAX_PIXELS = 20_000_000


def draw_targets(
    info: ImageInfo,
    targets: Sequence[TargetSize],
    draw: Callable[[int, int], Image.Image],
    *,
    photo: bool,
) -> Iterator[Encoded]:
    """Have it drawn once, large enough for every target.

    Args:
        info: With the size that the source has for its viewers.
        targets: What to make of it.
        draw: Draws the whole picture in a width and a height.
        photo: Opaque pictures become JPEG.
    """
    fits = [fit(info.width, info.height, target) for target in targets]
    width, height = _worth_drawing(info, fits)
    image = for_resizing(draw(width, height))
    picture = Picture(image, info.width / width, 1, None)
    for placing, target in zip(fits, targets, strict=True):
        yield encode(picture.draw(placing), photo=photo, webp=target.webp)


def _worth_drawing(info: ImageInfo, fits: list[Fit]) -> tuple[int, int]:
    spare = min(shrinkage(placing) for placing in fits) / AVERAGING_GAP
    bound = math.sqrt(info.width * info.height / _MAX_PIXELS)
    factor = max(1.0, spare, bound)
    return max(1, int(info.width / factor)), max(1, int(info.height / factor))
