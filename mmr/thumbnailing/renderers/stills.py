"""Still thumbnails, by Pillow: what all formats have in common, and JPEG."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
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
from mmr.thumbnailing.renderers.base import Encoded
from mmr.thumbnailing.renderers.colors import for_resizing
from mmr.thumbnailing.renderers.drawing import (
    OVERSAMPLING,
    Picture,
    encode,
    shrinkage,
)
from mmr.thumbnailing.sizes import Fit, TargetSize, fit

# The library's own factory looks for other containers inside a JPEG and may hand one
# back (R29). The first picture is what we want in any case.
Image.register_open("JPEG", JpegImagePlugin.JpegImageFile)


class StillRenderer(ABC):
    """What the formats have in common. A subclass is one format."""

    content_type: ClassVar[str]
    format: ClassVar[str]
    """Pillow's name for it: the only format that is opened."""
    plugin: ClassVar[type[ImageFile.ImageFile]]
    photo: ClassVar[bool] = False
    """Opaque pictures become JPEG."""

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
            picture = self.decode(container, fits, options).reduced_for(fits)
        for placing, target in zip(fits, targets, strict=True):
            image = picture.draw(placing)
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
        with self.open(container.clean, size, options) as image:
            decoded, scale = self.load(image, container, fits, options)
            pixels = for_resizing(decoded)
        return Picture(pixels, scale, container.orientation, container.icc)

    def open(
        self, data: bytes, size: tuple[int, int], options: RenderOptions
    ) -> Image.Image:
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
        spare = min(shrinkage(placing) for placing in fits) + 1e-9
        scale = max(
            scale for scale, least in OVERSAMPLING.items() if scale * least <= spare
        )
        wanted = max(1, image.width // scale), max(1, image.height // scale)
        # Not pixels of the result over pixels of the source: sides are rounded up.
        drafted = image.draft(None, wanted)
        image.load()
        return image, container.width / drafted[1][2] if drafted else 1.0


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
