"""Still thumbnails of JPEG, PNG, GIF and WebP, by Pillow."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import ClassVar

from PIL import (
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)

from mmr.thumbnailing.containers.base import Container, check_size
from mmr.thumbnailing.containers.gif import read_gif
from mmr.thumbnailing.containers.jpeg import read_jpeg
from mmr.thumbnailing.containers.png import read_png
from mmr.thumbnailing.containers.webp import read_webp
from mmr.thumbnailing.model import ImageInfo, Refusal, Refused, RenderOptions
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
# Palettes of single frames mean nothing once frames lie on one another.
GifImagePlugin.LOADING_STRATEGY = GifImagePlugin.LoadingStrategy.RGB_ALWAYS


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
        return ImageInfo(*container.upright, self.content_type)

    def render(
        self, data: bytes, targets: Sequence[TargetSize], options: RenderOptions
    ) -> Iterator[Encoded]:
        """Decode once, draw every target."""
        container = self._checked(data, options)
        fits = [fit(*container.upright, target) for target in targets]
        picture = self._decode(container, fits, options).reduced_for(fits)
        for placing in fits:
            yield encode(picture.draw(placing), photo=self.photo)

    def _checked(self, data: bytes, options: RenderOptions) -> Container:
        container = self.read(data, options)
        check_size(container.width, container.height, options.max_pixels)
        return container

    def _decode(
        self, container: Container, fits: list[Fit], options: RenderOptions
    ) -> Picture:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with self._open(container, options) as image:
                decoded, scale = self.load(image, container, fits, options)
                pixels = for_resizing(decoded)
        return Picture(pixels, scale, container.orientation, container.icc)

    def _open(self, container: Container, options: RenderOptions) -> Image.Image:
        # Its limit is moved to ours, never switched off (R30).
        Image.MAX_IMAGE_PIXELS = options.max_pixels
        image = Image.open(BytesIO(container.clean), formats=[self.format])
        if type(image) is not self.plugin or image.format != self.format:
            raise Refused(Refusal.MISLABELLED)
        if image.size != (container.width, container.height):
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
        spare = min(shrinkage(placing) for placing in fits) / OVERSAMPLING
        scale = max(s for s in (1, 2, 4, 8) if s <= max(1.0, spare + 1e-9))
        wanted = max(1, image.width // scale), max(1, image.height // scale)
        # Not pixels of the result over pixels of the source: sides are rounded up.
        drafted = image.draft(None, wanted)
        image.load()
        return image, container.width / drafted[1][2] if drafted else 1.0


class PngRenderer(StillRenderer):
    """PNG; of an animated one the default image."""

    content_type = "image/png"
    format = "PNG"
    plugin = PngImagePlugin.PngImageFile

    def read(self, data: bytes, options: RenderOptions) -> Container:
        """Read the chunks."""
        return read_png(data)


class WebPRenderer(StillRenderer):
    """WebP; of an animated one the first frame."""

    content_type = "image/webp"
    format = "WEBP"
    plugin = WebPImagePlugin.WebPImageFile
    photo = True

    def read(self, data: bytes, options: RenderOptions) -> Container:
        """Read the chunks."""
        return read_webp(data)


class GifRenderer(StillRenderer):
    """GIF. The frame at ``stillFrame`` stands for the animation."""

    content_type = "image/gif"
    format = "GIF"
    plugin = GifImagePlugin.GifImageFile

    def read(self, data: bytes, options: RenderOptions) -> Container:
        """Count the frames."""
        return read_gif(data, options.max_pixels)

    def load(
        self,
        image: Image.Image,
        container: Container,
        fits: list[Fit],
        options: RenderOptions,
    ) -> tuple[Image.Image, float]:
        """Compose the frames up to the one that is shown (D58, R31)."""
        for index in range(1, still_frame(container, options) + 1):
            image.seek(index)
        image.load()
        # The library enlarges the canvas for a frame that reaches past it.
        return image.crop((0, 0, container.width, container.height)), 1.0


def still_frame(container: Container, options: RenderOptions) -> int:
    """The index of the frame that is shown, within the budget of pixels (R31)."""
    wanted = int(min(max(options.still_frame, 0.0), 1.0) * container.frames)
    affordable = 4 * options.max_pixels // (container.width * container.height)
    return max(0, min(wanted, container.frames - 1, affordable - 1))
