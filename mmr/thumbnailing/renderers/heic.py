"""HEIC and HEIF, by pillow-heif (extra ``codecs``). Importing this fails without it."""

from __future__ import annotations

import pillow_heif

from mmr.thumbnailing.containers.base import Container, check_size
from mmr.thumbnailing.containers.bmff import read_bmff
from mmr.thumbnailing.model import RenderOptions
from mmr.thumbnailing.renderers.averaging import Rows
from mmr.thumbnailing.renderers.drawing import Picture
from mmr.thumbnailing.renderers.stills import StillRenderer, picture_of_rows
from mmr.thumbnailing.sizes import Fit

pillow_heif.options.DECODE_THREADS = 1
pillow_heif.options.THUMBNAILS = False


class HeicRenderer(StillRenderer):
    """HEIC; of a sequence the primary picture.

    Not through the image library, which would make a second copy of all pixels.
    """

    content_type = "image/heic"
    format = "HEIF"
    photo = True

    def read(self, data: bytes, options: RenderOptions) -> Container:
        """Find the primary item. The decoder crops and turns it."""
        item = read_bmff(data)
        for size in item.sizes:
            check_size(*size, options.max_pixels)
        width, height = item.crop or (item.width, item.height)
        if item.quarter_turns % 2:
            width, height = height, width
        return Container(
            width, height, item.clean, icc=item.icc, is_sequence=item.is_sequence
        )

    def decode(
        self, container: Container, fits: list[Fit], options: RenderOptions
    ) -> Picture:
        """Decode the primary item."""
        file = pillow_heif.open_heif(container.clean, remove_stride=False)
        data = file.data
        rows = Rows(file.mode, file.size, file.stride, data)
        return picture_of_rows(rows, container, fits)
