"""GIF, PNG and WebP: still or animated."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from typing import ClassVar

from PIL import GifImagePlugin, Image, PngImagePlugin, WebPImagePlugin

from mmr.thumbnailing.containers.base import Container
from mmr.thumbnailing.containers.frames import Animation, Frame
from mmr.thumbnailing.containers.gif import read_gif
from mmr.thumbnailing.containers.png import read_png
from mmr.thumbnailing.containers.webp import read_webp
from mmr.thumbnailing.model import RenderOptions
from mmr.thumbnailing.renderers.averaging import average, block_side
from mmr.thumbnailing.renderers.base import Encoded
from mmr.thumbnailing.renderers.colors import without_palette
from mmr.thumbnailing.renderers.composing import compose
from mmr.thumbnailing.renderers.drawing import Picture
from mmr.thumbnailing.renderers.stills import (
    FrugalFile,
    StillRenderer,
    affordable_frames,
    can_animate,
    picture,
)
from mmr.thumbnailing.renderers.writers import (
    AnimationWriter,
    ApngWriter,
    GifWriter,
    WebPWriter,
)
from mmr.thumbnailing.sizes import Fit, TargetSize, fit

MAX_ANIMATION_BYTES = 32 << 20
"""A larger animation becomes a still picture."""
MAX_ANIMATION_CPU_SECONDS = 5.0
"""The same for one that takes longer."""
# What browsers make of the durations that nobody could follow, for other formats.
_SHORTEST_GIF_MS, _USUAL_GIF_MS = 20, 100

# Palettes of single frames mean nothing once frames lie on one another.
GifImagePlugin.LOADING_STRATEGY = GifImagePlugin.LoadingStrategy.RGB_ALWAYS


class _TooMuch(Exception):
    """The animation is over its budget of bytes or time."""


class MovingRenderer(StillRenderer):
    """What the animated formats have in common."""

    writer: ClassVar[type[GifWriter | ApngWriter | WebPWriter]]
    """Writes the same format."""

    def render(
        self, data: bytes, targets: Sequence[TargetSize], options: RenderOptions
    ) -> Iterator[Encoded]:
        """Draw every target; those that can't be animated, still."""
        container = self._checked(data, options)
        moves = can_animate(container, options)
        still = [target for target in targets if not (moves and target.animated)]
        stills = self.draw_stills(container, still, options) if still else iter(())
        for target in targets:
            if moves and target.animated:
                yield self._animated_or_still(container, target, options)
            else:
                yield next(stills)

    def _animated_or_still(
        self, container: Container, target: TargetSize, options: RenderOptions
    ) -> Encoded:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                return self._animate(container, target, options)
        except _TooMuch:
            return next(self.draw_stills(container, [target], options))

    def _animate(
        self, container: Container, target: TargetSize, options: RenderOptions
    ) -> Encoded:
        animation = container.animation
        assert animation is not None
        placing = fit(*container.upright, target)
        kind = WebPWriter if target.webp else self.writer
        size = placing.width, placing.height
        writer: AnimationWriter = kind(size, animation.plays)
        give_up_at = time.process_time() + MAX_ANIMATION_CPU_SECONDS
        for frame, canvas in self._frames(animation, options):
            drawn = _shown(canvas, container, [placing]).draw(placing)
            writer.add(drawn.convert("RGBA"), self._duration(frame, writer))
            if writer.length > MAX_ANIMATION_BYTES or time.process_time() > give_up_at:
                raise _TooMuch
        return Encoded(writer.content_type, *size, writer.finish(), animated=True)

    def _duration(self, frame: Frame, writer: AnimationWriter) -> int:
        if self.writer is GifWriter and not isinstance(writer, GifWriter):
            if frame.duration_ms < _SHORTEST_GIF_MS:
                return _USUAL_GIF_MS
        return frame.duration_ms

    def _frames(
        self, animation: Animation, options: RenderOptions, first: int = 0
    ) -> Iterator[tuple[Frame, Image.Image]]:
        return compose(animation, partial(self._decode_frame, options=options), first)

    def _decode_frame(self, frame: Frame, options: RenderOptions) -> Image.Image:
        size = frame.width, frame.height
        with self.open(frame.file(), size, options) as image:
            image.load()
            plain = without_palette(image)
        has_alpha = plain.mode in ("LA", "RGBA")
        return plain.convert("RGBA" if has_alpha else "RGB")

    def decode(
        self, container: Container, fits: list[Fit], options: RenderOptions
    ) -> Picture:
        """Compose the frame that stands for the animation (D58, R31)."""
        animation = container.animation
        if animation is None:
            return super().decode(container, fits, options)
        index = still_frame(container, options)
        first = animation.first_needed(index)
        frames = self._frames(animation, options, first)
        for _ in range(first, index):
            next(frames)
        _, canvas = next(frames)
        return _shown(canvas, container, fits)


def _shown(canvas: Image.Image, container: Container, fits: list[Fit]) -> Picture:
    side = block_side(fits, canvas.size)
    return picture(average(canvas, side), container, side)


def still_frame(container: Container, options: RenderOptions) -> int:
    """The index of the frame that is shown, within the budget of pixels (R31)."""
    wanted = int(min(max(options.still_frame, 0.0), 1.0) * container.frames)
    affordable = affordable_frames(container, options)
    return max(0, min(wanted, container.frames - 1, affordable - 1))


class GifRenderer(MovingRenderer):
    """GIF."""

    content_type = "image/gif"
    format = "GIF"
    plugin = GifImagePlugin.GifImageFile
    writer = GifWriter

    def read(self, data: bytes, options: RenderOptions) -> Container:
        """Find the frames."""
        return read_gif(data, options.max_pixels)

    def load(
        self,
        image: Image.Image,
        container: Container,
        fits: list[Fit],
        options: RenderOptions,
    ) -> tuple[Image.Image, float]:
        """Decode; a frame may reach past the canvas, which grows then."""
        image.load()
        return image.crop((0, 0, container.width, container.height)), 1.0


class PngRenderer(MovingRenderer):
    """PNG; the still picture of an animated one is its default image."""

    content_type = "image/png"
    format = "PNG"
    plugin = PngImagePlugin.PngImageFile
    writer = ApngWriter

    def read(self, data: bytes, options: RenderOptions) -> Container:
        """Read the chunks."""
        return read_png(data)

    def decode(
        self, container: Container, fits: list[Fit], options: RenderOptions
    ) -> Picture:
        """Decode the default image, which its maker chose (mmr-http-api §6.4)."""
        return StillRenderer.decode(self, container, fits, options)


class _WebPFile(FrugalFile, WebPImagePlugin.WebPImageFile):
    pass


Image.register_open("WEBP", _WebPFile)


class WebPRenderer(MovingRenderer):
    """WebP."""

    content_type = "image/webp"
    format = "WEBP"
    plugin = _WebPFile
    photo = True
    writer = WebPWriter

    def read(self, data: bytes, options: RenderOptions) -> Container:
        """Read the chunks."""
        return read_webp(data)
