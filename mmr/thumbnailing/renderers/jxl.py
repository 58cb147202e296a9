"""JPEG XL, by pyjpegxl (extra ``jxl``). Importing this fails without it.

It has no place in ``thumbnails.types`` unless the operator gives it one (R38).
"""

from __future__ import annotations

import attrs
import pyjpegxl

from mmr.thumbnailing.containers.base import Container
from mmr.thumbnailing.containers.jxl import read_jxl
from mmr.thumbnailing.model import MAX_METADATA_BYTES, RenderOptions
from mmr.thumbnailing.renderers.averaging import Rows
from mmr.thumbnailing.renderers.drawing import Picture
from mmr.thumbnailing.renderers.stills import StillRenderer, picture_of_rows
from mmr.thumbnailing.sizes import Fit

pyjpegxl.set_num_threads(1)

# By the number of channels; alpha is one of them.
_MODES = ("L", "LA", "RGB", "RGBA")


class JxlRenderer(StillRenderer):
    """JPEG XL; of an animation the last frame. Not through the image library."""

    content_type = "image/jxl"
    format = "JXL"
    photo = True

    def read(self, data: bytes, options: RenderOptions) -> Container:
        """Read the size."""
        return read_jxl(data)

    def decode(
        self, container: Container, fits: list[Fit], options: RenderOptions
    ) -> Picture:
        """Decode it all, 8 bits a channel."""
        found, pixels = pyjpegxl.decode(container.clean, dtype="uint8")
        channels = found.num_color_channels + found.has_alpha
        size = found.width, found.height
        rows = Rows(_MODES[channels - 1], size, found.width * channels, pixels)
        icc = found.icc if found.icc and len(found.icc) <= MAX_METADATA_BYTES else None
        return picture_of_rows(rows, attrs.evolve(container, icc=icc), fits)
