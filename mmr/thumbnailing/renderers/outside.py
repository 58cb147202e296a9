"""Pictures that somebody else's program has drawn for us, in a size that we chose."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

from PIL import Image

from mmr.thumbnailing.model import ImageInfo, RenderOptions
from mmr.thumbnailing.renderers.averaging import AVERAGING_GAP, shrinkage
from mmr.thumbnailing.renderers.base import Encoded
from mmr.thumbnailing.renderers.colors import for_resizing
from mmr.thumbnailing.renderers.drawing import Picture, encode
from mmr.thumbnailing.sizes import Fit, TargetSize, fit

LONG_SIDE = 2048
"""Pixels, at most, of what has none of its own."""
# Three bytes each, so that one picture fits into the file that a program may write.
_MAX_PIXELS = 20_000_000


class VectorRenderer(ABC):
    """A drawing or a document: it can be drawn in any size."""

    content_type: ClassVar[str]

    @abstractmethod
    def measure(self, data: bytes) -> tuple[float, float]:
        """Width and height, in pixels or in any unit that is as good."""

    @abstractmethod
    def draw(self, data: bytes, width: int, height: int) -> Image.Image:
        """Draw all of it in exactly this size."""

    def probe(self, data: bytes, options: RenderOptions) -> ImageInfo:
        """Measure it."""
        width, height = self.measure(data)
        scale = LONG_SIDE / max(width, height, LONG_SIDE)
        return ImageInfo(
            max(1, round(width * scale)),
            max(1, round(height * scale)),
            self.content_type,
        )

    def render(
        self, data: bytes, targets: Sequence[TargetSize], options: RenderOptions
    ) -> Iterator[Encoded]:
        """Draw it once, for every target."""
        info = self.probe(data, options)
        yield from draw_targets(
            info, targets, lambda *size: self.draw(data, *size), photo=False
        )


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
    picture = Picture(image, (info.width / width, info.height / height), 1, None)
    for placing, target in zip(fits, targets, strict=True):
        yield encode(picture.draw(placing), photo=photo, webp=target.webp)


def _worth_drawing(info: ImageInfo, fits: list[Fit]) -> tuple[int, int]:
    spare = shrinkage(fits) / AVERAGING_GAP
    bound = math.sqrt(info.width * info.height / _MAX_PIXELS)
    factor = max(1.0, spare, bound)
    return max(1, int(info.width / factor)), max(1, int(info.height / factor))
