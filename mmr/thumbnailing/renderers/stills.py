"""Still thumbnails, by Pillow: what all formats have in common, and JPEG."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from typing import ClassVar

from PIL import Image, ImageFile, JpegImagePlugin

from mmr.thumbnailing.containers.base import Container, check_size
from mmr.thumbnailing.containers.jpeg import read_jpeg
from mmr.thumbnailing.model import (
    FRAME_BUDGET,
    MAX_ANIMATION_MS,
    ImageInfo,
    Refusal,
    Refused,
    RenderOptions,
)
from mmr.thumbnailing.renderers.averaging import (
    Rows,
    Size,
    average,
    average_rows,
    block_side,
    shrinkage,
)
from mmr.thumbnailing.renderers.base import Encoded
from mmr.thumbnailing.renderers.colors import for_resizing
from mmr.thumbnailing.renderers.drawing import OVERSAMPLING, Picture, encode
from mmr.thumbnailing.sizes import Fit, TargetSize, fit

# The library's own factory looks for other containers inside a JPEG and may hand one
# back (R29). The first picture is what we want in any case.
Image.register_open("JPEG", JpegImagePlugin.JpegImageFile)


class FrugalFile(ImageFile.ImageFile):
    """Lets a decoder's own pixels go before the library makes its copy of them."""

    def load_prepare(self) -> None:
        """Called when the copy is about to be made."""
        if getattr(self, "n_frames", 1) == 1:
            vars(self).pop("_decoder", None)
        super().load_prepare()


Shrink = Callable[[bytes, Size, int], tuple[Image.Image, tuple[float, float]]]
"""Decodes a file of a known size and averages blocks of that side at once. Gives the
pixels, and how many of the source's make one of them, across and down."""


class StillRenderer(ABC):
    """What the formats have in common. A subclass is one format.

    Args:
        shrink: Takes less time and memory than the library, where it is there.
    """

    content_type: ClassVar[str]
    format: ClassVar[str]
    """Pillow's name for it: the only format that is opened."""
    plugin: ClassVar[type[ImageFile.ImageFile]]
    photo: ClassVar[bool] = False
    """Opaque pictures become JPEG."""

    def __init__(self, shrink: Shrink | None = None) -> None:
        self._shrink = shrink

    @abstractmethod
    def read(self, data: bytes, options: RenderOptions) -> Container:
        """Read the container."""

    def load(
        self,
        image: Image.Image,
        container: Container,
        fits: list[Fit],
        options: RenderOptions,
    ) -> tuple[Image.Image, float]:
        """Decode; returns the pixels, and how many of the source's make one of them."""
        image.load()
        return image, 1.0

    def probe(self, data: bytes, options: RenderOptions) -> ImageInfo:
        """Look at the header only."""
        container = self._checked(data, options)
        return ImageInfo(
            *container.upright,
            self.content_type,
            is_animated=container.frames > 1 or container.is_sequence,
            can_animate=can_animate(container, options),
        )

    def render(
        self, data: bytes, targets: Sequence[TargetSize], options: RenderOptions
    ) -> Iterator[Encoded]:
        """Decode once, draw every target."""
        container = self._checked(data, options)
        yield from self.draw_stills(container, targets, options)

    def draw_stills(
        self,
        container: Container,
        targets: Sequence[TargetSize],
        options: RenderOptions,
    ) -> Iterator[Encoded]:
        """Draw one frame, or the only one, for every target."""
        fits = [fit(*container.upright, target) for target in targets]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            decoded = self.decode(container, fits, options)
        for placing, target in zip(fits, targets, strict=True):
            image = decoded.draw(placing)
            yield encode(image, photo=self.photo, webp=target.webp)

    def _checked(self, data: bytes, options: RenderOptions) -> Container:
        container = self.read(data, options)
        check_size(container.width, container.height, options.max_pixels)
        return container

    def decode(
        self, container: Container, fits: list[Fit], options: RenderOptions
    ) -> Picture:
        """The pixels of the frame that is shown."""
        size = container.width, container.height
        side = block_side(fits, size)
        if self._shrink is not None and side > 1:
            pixels, scales = self._shrink(container.clean, size, side)
            return picture(for_resizing(pixels), container, *scales)
        with self.open(container.clean, size, options) as image:
            decoded, scale = self.load(image, container, fits, options)
            side = block_side(fits, decoded.size, scale)
            pixels = average(decoded, side)
        return picture(pixels, container, scale * side)

    def open(self, data: bytes, size: Size, options: RenderOptions) -> Image.Image:
        """Have the library read the header, as this format and no other (R29)."""
        # Its limit is moved to ours, never switched off (R30).
        Image.MAX_IMAGE_PIXELS = options.max_pixels
        image = Image.open(BytesIO(data), formats=[self.format])
        if type(image) is not self.plugin or image.format != self.format:
            raise Refused(Refusal.MISLABELLED)
        if image.size != size:
            raise Refused(Refusal.BROKEN)
        return image


class JpegRenderer(StillRenderer):
    """JPEG. Decoded at an eighth, a quarter or a half of its size where that does."""

    content_type = "image/jpeg"
    format = "JPEG"
    plugin = JpegImagePlugin.JpegImageFile
    photo = True

    def read(self, data: bytes, options: RenderOptions) -> Container:
        """Read the segments."""
        return read_jpeg(data)

    def load(
        self,
        image: Image.Image,
        container: Container,
        fits: list[Fit],
        options: RenderOptions,
    ) -> tuple[Image.Image, float]:
        """Decode at the smallest scale that keeps `OVERSAMPLING` pixels a pixel."""
        spare = shrinkage(fits)
        scale = max(
            scale for scale, least in OVERSAMPLING.items() if scale * least <= spare
        )
        wanted = max(1, image.width // scale), max(1, image.height // scale)
        # Not pixels of the result over pixels of the source: sides are rounded up.
        drafted = image.draft(None, wanted)
        assert isinstance(image, ImageFile.ImageFile)
        # All at once: piece by piece only copies what is in memory already.
        image.decodermaxblock = len(container.clean)
        image.load()
        return image, container.width / drafted[1][2] if drafted else 1.0


def picture(
    pixels: Image.Image,
    container: Container,
    across: float,
    down: float | None = None,
) -> Picture:
    """All of the source, scaled by so much; in both directions, unless told apart."""
    scale = across, across if down is None else down
    return Picture(pixels, scale, container.orientation, container.icc)


def picture_of_rows(rows: Rows, container: Container, fits: list[Fit]) -> Picture:
    """The same from pixels that a decoder gave us past the library."""
    if rows.size != (container.width, container.height):
        raise Refused(Refusal.BROKEN)
    side = block_side(fits, rows.size)
    return picture(average_rows(rows, side), container, side)


def can_animate(container: Container, options: RenderOptions) -> bool:
    """Whether all frames are within the budget (R31)."""
    animation = container.animation
    if animation is None or not animation.is_whole:
        return False
    if animation.duration_ms > MAX_ANIMATION_MS:
        return False
    return len(animation.frames) <= affordable_frames(container, options)


def affordable_frames(container: Container, options: RenderOptions) -> int:
    """How many frames of this size may be decoded (R31)."""
    return FRAME_BUDGET * options.max_pixels // (container.width * container.height)
