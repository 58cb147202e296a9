"""HEIC and HEIF, by pillow-heif (extra ``codecs``). Importing this fails without it."""

from __future__ import annotations

import pillow_heif
from PIL import Image

from mmr.thumbnailing.containers.base import Container, check_size
from mmr.thumbnailing.containers.bmff import read_bmff
from mmr.thumbnailing.model import RenderOptions
from mmr.thumbnailing.renderers.stills import StillRenderer

pillow_heif.options.DECODE_THREADS = 1
pillow_heif.options.THUMBNAILS = False
Image.register_open("HEIF", pillow_heif.HeifImageFile)


class HeicRenderer(StillRenderer):
    """HEIC; of a sequence the primary picture."""

    content_type = "image/heic"
    format = "HEIF"
    plugin = pillow_heif.HeifImageFile
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
