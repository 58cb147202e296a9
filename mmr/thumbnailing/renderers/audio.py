"""Audio: the waveform beside the cover picture (mmr-http-api §6.5)."""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO

import attrs
from PIL import Image, ImageDraw

from mmr.thumbnailing.containers.base import check_size
from mmr.thumbnailing.ffmpeg import HEARD_SECONDS, PCM_RATE, Media, Probed
from mmr.thumbnailing.model import (
    MAX_KEY_SAMPLES,
    ImageInfo,
    Refusal,
    Refused,
    RenderOptions,
    Sound,
)
from mmr.thumbnailing.programs import source_file
from mmr.thumbnailing.renderers.base import Encoded, Renderer
from mmr.thumbnailing.renderers.drawing import encode
from mmr.thumbnailing.sizes import TargetSize
from mmr.thumbnailing.sniff import SNIFF_BYTES, sniff
from mmr.types import Method

_BACKGROUND, _BARS, _DISC = (41, 57, 92), (240, 240, 240), (72, 90, 130)
_PADDING = 16
_ARTWORK_SHARE = 0.66
_LOUDEST = 32768


@attrs.frozen
class _Pcm:
    """Decoded sound, of one channel or two."""

    channels: int
    values: array[int] = attrs.field(repr=False)

    @property
    def length(self) -> int:
        return len(self.values) // self.channels

    def pick(self, count: int) -> list[tuple[float, float]]:
        """So many samples at most, left and right, evenly spread."""
        step = max(1, -(-self.length // count)) * self.channels
        left = self.values[::step]
        right = self.values[self.channels - 1 :: step]
        return [
            (one / _LOUDEST, other / _LOUDEST)
            for one, other in zip(left, right, strict=True)
        ]


@attrs.frozen
class AudioRenderer:
    """One type of audio.

    Attributes:
        pictures: Who draws the cover, by its type.
    """

    content_type: str
    pictures: Mapping[str, Renderer]

    def probe(self, data: bytes, options: RenderOptions) -> ImageInfo:
        """Look at the headers."""
        with source_file(data) as path:
            probed = self._probed(self._media(path, options))
        return ImageInfo(0, 0, self.content_type, duration=probed.duration)

    def describe(self, data: bytes, options: RenderOptions) -> ImageInfo:
        """What a player needs to draw the sound by itself."""
        with source_file(data) as path:
            media = self._media(path, options)
            probed = self._probed(media)
            pcm = _decode(media, probed)
        duration = _true_duration(probed, pcm)
        picked = [
            (round(left, 4), round(right, 4))
            for left, right in pcm.pick(MAX_KEY_SAMPLES)
        ]
        samples = round(duration * probed.sample_rate)
        sound = Sound(samples, probed.channels, tuple(picked))
        return ImageInfo(0, 0, self.content_type, duration=duration, sound=sound)

    def render(
        self, data: bytes, targets: Sequence[TargetSize], options: RenderOptions
    ) -> Iterator[Encoded]:
        """Draw each target from its own choice of samples."""
        for target in targets:
            check_size(target.width, target.height, options.max_pixels)
        with source_file(data) as path:
            media = self._media(path, options)
            probed = self._probed(media)
            cover = self._cover(media, probed)
            pcm = _decode(media, probed)
        for target in targets:
            side = round(_ARTWORK_SHARE * target.height)
            artwork = self._artwork(cover, side, options)
            drawn = _draw(target, side, artwork, pcm)
            yield encode(drawn, photo=False, webp=target.webp)

    def _media(self, path: str, options: RenderOptions) -> Media:
        return Media(path, self.content_type, options.max_pixels)

    def _probed(self, media: Media) -> Probed:
        probed = media.probe()
        if not probed.channels:
            raise Refused(Refusal.BROKEN)
        return probed

    def _cover(self, media: Media, probed: Probed) -> bytes:
        """The picture as it is in the file; a broken one is none."""
        if probed.cover is None:
            return b""
        try:
            return media.cover(probed.cover)
        except Refused:
            return b""

    def _artwork(
        self, cover: bytes, side: int, options: RenderOptions
    ) -> Image.Image | None:
        """The cover in a square, under the same limits as any other picture."""
        sniffed = sniff(cover[:SNIFF_BYTES])
        if sniffed is None or side < 1 or sniffed.content_type not in self.pictures:
            return None
        square = TargetSize(side, side, Method.CROP)
        try:
            renderer = self.pictures[sniffed.content_type]
            (drawn,) = renderer.render(cover, [square], options)
            image = Image.open(BytesIO(drawn.data), formats=["PNG", "JPEG"])
            return image.convert("RGB").resize((side, side))
        except Exception:
            # Decoders raise anything, and the sound may be sound all the same.
            return None


def _decode(media: Media, probed: Probed) -> _Pcm:
    channels = min(probed.channels, 2)
    raw = media.pcm(channels)
    values = array("h", raw[: len(raw) // (2 * channels) * 2 * channels])
    if sys.byteorder == "big":
        values.byteswap()
    return _Pcm(channels, values)


def _true_duration(probed: Probed, pcm: _Pcm) -> float:
    """Headers lie; what was decoded to its end doesn't."""
    heard = pcm.length / PCM_RATE
    return heard if heard < HEARD_SECONDS - 1 else max(heard, probed.duration)


def _draw(
    target: TargetSize, side: int, artwork: Image.Image | None, pcm: _Pcm
) -> Image.Image:
    canvas = Image.new("RGB", (target.width, target.height), _BACKGROUND)
    upper = (target.height - side) // 2
    if artwork is None:
        _draw_disc(canvas, upper, side)
    else:
        canvas.paste(artwork, (_PADDING, upper))
    start = _PADDING + side + _PADDING
    pencil = ImageDraw.Draw(canvas)
    middle = target.height // 2
    reach = max(0, target.height - _PADDING) / 2
    bars = max(target.width - start - _PADDING, 1)
    for index, (left, right) in enumerate(pcm.pick(bars)):
        loudness = (left + right) / 2
        length = math.copysign(round(reach * abs(loudness)), loudness)
        pencil.line((start + index, middle, start + index, middle - length), fill=_BARS)
    return canvas


def _draw_disc(canvas: Image.Image, upper: int, side: int) -> None:
    """A record, for sound without a cover."""
    pencil = ImageDraw.Draw(canvas)
    centre = (_PADDING + side / 2, upper + side / 2)
    if side >= 3:
        pencil.circle(centre, side / 2 - 1, fill=_DISC)
        pencil.circle(centre, side / 8, fill=_BACKGROUND)
