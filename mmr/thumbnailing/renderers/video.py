"""Video: one frame, by ffmpeg."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
from PIL import Image

from mmr.thumbnailing.containers.base import check_size
from mmr.thumbnailing.ffmpeg import LOOKED_AT_SECONDS, Media, Probed
from mmr.thumbnailing.model import ImageInfo, Refusal, Refused, RenderOptions
from mmr.thumbnailing.programs import source_file
from mmr.thumbnailing.renderers.base import Encoded
from mmr.thumbnailing.renderers.outside import draw_targets
from mmr.thumbnailing.sizes import TargetSize

# The last frame begins before the end of the file.
_LAST_FRAME_SECONDS = 0.2


@attrs.frozen
class VideoRenderer:
    """One type of video."""

    content_type: str

    def probe(self, data: bytes, options: RenderOptions) -> ImageInfo:
        """Look at the headers."""
        with source_file(data) as path:
            return self._info(self._media(path, options).probe(), options)

    def render(
        self, data: bytes, targets: Sequence[TargetSize], options: RenderOptions
    ) -> Iterator[Encoded]:
        """Decode the frame at ``stillFrame`` of the part that is looked at."""
        with source_file(data) as path:
            media = self._media(path, options)
            info = self._info(media.probe(), options)
            moment = _moment(info.duration or 0.0, options)

            def draw(width: int, height: int) -> Image.Image:
                pixels = media.frame(moment, width, height)
                return Image.frombytes("RGB", (width, height), pixels)

            yield from draw_targets(info, targets, draw, photo=True)

    def _media(self, path: str, options: RenderOptions) -> Media:
        return Media(path, self.content_type, options.max_pixels)

    def _info(self, probed: Probed, options: RenderOptions) -> ImageInfo:
        if probed.size is None:
            raise Refused(Refusal.BROKEN)
        check_size(*probed.size, options.max_pixels)
        return ImageInfo(*probed.size, self.content_type, duration=probed.duration)


def _moment(duration: float, options: RenderOptions) -> float:
    shown = min(duration, LOOKED_AT_SECONDS) - _LAST_FRAME_SECONDS
    return min(max(options.still_frame, 0.0), 1.0) * max(shown, 0.0)
